local perigee = require("perigee")
local t = perigee.types

local app = perigee.app({ title = "FastAPI" })

local Item = t.model("Item", {
  name = t.string({ optional = true }),
  description = t.string({ optional = true }),
  price = t.number({ optional = true }),
  tax = t.number({ default = 10.5 }),
  tags = t.array(t.string, { default = {} }),
})

local items = {
  foo = { name = "Foo", price = 50.2 },
  bar = { name = "Bar", description = "The bartenders", price = 62, tax = 20.2 },
  baz = { name = "Baz", price = 50.2, tax = 10.5, tags = {} },
}

app:get("/items/{item_id}", {
  name = "read_item",
  params = { item_id = t.string },
  response = Item,
}, function(req)
  return items[req.params.item_id]
end)

app:put("/items/{item_id}", {
  name = "update_item",
  params = { item_id = t.string },
  body = Item,
  response = Item,
}, function(req)
  items[req.params.item_id] = req.body
  return req.body
end)

return app
