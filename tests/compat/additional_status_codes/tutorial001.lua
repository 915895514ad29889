local perigee = require("perigee")
local t = perigee.types
local null = perigee.json.null

local app = perigee.app({ title = "FastAPI" })

local items = {
  foo = { name = "Fighters", size = 6 },
  bar = { name = "Tenders", size = 3 },
}

app:put("/items/{item_id}", {
  name = "upsert_item",
  params = { item_id = t.string },
  body = {
    name = t.string({ nullable = true, default = null }),
    size = t.integer({ nullable = true, default = null }),
  },
}, function(req)
  local id, body = req.params.item_id, req.body
  local item = items[id]
  if item then
    item.name, item.size = body.name, body.size
    return item
  end
  items[id] = { name = body.name, size = body.size }
  return perigee.json(items[id], { status = 201 })
end)

return app
