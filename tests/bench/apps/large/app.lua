-- 500 operations with declared inputs, as a program would generate them: what loading costs.
local perigee = require("perigee")
local t = perigee.types

local app = perigee.app({ title = "Large" })

app:get("/", function()
  return { message = "Hello World" }
end)

for number = 1, 100 do
  local Thing = t.model("Thing" .. number, {
    name = t.string({ min_length = 1, max_length = 50 }),
    price = t.number({ gt = 0 }),
    tax = t.number({ optional = true }),
    description = t.string({ optional = true }),
    tags = t.array(t.string, { default = {} }),
  })
  local all = ("/things%d"):format(number)
  local one = all .. "/{thing_id}"
  local params = { thing_id = t.integer({ ge = 1 }) }
  local query = { q = t.string({ optional = true }), limit = t.integer({ default = 10, le = 100 }) }
  local function echo(req)
    return req.body
  end

  app:get(all, { query = query }, function(req)
    return { q = req.query.q, limit = req.query.limit }
  end)
  app:post(all, { body = Thing, response = Thing, status = 201 }, echo)
  app:get(one, { params = params, query = query }, function(req)
    return { thing_id = req.params.thing_id }
  end)
  app:put(one, { params = params, body = Thing, response = Thing }, echo)
  if number > 1 then -- with "/" there are 500
    app:delete(one, { params = params, status = 204 }, function() end)
  end
end

return app
