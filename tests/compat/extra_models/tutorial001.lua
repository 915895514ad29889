local perigee = require("perigee")
local t = perigee.types

local app = perigee.app({ title = "FastAPI" })

local UserIn = t.model("UserIn", {
  username = t.string,
  password = t.string,
  email = t.email,
  full_name = t.string({ optional = true }),
})

local UserOut = UserIn:omit("UserOut", { "password" })

local function fake_password_hasher(raw_password)
  return "supersecret" .. raw_password
end

local function fake_save_user(user_in)
  user_in.hashed_password = fake_password_hasher(user_in.password)
  return user_in
end

app:post("/user/", { name = "create_user", body = UserIn, response = UserOut }, function(req)
  return fake_save_user(req.body)
end)

return app
