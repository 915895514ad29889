local perigee = require("perigee")
local t = perigee.types

local app = perigee.app({ title = "FastAPI" })

app:get("/items/", {
  name = "read_items",
  headers = { strange_header = t.string({ optional = true }) },
  convert_underscores = false,
}, function(req)
  return req.headers
end)

return app
