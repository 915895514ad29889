local perigee = require("perigee")
local t = perigee.types

-- To get a string like this run: openssl rand -hex 32
local SECRET_KEY = "09d25e094faa6ca2556c818166b7a9563b93f7099f6f0f4caa6cf63b88e8d3e7"
local ALGORITHM = "HS256"
local ACCESS_TOKEN_EXPIRE_MINUTES = 30

local fake_users_db = {
  johndoe = {
    username = "johndoe",
    full_name = "John Doe",
    email = "johndoe@example.com",
    hashed_password = perigee.crypto.hash_password("secret"),
    disabled = false,
  },
}

local Token = t.model("Token", { access_token = t.string, token_type = t.string })

local User = t.model("User", {
  username = t.string,
  email = t.string({ optional = true }),
  full_name = t.string({ optional = true }),
  disabled = t.boolean({ optional = true }),
})

-- What an unknown user's password is held against, so that the answer takes as long.
local DUMMY_HASH = perigee.crypto.hash_password("dummypassword")

local oauth2_scheme = perigee.security.oauth2_password({ token_url = "token" })

local app = perigee.app({ title = "FastAPI" })

local function authenticate_user(username, password)
  local user = fake_users_db[username]
  local known =
    perigee.crypto.verify_password(password, user and user.hashed_password or DUMMY_HASH)
  return user and known and user
end

local get_current_user = perigee.dependency({ deps = { token = oauth2_scheme } }, function(req)
  local checks = { alg = ALGORITHM, allow_no_expiry = true }
  local claims = perigee.jwt.verify(req.deps.token, SECRET_KEY, checks)
  local user = claims and claims.sub and fake_users_db[claims.sub]
  return user
    or error(perigee.http_error(401, "Could not validate credentials", {
      ["WWW-Authenticate"] = "Bearer",
    }))
end)

local get_current_active_user = perigee.dependency({
  deps = { current_user = get_current_user },
}, function(req)
  if req.deps.current_user.disabled then
    error(perigee.http_error(400, "Inactive user"))
  end
  return req.deps.current_user
end)

app:post("/token", {
  name = "login_for_access_token",
  deps = { form = perigee.security.password_form },
  response = Token,
}, function(req)
  local form = req.deps.form
  local user = authenticate_user(form.username, form.password)
  if not user then
    error(perigee.http_error(401, "Incorrect username or password", {
      ["WWW-Authenticate"] = "Bearer",
    }))
  end
  local access_token = perigee.jwt.sign({ sub = user.username }, SECRET_KEY, {
    alg = ALGORITHM,
    expires_in_s = ACCESS_TOKEN_EXPIRE_MINUTES * 60,
  })
  return { access_token = access_token, token_type = "bearer" }
end)

app:get("/users/me/", {
  name = "read_users_me",
  deps = { current_user = get_current_active_user },
  response = User,
}, function(req)
  return req.deps.current_user
end)

app:get("/users/me/items/", {
  name = "read_own_items",
  deps = { current_user = get_current_active_user },
}, function(req)
  return { { item_id = "Foo", owner = req.deps.current_user.username } }
end)

return app
