local perigee = require("perigee")
local t = perigee.types

local app = perigee.app({ title = "FastAPI" })

local Item = t.model("Item", {
  name = t.string,
  price = t.number,
  description = t.string({ optional = true }),
  tax = t.number({ optional = true }),
})

app:post("/items/", { name = "create_item", body = Item }, function(req)
  return req.body
end)

return app
