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
  local text = assert(Item:encode(req.body))
  fake_db[req.params.id] = perigee.json.decode(text)
  assert(fake_db[req.params.id].title == req.body.title)
end)

return app
