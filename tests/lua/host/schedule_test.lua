local schedule = require("perigee.schedule")

local function nothing() end

test("what is due every so often keeps its beat, whoever made the last run", function(t)
  local every = schedule.every(100, nothing)
  t:eq(every.first(5000) == 5100, true)
  t:eq(every.first(5000, 4930) == 5030, true) -- after a run of the version before
  t:eq(every.first(5000, 4000) == 4100, true) -- what it missed is made up for once
  t:eq(every.next(5101, 5100) == 5200, true)
  t:eq(every.next(5099.5, 5100) == 5200, true) -- nor is one run two
  t:eq(every.next(5200, 5100) == 5300, true)
  t:eq(every.next(5399, 5100) == 5400, true) -- beats that were missed are left out
  t:eq(schedule.every(100, nothing, { at_start = true }).first(5000) == 5000, true)
end)

test("a line that was due while versions changed is due now", function(t)
  local minutely = schedule.cron("* * * * *", nothing, { utc = true })
  t:eq(minutely.first(180500, 179500) == 180000, true)
  t:eq(minutely.first(180500, 180010) == 240000, true)
  t:eq(minutely.first(86580000, 180000) == 86580000, true) -- but not what is long ago
  t:eq(minutely.next(86580001, 180000) == 86640000, true)
  t:eq(minutely.next(180000, 240000) == 300000, true) -- nor twice when the clock was set back
end)

test("a schedule with a name is known by it, wherever it stands", function(t)
  local first = schedule.every(1000, nothing, { name = "sweep" })
  local second = schedule.every(1000, nothing, { name = "sweep" })
  t:eq(first.key, second.key)
  t:eq(first.key ~= schedule.every(1000, nothing, { name = "other" }).key, true)
end)
