local perigee = require("perigee")
local t = perigee.types

local app = perigee.app({ title = "FastAPI" })

local FormData = t.model("FormData", { username = t.string, password = t.string })

app:post("/login/", { name = "login", form = FormData }, function(req)
  return req.form
end)

return app
