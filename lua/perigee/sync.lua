--- What tasks of one VM agree by: semaphores, locks, limiters and events. What is waited for is handed
--- over in the order of waiting: a permit that is released goes to whoever has waited longest, and
--- nobody overtakes. Whoever is cancelled while it waits has got nothing.

local errors = require("perigee.errors")
local host = require("perigee.host")

local M = {}

local function check_count(what, count)
  if math.type(count) ~= "integer" or count < 1 then
    errors.raise("%s: an integer of 1 or more is needed, not %s", what, tostring(count))
  end
  return count
end

--- One permit that is held: give it back by release(), once, or let `<close>` do it.
---@class perigee.Permit
---@field private of perigee.Semaphore?
local Permit = {}
Permit.__index = Permit
Permit.__name = "perigee.Permit"

--- Gives the permit back. More than once is harmless.
function Permit:release()
  local of = self.of
  self.of = nil
  if of then
    of:release()
  end
end

Permit.__close = Permit.release

---@class perigee.Semaphore
---@field private box userdata the host's semaphore
local Semaphore = {}
Semaphore.__index = Semaphore
Semaphore.__name = "perigee.Semaphore"

--- Waits for a permit. `local permit <close> = semaphore:acquire()` gives it back at the end of the block.
---@async
---@return perigee.Permit
function Semaphore:acquire()
  self.box:acquire()
  return setmetatable({ of = self }, Permit)
end

--- A permit if there is one at once.
---@return perigee.Permit?
function Semaphore:try_acquire()
  return self.box:try_acquire() and setmetatable({ of = self }, Permit) or nil
end

--- Adds a permit: for those that were acquired by somebody else, as permit:release() does for its own.
function Semaphore:release()
  self.box:add(1)
end

--- Calls a function with a permit and returns its results.
---@async
---@param fn fun(...): any
---@param ... any
function Semaphore:with(fn, ...)
  local permit <close> = self:acquire() -- luacheck: ignore
  return fn(...)
end

--- How many tasks wait for a permit.
---@return integer
function Semaphore:waiters()
  return (select(2, self.box:state()))
end

local function init(class, count)
  return setmetatable({ box = host.task.semaphore(count) }, class)
end

--- A semaphore with `count` permits.
---@param count integer 1 or more
---@return perigee.Semaphore
function M.semaphore(count)
  return init(Semaphore, check_count("task.semaphore", count))
end

--- A semaphore with one permit that knows its holder: whoever asks twice is told, instead of waiting for
--- itself for ever.
---@class perigee.Lock : perigee.Semaphore
---@field private holder any
local Lock = setmetatable({}, { __index = Semaphore })
Lock.__index = Lock
Lock.__name = "perigee.Lock"

---@async
---@return perigee.Permit
function Lock:acquire()
  if self.holder ~= nil and self.holder == host.task.current() then
    errors.raise("lock:acquire: this task holds the lock already")
  end
  local permit = Semaphore.acquire(self)
  self.holder = host.task.current()
  return permit
end

---@return perigee.Permit?
function Lock:try_acquire()
  local permit = Semaphore.try_acquire(self)
  if permit then
    self.holder = host.task.current()
  end
  return permit
end

function Lock:release()
  self.holder = nil
  Semaphore.release(self)
end

--- A lock: one task at a time.
---@return perigee.Lock
function M.lock()
  return init(Lock, 1)
end

--- How many may do something at the same time; the number may change.
---@class perigee.Limiter : perigee.Semaphore
---@field private total integer
local Limiter = setmetatable({}, { __index = Semaphore })
Limiter.__index = Limiter
Limiter.__name = "perigee.Limiter"

--- Changes how many may. Fewer: those that are at it finish first.
---@param total integer 1 or more
function Limiter:set_limit(total)
  check_count("limiter:set_limit", total)
  local more = total - self.total
  self.total = total
  self.box:add(more)
end

--- How many may, and how many are at it.
---@return integer limit
---@return integer busy
function Limiter:limit()
  return self.total, self.total - self.box:state()
end

--- A limiter: up to `total` tasks at a time. `limiter:with(fn, ...)`
---@param total integer 1 or more
---@return perigee.Limiter
function M.limiter(total)
  local limiter = init(Limiter, check_count("task.limiter", total))
  limiter.total = total
  return limiter
end

--- Something that happens, once: tasks wait until somebody says that it has.
---@class perigee.Event
---@field private box userdata the host's event
local Event = {}
Event.__index = Event
Event.__name = "perigee.Event"

--- Waits until set() was called; not at all when it was.
---@async
function Event:wait()
  self.box:wait()
end

--- It has happened: wakes everybody.
function Event:set()
  self.box:set(true)
end

--- As if it had not happened: those that wait from now on wait for the next set().
function Event:reset()
  self.box:set(false)
end

---@return boolean
function Event:is_set()
  return self.box:is_set()
end

---@return perigee.Event
function M.event()
  return setmetatable({ box = host.task.event() }, Event)
end

return M
