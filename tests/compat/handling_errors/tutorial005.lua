local perigee = require("perigee")
local t = perigee.types

local app = perigee.app({ title = "FastAPI" })

app:on_error("validation", function(req, err)
  return perigee.json({ detail = err.detail, body = req:json() }, { status = 422 })
end)

local Item = t.model("Item", { title = t.string, size = t.integer })

app:post("/items/", { name = "create_item", body = Item }, function(req)
  return req.body
end)

return app
