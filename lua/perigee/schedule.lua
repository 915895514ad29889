--- app:every() and app:cron(): functions that run again and again, once for the whole process: in the VM of
--- one loop thread, beside its requests. One that is still running when it is due again is not started twice.

local cron = require("perigee.cron")
local errors = require("perigee.errors")
local host = require("perigee.host")

local M = {}

local LONGEST_REST_MS = 60000 -- then the clock is looked at again: it may have been set
local HANDOVER_S = 60 -- what was due so shortly before a version takes over, and did not run, runs now

local OPTIONS = {
  every = { at_start = "boolean", timeout_ms = "number", name = "string" },
  cron = { utc = "boolean", timeout_ms = "number", name = "string" },
}

local function check(what, kind, fn, options)
  if type(fn) ~= "function" then
    errors.raise("%s: a function is needed, not %s", what, type(fn))
  end
  errors.check_options(what, options or {}, OPTIONS[kind])
  local timeout = options and options.timeout_ms
  if timeout and timeout <= 0 then
    errors.raise("%s: timeout_ms must be more than 0", what)
  end
end

---@class perigee.Schedule
---@field name string for the log
---@field key string of its last run, or when it was first looked at, in the shared store
---@field due fun(last?: number, before?: number): number? when it is due, as time.now() counts, after its last run here or in the version before; nil: never again
---@field run fun()

local function new(kind, fn, options, due)
  local source = errors.caller()
  local name = options and options.name or source
  return {
    name = name,
    key = ("perigee.schedule:%s:%s"):format(kind, name),
    fn = fn,
    timeout_ms = options and options.timeout_ms,
    due = due,
  }
end

--- Runs a function every `ms` milliseconds.
---@param ms number
---@param fn fun()
---@param options? { at_start?: boolean, timeout_ms?: number, name?: string }
---@return perigee.Schedule
function M.every(ms, fn, options)
  if type(ms) ~= "number" or ms ~= ms or ms <= 0 then
    errors.raise("app:every: milliseconds, more than 0, are needed")
  end
  check("app:every", "every", fn, options)
  return new("every", fn, options, function(last, before)
    if last or before then
      return (last or before) + ms / 1000
    end
    return host.time.now() + (options and options.at_start and 0 or ms / 1000)
  end)
end

--- Runs a function when a line of cron says so.
---@param line string
---@param fn fun()
---@param options? { utc?: boolean, timeout_ms?: number, name?: string }
---@return perigee.Schedule
function M.cron(line, fn, options)
  check("app:cron", "cron", fn, options)
  if type(line) ~= "string" then
    errors.raise("app:cron: a line such as '0 3 * * *' is needed, not %s", type(line))
  end
  local parsed, message = cron.parse(line)
  if not parsed then
    errors.raise("app:cron: '%s': %s", line, message)
  elseif not cron.next(parsed, os.time(), options and options.utc) then
    errors.raise("app:cron: '%s' is never due", line)
  end
  return new("cron", fn, options, function(last, before)
    local now = host.time.now()
    local after = last and math.max(last, now) or math.max(before or now, now - HANDOVER_S)
    after = math.tointeger(after // 1)
    return cron.next(parsed, after, options and options.utc)
  end)
end

local function run_once(self)
  local task = require("perigee.task")
  local ok, err = xpcall(function()
    if self.timeout_ms then
      task.timeout(self.timeout_ms, self.fn)
    else
      self.fn()
    end
  end, function(err)
    return errors.is_cancelled(err) and err or debug.traceback(tostring(err), 2)
  end)
  if not ok and errors.is_cancelled(err) then
    error(err, 0)
  elseif not ok then
    host.log.warn(("the schedule %s failed: %s"):format(self.name, err))
  end
end

-- Waits until it is due; false when it never will be, or the app is to stop.
local function wait_until(due)
  while due do
    local ms = math.max(0, (due - host.time.now()) * 1000)
    host.task.until_stop(host.time.sleep, math.min(ms, LONGEST_REST_MS))
    if host.task.stopping() then
      return false
    elseif ms <= LONGEST_REST_MS then
      return true
    end
  end
  return false
end

local function follow(self)
  local shared = require("perigee.shared")
  local before = shared.get(self.key)
  local due = self.due(nil, before)
  if not before then
    shared.set(self.key, host.time.now()) -- a version that follows before the first run counts from here
  end
  while wait_until(due) do
    local last = math.max(due, host.time.now())
    shared.set(self.key, last)
    run_once(self)
    due = self.due(last)
  end
end

--- Follows all of them until the app leaves.
---@async
---@param schedules perigee.Schedule[]
function M.follow(schedules)
  require("perigee.task").group(function(group)
    for _, schedule in ipairs(schedules) do
      group:spawn(follow, schedule)
    end
  end)
end

return M
