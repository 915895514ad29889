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

app:put("/items/{item_id}", {
  name = "update_item",
  params = { item_id = t.integer },
  body = Item,
}, function(req)
  return { item_id = req.params.item_id, item = req.body }
end)

return app
