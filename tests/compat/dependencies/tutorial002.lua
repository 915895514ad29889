local perigee = require("perigee")
local t = perigee.types

local app = perigee.app({ title = "FastAPI" })

local fake_items_db = { { item_name = "Foo" }, { item_name = "Bar" }, { item_name = "Baz" } }

local common_parameters = perigee.dependency({
  query = {
    q = t.string({ optional = true }),
    skip = t.integer({ default = 0 }),
    limit = t.integer({ default = 100 }),
  },
}, function(req)
  return req.query
end)

app:get("/items/", { name = "read_items", deps = { commons = common_parameters } }, function(req)
  local commons = req.deps.commons
  local last = math.min(commons.skip + commons.limit, #fake_items_db)
  local items = table.move(fake_items_db, commons.skip + 1, last, 1, perigee.json.array({}))
  return { q = commons.q, items = items }
end)

return app
