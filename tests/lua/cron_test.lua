local cron = require("perigee.cron")

-- "2026-11-21 15:04" in UTC as seconds.
local function utc(text)
  local year, month, day, hour, minute = text:match("(%d+)-(%d+)-(%d+) (%d+):(%d+)")
  local days = 0
  for y = 1970, tonumber(year) - 1 do
    days = days + ((y % 4 == 0 and y % 100 ~= 0 or y % 400 == 0) and 366 or 365)
  end
  local leap = tonumber(year) % 4 == 0
  local lengths = { 31, leap and 29 or 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 }
  for m = 1, tonumber(month) - 1 do
    days = days + lengths[m]
  end
  return ((days + day - 1) * 24 + hour) * 3600 + minute * 60
end

local function next_of(line, after)
  local time = cron.next(assert(cron.parse(line)), utc(after), true)
  return time and os.date("!%Y-%m-%d %H:%M", time)
end

test("a line is due at the next minute that fits", function(t)
  for _, case in ipairs({
    { "* * * * *", "2026-11-21 15:04", "2026-11-21 15:05" },
    { "0 3 * * *", "2026-11-21 15:04", "2026-11-22 03:00" },
    { "0 3 * * *", "2026-11-21 03:00", "2026-11-22 03:00" },
    { "*/15 * * * *", "2026-11-21 15:04", "2026-11-21 15:15" },
    { "10-40/15 9-17 * * *", "2026-11-21 17:41", "2026-11-22 09:10" },
    { "30 8 1 * *", "2026-11-21 15:04", "2026-12-01 08:30" },
    { "0 0 29 2 *", "2026-11-21 15:04", "2028-02-29 00:00" },
    { "0 12 * * mon-fri", "2026-11-21 15:04", "2026-11-23 12:00" },
    { "0 12 * * 7", "2026-11-21 15:04", "2026-11-22 12:00" },
    { "0 12 * JAN,jul sun", "2026-11-21 15:04", "2027-01-03 12:00" },
    { "0 0 13 * fri", "2026-11-21 15:04", "2026-11-27 00:00" },
    { "0 0 */2 * fri", "2026-11-21 15:04", "2026-11-27 00:00" },
    { "5/20 * * * *", "2026-11-21 15:04", "2026-11-21 15:05" },
    { "@weekly", "2026-11-21 15:04", "2026-11-22 00:00" },
    { "@yearly", "2026-11-21 15:04", "2027-01-01 00:00" },
    { "0 0 30 2 *", "2026-11-21 15:04", nil },
  }) do
    t:eq(next_of(case[1], case[2]), case[3])
  end
end)

test("each time that is found comes later than the one before", function(t)
  local parsed = cron.parse("7,11 */5 1,15 * *")
  local time = utc("2026-01-01 00:00")
  for _ = 1, 200 do
    local following = cron.next(parsed, time, true)
    t:eq(following > time and following % 60 == 0, true)
    time = following
  end
end)

test("local time finds the minute of the wall clock", function(t)
  local parsed = cron.parse("30 4 * * *")
  local date = os.date("*t", cron.next(parsed, utc("2026-11-21 15:04")))
  t:eq({ date.hour, date.min }, { 4, 30 })
end)

test("what is no line says why", function(t)
  for line, part in pairs({
    ["* * * *"] = "five fields",
    ["60 * * * *"] = "'60' is no minute (0 to 59)",
    ["* * 0 * *"] = "'0' is no day",
    ["* * * 13 *"] = "'13' is no month",
    ["* * * * foo"] = "'foo' is no weekday",
    ["5-1 * * * *"] = "'5-1' is no minute",
    ["*/0 * * * *"] = "'*/0' is no minute",
    ["1,,2 * * * *"] = "'' is no minute",
    ["@never"] = "five fields",
  }) do
    local parsed, message = cron.parse(line)
    t:eq(parsed, nil)
    t:eq(message:find(part, 1, true) ~= nil, true)
  end
end)
