local perigee = require("perigee")
local t = perigee.types

local app = perigee.app({ title = "FastAPI" })

app:get("/items/", {
  name = "read_items",
  query = { q = t.string({ min_length = 3 }) },
}, function(req)
  return { items = { { item_id = "Foo" }, { item_id = "Bar" } }, q = req.query.q }
end)

return app
