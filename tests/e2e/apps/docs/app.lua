-- Something of everything for the documentation pages: inputs of every place, answers, a token to get.
local perigee = require("perigee")
local t = perigee.types

local app = perigee.app({
  title = "Documented",
  version = "1.2.3",
  description = "Where `/docs` and `/redoc` are looked at.",
})

local Item = t.model("Item", {
  name = t.string({ min_length = 1, examples = { "Lamp" } }),
  price = t.number({ gt = 0 }),
})

--- Reads one item.
app:get("/items/{item_id}", {
  name = "read_item",
  tags = { "items" },
  params = { item_id = t.integer({ ge = 1 }) },
  query = { q = t.string({ optional = true }) },
}, function(req)
  return { item_id = req.params.item_id, q = req.query.q or perigee.json.null }
end)

app:post("/items", {
  name = "create_item",
  tags = { "items" },
  body = Item,
  response = Item,
  status = 201,
}, function(req)
  return req.body
end)

app:post("/token", {
  name = "log_in",
  deps = { form = perigee.security.password_form },
}, function(req)
  local form = req.deps.form
  if form.password ~= "secret" then
    error(perigee.http_error(400, "Incorrect username or password"))
  end
  return { access_token = "token-of-" .. form.username, token_type = "bearer" }
end)

app:get("/users/me", {
  name = "read_me",
  deps = { token = perigee.security.oauth2_password({ token_url = "token" }) },
}, function(req)
  return { token = req.deps.token }
end)

return app
