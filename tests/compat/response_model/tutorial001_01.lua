local perigee = require("perigee")
local t = perigee.types

local app = perigee.app({ title = "FastAPI" })

local Item = t.model("Item", {
  name = t.string,
  description = t.string({ optional = true }),
  price = t.number,
  tax = t.number({ optional = true }),
  tags = t.array(t.string, { default = {} }),
})

app:post("/items/", { name = "create_item", body = Item, response = Item }, function(req)
  return req.body
end)

app:get("/items/", { name = "read_items", response = t.array(Item) }, function()
  return {
    { name = "Portal Gun", price = 42 },
    { name = "Plumbus", price = 32 },
  }
end)

return app
