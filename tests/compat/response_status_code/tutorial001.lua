local perigee = require("perigee")
local t = perigee.types

local app = perigee.app({ title = "FastAPI" })

app:post("/items/", {
  name = "create_item",
  status = 201,
  query = { name = t.string },
}, function(req)
  return { name = req.query.name }
end)

return app
