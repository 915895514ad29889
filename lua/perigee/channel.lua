--- Channels: values from tasks to tasks, in order, with an end. Bounded, so that who is quick waits for
--- who is slow. All ends belong to one VM.

local errors = require("perigee.errors")
local host = require("perigee.host")

local M = {}

---@class perigee.Channel
---@field private box userdata the host's channel
local Channel = {}
Channel.__index = Channel
Channel.__name = "perigee.Channel"

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
  return setmetatable({ box = host.task.channel(capacity) }, Channel)
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
  return self.box:send(value)
end

--- Sends a value if that is possible at once.
---@param value any anything but nil
---@return boolean sent false when the channel is full, or closed
function Channel:try_send(value)
  check_value(value)
  return self.box:try_send(value)
end

--- Receives the next value; waits while there is none. Several receivers take turns.
---@async
---@return any value nil once the channel is closed and empty
function Channel:receive()
  return self.box:receive()
end

--- Receives a value if there is one.
---@return any value nil when there is none
function Channel:try_receive()
  return self.box:try_receive()
end

--- Ends the channel: what it holds can still be received, then receivers get nil; senders that wait, and
--- later ones, get an error. More than once is harmless.
function Channel:close()
  self.box:close()
end

--- How many values it holds.
function Channel:__len()
  return (self.box:state())
end

--- `for value in channel do`: until it is closed and empty.
---@async
function Channel:__call()
  return self.box:receive()
end

Channel.__close = Channel.close

function Channel:__tostring()
  local held, capacity, closed = self.box:state()
  return ("perigee.Channel (%d of %d%s)"):format(held, capacity, closed and ", closed" or "")
end

return M
