local perigee = require("perigee")
local t = perigee.types

local app = perigee.app({ title = "FastAPI" })

app:get("/items/{item_id}", {
  name = "read_items",
  params = { item_id = t.integer({ title = "The ID of the item to get" }) },
  query = { q = t.string },
}, function(req)
  local q = req.query.q
  return { item_id = req.params.item_id, q = q ~= "" and q or nil }
end)

return app
