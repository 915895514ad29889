-- The endpoints every server of the benchmark answers, the way Perigee says them.
local perigee = require("perigee")
local t = perigee.types

local app = perigee.app({ title = "Bench" })

local Item = t.model("Item", {
  name = t.string({ min_length = 1, max_length = 50 }),
  price = t.number({ gt = 0 }),
  tax = t.number({ optional = true }),
  description = t.string({ optional = true }),
  tags = t.array(t.string, { default = {} }),
})

app:get("/", function()
  return { message = "Hello World" }
end)

app:get("/items/{item_id}", {
  params = { item_id = t.integer({ ge = 1 }) },
  query = { q = t.string({ optional = true }), limit = t.integer({ default = 10, le = 100 }) },
}, function(req)
  return { item_id = req.params.item_id, q = req.query.q, limit = req.query.limit }
end)

app:post("/items", { body = Item, response = Item }, function(req)
  return req.body
end)

return app
