local host = require("perigee.host")
local schedule = require("perigee.schedule")

local function nothing() end

test("what is due every so often is counted from its last run, whoever made it", function(t)
  local hourly = schedule.every(3600000, nothing)
  t:eq(hourly.due(5000) == 8600, true)
  t:eq(hourly.due(nil, 5000) == 8600, true)
  local due = hourly.due()
  t:eq(due > host.time.now() + 3599 and due <= host.time.now() + 3600, true)
  t:eq(schedule.every(3600000, nothing, { at_start = true }).due() <= host.time.now(), true)
end)

test("a line that was due while versions changed is due now", function(t)
  local now = host.time.now()
  local minutely = schedule.cron("* * * * *", nothing, { utc = true })
  local this_minute = math.tointeger(now // 60 * 60)
  t:eq(minutely.due(nil, this_minute - 0.5), this_minute)
  t:eq(minutely.due(nil, this_minute + 0.01), this_minute + 60)
  t:eq(minutely.due(nil, now - 86400) > now - 120, true) -- but not what is long ago
  t:eq(minutely.due(now - 86400) > now, true) -- nor what its own last run has put off
end)

test("a schedule with a name is known by it, wherever it stands", function(t)
  local first = schedule.every(1000, nothing, { name = "sweep" })
  local second = schedule.every(1000, nothing, { name = "sweep" })
  t:eq(first.key, second.key)
  t:eq(first.key ~= schedule.every(1000, nothing, { name = "other" }).key, true)
end)
