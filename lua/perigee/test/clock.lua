--- The clock of a test: sleeps and deadlines of tasks stand still until it moves. Deadlines of
--- connections go on in real time.

local host = require("perigee.host")
local quiet = require("perigee.test.quiet")

local M = {}

---@class perigee.test.Clock
local Clock = {}
Clock.__index = Clock

--- Stops the clock.
---@param options { manual?: boolean }
---@return perigee.test.Clock
function M.new(options)
  local self = setmetatable({}, Clock)
  self.jumper = host.test.freeze(not options.manual)
  self.began = host.test.now()
  return self
end

--- The milliseconds that have passed on it.
---@return integer
function Clock:now() -- luacheck: ignore self
  return host.test.now() - self.began
end

--- Moves it: everything due on the way happens in its order, and what follows from that.
---@async
---@param ms integer
function Clock:advance(ms) -- luacheck: ignore self
  if math.type(ms) ~= "integer" or ms < 0 then
    error("clock:advance: milliseconds, 0 or more, are needed", 2)
  end
  local until_ms = host.test.now() + ms
  quiet.settle()
  while host.test.advance(until_ms) do
    quiet.settle()
  end
end

--- Lets it go on.
function Clock:close()
  if self.closed then
    return
  end
  self.closed = true
  if self.jumper then
    getmetatable(self.jumper).__close(self.jumper)
  end
  host.test.thaw()
end

return M
