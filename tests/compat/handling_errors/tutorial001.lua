local perigee = require("perigee")
local t = perigee.types

local app = perigee.app({ title = "FastAPI" })

local items = { foo = "The Foo Wrestlers" }

app:get("/items/{item_id}", {
  name = "read_item",
  params = { item_id = t.string },
}, function(req)
  local item = items[req.params.item_id]
  if not item then
    error(perigee.http_error(404, "Item not found"))
  end
  return { item = item }
end)

return app
