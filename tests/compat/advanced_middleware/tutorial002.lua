local perigee = require("perigee")
local trusted_host = require("perigee.middleware.trusted_host")

local app = perigee.app({ title = "FastAPI" })

app:use(trusted_host({ allowed_hosts = { "example.com", "*.example.com" } }))

app:get("/", { name = "main" }, function()
  return { message = "Hello World" }
end)

return app
