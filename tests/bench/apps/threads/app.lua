-- What a hop to a worker costs, and what work there costs the others. /work computes for about 20 ms.
local perigee = require("perigee")

local app =
  perigee.app({ title = "Threads", limits = { max_queued = 100000, queue_timeout_ms = 600000 } })

local function hello()
  return { message = "Hello World" }
end

local function compute(rounds)
  local salt = 0
  for round = 1, rounds do
    salt = (salt * 31 + round) % 65537
  end
  return salt
end

local ROUNDS = 1000000

app:get("/", hello)
app:get("/threaded", perigee.threaded(hello))

local call = perigee.threaded(hello)
app:get("/call", function()
  return call()
end)

local work = perigee.threaded(function()
  return compute(ROUNDS)
end)
app:get("/work", function()
  return work()
end)
app:get(
  "/work-10",
  perigee.threaded(function()
    return compute(10 * ROUNDS)
  end)
)

return app
