--- Months, days of the week and the Gregorian calendar, for those who read and write dates. Pure.

local M = {}

-- stylua: ignore
M.MONTHS = { "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec" }
M.DAYS = { "Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat" }

--- The numbers of names, in lower case.
---@param names string[]
---@param first integer the number of the first one
---@return table<string, integer>
function M.numbers(names, first)
  local numbers = {}
  for i, name in ipairs(names) do
    numbers[name:lower()] = first + i - 1
  end
  return numbers
end

local MONTH_NUMBERS = M.numbers(M.MONTHS, 1)

--- The number of a month, 1 to 12; nil for a name that is none.
---@param name string "Nov", in any case
---@return integer?
function M.month(name)
  return MONTH_NUMBERS[name:lower()]
end

--- Seconds from 1970 to a moment in UTC. Days and hours may be out of their range.
---@param year integer
---@param month integer 1 to 12
---@param day integer
---@param hour integer
---@param minute integer
---@param second integer
---@return integer
function M.seconds(year, month, day, hour, minute, second)
  if month <= 2 then -- a year that begins in March has its leap day at its end
    year, month = year - 1, month + 12
  end
  local days = 365 * year + year // 4 - year // 100 + year // 400
  days = days + (153 * (month - 3) + 2) // 5 + day - 719469
  return ((days * 24 + hour) * 60 + minute) * 60 + second
end

return M
