local perigee = require("perigee")

local app = perigee.app({ title = "FastAPI" })

app:get("/", { name = "read_main" }, function()
  return { msg = "Hello World" }
end)

return app
