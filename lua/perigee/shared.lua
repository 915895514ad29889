--- What all loop and worker threads of the process have in common: values under names, and topics. It
--- survives a reload, not the end of the process. Values cross as copies: nil, booleans, numbers, strings and
--- tables of these.

local errors = require("perigee.errors")
local host = require("perigee.host")

local shared = host.shared

local M = {}

local MAX_TRIES = 1000 -- of an update that others keep overtaking
local QUEUE = 1000 -- messages

---@param key string 1 to 4096 bytes
---@return any value nil when there is none
---@return { code: string, message: string }? err `EWRONGKIND` for a list
function M.get(key)
  local value, err = shared.get(key)
  if value == nil and type(err) == "table" then
    return nil, err
  end
  return value
end

---@class perigee.SharedOptions
---@field ttl_ms? number milliseconds until it is gone; for ever if not given

local TTL = { ttl_ms = "number" }

local function ttl_of(what, options)
  if options == nil then
    return nil
  end
  errors.check_options(what, options, TTL)
  return options.ttl_ms
end

--- Puts a value under a key, in place of what was there.
---@param key string
---@param value any not nil
---@param options? perigee.SharedOptions
---@return boolean? ok, { code: string, message: string }? err `E2BIG`
function M.set(key, value, options)
  return shared.set(key, value, ttl_of("shared.set", options))
end

--- Puts a value under a key that is absent: of all who try at the same time, one gets true.
---@param key string
---@param value any not nil
---@param options? perigee.SharedOptions
---@return boolean? added, { code: string, message: string }? err
function M.add(key, value, options)
  return shared.set(key, value, ttl_of("shared.add", options), -1)
end

---@param key string
---@return boolean removed
function M.delete(key)
  return shared.delete(key)
end

---@class perigee.SharedIncr : perigee.SharedOptions
---@field initial? number what an absent key begins with; 0 if not given

local INCR = { initial = "number", ttl_ms = "number" }

--- Adds to a number in one step. The time to live counts for a key that was absent: a key with one is a
--- counter of that span of time.
---@param key string
---@param by? number 1 if not given; negative to subtract
---@param options? perigee.SharedIncr
---@return number? sum, { code: string, message: string }? err `EWRONGKIND`, `ERANGE`
function M.incr(key, by, options)
  if options then
    errors.check_options("shared.incr", options, INCR)
    return shared.incr(key, by or 1, options.initial or 0, options.ttl_ms)
  end
  return shared.incr(key, by or 1, 0)
end

--- Gives a key another time to live, or with nil: for ever.
---@param key string
---@param ttl_ms? number
---@return boolean found
function M.expire(key, ttl_ms)
  return shared.expire(key, ttl_ms)
end

--- How long a key will be there.
---@param key string
---@return number? ms math.huge for ever; nil when it is absent
function M.ttl(key)
  return shared.ttl(key)
end

--- Replaces a value by what a function makes of it, as if in one step: when somebody else was faster the
--- function is called again, so it should do nothing else. It may wait. A key with a time to live needs it given again.
---@async
---@param key string
---@param change fun(value: any): any gets nil for an absent key; returns nil to remove it
---@param options? perigee.SharedOptions
---@return any value the new one
---@return { code: string, message: string }? err
function M.update(key, change, options)
  if type(change) ~= "function" then
    errors.raise("shared.update: a function (value) is needed, not %s", type(change))
  end
  local ttl = ttl_of("shared.update", options)
  for _ = 1, MAX_TRIES do
    local value, version = shared.get(key)
    if type(version) == "table" then
      return nil, version
    end
    local new = change(value)
    local done, err
    if new ~= nil then
      done, err = shared.set(key, new, ttl, version)
    else
      done = version == 0 or shared.delete(key, version)
    end
    if done then
      return new
    elseif err then
      return nil, err
    end
  end
  error(
    ("shared.update: '%s' changes too fast: others were faster %d times"):format(key, MAX_TRIES),
    2
  )
end

--- Appends to a list, or with "front" puts it first. A list comes to be with its first value and goes with
--- its last one.
---@param key string
---@param value any not nil
---@param side? "back"|"front" back if not given
---@return integer? length, { code: string, message: string }? err
function M.push(key, value, side)
  return shared.push(key, value, side == "front")
end

--- Takes the first value off a list, or with "back" the last one.
---@param key string
---@param side? "front"|"back" front if not given
---@return any value nil when there is none
---@return { code: string, message: string }? err
function M.pop(key, side)
  return shared.pop(key, side == "back")
end

--- How many values a list has; 0 when there is none.
---@param key string
---@return integer? length, { code: string, message: string }? err
function M.length(key)
  return shared.length(key)
end

--- The keys that begin so, in no order.
---@param prefix? string
---@param limit? integer 1000 if not given
---@return string[]
function M.keys(prefix, limit)
  return shared.keys(prefix or "", limit or 1000)
end

--- Removes everything.
function M.clear()
  shared.clear()
end

---@return { entries: integer, bytes: integer, max_bytes: integer, hits: integer, misses: integer, evicted: integer, expired: integer }
function M.stats()
  return shared.stats()
end

--- Writes a snapshot of the store to a file, whole or not at all. Lua goes on meanwhile.
---@async
---@param path string
---@return boolean? ok, { code: string, message: string }? err `EINVAL` for what is there and no file
function M.save(path)
  return shared.save(path)
end

--- Adds what a snapshot holds to the store; equal keys are replaced.
---@async
---@param path string
---@return boolean? ok, { code: string, message: string }? err `ENOENT`, or `EINVAL` for a file that is broken
function M.load(path)
  return shared.load(path)
end

--- Gives a message to everybody in the process who listens to the topic. Does not wait for them.
---@param topic string
---@param message any
---@return integer count how many subscriptions got it
function M.publish(topic, message)
  return shared.publish(topic, message)
end

---@class perigee.Subscription
---@field receive fun(self: perigee.Subscription, timeout_ms?: number): any, string? waits for a message; returns it and its topic, or nil after the timeout or the end
---@field dropped fun(self: perigee.Subscription): integer how many messages were too many for the queue, since this was asked last
---@field close fun(self: perigee.Subscription) also by `<close>`

--- Listens to a topic, or with a `*` at the end to all that begin so. Messages wait in a queue; beyond its
--- limit the oldest goes. Not while the app loads.
---
---     local news <close> = shared.subscribe("orders.*")
---     while true do
---       local order, topic = news:receive()
---     end
---@param topic string
---@param options? { limit?: integer } messages that may wait; 1000 if not given
---@return perigee.Subscription
function M.subscribe(topic, options)
  errors.check_options("shared.subscribe", options or {}, { limit = "number" })
  return shared.subscribe(topic, options and options.limit or QUEUE)
end

return M
