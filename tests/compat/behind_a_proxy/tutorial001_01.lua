local perigee = require("perigee")

local app = perigee.app({ title = "FastAPI" })

app:get("/items/", { name = "read_items" }, function()
  return { "plumbus", "portal gun" }
end)

return app
