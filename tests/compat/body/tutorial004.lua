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
  params = { item_id = t.integer },
  query = { q = t.string({ optional = true }) },
  body = Item,
}, function(req)
  local result = req.body
  result.item_id = req.params.item_id
  result.q = req.query.q
  return result
end)

return app
