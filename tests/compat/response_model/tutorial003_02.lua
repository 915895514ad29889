local perigee = require("perigee")
local t = perigee.types

local app = perigee.app({ title = "FastAPI" })

app:get("/portal", {
  name = "get_portal",
  query = { teleport = t.boolean({ default = false }) },
}, function(req)
  if req.query.teleport then
    return perigee.redirect("https://www.youtube.com/watch?v=dQw4w9WgXcQ")
  end
  return perigee.json({ message = "Here's your interdimensional portal." })
end)

return app
