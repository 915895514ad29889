-- Concurrent burgers: the story of FastAPI's page on async, as an app. README.md tells it.
local perigee = require("perigee")

local app = perigee.app({ title = "Burgers" })

local COOKING_MS = 200
local order_number = 0

--- The counter takes an order at once. Then the kitchen needs its time, and this customer waits for it:
--- talking, not blocking the queue behind.
app:post("/orders", { status = 201 }, function()
  order_number = order_number + 1
  local number = order_number

  perigee.sleep(COOKING_MS)
  return { number = number, ready = true }
end)

app:get("/counter", function()
  return { orders = order_number }
end)

return app
