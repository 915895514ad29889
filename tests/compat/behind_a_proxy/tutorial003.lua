local perigee = require("perigee")

local app = perigee.app({
  title = "FastAPI",
  servers = {
    { url = "https://stag.example.com", description = "Staging environment" },
    { url = "https://prod.example.com", description = "Production environment" },
  },
  root_path = "/api/v1",
})

app:get("/app", { name = "read_main" }, function()
  return { message = "Hello World", root_path = app.config.root_path }
end)

return app
