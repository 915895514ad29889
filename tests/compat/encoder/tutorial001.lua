local perigee = require("perigee")
local t = perigee.types

local app = perigee.app({ title = "FastAPI" })

local Item = t.model("Item", {
  title = t.string,
  timestamp = t.datetime,
  description = t.string({ optional = true }),
})

local fake_db = {}

app:put("/items/{id}", {
  name = "update_item",
  params = { id = t.string },
  body = Item,
}, function(req)
  fake_db[req.params.id] = Item:encode(req.body)
end)

return app
