local perigee = require("perigee")
local t = perigee.types

local app = perigee.app({ title = "FastAPI" })

local Cookies = t.model("Cookies", {
  session_id = t.string,
  fatebook_tracker = t.string({ optional = true }),
  googall_tracker = t.string({ optional = true }),
})

app:get("/items/", { name = "read_items", cookies = Cookies }, function(req)
  return req.cookies
end)

return app
