--- Channels: values from tasks to tasks, in order, with an end. Bounded, so that who is quick waits for
--- who is slow. All ends belong to one VM.

local errors = require("perigee.errors")
local host = require("perigee.host")

local M = {}

---@class perigee.Channel
---@field private first integer of the buffered values
---@field private last integer
---@field private capacity integer
---@field private closed boolean
---@field private senders userdata who waits for room, with a value
---@field private receivers userdata who waits for a value
local Channel = {}
Channel.__index = Channel
Channel.__name = "perigee.Channel"

-- What receivers get when nothing more will come; nil would not tell "woken" from "closed".
local END = {}

--- A channel that holds up to `capacity` values for whoever receives them. With 0 (the default), a
--- sender waits until a receiver takes its value.
---@param capacity? integer
---@return perigee.Channel
function M.new(capacity)
  if capacity == nil then
    capacity = 0
  end
  if math.type(capacity) ~= "integer" or capacity < 0 then
    local format = "task.channel: a capacity (an integer, 0 or more) is needed, not %s"
    errors.raise(format, tostring(capacity))
  end
  return setmetatable({
    first = 1,
    last = 0,
    capacity = capacity,
    closed = false,
    senders = host.task.queue(),
    receivers = host.task.queue(),
  }, Channel)
end

-- Hands a value to a receiver that waits, or keeps it; false when there is room for neither.
local function put(self, value)
  if self.receivers:wake(value) then
    return true
  end
  if self.last - self.first + 1 >= self.capacity then
    return false
  end
  self.last = self.last + 1
  self[self.last] = value
  return true
end

-- Takes the next value; nil when there is none.
local function take(self)
  if self.first > self.last then
    local waited, value = self.senders:wake(true)
    if waited then
      return value
    end
    return nil
  end
  local value = self[self.first]
  self[self.first] = nil
  self.first = self.first + 1
  local waited, next_value = self.senders:wake(true)
  if waited then
    self.last = self.last + 1
    self[self.last] = next_value
  end
  return value
end

local function check_value(value)
  if value == nil then
    errors.raise("channel:send: nil cannot be sent: receivers would take it for the end")
  end
end

--- Sends a value; waits while the channel is full. When the task is cancelled meanwhile, the value was
--- not sent.
---@async
---@param value any anything but nil
---@return true? sent nil and an error with the code ECLOSED when the channel is closed
---@return perigee.Error? err
function Channel:send(value)
  check_value(value)
  host.task.check()
  if self.closed then
    return host.task.closed()
  end
  if put(self, value) or self.senders:wait(value) then
    return true
  end
  return host.task.closed()
end

--- Sends a value if that is possible at once.
---@param value any anything but nil
---@return boolean sent false when the channel is full, or closed
function Channel:try_send(value)
  check_value(value)
  return not self.closed and put(self, value)
end

--- Receives the next value; waits while there is none. Several receivers take turns.
---@async
---@return any value nil once the channel is closed and empty
function Channel:receive()
  host.task.check()
  local value = take(self)
  if value == nil and not self.closed then
    value = self.receivers:wait()
  end
  if value == END then
    return nil
  end
  return value
end

--- Receives a value if there is one.
---@return any value nil when there is none
function Channel:try_receive()
  return take(self)
end

--- Ends the channel: what it holds can still be received, then receivers get nil; senders that wait, and
--- later ones, get an error. More than once is harmless.
function Channel:close()
  if self.closed then
    return
  end
  self.closed = true
  while self.receivers:wake(END) do
  end
  while self.senders:wake(false) do
  end
end

--- How many values it holds.
function Channel:__len()
  return self.last - self.first + 1
end

--- `for value in channel do`: until it is closed and empty.
---@async
function Channel:__call()
  return self:receive()
end

Channel.__close = Channel.close

function Channel:__tostring()
  return ("perigee.Channel (%d of %d%s)"):format(
    #self,
    self.capacity,
    self.closed and ", closed" or ""
  )
end

return M
