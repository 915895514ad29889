local perigee = require("perigee")
local t = perigee.types

local app = perigee.app({ title = "FastAPI" })

local FilterParams = t.model("FilterParams", {
  limit = t.integer({ default = 100, gt = 0, le = 100 }),
  offset = t.integer({ default = 0, ge = 0 }),
  order_by = t.literal({ "created_at", "updated_at" }, { default = "created_at" }),
  tags = t.array(t.string, { default = {} }),
}, { extra = "forbid" })

app:get("/items/", { name = "read_items", query = FilterParams }, function(req)
  return req.query
end)

return app
