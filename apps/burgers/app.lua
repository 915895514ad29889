-- Burgers, concurrent and parallel: the story of FastAPI's page on async, as an app. README.md tells it.
local perigee = require("perigee")
local t = perigee.types

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

-- The parallel kitchen: here the work is work, not waiting. A patty is seasoned grain by grain.

local GRAINS = 400000

local function season(burgers)
  local salt = 0
  for grain = 1, burgers * GRAINS do
    salt = (salt * 31 + grain) % 65537
  end
  return salt
end

local COOKS = { "Ada", "Alan", "Grace", "Edsger" }
local cooks = {}
for i, name in ipairs(COOKS) do
  cooks[i] = perigee.threaded(function(burgers)
    return { cook = name, burgers = burgers, salt = season(burgers) }
  end)
end

--- A party orders burgers; each cook makes a share of them, on a thread of its own. The counter goes on taking orders.
app:post("/party", {
  query = {
    burgers = t.integer({ default = 8, ge = 1, le = 100 }),
    cooks = t.integer({ default = 2, ge = 1, le = #COOKS }),
  },
}, function(req)
  local burgers, count = req.query.burgers, req.query.cooks
  local shares = {}
  for i = 1, count do
    shares[i] = function()
      return cooks[i]((burgers + count - i) // count)
    end
  end
  return { perigee.task.all(shares) }
end)

--- The same work at the counter itself: the cashier cooks, and everybody waits.
app:post("/party-at-the-counter", {
  query = { burgers = t.integer({ default = 8, ge = 1, le = 100 }) },
}, function(req)
  return { cook = "the cashier", burgers = req.query.burgers, salt = season(req.query.burgers) }
end)

return app
