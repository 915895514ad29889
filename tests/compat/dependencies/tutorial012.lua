local perigee = require("perigee")
local t = perigee.types

local verify_token = perigee.dependency({ headers = { x_token = t.string } }, function(req)
  if req.headers.x_token ~= "fake-super-secret-token" then
    error(perigee.http_error(400, "X-Token header invalid"))
  end
end)

local verify_key = perigee.dependency({ headers = { x_key = t.string } }, function(req)
  if req.headers.x_key ~= "fake-super-secret-key" then
    error(perigee.http_error(400, "X-Key header invalid"))
  end
  return req.headers.x_key
end)

local app = perigee.app({ title = "FastAPI", deps = { verify_token, verify_key } })

app:get("/items/", { name = "read_items" }, function()
  return { { item = "Portal Gun" }, { item = "Plumbus" } }
end)

app:get("/users/", { name = "read_users" }, function()
  return { { username = "Rick" }, { username = "Morty" } }
end)

return app
