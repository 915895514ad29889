local perigee = require("perigee")
local t = perigee.types
local null = perigee.json.null

local app = perigee.app({ title = "FastAPI" })

app:get("/items/", {
  name = "read_items",
  headers = { strange_header = t.string({ optional = true }) },
  convert_underscores = false,
}, function(req)
  return { strange_header = req.headers.strange_header or null }
end)

return app
