local perigee = require("perigee")
local t = perigee.types

local app = perigee.app({ title = "FastAPI" })

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

app:get("/items/", { name = "read_items", deps = { verify_token, verify_key } }, function()
  return { { item = "Foo" }, { item = "Bar" } }
end)

return app
