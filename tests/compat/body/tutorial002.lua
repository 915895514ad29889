local perigee = require("perigee")
local t = perigee.types

local app = perigee.app({ title = "FastAPI" })

local Item = t.model("Item", {
  name = t.string,
  description = t.string({ optional = true }),
  price = t.number,
  tax = t.number({ optional = true }),
})

app:post("/items/", { name = "create_item", body = Item }, function(req)
  local item = req.body
  if item.tax then
    item.price_with_tax = item.price + item.tax
  end
  return item
end)

return app
