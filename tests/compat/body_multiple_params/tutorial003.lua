local perigee = require("perigee")
local t = perigee.types

local app = perigee.app({ title = "FastAPI" })

local Item = t.model("Item", {
  name = t.string,
  description = t.string({ optional = true }),
  price = t.number,
  tax = t.number({ optional = true }),
})

local User = t.model("User", {
  username = t.string,
  full_name = t.string({ optional = true }),
})

app:put("/items/{item_id}", {
  name = "update_item",
  params = { item_id = t.integer },
  body = { item = Item, user = User, importance = t.integer },
}, function(req)
  local body = req.body
  return {
    item_id = req.params.item_id,
    item = body.item,
    user = body.user,
    importance = body.importance,
  }
end)

return app
