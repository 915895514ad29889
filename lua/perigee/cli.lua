--- The command line: one table of commands, from which help, manual page and completion are made, too.
--- The host runs `run` and `dev` itself and hands everything else to main(); what that returns is the
--- exit code: 0, 1 for a fault that was looked for and found, 2 for what was not asked properly.

local arguments = require("perigee.cli.arguments")
local errors = require("perigee.errors")
local help = require("perigee.cli.help")
local host = require("perigee.host")
local terminal = require("perigee.cli.terminal")

local M = {}

-- In the order of the help. Those that the host runs are described here, the others where they are done.
-- stylua: ignore
local ORDER = {
  "new", "dev", "run", "ps", "top", "stack", "cancel", "test", "check", "routes", "openapi", "repl", "types",
  "completion", "man", "help", "version",
}

local OF_HOST = {
  run = {
    name = "run",
    usage = "APPDIR [options]",
    summary = "serves an app",
    description = "Serves the app until SIGTERM or SIGINT, which finish what is in flight.",
    operands = 1,
    host_flags = true,
  },
  dev = {
    name = "dev",
    usage = "[APPDIR] [options]",
    summary = "serves an app and loads it again when its files change",
    description = "For work on an app, here or in APPDIR. A version that does not load is shown in the terminal"
      .. " and above the open pages, and the one before it keeps serving. Pages reload themselves. The"
      .. " options are those of `perigee run`, with one loop, two worker threads and no supervisor"
      .. " unless told otherwise.",
    operands = 1,
    host_flags = true,
  },
  version = {
    name = "version",
    usage = "",
    summary = "prints the version",
    run = function()
      io.write("perigee ", host.app.version, "\n")
      return 0
    end,
  },
}

OF_HOST.help = {
  name = "help",
  usage = "[COMMAND]",
  summary = "tells what the commands do",
  operands = 1,
  run = function(operands)
    local name = operands[1]
    if not name then
      io.write(help.overview(M.commands()))
      return 0
    end
    local command = M.command(name)
    if not command then
      return M.unknown(name)
    end
    io.write(help.command(command))
    return 0
  end,
}

local function is_known(name)
  for _, known in ipairs(ORDER) do
    if known == name then
      return true
    end
  end
  return false
end

--- A command by its name; nil when there is none.
---@param name string
---@return perigee.cli.Command?
function M.command(name)
  if is_known(name) then
    return OF_HOST[name] or require("perigee.cli." .. name)
  end
end

--- All commands, in the order of the help.
---@return perigee.cli.Command[]
function M.commands()
  local commands = {}
  for i, name in ipairs(ORDER) do
    commands[i] = M.command(name)
  end
  return commands
end

--- Says that there is no such command. Returns the exit code.
---@param name string
---@return integer
function M.unknown(name)
  local known = {}
  for _, one in ipairs(ORDER) do
    known[one] = true
  end
  local nearest = errors.nearest(name, known)
  local hint = nearest and ("did you mean '%s'?"):format(nearest) or "perigee help lists them"
  return terminal.fail("unknown command '%s' (%s)", name, hint)
end

--- Runs a command. Called by the host with the arguments of the process.
---@async
---@param name? string
---@param ... string
---@return integer code
function M.main(name, ...)
  if not name then
    io.write(help.overview(M.commands()))
    return 2
  end
  local words = { ... }
  if name == "--help" or name == "-h" then
    name = "help"
  elseif name == "--version" then
    name = "version"
  end
  local command = M.command(name)
  if not command then
    return M.unknown(name)
  end
  local operands, flags = arguments.parse(command, words)
  if not operands then
    return terminal.fail("%s", flags)
  end
  if flags.help then
    io.write(help.command(command))
    return 0
  end
  for _, text in ipairs(flags.set or {}) do
    if not text:find("=", 1, true) or not host.app.add_setting(text) then
      return terminal.fail("--set takes NAME=VALUE, not '%s'", text)
    end
  end
  return command.run(operands, flags)
end

return M
