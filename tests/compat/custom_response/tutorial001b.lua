local perigee = require("perigee")

local app = perigee.app({ title = "FastAPI" })

app:get("/items/", { name = "read_items" }, function()
  return perigee.json({ { item_id = "Foo" } })
end)

return app
