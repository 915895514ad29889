local perigee = require("perigee")
local t = perigee.types

local app = perigee.app({ title = "FastAPI" })

app:get("/users/{user_id}/items/{item_id}", {
  name = "read_user_item",
  params = { user_id = t.integer, item_id = t.string },
  query = { q = t.string({ optional = true }), short = t.boolean({ default = false }) },
}, function(req)
  local item = {
    item_id = req.params.item_id,
    owner_id = req.params.user_id,
    q = req.query.q,
  }
  if not req.query.short then
    item.description = "This is an amazing item that has a long description"
  end
  return item
end)

return app
