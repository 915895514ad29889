--- Structured concurrency: several things at once that end together. No task outlives its group, the
--- first error cancels the siblings, and what was cancelled cleans up before anybody goes on.
---
--- Cancellation arrives where a task waits, as an error with the code ECANCELED, and again at every later
--- wait of what was cancelled. Do not catch it for long; put what must be undone into `<close>` variables,
--- which may wait themselves, for 5 seconds in all.

local channel = require("perigee.channel")
local errors = require("perigee.errors")
local host = require("perigee.host")
local sync = require("perigee.sync")

--- What failed in a group when it is more than one thing.
---@class perigee.Failures
---@field code "EGROUP"
---@field errors any[] what was raised, in the order in which it was

--- A task of a group.
---@class perigee.Task
local Task = {} -- luacheck: ignore

--- Waits for the end of the task.
---@async
---@return any ... what its function returned; nil and the error when it was cancelled or failed. (A task
--- that fails ends its group, so that only who is outside of that group, or cleans up, sees the latter.)
function Task:join() end -- luacheck: ignore

--- Ends the task alone: its wait raises ECANCELED. The group goes on. Does not wait: join() does.
function Task:cancel() end -- luacheck: ignore

---@return "running"|"returned"|"cancelled"|"failed"
function Task:status() end -- luacheck: ignore

---@class perigee.Group
local Group = {} -- luacheck: ignore

--- Starts a task that calls a function: it runs at once, until its first wait. Any task may spawn in a
--- group that it knows, as long as the group has not ended.
---@param fn fun(...): any
---@param ... any its arguments
---@return perigee.Task
function Group:spawn(fn, ...) end -- luacheck: ignore

--- Ends the body and all tasks of the group; task.group() then returns what the body had returned, or
--- nothing.
function Group:cancel() end -- luacheck: ignore

---@class perigee.task
local M = {}

--- Calls `body(group, ...)` and waits for all tasks that were spawned in the group. Returns what the body
--- returned. When the body or a task fails, the others are cancelled, and once all of them have cleaned up
--- the error is raised here: one error as it is, several as one perigee.Failures.
---@async
---@type fun(body: fun(group: perigee.Group, ...: any): any, ...: any): any
M.group = host.task.group

--- Spawns in the innermost group that the running task has open. Raises where there is none.
---@type fun(fn: function, ...: any): perigee.Task
M.spawn = host.task.spawn

--- Calls a function that may take `ms` milliseconds. Returns its results, or raises an error with the code
--- ETIMEDOUT when it was cancelled for being late. 0 cancels at its first wait.
---@async
---@type fun(ms: number, fn: function, ...: any): any
M.timeout = host.task.timeout

--- The same, but returns nil and the error when it is late.
---@async
---@type fun(ms: number, fn: function, ...: any): any
M.move_on = host.task.move_on

--- Calls a function that is not interrupted when the surrounding task is cancelled. Not for ever: 5 seconds
--- after the cancellation it is cancelled after all; or after `ms`, when that comes first of the arguments:
--- `task.shield(60000, fn)`.
---@async
---@type fun(fn: function, ...: any): any
M.shield = host.task.shield

--- Calls a function that has no end of its own: a feed, a loop over `time.interval`. It is cancelled when
--- this version of the app is to stop, because the server stops or a new version has taken over; everything
--- else has the grace (`shutdown_grace_ms`) to finish. Returns the results of the function; or nil and an
--- error with the code ESTOPPING when it was cancelled. Called later than that, it is cancelled at its first
--- wait. A threaded function is not told: it runs until it returns, or is late.
---
---     task.until_stop(function()
---       for _ in time.interval(1000) do out:write(line()) end
---     end)
---@async
---@type fun(fn: function, ...: any): any
M.until_stop = host.task.until_stop

--- Whether this version of the app is to stop: a new one has taken over, or the server stops. For loops
--- that look for themselves when it is a good time to end; task.until_stop() ends the others.
---@type fun(): boolean
M.stopping = host.task.stopping

--- Why the running code is to end, or false: for loops that compute and never wait.
---@type fun(): string|false
M.cancelled = host.task.cancelled

--- Values of the running task: `task.locals.user = user`. Tasks that it spawns begin with the same ones; what
--- either sets later, the other does not see. Names may be any values: a module that wants to be alone takes
--- a table of its own for a name.
---@type table<any, any>
M.locals = host.task.locals

local function check_functions(what, functions)
  if type(functions) ~= "table" then
    errors.raise("%s: a list of functions is needed, not a %s", what, type(functions))
  end
  local count = 0
  for key, fn in pairs(functions) do
    count = count + 1
    if type(fn) ~= "function" then
      errors.raise("%s: a function is needed at [%s], not a %s", what, tostring(key), type(fn))
    end
  end
  if #functions > 0 and count ~= #functions then
    errors.raise("%s: functions by number, without gaps, or by name, but not both", what)
  end
end

local function all_of_list(group, functions)
  local results, count = {}, #functions
  for i = 1, count do
    results[i] = group:spawn(functions[i])
  end
  for i = 1, count do
    results[i] = results[i]:join()
  end
  return table.unpack(results, 1, count)
end

local function all_by_name(group, functions)
  local results = {}
  for name, fn in pairs(functions) do
    results[name] = group:spawn(fn)
  end
  for name, task in pairs(results) do
    results[name] = task:join()
  end
  return results
end

--- Calls functions at the same time and returns the result of each, in their order:
--- `local user, orders = task.all({ get_user, get_orders })`. Functions under names give a table with the
--- results under the same names. As in a group, the first error cancels the others.
---@async
---@param functions (fun(): any)[]|table<string, fun(): any>
---@return any ... one value for each function
function M.all(functions)
  check_functions("task.all", functions)
  local named = next(functions) ~= nil and #functions == 0
  return M.group(named and all_by_name or all_of_list, functions)
end

local function run_race(group, won, fn)
  local results = table.pack(fn())
  if not won.results then
    won.results = results
    group:cancel()
  end
end

local function race(group, won, functions)
  for _, fn in ipairs(functions) do
    if not won.results then
      group:spawn(run_race, group, won, fn)
    end
  end
end

--- Calls functions at the same time and returns what the first one to end returned; the others are
--- cancelled, and have ended, too. An error ends the race as it ends a group: a function that may lose its
--- way catches its errors itself.
---@async
---@param functions (fun(): any)[] at least one
---@return any ...
function M.race(functions)
  check_functions("task.race", functions)
  if #functions == 0 then
    errors.raise("task.race: at least one function is needed: nobody would ever win")
  end
  local won = {}
  M.group(race, won, functions)
  return table.unpack(won.results, 1, won.results.n)
end

--- Whether an error is that of several tasks that failed together.
---@param err any
---@return boolean
function M.is_failures(err)
  return type(err) == "table" and getmetatable(err) == host.task.failures
end

M.channel = channel.new
M.semaphore = sync.semaphore
M.lock = sync.lock
M.limiter = sync.limiter
M.event = sync.event

return M
