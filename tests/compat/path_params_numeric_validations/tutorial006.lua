local perigee = require("perigee")
local t = perigee.types

local app = perigee.app({ title = "FastAPI" })

app:get("/items/{item_id}", {
  name = "read_items",
  params = { item_id = t.integer({ title = "The ID of the item to get", ge = 0, le = 1000 }) },
  query = { q = t.string, size = t.number({ gt = 0, lt = 10.5 }) },
}, function(req)
  local q, size = req.query.q, req.query.size
  return {
    item_id = req.params.item_id,
    q = q ~= "" and q or nil,
    size = size ~= 0 and size or nil,
  }
end)

return app
