--- Rate limits: how often a client may ask. The counts are the host's (host/api/api_limit.c): one for all
--- threads of the process, exact, and kept when the app is loaded again.

local errors = require("perigee.errors")
local host = require("perigee.host")

local M = {}

local OPTIONS = { rate = "string", key = "string|function", name = "string", burst = "integer" }
local PERIODS = { s = 1, sec = 1, second = 1, m = 60, min = 60, minute = 60, h = 3600, hour = 3600 }
PERIODS.d, PERIODS.day = 86400, 86400

--- "100/min" -> 100, 60; "5/10s" -> 5, 10.
---@param text string
---@return integer? count
---@return integer? seconds
function M.parse(text)
  local count, number, unit = text:match("^%s*(%d+)%s*/%s*(%d*)%s*(%a+)%s*$")
  local seconds = unit and PERIODS[unit:lower()]
  count, number = math.tointeger(tonumber(count)), math.tointeger(tonumber(number or "")) or 1
  if not seconds or not count or count < 1 or number < 1 then
    return nil
  end
  return count, seconds * number
end

--- Checks the options of a limit.
---@param what string
---@param options table
function M.check(what, options)
  what = what .. ": rate_limit"
  errors.check_options(what, options, OPTIONS)
  if not options.rate or not M.parse(options.rate) then
    errors.raise('%s: rate must be such as "100/min" or "5/10s"', what)
  elseif type(options.key) == "string" and options.key ~= "ip" then
    errors.raise("%s: key must be 'ip' or a function (req), not '%s'", what, options.key)
  elseif options.burst and options.burst < 1 then
    errors.raise("%s: burst must be 1 or more, not %d", what, options.burst)
  end
end

local function client_of(req)
  return req.client and req.client.host or ""
end

---@class perigee.RateLimit
---@field rate string "100/min", "5/10s", "1000/day"
---@field key? "ip"|fun(req: perigee.Request): string? whose requests are counted together; nil: not at all
---@field name? string limits of one name share their counts; else each operation has its own
---@field burst? integer how many may come at once: as many as the rate says unless given

--- Middleware that refuses with 429 what comes too often, and tells every client how much it has left.
---@param options perigee.RateLimit
---@param name string
---@return perigee.Middleware
function M.middleware(options, name)
  local count, seconds = M.parse(options.rate)
  local burst = options.burst or count
  local key_of = type(options.key) == "function" and options.key or client_of
  local prefix = (options.name or name) .. "\0"
  return function(req, next)
    local key = key_of(req)
    if key == nil then
      return next(req)
    end
    -- `reset`: seconds until all is forgotten; `wait`: until the next one may come.
    local left, reset, wait = host.limit.take(prefix .. tostring(key), count, seconds, burst)
    local told = {
      { "RateLimit-Limit", tostring(burst) },
      { "RateLimit-Remaining", tostring(left or 0) },
      { "RateLimit-Reset", tostring(math.ceil(reset)) },
    }
    if not left then
      told[#told + 1] = { "Retry-After", tostring(math.max(1, math.ceil(wait))) }
      error(errors.http_error(429, nil, told), 0)
    end
    local answer = next(req)
    for _, pair in ipairs(told) do
      answer:add(pair[1], pair[2])
    end
    return answer
  end
end

return M
