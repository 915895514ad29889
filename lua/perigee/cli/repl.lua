--- `perigee repl`: Lua line by line inside the loop, with the app served to a client. What is typed may
--- wait; meanwhile everything else goes on.

local arguments = require("perigee.cli.arguments")
local case = require("perigee.test.case")
local errors = require("perigee.errors")
local host = require("perigee.host")
local load_app = require("perigee.cli.load")
local show = require("perigee.test.show")
local task = require("perigee.task")
local terminal = require("perigee.cli.terminal")

local FOREVER_MS = 1 << 40

local HELLO = [[
Perigee %s, Lua %s. There are app, client, perigee, t (types) and json; _ is the last value.
client:get("/"):json() asks the app; names assigned without `local` stay. Ctrl-C interrupts, Ctrl-D ends.
]]

-- Gives one line after the other, from whatever standard input is; false for Ctrl-C, which also takes away
-- what was not read yet. `console` is nil where it is no terminal.
local function line_reader(console)
  local waiting, ended = "", false
  return function()
    while true do
      local line, rest = waiting:match("^(.-)\r?\n()")
      if line then
        waiting = waiting:sub(rest)
        return line
      elseif ended then
        line, waiting = waiting, ""
        return line ~= "" and line or nil
      end
      local bytes
      if console then
        bytes = console:read()
      else
        bytes = host.app.read_input()
      end
      if bytes == false then
        waiting = ""
        return false
      end
      ended = bytes == nil
      waiting = waiting .. (bytes or "")
    end
  end
end

-- Compiles what was typed so far, as an expression if it is one. The second result tells that more
-- lines may make it whole.
local function compile(text, environment)
  local chunk = load("return " .. text, "=(repl)", "t", environment)
  if chunk then
    return chunk
  end
  local message
  chunk, message = load(text, "=(repl)", "t", environment)
  return chunk, chunk == nil and message:find("<eof>", 1, true) ~= nil, message
end

-- An error as a person wants it: without the frames below what was typed.
local function describe(err)
  if errors.is_http_error(err) then
    return ("HTTP error %d: %s"):format(err.status, tostring(err.detail))
  end
  return (errors.message(err):gsub("\n[^\n]*perigee/cli/repl%.lua.*$", ""))
end

local function show_results(environment, results, paint)
  environment._ = results[1]
  local parts = {}
  for i = 1, results.n do
    local value = results[i]
    local metatable = getmetatable(value)
    local has_text = type(metatable) == "table" and metatable.__tostring
    parts[i] = has_text and tostring(value) or show.value(value)
  end
  if results.n > 0 then
    io.write(paint("cyan", table.concat(parts, "\t")), "\n")
  end
end

-- Runs one chunk in a task of its own, which Ctrl-C cancels.
local function run_chunk(chunk, environment, paint, console)
  local results
  local function run()
    return host.test.run(function()
      results = table.pack(chunk())
    end, FOREVER_MS)
  end
  local ok, err
  if console then
    ok, err = task.race({
      run,
      function()
        console:wait()
        return false, "interrupted"
      end,
    })
  else
    ok, err = run()
  end
  if ok then
    show_results(environment, results, paint)
  else
    io.write(paint("red", describe(err)), "\n")
  end
  io.flush()
end

local function prompt(text)
  io.write(text and ">> " or "> ")
  io.flush()
end

local function talk(environment, paint, console)
  local next_line, text, warned = line_reader(console), nil, false
  while true do
    if console then
      prompt(text)
    end
    local line = next_line()
    if line == nil or line == false and warned then
      break
    elseif line == false then
      warned = not text
      io.write(warned and "\n(Ctrl-C once more ends, as Ctrl-D does)\n" or "\n")
      text, line = nil, ""
    else
      warned = false
    end
    text = text and text .. "\n" .. line or line
    local chunk, incomplete, message = compile(text, environment)
    if not text:find("%S") then
      text = nil
    elseif chunk then
      run_chunk(chunk, environment, paint, console)
      text = nil
    elseif not incomplete then
      io.write(paint("red", message), "\n")
      text = nil
    end
  end
  if text then
    io.write(paint("red", "the input ends in the middle of a statement"), "\n")
  end
  if console then
    io.write("\n")
  end
end

---@type perigee.cli.Command
return {
  name = "repl",
  usage = "APPDIR",
  summary = "runs Lua line by line, with the app and a client of it",
  description = "The app is started as for a server, without a port. What is typed may wait. Standard input "
    .. "may also be a file or a pipe; rlwrap adds a history.",
  operands = 1,
  needs = 1,
  flags = { arguments.SET },
  run = function(operands)
    local built, app = load_app(operands[1])
    if not built then
      return app
    end
    require("perigee.threaded").reopen()
    local perigee = require("perigee")
    local t = case.new(app)
    local environment = setmetatable({
      app = app,
      client = t:client(),
      perigee = perigee,
      t = perigee.types,
      json = perigee.json,
    }, { __index = _G })
    local console <close> = host.app.is_terminal(1) and host.console.open() or nil
    if console then
      io.write(HELLO:format(host.app.version, _VERSION:match("[%d.]+")))
    end
    talk(environment, terminal.painter(1), console)
    case.close(t)
    return 0
  end,
}
