local perigee = require("perigee")
local t = perigee.types
local null = perigee.json.null

local app = perigee.app({ title = "FastAPI" })

app:get("/items/", {
  name = "read_items",
  query = { q = t.array(t.string, { optional = true }) },
}, function(req)
  return { q = req.query.q or null }
end)

return app
