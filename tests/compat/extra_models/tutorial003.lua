local perigee = require("perigee")
local t = perigee.types

local app = perigee.app({ title = "FastAPI" })

local CarItem = t.model("CarItem", {
  description = t.string,
  type = t.string({ default = "car" }),
})

local PlaneItem = t.model("PlaneItem", {
  description = t.string,
  type = t.string({ default = "plane" }),
  size = t.integer,
})

local items = {
  item1 = { description = "All my friends drive a low rider", type = "car" },
  item2 = { description = "Music is my aeroplane, it's my aeroplane", type = "plane", size = 5 },
}

app:get("/items/{item_id}", {
  name = "read_item",
  params = { item_id = t.string },
  response = t.union({ PlaneItem, CarItem }),
}, function(req)
  return items[req.params.item_id]
end)

return app
