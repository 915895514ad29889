local perigee = require("perigee")
local t = perigee.types

local app = perigee.app({ title = "FastAPI" })

local items = {
  foo = { name = "Fighters" },
  bar = { name = "Tenders" },
}

app:get("/items/{item_id}", {
  name = "read_items",
  params = { item_id = t.string },
}, function(req)
  return items[req.params.item_id]
end)

return app
