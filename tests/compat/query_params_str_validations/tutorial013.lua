local perigee = require("perigee")
local t = perigee.types

local app = perigee.app({ title = "FastAPI" })

app:get("/items/", {
  name = "read_items",
  query = { q = t.array(t.any, { default = {} }) },
}, function(req)
  return { q = req.query.q }
end)

return app
