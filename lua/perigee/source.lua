--- What an app's source says around its declarations: the names of handlers and the comments above
--- routes. Lua keeps neither at run time, but the files are still there.

local host = require("perigee.host")

local M = {}

local files = {} -- lines by path; false for a file that cannot be read

--- The lines of a file; false when it cannot be read, or is none: a chunk may have the name of a pipe.
---@param path string
---@return string[]|false
function M.lines(path)
  local text = host.app.read_source(path)
  if not text then
    return false
  end
  local lines = {}
  for line in (text:sub(-1) == "\n" and text or text .. "\n"):gmatch("(.-)\n") do
    lines[#lines + 1] = line
  end
  return lines
end

local function lines_of(source)
  local path = source and source:match("^@(.+)$")
  if not path then
    return nil
  end
  if files[path] == nil then
    files[path] = M.lines(path)
  end
  return files[path] or nil
end

--- Forgets the files that were read; they may change before the next load.
function M.forget()
  files = {}
end

--- The name a function was defined with, as in `local function read_item(req)`; nil for one without.
---@param fn function
---@return string?
function M.name_of(fn)
  local info = debug.getinfo(fn, "S")
  local lines = lines_of(info.source)
  local line = lines and lines[info.linedefined]
  if not line then
    return nil
  end
  return line:match("^%s*local%s+function%s+([%a_][%w_]*)")
    or line:match("^%s*function%s+[%w_.:]-([%a_][%w_]*)%s*%(")
    or line:match("^%s*[%w_%s.]-([%a_][%w_]*)%s*=%s*function%s*%(")
end

--- The name that what a line makes is assigned to, as in `local get_db = perigee.dependency(...)`.
---@param source string as debug.getinfo has it
---@param line integer
---@return string?
function M.assigned_name(source, line)
  local lines = lines_of(source)
  return lines and lines[line] and lines[line]:match("([%a_][%w_]*)%s*=[^=]")
end

--- The text of the `---` comment that ends right above a line; nil when there is none. An annotation
--- (`---@...`) ends the text.
---@param source string as debug.getinfo has it
---@param line integer
---@return string?
function M.comment_above(source, line)
  local lines = lines_of(source)
  if not lines then
    return nil
  end
  local first = line
  while first > 1 and (lines[first - 1] or ""):find("^%s*%-%-%-") do
    first = first - 1
  end
  if first == line then
    return nil
  end
  local text = {}
  for i = first, line - 1 do
    local content = lines[i]:match("^%s*%-%-%- ?(.-)%s*$")
    if content:sub(1, 1) == "@" then
      break
    end
    text[#text + 1] = content
  end
  local joined = table.concat(text, "\n"):match("^%s*(.-)%s*$")
  return joined ~= "" and joined or nil
end

return M
