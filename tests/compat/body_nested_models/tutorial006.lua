local perigee = require("perigee")
local t = perigee.types

local app = perigee.app({ title = "FastAPI" })

local Image = t.model("Image", {
  url = t.url({ schemes = { "http", "https" }, max_length = 2083 }),
  name = t.string,
})

local Item = t.model("Item", {
  name = t.string,
  description = t.string({ optional = true }),
  price = t.number,
  tax = t.number({ optional = true }),
  tags = t.set(t.string, { default = {} }),
  images = t.array(Image, { optional = true }),
})

app:put("/items/{item_id}", {
  name = "update_item",
  params = { item_id = t.integer },
  body = Item,
}, function(req)
  return { item_id = req.params.item_id, item = req.body }
end)

return app
