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

app:post("/items/", {
  name = "create_item",
  status = perigee.status.CREATED,
  body = Item,
  response = Item,
}, function(req)
  return req.body
end)

return app
