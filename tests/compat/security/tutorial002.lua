local perigee = require("perigee")
local null = perigee.json.null

local app = perigee.app({ title = "FastAPI" })

local oauth2_scheme = perigee.security.oauth2_password({ token_url = "token" })

local function fake_decode_token(token)
  return {
    username = token .. "fakedecoded",
    email = "john@example.com",
    full_name = "John Doe",
    disabled = null,
  }
end

local get_current_user = perigee.dependency({ deps = { token = oauth2_scheme } }, function(req)
  return fake_decode_token(req.deps.token)
end)

app:get("/users/me", {
  name = "read_users_me",
  deps = { current_user = get_current_user },
}, function(req)
  return req.deps.current_user
end)

return app
