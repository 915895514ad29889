--- app:every() and app:cron(): functions that run again and again, once for the whole process: in the VM of
--- one loop thread, beside its requests. One that is still running when it is due again is not started twice.

local cron = require("perigee.cron")
local errors = require("perigee.errors")
local host = require("perigee.host")

local M = {}

local LONGEST_REST_MS = 60000 -- then the clock is looked at again: it may have been set
local HANDOVER_MS = 60000 -- what was due so shortly before a version takes over, and did not run, runs now

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

-- Times of a schedule are milliseconds of its clock: one that never jumps for `every`, that of the day for `cron`.
---@class perigee.Schedule
---@field name string for the log
---@field key string of its last run, or when it was first looked at, among the marks of the host
---@field clock fun(): number
---@field first fun(now: number, before?: number): number? when it is due after a run of the version before; nil: never
---@field next fun(now: number, due: number): number? when it is due after a run that was due then

local function new(kind, fn, options, schedule)
  schedule.name = options and options.name or errors.caller()
  schedule.key = ("schedule:%s:%s"):format(kind, schedule.name)
  schedule.fn = fn
  schedule.timeout_ms = options and options.timeout_ms
  return schedule
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
  return new("every", fn, options, {
    clock = host.time.monotonic,
    first = function(now, before)
      if before then
        return before + ms
      end
      return options and options.at_start and now or now + ms
    end,
    -- Keeps the beat: what was missed is left out.
    next = function(now, due)
      return due + ms * math.max(1, (now - due) // ms + 1)
    end,
  })
end

local function wall_ms()
  return host.time.now() * 1000
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
  local function after(ms)
    local due = cron.next(parsed, math.tointeger(ms // 1000), options and options.utc)
    return due and due * 1000
  end
  return new("cron", fn, options, {
    clock = wall_ms,
    first = function(now, before)
      return after(math.max(before or now, now - HANDOVER_MS))
    end,
    next = function(now, due)
      return after(math.max(now, due))
    end,
  })
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
    return errors.is_cancelled(err) and err
      or debug.traceback(errors.message(host.task.blame(err)), 2)
  end)
  if not ok and errors.is_cancelled(err) then
    error(err, 0)
  elseif not ok then
    host.log.warn(("the schedule %s failed: %s"):format(self.name, err))
  end
end

-- Waits until it is due; false when it never will be, or the app is to stop.
local function wait_until(self, due)
  while due do
    local ms = math.max(0, due - self.clock())
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
  local mark = host.shared.mark
  local before, now = mark(self.key), self.clock()
  local due = self.first(now, before)
  if not before then
    mark(self.key, now) -- a version that follows before the first run counts from here
  end
  while wait_until(self, due) do
    mark(self.key, due)
    run_once(self)
    due = self.next(self.clock(), due)
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
