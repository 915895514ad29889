--- Commands that look at an app without serving it. The host calls them by name, with the arguments as
--- strings; what they return is the exit code.

local diff = require("perigee.openapi_diff")
local entry = require("perigee.entry")
local host = require("perigee.host")
local json = require("perigee.json")

local M = {}

local function fail(format, ...)
  io.stderr:write("perigee: ", format:format(...), "\n")
  return 2
end

-- Loads the app of a folder or file as `perigee run` does. Nil and the exit code when it does not load,
-- which has then been said.
local function load_app(path)
  local file, message = host.app.find(path)
  if not file then
    return nil, fail("%s", message)
  end
  local ok, built = pcall(entry.load, file)
  if not ok then
    io.stderr:write("perigee: ", tostring(built), "\n")
    return nil, 1
  end
  return built
end

local function pad(text, width)
  return text .. (" "):rep(width - utf8.len(text))
end

--- `perigee routes APPDIR`: one line for each operation, with its name, what it depends on and where it
--- was declared.
---@param path? string
---@return integer
function M.routes(path, ...)
  if not path or select("#", ...) > 0 then
    return fail("usage: perigee routes APPDIR")
  end
  local built, code = load_app(path)
  if not built then
    return code
  end
  local rows, widths = {}, { 0, 0, 0, 0 }
  for _, operation in ipairs(built.operations) do
    local row = {
      table.concat(operation.methods, ","),
      operation.path,
      operation.name or "",
      operation.needs and #operation.needs > 0 and "needs " .. table.concat(operation.needs, ", ")
        or "",
      operation.source,
    }
    for i = 1, 4 do
      widths[i] = math.max(widths[i], utf8.len(row[i]))
    end
    rows[#rows + 1] = row
  end
  for _, row in ipairs(rows) do
    for i = 1, 4 do
      row[i] = pad(row[i], widths[i])
    end
    io.write((table.concat(row, "  "):gsub("%s+$", "")), "\n")
  end
  return 0
end

local function read_file(path)
  local file, message = io.open(path, "r")
  if not file then
    return nil, message
  end
  local text = file:read("a")
  file:close()
  return text
end

--- `perigee openapi APPDIR`: prints the document. With `--diff OLD.json` prints what breaks clients of
--- the old one instead, and returns 1 when anything does.
---@param ... string
---@return integer
function M.openapi(...)
  local path, old_path
  local arguments = { ... }
  local i = 1
  while arguments[i] do
    local argument = arguments[i]
    if argument == "--diff" then
      old_path = arguments[i + 1]
      if not old_path then
        return fail("--diff needs a file")
      end
      i = i + 1
    elseif argument:sub(1, 1) == "-" then
      return fail("unknown option '%s' (usage: perigee openapi APPDIR [--diff OLD.json])", argument)
    elseif path then
      return fail("one app at a time: '%s' is too much", argument)
    else
      path = argument
    end
    i = i + 1
  end
  if not path then
    return fail("usage: perigee openapi APPDIR [--diff OLD.json]")
  end
  local built, code = load_app(path)
  if not built then
    return code
  end
  local text = built.openapi()
  if not old_path then
    io.write(text, "\n")
    return 0
  end
  local old_text, message = read_file(old_path)
  if not old_text then
    return fail("%s", message)
  end
  local ok, old = pcall(json.decode, old_text)
  if not ok or type(old) ~= "table" or type(old.paths) ~= "table" then
    return fail("%s is no OpenAPI document", old_path)
  end
  local breaking = diff.compare(old, json.decode(text))
  for _, line in ipairs(breaking) do
    io.write(line, "\n")
  end
  return #breaking > 0 and 1 or 0
end

return M
