local perigee = require("perigee")
local t = perigee.types
local null = perigee.json.null

local app = perigee.app({ title = "FastAPI" })

local common_parameters = perigee.dependency({
  query = {
    q = t.string({ optional = true }),
    skip = t.integer({ default = 0 }),
    limit = t.integer({ default = 100 }),
  },
}, function(req)
  local query = req.query
  return { q = query.q or null, skip = query.skip, limit = query.limit }
end)

app:get("/items/", { name = "read_items", deps = { commons = common_parameters } }, function(req)
  return req.deps.commons
end)

app:get("/users/", { name = "read_users", deps = { commons = common_parameters } }, function(req)
  return req.deps.commons
end)

return app
