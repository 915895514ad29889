local perigee = require("perigee")
local t = perigee.types

local app = perigee.app({ title = "FastAPI" })

local UserIn = t.model("UserIn", {
  username = t.string,
  password = t.string,
  email = t.email,
  full_name = t.string({ optional = true }),
})

local UserOut = t.model("UserOut", {
  username = t.string,
  email = t.email,
  full_name = t.string({ optional = true }),
})

app:post("/user/", { name = "create_user", body = UserIn, response = UserOut }, function(req)
  return req.body
end)

return app
