local perigee = require("perigee")
local t = perigee.types

local app = perigee.app({ title = "FastAPI" })

local Item = t.model("Item", {
  name = t.string,
  description = t.string({ optional = true }),
  price = t.number,
  tax = t.number({ optional = true }),
})

app:put("/items/{item_id}", {
  name = "update_item",
  params = { item_id = t.integer({ title = "The ID of the item to get", ge = 0, le = 1000 }) },
  query = { q = t.string({ optional = true }) },
  body = Item({ optional = true, title = "Item" }),
}, function(req)
  return { item_id = req.params.item_id, q = req.query.q, item = req.body }
end)

return app
