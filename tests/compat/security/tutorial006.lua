local perigee = require("perigee")

local app = perigee.app({ title = "FastAPI" })

local security = perigee.security.basic()

app:get("/users/me", {
  name = "read_current_user",
  deps = { credentials = security },
}, function(req)
  local credentials = req.deps.credentials
  return { username = credentials.username, password = credentials.password }
end)

return app
