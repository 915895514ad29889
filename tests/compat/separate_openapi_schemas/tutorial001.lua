local perigee = require("perigee")
local t = perigee.types

local app = perigee.app({ title = "FastAPI" })

local Item = t.model("Item", {
  name = t.string,
  description = t.string({ optional = true }),
})

app:post("/items/", { name = "create_item", body = Item }, function(req)
  return req.body
end)

app:get("/items/", { name = "read_items", response = t.array(Item) }, function()
  return {
    { name = "Portal Gun", description = "Device to travel through the multi-rick-verse" },
    { name = "Plumbus" },
  }
end)

return app
