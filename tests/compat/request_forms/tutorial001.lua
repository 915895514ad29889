local perigee = require("perigee")
local t = perigee.types

local app = perigee.app({ title = "FastAPI" })

app:post("/login/", {
  name = "login",
  form = { username = t.string, password = t.string },
}, function(req)
  return { username = req.form.username }
end)

return app
