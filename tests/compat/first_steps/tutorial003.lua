local perigee = require("perigee")

local app = perigee.app({ title = "FastAPI" })

app:get("/", { name = "root" }, function()
  return { message = "Hello World" }
end)

return app
