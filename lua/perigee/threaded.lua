--- Functions that run on worker threads, and those that these call back on the loop. Each gets its number from
--- the order in which the app makes them while it loads, the same in every VM, and by that number a loop
--- asks a worker for it, or a worker its loop.

local callable = require("perigee.callable")
local errors = require("perigee.errors")
local host = require("perigee.host")

local M = { cleans = false } -- whether some threaded function cleans up behind others

local list = {} -- by number: { place = where it was made, fn = what runs on the other side }
local count = 0 -- of those that run on a worker
local inner_of = setmetatable({}, { __mode = "k" })
local numbers = setmetatable({}, { __mode = "k" })
local sealed = false

-- The function that `fn` is, and its number.
local function register(kind, fn)
  local inner = callable.as_function(fn)
  if not inner then
    errors.raise("perigee.%s: a function is needed, not %s", kind, type(fn))
  end
  if sealed then
    errors.raise(
      "perigee.%s: the app has loaded: call it while a module loads, not while a request is handled",
      kind
    )
  end
  local place = errors.caller() .. (kind == "on_loop" and " (on_loop)" or "")
  list[#list + 1] = { place = place, fn = inner }
  return inner, #list
end

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
  if inner_of[fn] then
    return fn
  end
  local inner, number = register("threaded", fn)
  local wrapper = host.worker.wrap(inner, number)
  count = count + 1
  inner_of[wrapper] = inner
  numbers[wrapper] = number
  return wrapper
end

--- Marks a function that threaded ones call back: on a worker it runs on the loop that the request came from,
--- as a task of that loop's VM, with its module variables, while the worker waits. Arguments and results are
--- copied, as those of perigee.threaded are; what it raises is raised again; when the caller is cancelled,
--- it is. It must not call threaded functions: their workers might all wait for such as itself. Called on
--- a loop, and where there are no workers (a script, a loading app, a test), it is simply called.
---@generic F: function
---@param fn F
---@return F # raises what `fn` raises, and where it is called as the app loads, starts or stops on a worker
---@async
function M.on_loop(fn)
  if inner_of[fn] then
    errors.raise("perigee.on_loop: this function is threaded: it runs on a worker")
  end
  return host.worker.wrap_loop(register("on_loop", fn))
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

--- A threaded function for cleaning up: its calls are never refused, come before others and have a thread in
--- reserve, so that they go on while all others wait for what they set free. Any other function as it is.
---@param fn? function
---@return function?
function M.cleanup(fn)
  local number = numbers[fn]
  if not number then
    return fn
  end
  M.cleans = true
  return host.worker.wrap(inner_of[fn], number, true)
end

-- What may tell one closure from another that was made at the same place: a scalar it has captured, or where a
-- function it has captured stands.
local function mark_of(value)
  local kind = type(value)
  if kind == "string" or kind == "number" or kind == "boolean" then
    return ("%q"):format(value)
  elseif kind == "function" then
    local info = debug.getinfo(M.inner(value), "S")
    return info.short_src .. ":" .. info.linedefined
  end
end

-- What the functions of one place are called: by the first captured variable that is different in all of them.
-- Functions made in a loop over pairs() come in another order in every thread.
local function marks_of(group)
  for i = 1, 255 do
    local name = debug.getupvalue(group[1].fn, i)
    if not name then
      return {}
    end
    local marks, seen = {}, {}
    for n, entry in ipairs(group) do
      local _, value = debug.getupvalue(entry.fn, i)
      local mark = mark_of(value)
      if not mark or seen[mark] then
        break
      end
      seen[mark] = true
      marks[n] = (" (%s = %s)"):format(name, mark)
    end
    if #marks == #group then
      return marks
    end
  end
end

--- Takes back seal(): for tests and scripts, whose VM has no workers, so that threaded functions are simply
--- called.
function M.reopen()
  sealed = false
end

--- What tells one load of the app from another: its threaded functions and where they are used. None are made
--- from here on.
---@param operations table[] as built
---@return string[]
function M.seal(operations)
  sealed = true
  if count == 0 then
    return {} -- no workers, and nothing that could differ
  end
  local groups, lines = {}, {}
  for number, entry in ipairs(list) do
    lines[number] = entry.place
    groups[entry.place] = groups[entry.place] or { numbers = {} }
    table.insert(groups[entry.place], entry)
    table.insert(groups[entry.place].numbers, number)
  end
  for _, group in pairs(groups) do
    for n, mark in ipairs(#group > 1 and marks_of(group) or {}) do
      lines[group.numbers[n]] = lines[group.numbers[n]] .. mark
    end
  end
  for _, operation in ipairs(operations) do
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
