--- Child processes. No shell stands between: arguments arrive as they are given, whatever is in them. A child
--- inherits no descriptor of the program but its standard streams, and it is killed, with all that it has
--- started, when the task that runs it is cancelled.

local errors = require("perigee.errors")
local host = require("perigee.host")

local M = {}

local MAX_OUTPUT_BYTES = 16 * 1024 * 1024

-- The child's environment as a list: the program's own with changes, or only what is given.
local function environment(options)
  if not options.env and not options.clear_env then
    return nil
  end
  local values, list = {}, {}
  for name, value in pairs(options.clear_env and {} or host.process.environment()) do
    values[name] = value
  end
  for name, value in pairs(options.env or {}) do
    values[name] = value or nil
  end
  for name, value in pairs(values) do
    list[#list + 1] = ("%s=%s"):format(name, value)
  end
  return list
end

local COMMON = {
  cwd = "string",
  env = "table",
  clear_env = "boolean",
  stdout = "string",
  stderr = "string",
}

local function known(more)
  for name, kind in pairs(COMMON) do
    more[name] = kind
  end
  return more
end

local function check(what, args, options, names)
  if type(args) ~= "table" or type(args[1]) ~= "string" or args[1] == "" then
    errors.raise(
      "%s: a list of the program and its arguments expected, such as { 'ls', '-l' }",
      what
    )
  end
  errors.check_options(what, options, names)
end

local OUTPUTS = { capture = "pipe", discard = "discard", inherit = "inherit", stdout = "output" }

local function output(what, name, value)
  local kind = OUTPUTS[value or "capture"]
  if not kind or (kind == "output" and name == "stdout") then
    errors.raise(
      "%s: %s must be 'capture', 'discard'%s, not '%s'",
      what,
      name,
      name == "stderr" and ", 'inherit' or 'stdout'" or " or 'inherit'",
      value
    )
  end
  return kind
end

---@class perigee.ProcessResult
---@field ok boolean it ended by itself, with code 0
---@field code integer? its exit code
---@field signal integer? the signal that ended it
---@field stdout string? where it was captured
---@field stderr string? where it was captured

---@class perigee.RunOptions
---@field stdin? string what it reads; nothing if not given
---@field stdout? "capture"|"discard"|"inherit" capture if not given
---@field stderr? "capture"|"discard"|"inherit"|"stdout" capture if not given; "stdout": into the output
---@field cwd? string the folder it runs in
---@field env? table<string, string|false> changes of the environment; false takes a name away
---@field clear_env? boolean with nothing but `env` in the environment
---@field timeout_ms? number then it is killed: error "ETIMEDOUT"; never if not given
---@field max_output_bytes? integer of each of its outputs; with more it is killed: error "EMSGSIZE"; 16 MiB if not given

local RUN = known({ stdin = "string", timeout_ms = "number", max_output_bytes = "integer" })

--- Runs a program to its end. An exit code other than 0 is a result like any other; an error is what kept it from
--- starting ("ENOENT") or from ending by itself. What it has started and left running with its output open is
--- waited for.
---@async
---@param args string[] the program, found in PATH, and its arguments
---@param options? perigee.RunOptions
---@return perigee.ProcessResult? result, perigee.Error? err
function M.run(args, options)
  options = options or {}
  check("process.run", args, options, RUN)
  return host.process.run(
    args,
    environment(options),
    options.cwd,
    options.stdin and "pipe" or "discard",
    output("process.run", "stdout", options.stdout),
    output("process.run", "stderr", options.stderr),
    options.stdin,
    options.max_output_bytes or MAX_OUTPUT_BYTES,
    options.timeout_ms
  )
end

--- A child that runs beside the task that started it. Killed by `close()`, at the end of a `<close>` variable, or
--- when it is collected, unless it has ended.
---@class perigee.Child
---@field pid integer
---@field stdin perigee.Stream? what it reads: `stdin:shutdown()` is its end
---@field stdout perigee.Stream?
---@field stderr perigee.Stream?
---@field private handle userdata
local Child = {}
Child.__index = Child

local PIPE = known({ stdin = "string" })

--- Starts a program with its standard streams in your hands: `child.stdin:write(line)`,
--- `for line in child.stdout:lines() do`. Read what it writes, or it will wait for you.
---@async
---@param args string[] the program, found in PATH, and its arguments
---@param options? { stdin?: "pipe"|"discard"|"inherit", stdout?: "capture"|"discard"|"inherit", stderr?: "capture"|"discard"|"inherit"|"stdout", cwd?: string, env?: table<string, string|false>, clear_env?: boolean } `stderr` is "inherit" if not given, the others are streams
---@return perigee.Child? child, perigee.Error? err
function M.pipe(args, options)
  options = options or {}
  check("process.pipe", args, options, PIPE)
  local handle, pid, stdin, stdout, stderr = host.process.start(
    args,
    environment(options),
    options.cwd,
    options.stdin or "pipe",
    output("process.pipe", "stdout", options.stdout),
    output("process.pipe", "stderr", options.stderr or "inherit")
  )
  if not handle then
    return nil, pid
  end
  local child = { handle = handle, pid = pid, stdin = stdin, stdout = stdout, stderr = stderr }
  return setmetatable(child, Child)
end

--- Waits for its end.
---@async
---@param timeout_ms? number then error "ETIMEDOUT", and it goes on
---@return perigee.ProcessResult? result, perigee.Error? err
function Child:wait(timeout_ms)
  return self.handle:wait(timeout_ms)
end

--- Sends a signal to it and to what it has started. "ESRCH" when it has ended.
---@param signal? integer|"TERM"|"KILL"|"INT"|"HUP"|"QUIT"|"USR1"|"USR2"|"STOP"|"CONT"|"ABRT" TERM if not given
---@return boolean? sent, perigee.Error? err
function Child:kill(signal)
  local number = math.type(signal) == "integer" and signal or host.process.signals[signal or "TERM"]
  if not number then
    errors.raise("child:kill: no signal is called '%s'", tostring(signal))
  end
  return self.handle:kill(number)
end

--- Kills it unless it has ended, and closes its streams.
function Child:close()
  self.handle:close()
  for _, name in ipairs({ "stdin", "stdout", "stderr" }) do
    if self[name] then
      self[name]:close()
    end
  end
end
Child.__close = Child.close

return M
