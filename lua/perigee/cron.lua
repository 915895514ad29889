--- When a line of cron is due: five fields (minute, hour, day of the month, month, day of the week) with
--- lists, ranges, steps and English names, or a nickname such as @daily. Pure.
---
--- As in Vixie's cron, a day is right when the day of the month or the day of the week fits, if both are
--- restricted. In the hour that daylight saving time skips nothing is due; what stands in the hour that
--- comes twice runs once.

local calendar = require("perigee.calendar")

local M = {}

local NICKNAMES = {
  ["@yearly"] = "0 0 1 1 *",
  ["@annually"] = "0 0 1 1 *",
  ["@monthly"] = "0 0 1 * *",
  ["@weekly"] = "0 0 * * 0",
  ["@daily"] = "0 0 * * *",
  ["@midnight"] = "0 0 * * *",
  ["@hourly"] = "0 * * * *",
}

local FIELDS = {
  { name = "minute", least = 0, most = 59, names = {} },
  { name = "hour", least = 0, most = 23, names = {} },
  { name = "day", least = 1, most = 31, names = {} },
  { name = "month", least = 1, most = 12, names = calendar.numbers(calendar.MONTHS, 1) },
  -- Sunday is 0, or 7.
  { name = "weekday", least = 0, most = 7, names = calendar.numbers(calendar.DAYS, 0) },
}

local function number_of(field, text)
  local number = field.names[text] or (text:find("^%d+$") and math.tointeger(tonumber(text)))
  return number and number >= field.least and number <= field.most and number
end

-- Adds what one part of a list stands for: "*", "5", "1-5", "*/10", "10-40/15". Nil when it is none.
local function add_part(field, part, set)
  local range, step = part:match("^([^/]+)/(%d+)$")
  range = range or part
  local first, last = field.least, field.most
  if range ~= "*" then
    local from, to = range:match("^([^-]+)-([^-]+)$")
    first = number_of(field, from or range)
    last = to and number_of(field, to) or not to and (step and field.most or first)
    if not first or not last or first > last then
      return nil
    end
  end
  local width = step and tonumber(step) or 1
  if width < 1 then
    return nil
  end
  for value = first, last, width do
    set[field.name == "weekday" and value % 7 or value] = true
  end
  return set
end

---@class perigee.Cron

--- Reads a line.
---@param line string such as "0 3 * * mon-fri"
---@return perigee.Cron? cron, string? message what is wrong
function M.parse(line)
  local fields = {}
  for word in (NICKNAMES[line] or line):lower():gmatch("%S+") do
    fields[#fields + 1] = word
  end
  if #fields ~= #FIELDS then
    return nil,
      "five fields are needed (minute hour day month weekday) or a nickname such as @daily"
  end
  local cron = {}
  for i, field in ipairs(FIELDS) do
    local set = {}
    for part in (fields[i] .. ","):gmatch("([^,]*),") do
      if not add_part(field, part, set) then
        return nil, ("'%s' is no %s (%d to %d)"):format(part, field.name, field.least, field.most)
      end
    end
    cron[field.name] = set
    cron["any_" .. field.name] = fields[i]:sub(1, 1) == "*"
  end
  return cron
end

local function day_fits(cron, date)
  local day, weekday = cron.day[date.day], cron.weekday[date.wday - 1]
  if cron.any_day or cron.any_weekday then
    return day and weekday
  end
  return day or weekday
end

local MAX_DAYS = 366 * 8 -- a 29th of February can be eight years away

-- The time of a date as the calendar has it: os.time() puts right what is out of range.
local function at(date, day, hour, minute)
  local time = os.time({
    year = date.year,
    month = date.month,
    day = day,
    hour = hour,
    min = minute,
    sec = 0,
  })
  return time
end

-- The same for UTC: counted, as os.time() knows local times only.
local function utc_at(seconds)
  return os.date("!*t", seconds)
end

local function next_in_utc(cron, after)
  local time = after - after % 60 + 60
  for _ = 1, MAX_DAYS do
    local date = utc_at(time)
    if cron.month[date.month] and day_fits(cron, date) then
      for hour = date.hour, 23 do
        for minute = hour == date.hour and date.min or 0, 59 do
          if cron.hour[hour] and cron.minute[minute] then
            return time + (hour - date.hour) * 3600 + (minute - date.min) * 60
          end
        end
      end
    end
    time = time - (date.hour * 3600 + date.min * 60) + 86400
  end
end

local function next_in_local_time(cron, after)
  local start = os.date("*t", after - after % 60 + 60)
  for offset = 0, MAX_DAYS do
    local noon = os.date("*t", at(start, start.day + offset, 12, 0))
    if cron.month[noon.month] and day_fits(cron, noon) then
      for hour = 0, 23 do
        for minute = 0, 59 do
          if cron.hour[hour] and cron.minute[minute] then
            local time = at({ year = noon.year, month = noon.month }, noon.day, hour, minute)
            local date = os.date("*t", time)
            if time > after and date.hour == hour and date.min == minute then
              return time
            end
          end
        end
      end
    end
  end
end

--- When it is due next, later than `after`: seconds since 1970, or nil when never (the 30th of February).
---@param cron perigee.Cron
---@param after integer seconds since 1970
---@param utc? boolean fields are in UTC, not in the local time
---@return integer?
function M.next(cron, after, utc)
  if utc then
    return next_in_utc(cron, after)
  end
  return next_in_local_time(cron, after)
end

return M
