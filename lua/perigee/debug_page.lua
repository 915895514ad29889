--- What a failed request looks like in development: the error, where it came from with the source and
--- the local values there, the request, and a command that repeats it. A page for browsers, text for others.
--- Never for strangers: it is made only where the app says `debug = true`, or by `perigee dev`.

local headers = require("perigee.headers")
local response = require("perigee.response")
local source = require("perigee.source")

local M = {}

local MAX_FRAMES = 12
local MAX_LOCALS = 20
local MAX_VALUE = 120 -- characters
local AROUND = 4 -- lines of source on each side

local SECRET = { "password", "passwd", "secret", "token", "api_?key", "authorization", "cookie" }

local function is_secret(name)
  name = name:lower():gsub("%-", "_")
  for _, pattern in ipairs(SECRET) do
    if name:find(pattern) then
      return true
    end
  end
  return false
end

local function shown(value)
  local ok, text
  if type(value) == "string" then
    ok, text = true, ("%q"):format(value:sub(1, MAX_VALUE + 1)):gsub("\\\n", "\\n")
  else
    ok, text = pcall(tostring, value)
  end
  if not ok then
    return "a " .. type(value)
  end
  return #text > MAX_VALUE and text:sub(1, MAX_VALUE) .. " ..." or text
end

local function locals_at(level)
  local list = {}
  for i = 1, 200 do
    local name, value = debug.getlocal(level + 1, i)
    if not name or #list >= MAX_LOCALS then
      break
    end
    if name:sub(1, 1) ~= "(" then
      list[#list + 1] = { name, is_secret(name) and "**********" or shown(value) }
    end
  end
  return list
end

--- The frames of the app's own files above the caller of the caller, with their local values. Called
--- while the error is being raised.
---@return table[] frames { source, line, name, locals }
function M.frames()
  local frames = {}
  for level = 3, 200 do
    local info = debug.getinfo(level, "Sln")
    if not info or #frames >= MAX_FRAMES then
      break
    end
    if info.what ~= "C" and info.source:sub(1, 9) ~= "@perigee/" then
      frames[#frames + 1] = {
        source = info.source:match("^@(.+)") or info.short_src,
        line = info.currentline,
        name = info.name,
        locals = locals_at(level),
      }
    end
  end
  return frames
end

-- The lines of a file around one of them: { number, text }.
local function excerpt(path, line)
  local list = {}
  local lines = source.lines(path) or {}
  for number = math.max(line - AROUND, 1), math.min(line + AROUND, #lines) do
    list[#list + 1] = { number, lines[number] }
  end
  return list
end

local function quote(text)
  return "'" .. text:gsub("'", "'\\''") .. "'"
end

-- Names and values of the request's headers, with what is secret masked.
local function sent_headers(req)
  local list = {}
  for name, value in pairs(req.headers) do
    if type(value) == "string" then
      list[#list + 1] = { name, is_secret(name) and "**********" or value }
    end
  end
  table.sort(list, function(a, b)
    return a[1] < b[1]
  end)
  return list
end

-- A command that sends the request again.
local function curl(req, list)
  local parts = { "curl -X " .. req.method }
  for _, pair in ipairs(list) do
    if pair[1] ~= "host" and pair[1] ~= "content-length" and pair[1] ~= "connection" then
      parts[#parts + 1] = "  -H " .. quote(pair[1] .. ": " .. pair[2])
    end
  end
  parts[#parts + 1] = "  "
    .. quote("http://" .. (headers.sent(req, "host") or "localhost") .. req.target)
  return table.concat(parts, " \\\n")
end

local ESCAPES = { ["&"] = "&amp;", ["<"] = "&lt;", [">"] = "&gt;", ['"'] = "&quot;" }

local function escape(text)
  return (tostring(text):gsub('[&<>"]', ESCAPES))
end

local STYLE = [[
body{font:15px/1.5 system-ui,sans-serif;margin:2em auto;max-width:60em;padding:0 1em;color:#222}
h1{font-size:1.3em;color:#b00020;white-space:pre-wrap;overflow-wrap:anywhere}h2{font-size:1em;margin:2em 0 .5em}
pre{background:#f6f6f6;padding:.7em;overflow-x:auto;margin:.3em 0}.at{background:#ffe2e2;display:block}
table{border-collapse:collapse;font-family:monospace;font-size:13px}td{padding:.1em 1em .1em 0;vertical-align:top}
td:first-child{color:#666}summary{cursor:pointer;color:#666}
]]

local function add_table(out, rows)
  out[#out + 1] = "<table>"
  for _, row in ipairs(rows) do
    local line = "<tr><td>%s</td><td>%s</td></tr>"
    out[#out + 1] = line:format(escape(row[1]), escape(row[2]))
  end
  out[#out + 1] = "</table>"
end

local function page(req, failure, message)
  local out = {
    "<!doctype html><html><head><meta charset='utf-8'><title>500: ",
    escape(message:match("^[^\n]*")),
    "</title><style>",
    STYLE,
    "</style></head><body><p>500 Internal Server Error</p><h1>",
    escape(message),
    "</h1>",
  }
  for _, frame in ipairs(failure.frames or {}) do
    local title = ("%s:%d%s"):format(
      frame.source,
      frame.line,
      frame.name and " in " .. frame.name or ""
    )
    out[#out + 1] = "<h2>" .. escape(title) .. "</h2><pre>"
    for _, line in ipairs(excerpt(frame.source, frame.line)) do
      local text = escape(("%4d  %s"):format(line[1], line[2]))
      out[#out + 1] = line[1] == frame.line and "<span class='at'>" .. text .. "</span>"
        or text .. "\n"
    end
    out[#out + 1] = "</pre>"
    if #frame.locals > 0 then
      out[#out + 1] = "<details><summary>local values</summary>"
      add_table(out, frame.locals)
      out[#out + 1] = "</details>"
    end
  end
  local list = sent_headers(req)
  out[#out + 1] = "<h2>" .. escape(req.method .. " " .. req.target) .. "</h2>"
  add_table(out, list)
  out[#out + 1] = "<h2>Again</h2><pre>"
    .. escape(curl(req, list))
    .. "</pre><h2>Traceback</h2><pre>"
  out[#out + 1] = escape(failure.traceback) .. "</pre>"
  out[#out + 1] = "<p>Request " .. escape(req.id) .. "</p></body></html>"
  return table.concat(out)
end

--- The answer to a request that failed.
---@param req perigee.Request
---@param failure perigee.Failure
---@return perigee.Response
function M.answer(req, failure)
  local message = failure.traceback:match("^(.-)\nstack traceback:") or failure.traceback
  if (headers.sent(req, "accept") or ""):find("text/html", 1, true) then
    return response.html(page(req, failure, message), { status = 500 })
  end
  return response.text(failure.traceback .. "\n", { status = 500 })
end

return M
