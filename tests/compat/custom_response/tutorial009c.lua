local perigee = require("perigee")

local app = perigee.app({ title = "FastAPI" })

app:get("/", { name = "main" }, function()
  return perigee.bytes('{\n  "message": "Hello World"\n}', { content_type = "application/json" })
end)

return app
