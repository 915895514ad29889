local perigee = require("perigee")
local t = perigee.types

local app = perigee.app({ title = "FastAPI" })

app:get("/items/", {
  name = "read_items",
  cookies = { ads_id = t.string({ optional = true }) },
}, function(req)
  return req.cookies
end)

return app
