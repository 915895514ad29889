local perigee = require("perigee")
local t = perigee.types

local app = perigee.app({ title = "FastAPI" })

local Item = t.model("Item", {
  name = t.string,
  description = t.string({ optional = true }),
  price = t.number,
  tax = t.number({ optional = true }),
  tags = t.set(t.string, { default = {} }),
})

--- Create an item with all the information:
---
--- - **name**: each item must have a name
--- - **description**: a long description
--- - **price**: required
--- - **tax**: if the item doesn't have tax, you can omit this
--- - **tags**: a set of unique tag strings for this item
---@param item the annotations are not part of the document
app:post("/items/", {
  name = "create_item",
  summary = "Create an item",
  body = Item,
  response = Item,
}, function(req)
  return req.body
end)

return app
