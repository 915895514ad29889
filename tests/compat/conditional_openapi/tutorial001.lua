local perigee = require("perigee")

local app = perigee.app({
  title = "FastAPI",
  openapi_url = os.getenv("OPENAPI_URL") or "/openapi.json",
})

app:get("/", { name = "root" }, function()
  return { message = "Hello World" }
end)

return app
