--- Dates as HTTP writes them (RFC 9110, 5.6.7). Pure.

local calendar = require("perigee.calendar")

local M = {}

--- "Sun, 06 Nov 1994 08:49:37 GMT"
---@param seconds integer since 1970
---@return string
function M.format(seconds)
  local d = os.date("!*t", seconds)
  return ("%s, %02d %s %04d %02d:%02d:%02d GMT"):format(
    calendar.DAYS[d.wday],
    d.day,
    calendar.MONTHS[d.month],
    d.year,
    d.hour,
    d.min,
    d.sec
  )
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
  local number = month and calendar.month(month)
  if not number then
    return nil
  end
  local function int(digits)
    return math.tointeger(tonumber(digits))
  end
  return calendar.seconds(int(year), number, int(day), int(hour), int(minute), int(second))
end

return M
