local perigee = require("perigee")

local app = perigee.app({ title = "FastAPI", docs_url = "/documentation", redoc_url = false })

app:get("/items/", { name = "read_items" }, function()
  return { { name = "Foo" } }
end)

return app
