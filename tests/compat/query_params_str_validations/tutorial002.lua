local perigee = require("perigee")
local t = perigee.types

local app = perigee.app({ title = "FastAPI" })

app:get("/items/", {
  name = "read_items",
  query = { q = t.string({ optional = true, max_length = 50 }) },
}, function(req)
  local q = req.query.q
  return { items = { { item_id = "Foo" }, { item_id = "Bar" } }, q = q ~= "" and q or nil }
end)

return app
