local perigee = require("perigee")

local app = perigee.app({ title = "FastAPI" })

app:get("/", { name = "main", produces = "text/plain" }, function()
  return perigee.text("Hello World")
end)

return app
