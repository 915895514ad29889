local perigee = require("perigee")

local app = perigee.app({ title = "FastAPI" })

local tags = { items = "items", users = "users" }

app:get("/items/", { name = "get_items", tags = { tags.items } }, function()
  return { "Portal gun", "Plumbus" }
end)

app:get("/users/", { name = "read_users", tags = { tags.users } }, function()
  return { "Rick", "Morty" }
end)

return app
