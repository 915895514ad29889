--- Functions that run on worker threads. Each gets its number from the order in which the app makes
--- them while it loads, the same in every VM, and by that number a loop asks a worker for it.

local errors = require("perigee.errors")
local host = require("perigee.host")

local M = {}

local list = {} -- of places, by number
local inner_of = setmetatable({}, { __mode = "k" })
local numbers = setmetatable({}, { __mode = "k" })
local sealed = false

--- Marks a function that blocks or computes: as a handler, as a dependency, or called from anywhere, it runs
--- on a worker thread while its caller waits without blocking the loop. Arguments and results are
--- copied: nil, booleans, numbers, strings and tables of these; anything else raises and names its place. The
--- function lives in the worker's own VM, which has loaded the app for itself: module variables are not shared.
--- Called on a worker, and where there are none (a script, a loading app), it is simply called.
---@generic F: function
---@param fn F
---@return F # raises what `fn` raises, and an HTTP error 503 when too many calls wait for a thread
---@async
function M.threaded(fn)
  local metatable = getmetatable(fn)
  if type(fn) ~= "function" and not (type(metatable) == "table" and metatable.__call) then
    errors.raise("perigee.threaded: a function is needed, not %s", type(fn))
  end
  if inner_of[fn] then
    return fn
  end
  if sealed then
    errors.raise(
      "perigee.threaded: the app has loaded: call it while a module loads, not while a request is handled"
    )
  end
  local inner = fn
  if type(fn) ~= "function" then
    inner = function(...)
      return fn(...)
    end
  end
  local number = #list + 1
  list[number] = (errors.caller())
  local wrapper = host.worker.wrap(inner, number)
  inner_of[wrapper] = inner
  numbers[wrapper] = number
  return wrapper
end

--- Whether a function is a threaded one.
---@param fn any
---@return boolean
function M.is(fn)
  return inner_of[fn] ~= nil
end

--- The function that a threaded one stands for; any other as it is.
---@param fn function
---@return function
function M.inner(fn)
  return inner_of[fn] or fn
end

--- A threaded function for cleaning up: its calls are never refused and come before others. Any other
--- function as it is.
---@param fn function
---@return function
function M.cleanup(fn)
  local number = numbers[fn]
  return number and host.worker.wrap(inner_of[fn], number, true) or fn
end

--- What tells one load of the app from another: its threaded functions and where they are used.
---@param operations table[] as built
---@return string[]
function M.seal(operations)
  sealed = true
  local lines = table.move(list, 1, #list, 1, {})
  for _, operation in ipairs(#list > 0 and operations or {}) do
    if operation.threaded or operation.hop then
      lines[#lines + 1] = ("%s %s (%s)"):format(
        table.concat(operation.methods, ","),
        operation.path,
        operation.source or "?"
      )
    end
  end
  return lines
end

return M
