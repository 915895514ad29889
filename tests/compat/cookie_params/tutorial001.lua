local perigee = require("perigee")
local t = perigee.types
local null = perigee.json.null

local app = perigee.app({ title = "FastAPI" })

app:get("/items/", {
  name = "read_items",
  cookies = { ads_id = t.string({ optional = true }) },
}, function(req)
  return { ads_id = req.cookies.ads_id or null }
end)

return app
