-- A handler that everybody wants, beside handlers that compute.
local perigee = require("perigee")

local app = perigee.app({ title = "Fairness", timeout_ms = false })

local function compute(n)
  local sum = 0
  for i = 1, n do
    sum = sum + i % 7
  end
  return sum
end

app:get("/", function()
  return { message = "Hello World" }
end)

app:get("/compute/{n}", function(req)
  return compute(math.tointeger(req.params.n))
end)

app:get("/spin", function()
  while true do
  end
end)

return app
