--- Waiting, clocks and dates.

local errors = require("perigee.errors")
local host = require("perigee.host")
local http_date = require("perigee.http_date")

local M = {}

--- Waits without blocking the loop. Raises when the task is cancelled.
---@async
---@param ms number milliseconds, 0 or more; 0 lets other tasks run first
function M.sleep(ms)
  host.time.sleep(ms)
end

--- The time of day, in seconds since 1970 with their fraction, as os.time() counts. Can jump when the clock is set.
---@return number
function M.now()
  return host.time.now()
end

--- Milliseconds since some moment in the past, with their fraction; never goes back. For measuring.
---@return number
function M.monotonic()
  return host.time.monotonic()
end

--- Iterates for ever, once every `ms` milliseconds, and keeps the beat however long a turn takes: beats that a
--- turn misses are left out. The value is the number of the beat, so a gap tells how many.
---
---     for beat in time.interval(1000) do poll() end
---
--- In `task.until_stop` it ends when the app is to stop; elsewhere it goes on until the task is cancelled.
---@async
---@param ms number milliseconds, more than 0
---@return fun(): integer
function M.interval(ms)
  if type(ms) ~= "number" or ms <= 0 or ms ~= ms then
    error("time.interval: milliseconds, more than 0, expected", 2)
  end
  local start, beat = M.monotonic(), 0
  return function()
    local passed = math.tointeger((M.monotonic() - start) // ms)
    beat = math.max(beat, passed) + 1
    host.time.sleep(math.max(0, start + beat * ms - M.monotonic()))
    return beat
  end
end

local function check_seconds(what, seconds)
  if seconds == nil then
    return M.now()
  elseif type(seconds) ~= "number" then
    errors.raise("%s: seconds since 1970 are needed, not %s", what, type(seconds))
  end
  return seconds
end

--- A time of day as RFC 3339 (ISO 8601) in UTC: "2026-11-21T15:04:05Z", with milliseconds when the time has a fraction.
---@param seconds? number since 1970; now if not given
---@return string
function M.iso(seconds)
  seconds = check_seconds("time.iso", seconds)
  local ms = math.tointeger((seconds * 1000) // 1)
  local text = os.date("!%Y-%m-%dT%H:%M:%S", ms // 1000)
  return ms % 1000 == 0 and text .. "Z" or ("%s.%03dZ"):format(text, ms % 1000)
end

--- A time of day as HTTP writes dates (RFC 9110): "Sat, 21 Nov 2026 15:04:05 GMT".
---@param seconds? number since 1970; now if not given
---@return string
function M.http_date(seconds)
  return http_date.format(math.tointeger(check_seconds("time.http_date", seconds) // 1))
end

return M
