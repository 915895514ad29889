local perigee = require("perigee")

local app = perigee.app({ title = "FastAPI" })

app:get("/app", { name = "read_main" }, function()
  return { message = "Hello World from main app" }
end)

local subapi = perigee.app({ title = "FastAPI" })

subapi:get("/sub", { name = "read_sub" }, function()
  return { message = "Hello World from sub API" }
end)

app:mount("/subapi", subapi)

return app
