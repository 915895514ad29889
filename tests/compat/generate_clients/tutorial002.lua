local perigee = require("perigee")
local t = perigee.types

local app = perigee.app({ title = "FastAPI" })

local Item = t.model("Item", { name = t.string, price = t.number })
local ResponseMessage = t.model("ResponseMessage", { message = t.string })
local User = t.model("User", { username = t.string, email = t.string })

app:post("/items/", {
  name = "create_item",
  body = Item,
  response = ResponseMessage,
  tags = { "items" },
}, function()
  return { message = "Item received" }
end)

app:get("/items/", { name = "get_items", response = t.array(Item), tags = { "items" } }, function()
  return {
    { name = "Plumbus", price = 3 },
    { name = "Portal Gun", price = 9001 },
  }
end)

app:post("/users/", {
  name = "create_user",
  body = User,
  response = ResponseMessage,
  tags = { "users" },
}, function()
  return { message = "User received" }
end)

return app
