--- `perigee check`: what an app declares and never uses, or uses and never declares. The app is loaded and
--- looked at; none of its handlers is called, so what a handler may answer is read from its source.

local arguments = require("perigee.cli.arguments")
local chunk = require("perigee.test.chunk")
local host = require("perigee.host")
local load_app = require("perigee.cli.load")
local models_of = require("perigee.cli.models")
local node_of = require("perigee.node")
local status = require("perigee.status")
local terminal = require("perigee.cli.terminal")

local Findings = {}
Findings.__index = Findings

function Findings:add(where, format, ...)
  local file, line = where:match("^(.*):(%d+)$")
  self[#self + 1] =
    { where = where, file = file or where, line = tonumber(line) or 0, text = format:format(...) }
end

function Findings:sort()
  table.sort(self, function(a, b)
    if a.file ~= b.file then
      return a.file < b.file
    elseif a.line ~= b.line then
      return a.line < b.line
    end
    return a.text < b.text
  end)
end

-- Whether a function stands in a file of the app: not in C, and not in the framework.
local function is_own(fn)
  local source = debug.getinfo(fn, "S").source
  return source:sub(1, 1) == "@" and source:sub(1, 9) ~= "@perigee/"
end

-- Visits every function of the app that `start` leads to, and every type: through tables (but not into
-- routers, where all operations would meet), and through what functions of the app have as upvalues.
local function reach(start, on_function, on_type)
  local seen = {}
  local function visit(value)
    local kind = type(value)
    if kind == "function" and not seen[value] and is_own(value) then
      seen[value] = true
      on_function(value)
      local i = 1
      while true do
        local name, inner = debug.getupvalue(value, i)
        if not name then
          break
        end
        if name ~= "_ENV" then
          visit(inner)
        end
        i = i + 1
      end
    elseif kind == "table" and not seen[value] and not rawget(value, "entries") then
      seen[value] = true
      if node_of.is_type(value) then
        on_type(value)
        if value.kind == "ref" then
          local ok, target = pcall(value.target)
          visit(ok and target or nil)
        end
      end
      for key, inner in next, value do
        visit(key)
        visit(inner)
      end
    end
  end
  visit(start)
end

local files = {}

local function lines_of(path)
  if files[path] == nil then
    local lines = {}
    local file = io.open(path, "r")
    if file then
      for line in file:lines() do
        lines[#lines + 1] = line
      end
      file:close()
    end
    files[path] = lines
  end
  return files[path]
end

-- The statuses that a function's own lines name: http_error(404), http_error(perigee.status.NOT_FOUND).
local function raised_by(fn)
  local info = debug.getinfo(fn, "S")
  local found = {}
  local lines = lines_of(info.source:sub(2))
  for number = info.linedefined, info.lastlinedefined do
    local line = (lines[number] or ""):gsub("%-%-.*$", "")
    for text in line:gmatch("http_error%(%s*([%w_.]+)") do
      local code = tonumber(text) or status[text:match("status%.([%u_]+)$")]
      if code then
        found[#found + 1] = { code = code, where = info.source:sub(2) .. ":" .. number }
      end
    end
  end
  return found
end

local function is_declared(operation, code)
  if code == operation.status or (code == 422 and #operation.groups > 0) then
    return true
  end
  for key in pairs(operation.responses) do
    local text = tostring(key):upper()
    if text == tostring(code) or text == "DEFAULT" or text == tostring(code):sub(1, 1) .. "XX" then
      return true
    end
  end
  return false
end

local function place_of(operation)
  return operation.file and operation.file:sub(2) .. ":" .. operation.line or operation.source
end

-- What the host says of operations that no request reaches, with paths in full.
local function check_shadowed(operations, findings)
  local full = {}
  for _, operation in ipairs(operations) do
    full[operation.source] = place_of(operation)
  end
  for _, line in ipairs(host.test.shadowed()) do
    local where, text, taker, rest = line:match("^(.-:%d+): (.- at )(.-:%d+)(.*)$")
    findings:add(full[where] or where, "%s%s%s", text, full[taker] or taker, rest)
  end
end

local function check_statuses(operations, findings)
  for _, operation in ipairs(operations) do
    local said = {}
    if not operation.hidden then
      reach({ operation.handler, operation.deps, operation.middlewares }, function(fn)
        for _, raised in ipairs(raised_by(fn)) do
          if not said[raised.code] and not is_declared(operation, raised.code) then
            said[raised.code] = true
            findings:add(
              place_of(operation),
              "%s may answer %d (%s), which its responses do not declare",
              operation.what,
              raised.code,
              raised.where
            )
          end
        end
      end, function() end)
    end
  end
end

-- All operations, those of mounted apps included.
local function all_operations(app, list, seen)
  list, seen = list or {}, seen or {}
  if seen[app] then
    return list
  end
  seen[app] = true
  table.move(app.operations or {}, 1, #(app.operations or {}), #list + 1, list)
  local function look(router)
    for _, entry in ipairs(router.entries) do
      if entry.kind == "app" then
        all_operations(entry.app, list, seen)
      elseif entry.kind == "router" and not seen[entry.router] then
        seen[entry.router] = true
        look(entry.router)
      end
    end
  end
  look(app)
  return list
end

local function check_models(app, made, bases, findings)
  local used = {}
  local roots = { app.start_hooks, app.stop_hooks, app.error_handlers, app.webhooks.entries }
  for _, operation in ipairs(all_operations(app)) do
    roots[#roots + 1] = operation
    roots[#roots + 1] = operation.callbacks
  end
  reach(roots, function() end, function(node)
    used[node] = true
  end)
  for _, one in ipairs(made) do
    if not used[one.node] and not bases[one.node] then
      findings:add(one.where, "the model %s is never used", tostring(one.node.name))
    end
  end
end

-- Globals that a file reads and nobody defines. Those that portable code asks for are no mistake.
-- stylua: ignore
local ASKED_FOR = {
  unpack = true, setfenv = true, getfenv = true, loadstring = true, jit = true, ngx = true, bit = true,
  bit32 = true,
}

local function check_globals(folder, findings)
  local read, written = {}, {}
  for _, file in ipairs(host.app.files(folder) or {}) do
    local main = file.path:find("%.lua$") and loadfile(file.path, "t")
    for _, use in ipairs(main and chunk.globals(chunk.read(main)) or {}) do
      if use.writes then
        written[use.name] = true
      elseif not (use.name == "test" and file.path:find("_test%.lua$")) then
        read[#read + 1] = { name = use.name, where = file.path .. ":" .. use.line }
      end
    end
  end
  local said = {}
  for _, use in ipairs(read) do
    local key = use.name .. use.where
    if
      rawget(_G, use.name) == nil
      and not written[use.name]
      and not ASKED_FOR[use.name]
      and not said[key]
    then
      said[key] = true
      findings:add(use.where, "the global '%s' is not defined", use.name)
    end
  end
end

---@type perigee.cli.Command
return {
  name = "check",
  usage = "APPDIR",
  summary = "looks for mistakes in an app without serving it",
  description = "Loads the app, which fails on unknown options and the like, and reports operations that no "
    .. "request reaches, statuses that handlers raise and their responses do not declare, models that are "
    .. "never used, and globals that nobody defines. The exit code is 1 when it finds anything.",
  operands = 1,
  needs = 1,
  flags = { arguments.SET },
  run = function(operands)
    local path = operands[1]
    local made, bases, built, app = models_of(function()
      return load_app(path)
    end)
    if not built then
      return app
    end
    local findings = setmetatable({}, Findings)
    local opened, message = pcall(host.test.open, built)
    if not opened then
      io.stderr:write("perigee: ", path, " does not load\n\n  ", message, "\n")
      return 1
    end
    local operations = all_operations(app)
    check_shadowed(operations, findings)
    check_statuses(operations, findings)
    check_models(app, made, bases, findings)
    check_globals(path:match("^(.*)/[^/]*%.lua$") or path:match("%.lua$") and "." or path, findings)
    findings:sort()
    local paint = terminal.painter(1)
    for _, finding in ipairs(findings) do
      io.write(paint("bold", finding.where), ": ", finding.text, "\n")
    end
    local count = #operations
    local line = ("%d operation%s, %d finding%s\n"):format(
      count,
      count == 1 and "" or "s",
      #findings,
      #findings == 1 and "" or "s"
    )
    io.write(paint(#findings > 0 and "yellow" or "green", line))
    return #findings > 0 and 1 or 0
  end,
}
