local perigee = require("perigee")
local t = perigee.types

local app = perigee.app({ title = "FastAPI" })

app:get("/keyword-weights/", {
  name = "read_keyword_weights",
  response = t.map(t.number),
}, function()
  return { foo = 2.3, bar = 3.4 }
end)

return app
