--- Dates as HTTP writes them (RFC 9110, 5.6.7). Pure.

local M = {}

local MONTHS = {}
for i, name in ipairs({
  "Jan",
  "Feb",
  "Mar",
  "Apr",
  "May",
  "Jun",
  "Jul",
  "Aug",
  "Sep",
  "Oct",
  "Nov",
  "Dec",
}) do
  MONTHS[i], MONTHS[name] = name, i
end
local DAYS = { "Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat" }

--- "Sun, 06 Nov 1994 08:49:37 GMT"
---@param seconds integer since 1970
---@return string
function M.format(seconds)
  local d = os.date("!*t", seconds)
  return ("%s, %02d %s %04d %02d:%02d:%02d GMT"):format(
    DAYS[d.wday],
    d.day,
    MONTHS[d.month],
    d.year,
    d.hour,
    d.min,
    d.sec
  )
end

-- Days from 1970-01-01 to a date of the Gregorian calendar.
local function days_of(year, month, day)
  if month <= 2 then
    year, month = year - 1, month + 12
  end
  local days = 365 * year + year // 4 - year // 100 + year // 400
  return days + (153 * (month - 3) + 2) // 5 + day - 719469
end

--- Seconds since 1970, or nil for what is no date: the form of today, and the two that are obsolete.
---@param text string
---@return integer?
function M.parse(text)
  local day, month, year, hour, minute, second =
    text:match("^%a+, (%d%d) (%a%a%a) (%d%d%d%d) (%d%d):(%d%d):(%d%d) GMT$")
  if not day then
    day, month, year, hour, minute, second =
      text:match("^%a+, (%d%d)%-(%a%a%a)%-(%d%d) (%d%d):(%d%d):(%d%d) GMT$")
    year = year and (tonumber(year) < 70 and "20" or "19") .. year
  end
  if not day then
    month, day, hour, minute, second, year =
      text:match("^%a+ (%a%a%a) ([ %d]%d) (%d%d):(%d%d):(%d%d) (%d%d%d%d)$")
  end
  month = month and MONTHS[month]
  if not month then
    return nil
  end
  local function number(digits)
    return math.tointeger(tonumber(digits))
  end
  local days = days_of(number(year), month, number(day))
  return ((days * 24 + number(hour)) * 60 + number(minute)) * 60 + number(second)
end

return M
