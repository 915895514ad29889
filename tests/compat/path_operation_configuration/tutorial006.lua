local perigee = require("perigee")

local app = perigee.app({ title = "FastAPI" })

app:get("/items/", { name = "read_items", tags = { "items" } }, function()
  return { { name = "Foo", price = 42 } }
end)

app:get("/users/", { name = "read_users", tags = { "users" } }, function()
  return { { username = "johndoe" } }
end)

app:get("/elements/", {
  name = "read_elements",
  tags = { "items" },
  deprecated = true,
}, function()
  return { { item_id = "Foo" } }
end)

return app
