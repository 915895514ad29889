-- The smallest app: one handler, nothing declared.
local perigee = require("perigee")

local app = perigee.app({ title = "Hello" })

app:get("/", function()
  return { message = "Hello World" }
end)

return app
