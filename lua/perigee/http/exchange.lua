--- Requests and their answers on a connection: sending, trying again, redirects (by the fetch standard).

local connections = require("perigee.http.connect")
local failure = require("perigee.host").client.failure
local headers = require("perigee.headers")
local requests = require("perigee.http.request")
local url = require("perigee.url")

local DRAINED_BYTES = 65536 -- of a redirect's body are read to keep its connection

local M = {}

local function check_piece(piece)
  if type(piece) ~= "string" then
    error(
      "http: an iterator for `body` returns strings, and nil at the end, not " .. type(piece),
      0
    )
  end
end

-- Sends what an iterator gives. Returns whether all of it went out; nil and an error.
local function send_pieces(connection, content)
  local left = content.length
  for piece in content.pieces() do
    check_piece(piece)
    local sent, err = true, nil
    if left then
      left = left - #piece
      if left < 0 then
        error("http: `body` gives more bytes than its Content-Length says", 0)
      end
      sent, err = connection:send(piece)
    elseif piece ~= "" then
      sent, err = connection:send(("%x\r\n"):format(#piece), piece, "\r\n")
    end
    if not sent then
      return sent, err
    end
  end
  if left and left > 0 then
    error("http: `body` gives fewer bytes than its Content-Length says", 0)
  end
  return left and true or connection:send("0\r\n\r\n")
end

local function send_request(connection, request)
  local content = request.body
  local sent, err = connection:send(requests.head(request), content and content.text or "")
  if sent and content and content.pieces then
    sent, err = send_pieces(connection, content)
  end
  if sent then
    connection:finish()
  end
  return sent ~= nil, err
end

local function begin(connection, request)
  local options = request.options
  local max = options.max_response_bytes
  if options.stream then
    max = requests.given(request, "max_response_bytes") or 0
  end
  connection:begin(
    request.method,
    max,
    options.decompress ~= false,
    request.due,
    options.idle_timeout_ms
  )
end

-- Sends the request and reads the head of its answer: a lease and the head; or nil, an error, and
-- whether it may be tried again.
local function exchange(request)
  local lease, err = request.client.pool:lease(request.key, request.due, function(session)
    return connections.connect(request, session)
  end)
  if not lease then
    return nil, err
  end
  local guard <close> = setmetatable({ lease = lease }, {
    __close = function(self)
      if self.lease then
        self.lease.connection:close()
        self.lease:release()
      end
    end,
  })
  local connection = lease.connection
  begin(connection, request)
  local ok, problem = send_request(connection, request)
  local status, reason, list
  if ok then
    status, reason, list = connection:head()
    problem = reason
  end
  if not status then
    local is_stale = lease.reused and not connection:has_heard() and problem.code ~= "ETIMEDOUT"
    return nil, problem, is_stale
  end
  guard.lease = nil
  return lease, { status = status, reason = reason, list = list }
end

local IDEMPOTENT =
  { GET = true, HEAD = true, OPTIONS = true, TRACE = true, PUT = true, DELETE = true }

-- A kept connection that the server closed just then says nothing about the request: what may be sent
-- twice is sent again.
local function exchange_again(request)
  local content = request.body
  local is_repeatable = IDEMPOTENT[request.method] and not (content and content.pieces)
  while true do
    local lease, head, is_stale = exchange(request)
    if lease or not is_stale or not is_repeatable then
      return lease, head
    end
  end
end

local REDIRECTS = { [301] = true, [302] = true, [303] = true, [307] = true, [308] = true }
local CREDENTIALS = { "authorization", "cookie", "proxy-authorization", "host" }
local OF_BODY = { "content-type", "content-encoding", "content-language", "content-location" }

local function remove_all(list, names)
  for _, name in ipairs(names) do
    headers.remove(list, name)
  end
end

-- Reads a short body, so that the connection can be kept.
local function drain(lease)
  local reading <close> = lease
  local count = 0
  while count < DRAINED_BYTES do
    local bytes = reading.connection:read()
    if not bytes then
      return
    end
    count = count + #bytes
  end
end

local function location_of(head)
  for i = 1, #head.list, 2 do
    if head.list[i]:lower() == "location" then
      return head.list[i + 1]
    end
  end
end

-- Turns the request into the one that a redirect asks for. Returns what is wrong with it, or nil.
local function redirect(request, status, location)
  local target, problem = url.resolve(request.url, location)
  if not target then
    return ("the redirect to '%s' leads nowhere: %s"):format(location, problem)
  end
  local method, content = request.method, request.body
  local becomes_get = (status == 303 and method ~= "GET" and method ~= "HEAD")
    or ((status == 301 or status == 302) and method == "POST")
  if becomes_get then
    request.method, request.body = "GET", nil
    remove_all(request.headers, OF_BODY)
  elseif content and content.once then
    return ("the redirect (%d) wants the body again, which an iterator gives once"):format(status)
  end
  if url.origin(target) ~= url.origin(request.url) then
    remove_all(request.headers, CREDENTIALS)
    request.authorization = nil
  end
  request.url = target
end

local function take_cookies(request, head)
  local jar = request.client.jar
  if not jar then
    return
  end
  for i = 1, #head.list, 2 do
    if head.list[i]:lower() == "set-cookie" then
      jar:take(request.url, head.list[i + 1])
    end
  end
end

--- Sends a request and what redirects make of it. Returns the lease of the connection that the body of the
--- last answer is on, its head, and the URLs before it; or nil and an error.
---@async
---@param request perigee.http.Request
---@return perigee.http.Lease?, table|perigee.Error, string[]?
function M.follow(request)
  local visited = {}
  while true do
    request.proxy = connections.proxy(request.options, request.url)
    request.key = connections.key(request)
    local lease, head = exchange_again(request)
    if not lease then
      return nil, head
    end
    take_cookies(request, head)
    local location = REDIRECTS[head.status] and location_of(head)
    if not location or request.options.max_redirects == 0 then
      return lease, head, visited
    end
    drain(lease)
    visited[#visited + 1] = url.format(request.url)
    local problem = redirect(request, head.status, location)
    if problem then
      return failure("EPROTO", problem)
    elseif #visited > request.options.max_redirects then
      return failure("ELOOP", ("more than %d redirects"):format(request.options.max_redirects))
    end
  end
end

return M
