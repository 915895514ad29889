local perigee = require("perigee")
local t = perigee.types

local app = perigee.app({ title = "FastAPI" })

app:get("/items/", {
  name = "read_items",
  query = { q = t.array(t.string, { optional = true }) },
}, function(req)
  return req.query
end)

return app
