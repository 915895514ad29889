--- Reads one answer of the server from a stream, and is strict about it: a client that forgives would
--- hide what a proxy does not.

local json = require("perigee.json")

local M = {}

---@class perigee.test.Response
---@field status integer
---@field reason string
---@field headers table<string, string> the first value of each name, in any case
---@field body string once it was read whole
---@field url string
---@field history perigee.test.Response[] the redirects that led here
local Response = {}
Response.__index = Response

-- What has arrived and is not used yet.
local Reader = {}
Reader.__index = Reader

function Reader:more()
  local bytes, err = self.stream:read()
  if not bytes then
    return nil, err
  end
  self.bytes = self.bytes .. bytes
  return true
end

local function broken(what, err)
  error(("the answer %s%s"):format(what, err and ": " .. tostring(err) or ""), 0)
end

function Reader:line()
  while true do
    local line, rest = self.bytes:match("^(.-)\r\n()")
    if line then
      self.bytes = self.bytes:sub(rest)
      return line
    end
    local ok, err = self:more()
    if not ok then
      broken(
        self.bytes == "" and "did not come: the connection was closed" or "ends in its head",
        err
      )
    end
  end
end

-- Up to `most` bytes, at least one; nil at the end of the connection.
function Reader:some(most)
  if self.bytes == "" then
    local ok, err = self:more()
    if not ok then
      return nil, err
    end
  end
  local piece = self.bytes:sub(1, most)
  self.bytes = self.bytes:sub(#piece + 1)
  return piece
end

local function case_insensitive(list)
  local first = {}
  for _, pair in ipairs(list) do
    local name = pair[1]:lower()
    first[name] = first[name] or pair[2]
  end
  return setmetatable(first, {
    __index = function(_, name)
      return type(name) == "string" and rawget(first, name:lower()) or nil
    end,
  })
end

local function read_head(reader)
  local line = reader:line()
  local status, reason = line:match("^HTTP/1%.1 (%d%d%d) (.*)$")
  if not status then
    broken("begins with '" .. line:sub(1, 60) .. "'")
  end
  local list = {}
  while true do
    local field = reader:line()
    if field == "" then
      return tonumber(status), reason, list
    end
    local name, value = field:match("^([%w!#$%%&'*+%-.^_`|~]+):[ \t]*(.-)[ \t]*$")
    if not name then
      broken("has the header line '" .. field:sub(1, 60) .. "'")
    end
    list[#list + 1] = { name, value }
  end
end

-- The next piece of a chunked body.
local function next_chunk(self)
  local reader = self.reader
  if self.left == 0 then
    local line = reader:line()
    local size = tonumber(line:match("^%x+") or "", 16)
    if not size then
      broken("has the chunk size '" .. line:sub(1, 60) .. "'")
    end
    if size == 0 then
      while reader:line() ~= "" do -- trailers
      end
      return nil
    end
    self.left = size
  end
  local piece, err = reader:some(self.left)
  if not piece then
    broken("ends within a chunk", err)
  end
  self.left = self.left - #piece
  if self.left == 0 and reader:line() ~= "" then
    broken("has a chunk longer than its size")
  end
  return piece
end

local function next_piece(self)
  if self.framing == "chunked" then
    return next_chunk(self)
  elseif self.framing == "length" then
    if self.left == 0 then
      return nil
    end
    local piece, err = self.reader:some(self.left)
    if not piece then
      broken(("ends %d bytes too early"):format(self.left), err)
    end
    self.left = self.left - #piece
    return piece
  elseif self.framing == "close" then
    local piece, err = self.reader:some(math.huge)
    if not piece and err then
      broken("was cut", err)
    end
    return piece
  end
end

-- How the body ends (RFC 9112, 6.3).
local function choose_framing(self, method)
  local encoding, length = self.headers["transfer-encoding"], self.headers["content-length"]
  if method == "HEAD" or self.status == 204 or self.status == 304 or self.status < 200 then
    return "none"
  elseif encoding then
    if encoding:lower() ~= "chunked" or length then
      broken("has an ambiguous framing")
    end
    self.left = 0
    return "chunked"
  elseif length then
    if not length:find("^%d+$") or #self:all("content-length") > 1 then
      broken("has the length '" .. length .. "'")
    end
    self.left = tonumber(length)
    return "length"
  end
  return "close"
end

--- Reads the head of an answer.
---@async
---@param stream table
---@param method string of the request
---@param url string
---@return perigee.test.Response
function M.read(stream, method, url)
  local reader = setmetatable({ stream = stream, bytes = "" }, Reader)
  local self = setmetatable({ reader = reader, url = url, history = {} }, Response)
  repeat
    self.status, self.reason, self.fields = read_head(reader)
  until self.status >= 200 or self.status == 101
  self.headers = case_insensitive(self.fields)
  self.framing = choose_framing(self, method)
  return self
end

--- Every value of a header, as it was sent.
---@param name string
---@return string[]
function Response:all(name)
  name = name:lower()
  local values = {}
  for _, pair in ipairs(self.fields) do
    if pair[1]:lower() == name then
      values[#values + 1] = pair[2]
    end
  end
  return values
end

--- The body as it arrives: `for bytes in response:chunks() do`.
---@async
---@return fun(): string?
function Response:chunks()
  return function()
    if self.done then
      return nil
    end
    local piece = next_piece(self)
    self.done = piece == nil
    return piece
  end
end

--- The lines of the body as they arrive, without their ends.
---@async
---@return fun(): string?
function Response:lines()
  local next_bytes, waiting = self:chunks(), ""
  return function()
    while true do
      local line, rest = waiting:match("^(.-)\r?\n()")
      if line then
        waiting = waiting:sub(rest)
        return line
      end
      local bytes = next_bytes()
      if not bytes then
        line, waiting = waiting, ""
        return line ~= "" and line or nil
      end
      waiting = waiting .. bytes
    end
  end
end

--- Server-sent events as they arrive: tables with `data`, and `event`, `id` and `retry` where given.
---@async
---@return fun(): table?
function Response:events()
  local next_line = self:lines()
  return function()
    local event, data = {}, {}
    for line in next_line do
      local name, value = line:match("^([^:]+):? ?(.*)$")
      if line == "" and (#data > 0 or next(event)) then
        event.data = table.concat(data, "\n")
        return event
      elseif name == "data" then
        data[#data + 1] = value
      elseif name then
        event[name] = value
      end
    end
  end
end

--- The whole body.
---@async
---@return string
function Response:read()
  if not self.body then
    local pieces = {}
    for piece in self:chunks() do
      pieces[#pieces + 1] = piece
    end
    self.body = table.concat(pieces)
  end
  return self.body
end

--- The body as JSON. Raises when it is none.
---@async
---@return any
function Response:json()
  local value, err = json.decode(self:read())
  if value == nil then
    error(("the body is no JSON (%s): %s"):format(tostring(err), self.body:sub(1, 200)), 2)
  end
  return value
end

--- Goes away, whatever is still to come.
function Response:close()
  self.reader.stream:close()
end

Response.__close = Response.close

function Response:__tostring()
  local body = self.body and (#self.body > 500 and self.body:sub(1, 500) .. "..." or self.body)
  return ("%d %s%s"):format(self.status, self.reason, body and body ~= "" and "\n" .. body or "")
end

return M
