--- Answers as the app sees them.

local failure = require("perigee.host").client.failure
local json = require("perigee.json")

local M = {}

--- The answer to a request.
---@class perigee.http.Response
---@field status integer
---@field reason string
---@field ok boolean whether the status is 200 to 299
---@field headers table<string, string> names in lower case; several values are joined by ", "
---@field url string whence it came, after redirects
---@field redirects string[] the URLs before that one
---@field body? string the whole of it; nil with `stream`
local Response = {}
Response.__index = Response

--- Makes a response of a head, { status, reason, list }. The caller adds where it came from, and the lease
--- of a connection that its body is still to be read from.
---@param head table
---@return perigee.http.Response
function M.new(head)
  local fields = {}
  local list = head.list
  for i = 1, #list, 2 do
    local name = list[i]:lower()
    fields[name] = fields[name] and fields[name] .. ", " .. list[i + 1] or list[i + 1]
  end
  return setmetatable({
    status = head.status,
    reason = head.reason,
    ok = head.status >= 200 and head.status < 300,
    headers = fields,
    _list = list,
  }, Response)
end

--- All values of a header, as they were sent: for Set-Cookie, whose values cannot be joined.
---@param name string
---@return string[]
function Response:all(name)
  local values = {}
  name = name:lower()
  for i = 1, #self._list, 2 do
    if self._list[i]:lower() == name then
      values[#values + 1] = self._list[i + 1]
    end
  end
  return values
end

--- The next bytes of the body: nil at its end, nil and an error when it breaks off.
---@async
---@return string? bytes, perigee.Error? err
function Response:read()
  local lease = self._lease
  if not lease then
    local rest = self.body
    if rest and not self._given then
      self._given = true
      return rest ~= "" and rest or nil
    end
    return nil, self._failure
  end
  local bytes, err = lease.connection:read()
  if not bytes then
    self._failure = err
    self:close()
  end
  return bytes, err
end

--- Iterates over the bytes of the body as they arrive; the server is held up while nobody asks. A body
--- that breaks off is raised, as a loop has nobody to return it to.
---@async
---@return fun(): string?
function Response:chunks()
  return function()
    local bytes, err = self:read()
    if err then
      error(err, 0)
    end
    return bytes
  end
end

--- The whole body. With `stream` it is read now, and kept.
---@async
---@return string? body, perigee.Error? err
function Response:text()
  if self._lease then
    local body, err = self._lease.connection:body()
    self._failure = err
    self.body = body
    self:close()
  end
  return self.body, self._failure
end

--- The body as JSON; `json.null` stands for null.
---@async
---@return any value, perigee.Error? err "EJSON" when it is none
function Response:json()
  local text, err = self:text()
  if not text then
    return nil, err
  end
  local value, problem = json.decode(text)
  if problem then
    return failure("EJSON", "the answer is no JSON: " .. tostring(problem))
  end
  return value
end

--- Ends a streamed answer: its connection is kept when the body was read to the end, else closed. A
--- `<close>` variable does it, too.
function Response:close()
  local lease = self._lease
  self._lease = nil
  if lease then
    lease:release()
  end
end

Response.__close = Response.close
Response.__gc = Response.close

return M
