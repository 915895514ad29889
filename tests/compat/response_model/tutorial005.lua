local perigee = require("perigee")
local t = perigee.types

local app = perigee.app({ title = "FastAPI" })

local Item = t.model("Item", {
  name = t.string,
  description = t.string({ optional = true }),
  price = t.number,
  tax = t.number({ default = 10.5 }),
})

local items = {
  foo = { name = "Foo", price = 50.2 },
  bar = { name = "Bar", description = "The Bar fighters", price = 62, tax = 20.2 },
  baz = {
    name = "Baz",
    description = "There goes my baz",
    price = 50.2,
    tax = 10.5,
  },
}

app:get("/items/{item_id}/name", {
  name = "read_item_name",
  params = { item_id = t.string },
  response = Item,
  response_options = { include = { "name", "description" } },
}, function(req)
  return items[req.params.item_id]
end)

app:get("/items/{item_id}/public", {
  name = "read_item_public_data",
  params = { item_id = t.string },
  response = Item,
  response_options = { exclude = { "tax" } },
}, function(req)
  return items[req.params.item_id]
end)

return app
