--- Finds the servers of this user by their control sockets, and asks them (host/control.h has the protocol).

local fs = require("perigee.fs")
local json = require("perigee.json")
local net = require("perigee.net")
local seen = require("perigee.cli.seen")
local terminal = require("perigee.cli.terminal")

local M = {}

local PATIENCE_MS = 5000 -- longer than a server waits for its threads
local MAX_LINE = 1 << 20

-- What commands take that ask one server.
M.SERVER = {
  name = "server",
  argument = "PID|SOCKET",
  help = "which one, where several run: its process id, its supervisor's, or its control socket",
}

M.CONTROL = {
  name = "control",
  argument = "SOCKET",
  help = "its control socket, as `perigee run --control` was told",
}

M.JSON = { name = "json", help = "what the server says, as lines of JSON" }

-- The effective user; nil where there is no /proc.
local function user_id()
  local status = io.open("/proc/self/status", "r")
  if not status then
    return nil
  end
  local text = status:read("a")
  status:close()
  return math.tointeger(tonumber(text:match("\nUid:%s+%d+%s+(%d+)")))
end

-- The folder that servers put their sockets into; it counts when nobody else can write there.
local function folder()
  local runtime, user = os.getenv("XDG_RUNTIME_DIR"), user_id()
  local path = runtime and runtime:sub(1, 1) == "/" and runtime .. "/perigee"
    or ("/tmp/perigee-%d"):format(user or 0)
  local info = fs.stat(path)
  local own = info and info.type == "folder" and info.uid == user and info.mode & 63 == 0
  return own and path or nil
end

--- Asks the server behind a socket.
---@async
---@param path string
---@param question string a line, such as "ps"
---@return table[]? lines nil when it does not answer
---@return string? message
function M.ask(path, question)
  local stream <close>, err =
    net.connect({ path = path, timeout_ms = PATIENCE_MS, io_timeout_ms = PATIENCE_MS })
  local lines, sent = {}, nil
  if stream then
    sent, err = stream:write(question .. "\n")
  end
  while sent do
    local line
    line, err = stream:read_line(MAX_LINE)
    local value = line and json.decode(line)
    if type(value) ~= "table" then
      break
    elseif value.kind == "end" then
      return lines
    elseif value.kind == "error" then
      err = value.message
      break
    end
    lines[#lines + 1] = value
  end
  return nil, ("%s: %s"):format(path, err and tostring(err) or "the server has closed it")
end

--- The first line of a kind.
---@param lines table[]
---@param kind string
---@return table?
function M.first(lines, kind)
  for _, line in ipairs(lines) do
    if line.kind == kind then
      return line
    end
  end
end

-- All servers of this user that answer: { path = ..., process = its line }.
local function running()
  local found = {}
  local path = folder()
  for _, entry in ipairs(path and fs.list(path) or {}) do
    local name = type(entry) == "table" and entry.name or entry
    if name:find("^%d+%.sock$") then
      local socket = path .. "/" .. name
      local lines = M.ask(socket, "ps")
      local process = lines and M.first(lines, "process")
      if process then
        found[#found + 1] = { path = socket, process = process }
      end
    end
  end
  table.sort(found, function(a, b)
    return a.process.pid < b.process.pid
  end)
  return found
end

--- A text without what could drive a terminal.
---@param text any
---@return string
function M.plain(text)
  return (tostring(text or ""):gsub("%c", "?"))
end

--- What a server is, in a line.
---@param process table
---@return string
function M.describe(process)
  local where = #process.listens > 0 and " on " .. table.concat(process.listens, ", ") or ""
  local above = process.supervisor and (", supervisor %d"):format(process.supervisor) or ""
  return M.plain(
    ("%s (pid %d%s)%s"):format(process.title or process.app, process.pid, above, where)
  )
end

--- What was said of which server is meant: by --server, by --control or as an operand, but once.
---@param flags table<string, any>
---@param operand? string
---@return string? which nil when nothing was
---@return integer? code to exit with when too much was
function M.which(flags, operand)
  local said = {}
  for _, one in ipairs({ flags.server or false, flags.control or false, operand or false }) do
    said[#said + 1] = one or nil
  end
  if #said > 1 then
    return nil, terminal.fail("one server at a time: '%s' and '%s'", said[1], said[2])
  end
  return said[1]
end

--- Finds the server that is meant: by its process id, its supervisor's or its socket; the only one that runs
--- when none is named.
---@async
---@param which? string
---@return string? path nil when there is none, or more than one
---@return integer? code to exit with
function M.choose(which)
  which = which or os.getenv("PERIGEE_CONTROL")
  if which and not which:find("^%d+$") then
    return which
  end
  local all = running()
  local pid = tonumber(which)
  local meant = {}
  for _, server in ipairs(all) do
    if not pid or server.process.pid == pid or server.process.supervisor == pid then
      meant[#meant + 1] = server
    end
  end
  if #meant == 1 then
    return meant[1].path
  elseif #meant == 0 then
    terminal.fail(
      pid and "no server of yours has the process id %d" or "no server of yours runs",
      pid
    )
    return nil, 2
  end
  terminal.fail("several servers run: which one? perigee ps PID, or --server PID")
  for _, server in ipairs(meant) do
    io.stderr:write("  ", M.describe(server.process), "\n")
  end
  return nil, 2
end

--- Asks the server that is meant; when that fails, says why.
---@async
---@param flags table<string, any>
---@param operand? string
---@param question string
---@return table[]? lines
---@return integer? code to exit with
function M.ask_one(flags, operand, question)
  local which, wrong = M.which(flags, operand)
  if wrong then
    return nil, wrong
  end
  local path, code = M.choose(which)
  if not path then
    return nil, code
  end
  local lines, message = M.ask(path, question)
  if not lines then
    return nil, terminal.fail("%s", message)
  end
  return lines
end

--- Asks about one request or task: for commands that have nothing to do when there is none, or when
--- somebody wants JSON.
---@async
---@param flags table<string, any>
---@param word string what is asked: "stack"
---@param id string
---@param find fun(lines: table[]): any what the answer is about; nil when it is about nothing
---@return any found nil when the command has done what it can
---@return table[]|integer lines or the code to exit with
function M.ask_about(flags, word, id, find)
  local lines, code = M.ask_one(flags, nil, word .. " " .. id)
  if not lines then
    return nil, code
  end
  if flags.json then
    M.write_json(lines)
  end
  for _, complaint in ipairs(flags.json and {} or seen.complaints(lines)) do
    io.write(terminal.painter(1)("red", complaint), "\n")
  end
  local found = find(lines)
  if not found then
    terminal.fail("nothing that runs has the id %s", id)
    return nil, 1
  elseif flags.json then
    return nil, 0
  end
  return found, lines
end

--- Writes what a server said, for programs.
---@param lines table[]
function M.write_json(lines)
  for _, line in ipairs(lines) do
    io.write(json.encode(line), "\n")
  end
end

return M
