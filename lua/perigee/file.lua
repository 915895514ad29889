--- perigee.file: a file as an answer. What the request's headers ask of it (nothing new? a range? the
--- head alone?) is decided here, when the answer is due; its bytes are C's (host/api/api_send.c).

local conditional = require("perigee.conditional")
local errors = require("perigee.errors")
local headers = require("perigee.headers")
local host = require("perigee.host")
local http_date = require("perigee.http_date")
local mime = require("perigee.mime")
local response = require("perigee.response")

local M = {}

local MAX_RANGES = 100 -- of one request; more are answered with the whole file

local OPTIONS = {
  status = "integer",
  headers = "table",
  content_type = "string",
  filename = "string",
  disposition = "string",
  root = "string",
}
local DISPOSITIONS = { attachment = true, inline = true }

-- What the system says of a path that leads to no file.
local NOT_THERE =
  { ENOENT = true, ENOTDIR = true, EISDIR = true, EINVAL = true, ENAMETOOLONG = true, ELOOP = true }

local function percent(char)
  return ("%%%02X"):format(char:byte())
end

--- The value of a Content-Disposition that names a file (RFC 6266, with RFC 5987's form for names
--- that are more than plain characters).
---@param disposition "attachment"|"inline"
---@param filename? string
---@return string
function M.disposition(disposition, filename)
  if not filename then
    return disposition
  end
  local quoted = filename:gsub("[^%w_.~/-]", percent)
  if quoted ~= filename then
    return ("%s; filename*=utf-8''%s"):format(disposition, quoted)
  end
  return ('%s; filename="%s"'):format(disposition, filename)
end

-- A path below a folder, whatever the client made of it; nil for one that would lead out.
local function below(root, path)
  if path:find("[%z\\]") then
    return nil
  end
  for part in path:gmatch("[^/]+") do
    if part == ".." then
      return nil
    end
  end
  return root .. "/" .. path
end

-- Says which state of the file this is, where the app does not.
local function stamp(answer, file)
  if file.is_dated then
    answer:set("Last-Modified", http_date.format(file.modified))
  end
  if file.is_tagged then
    answer:set("ETag", ('"%x%08x-%x"'):format(file.modified, file.fraction, file.size))
  end
end

--- A file's bytes: with its type by the ending of its name, ETag, Last-Modified, ranges, and 304 for
--- those who have it. It is read while it is sent. 404 when there is no such file.
---@async
---@param path string from the process's folder, or below `options.root`, which it cannot leave by ".."
---@param options? { status?: integer, headers?: table, content_type?: string, filename?: string,
--- disposition?: "attachment"|"inline", root?: string } `filename` is what browsers save it as
---@return perigee.Response
function M.new(path, options)
  options = options or {}
  if type(path) ~= "string" then
    errors.raise("perigee.file: a path is needed, not %s", type(path))
  end
  errors.check_options("perigee.file", options, OPTIONS)
  local disposition = options.disposition
  if disposition and not DISPOSITIONS[disposition] then
    errors.raise("perigee.file: disposition must be attachment or inline, not '%s'", disposition)
  end
  local full = path
  if options.root then
    full = below(options.root, path)
  end
  local size, modified, fraction
  if full and not full:find("\0", 1, true) then
    size, modified, fraction = host.send.stat(full)
  else
    modified = { code = "ENOENT" }
  end
  if not size then
    if NOT_THERE[modified.code] then
      error(errors.http_error(404), 0)
    end
    error(("perigee.file: %s: %s"):format(full, tostring(modified)), 0)
  end

  local answer = response.bytes("", {
    status = options.status,
    headers = options.headers,
    content_type = mime.content_type(options.content_type or mime.of(options.filename or path)),
  })
  answer.body = nil
  answer.headers = answer.headers or {}
  local function set_default(name, value)
    local is_unset = not headers.get(answer.headers, name)
    if is_unset then
      headers.add(answer.headers, name, value)
    end
    return is_unset
  end
  set_default("Accept-Ranges", "bytes")
  if disposition or options.filename then
    local value = M.disposition(disposition or "attachment", options.filename)
    set_default("Content-Disposition", value)
  end
  answer.file = {
    path = full,
    size = size,
    modified = modified,
    fraction = fraction,
    is_dated = set_default("Last-Modified", ""),
    is_tagged = set_default("ETag", ""),
  }
  stamp(answer, answer.file)
  return answer
end

-- One of the list of a Range: the first byte and the one behind the last, from 0; nil for what is
-- none, which is ignored.
local function read_range(part, size)
  local first, last = part:match("^%s*(%d*)%s*%-%s*(%d*)%s*$")
  if not first or (first == "" and last == "") then
    return nil
  end
  -- A number of more than 18 digits is beyond every file.
  local from = math.tointeger(tonumber(first:sub(1, 18)))
  local to = math.tointeger(tonumber(last:sub(1, 18)))
  if not from then
    return math.max(size - to, 0), size
  end
  return from, to and to < size and to + 1 or size
end

-- Sorted, and without those that overlap.
local function merge(ranges)
  table.sort(ranges, function(a, b)
    return a[1] < b[1]
  end)
  local merged = { ranges[1] }
  for i = 2, #ranges do
    local last = merged[#merged]
    if ranges[i][1] <= last[2] then
      last[2] = math.max(last[2], ranges[i][2])
    else
      merged[#merged + 1] = ranges[i]
    end
  end
  return merged
end

--- Reads a Range header.
---@param text string
---@param size integer of the file
---@return integer[][]? ranges { first, behind }, from 0; none: the whole file is meant
---@return integer? status that refuses it
---@return string? why
function M.ranges(text, size)
  local unit, list = text:match("^%s*(.-)%s*=(.*)$")
  if not unit then
    return nil, 400, "Malformed range header."
  elseif unit:lower() ~= "bytes" then
    return nil, 400, "Only support bytes range"
  elseif select(2, list:gsub(",", "")) >= MAX_RANGES then
    return {}
  end
  local ranges = {}
  for part in list:gmatch("[^,]+") do
    local first, behind = read_range(part, size)
    if first then
      ranges[#ranges + 1] = { first, behind }
    end
  end
  if #ranges == 0 then
    return nil, 400, "Range header: range must be requested"
  end
  for _, range in ipairs(ranges) do
    if range[1] >= size then
      return nil, 416
    end
  end
  for _, range in ipairs(ranges) do
    if range[1] >= range[2] then
      return nil, 400, "Range header: start must be less than end"
    end
  end
  return merge(ranges)
end

-- Whether a range is meant for the state of the file that is there.
local function is_current(answer, condition)
  return condition == answer:get("ETag") or condition == answer:get("Last-Modified")
end

-- The head of each part, the bytes it stands before, and their length together.
local function multipart(ranges, boundary, content_type, size)
  local parts, length = {}, 0
  for i, range in ipairs(ranges) do
    local head = ("%s--%s\r\nContent-Type: %s\r\nContent-Range: bytes %d-%d/%d\r\n\r\n"):format(
      i > 1 and "\r\n" or "",
      boundary,
      content_type,
      range[1],
      range[2] - 1,
      size
    )
    parts[i] = { head = head, range[1], range[2] }
    length = length + #head + range[2] - range[1]
  end
  parts[#parts + 1] = { head = "\r\n--" .. boundary .. "--", 0, 0 }
  return parts, length + #parts[#parts].head
end

local function random_boundary()
  local bytes = require("perigee.crypto").random(13)
  return (bytes:gsub(".", function(byte)
    return ("%02x"):format(byte:byte())
  end))
end

-- An answer without the file takes the place of the one with it.
local function instead(answer, status, content_type, text)
  answer.status = status
  answer.length, answer.stream = nil, nil
  answer.body, answer.content_type = text, content_type
  if status ~= 304 then
    for _, name in ipairs({ "Accept-Ranges", "Content-Disposition", "Last-Modified", "ETag" }) do
      headers.remove(answer.headers, name)
    end
  end
end

-- The parts of the file that are asked for; nil when the answer is another one.
local function choose(answer, req, file)
  local whole = { { 0, file.size } }
  answer.length = file.size
  if answer.status ~= 200 or (req.method ~= "GET" and req.method ~= "HEAD") then
    return whole
  end
  local status = conditional.evaluate(req, answer:get("ETag"), file.modified)
  if status == 304 then
    instead(answer, 304)
    return nil
  elseif status then
    instead(answer, status, "application/json", '{"detail":"Precondition Failed"}')
    return nil
  end
  local wanted = headers.sent(req, "range")
  local condition = headers.sent(req, "if-range")
  if not wanted or (condition and not is_current(answer, condition)) then
    return whole
  end
  local ranges, refusal, why = M.ranges(wanted, file.size)
  if not ranges then
    instead(answer, refusal, "text/plain; charset=utf-8", why or "")
    if refusal == 416 then
      answer:set("Content-Range", ("bytes */%d"):format(file.size))
    end
    return nil
  elseif #ranges == 0 then
    return whole
  end
  answer.status = 206
  if #ranges == 1 then
    local first, behind = ranges[1][1], ranges[1][2]
    answer:set("Content-Range", ("bytes %d-%d/%d"):format(first, behind - 1, file.size))
    answer.length = behind - first
    return ranges
  end
  local boundary = random_boundary()
  local parts
  parts, answer.length = multipart(ranges, boundary, answer.content_type, file.size)
  answer.content_type = "multipart/byteranges; boundary=" .. boundary
  return parts
end

local function send(out, handle, parts)
  for _, part in ipairs(parts) do
    if part.head then
      out:write(part.head)
    end
    local at = part[1]
    while at < part[2] do
      local count = math.min(part[2] - at, host.send.piece)
      handle:send(out, at, count)
      at = at + count
    end
  end
end

-- Opens the file in the state that the answer speaks of. Nil when it is another one by now: the answer
-- is then to be made anew, for `file` says what is there.
local function open(file)
  local handle, size, modified, fraction = host.send.open(file.path)
  if not handle then
    error(("perigee.file: %s: %s"):format(file.path, tostring(size)), 0)
  end
  if size == file.size and modified == file.modified and fraction == file.fraction then
    return handle
  end
  handle:close()
  file.size, file.modified, file.fraction = size, modified, fraction
  return nil
end

--- Makes the response that is due for this request of a response with a file. The host calls it.
---@async
---@param answer perigee.Response
---@param req perigee.Request
function M.begin(answer, req)
  local file = answer.file
  local status, content_type = answer.status, answer.content_type
  answer.file = nil
  local parts, handle
  repeat
    answer.status, answer.content_type = status, content_type
    headers.remove(answer.headers, "Content-Range")
    stamp(answer, file)
    parts = choose(answer, req, file)
    if not parts then
      return
    elseif req.method == "HEAD" then
      answer.stream = function() end
      return
    end
    handle = open(file)
  until handle
  answer.stream = function(out)
    local opened <close> = handle
    send(out, opened, parts)
  end
end

return setmetatable(M, {
  __call = function(_, path, options)
    return M.new(path, options)
  end,
})
