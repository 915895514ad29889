local perigee = require("perigee")
local t = perigee.types

local app = perigee.app({ title = "FastAPI" })

app:get("/items/{item_id}", {
  name = "read_item",
  params = { item_id = t.integer },
}, function(req)
  return { item_id = req.params.item_id }
end)

return app
