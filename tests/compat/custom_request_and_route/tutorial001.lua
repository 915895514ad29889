local perigee = require("perigee")
local t = perigee.types

local app = perigee.app({ title = "FastAPI" })

-- Compressed bodies are decoded by the host.
app:post("/sum", { name = "sum_numbers", body = t.array(t.integer) }, function(req)
  local sum = 0
  for _, number in ipairs(req.body) do
    sum = sum + number
  end
  return { sum = sum }
end)

return app
