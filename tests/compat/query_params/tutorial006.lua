local perigee = require("perigee")
local t = perigee.types
local null = perigee.json.null

local app = perigee.app({ title = "FastAPI" })

app:get("/items/{item_id}", {
  name = "read_user_item",
  params = { item_id = t.string },
  query = {
    needy = t.string,
    skip = t.integer({ default = 0 }),
    limit = t.integer({ optional = true }),
  },
}, function(req)
  local query = req.query
  return {
    item_id = req.params.item_id,
    needy = query.needy,
    skip = query.skip,
    limit = query.limit or null,
  }
end)

return app
