local perigee = require("perigee")
local t = perigee.types

local app = perigee.app({ title = "FastAPI" })

app:get("/items/{item_id}", {
  name = "read_root",
  params = { item_id = t.string },
}, function(req)
  return { client_host = req.client.host, item_id = req.params.item_id }
end)

return app
