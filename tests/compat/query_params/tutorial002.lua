local perigee = require("perigee")
local t = perigee.types

local app = perigee.app({ title = "FastAPI" })

app:get("/items/{item_id}", {
  name = "read_item",
  params = { item_id = t.string },
  query = { q = t.string({ optional = true }) },
}, function(req)
  return { item_id = req.params.item_id, q = req.query.q }
end)

return app
