local perigee = require("perigee")

local app = perigee.app({ title = "FastAPI" })

local bearer = perigee.security.bearer({ scheme_name = "HTTPBearer403", status = 403 })

app:get("/me", { name = "read_me", deps = { credentials = bearer } }, function(req)
  return { message = "You are authenticated", token = req.deps.credentials.credentials }
end)

return app
