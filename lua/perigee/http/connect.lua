--- Connections: where they lead, and how they are opened.

local errors = require("perigee.errors")
local host = require("perigee.host")
local proxies = require("perigee.http.proxy")
local requests = require("perigee.http.request")
local tls = require("perigee.tls")
local url = require("perigee.url")

local client_host, failure = host.client, host.client.failure

local MAX_REFUSAL = 65536 -- bytes of a proxy's answer

local M = {}

local function earlier(a, b)
  return (a == 0 or (b ~= 0 and b < a)) and b or a
end

--- The moment in so many milliseconds, on the clock of deadlines; 0 (never) for 0.
---@param ms number
---@return integer
function M.due_in(ms)
  return ms > 0 and client_host.now() + math.ceil(ms) or 0
end

-- What is left until then, for calls that take a duration: at least a millisecond, as 0 is for ever.
local function left_until(due)
  return due == 0 and 0 or math.max(due - client_host.now(), 1)
end

local function secure(stream, request, session, due)
  local context, err = tls.context(request.options, true)
  if not context then
    stream:close()
    return nil, err
  end
  local ok
  ok, err = host.tls.start(stream, context, request.url.host, session, left_until(due))
  if not ok then
    return nil, err
  end
  return stream
end

-- Asks the proxy for a tunnel; returns the stream through it.
local function tunnel(stream, request, due)
  local connection <close> = client_host.new(stream)
  local authority = request.url.host:find(":", 1, true) and "[" .. request.url.host .. "]"
    or request.url.host
  authority = authority .. ":" .. request.url.port
  connection:begin("CONNECT", MAX_REFUSAL, false, due, 0)
  local head = { "CONNECT " .. authority .. " HTTP/1.1", "Host: " .. authority }
  if request.proxy.user then
    head[3] = "Proxy-Authorization: " .. requests.basic(request.proxy.user, request.proxy.password)
  end
  local sent, err = connection:send(table.concat(head, "\r\n") .. "\r\n\r\n")
  if sent == nil then
    return nil, err
  end
  connection:finish()
  local status, reason = connection:head()
  if not status then
    return nil, reason
  elseif status < 200 or status > 299 then
    return failure("EPROXY", ("the proxy refuses a tunnel: %d %s"):format(status, reason))
  end
  local _, problem = connection:body()
  local through = not problem and connection:release()
  if not through then
    return failure("EPROTO", "the proxy said more than it was asked")
  end
  return through
end

local function open_stream(request, due)
  local options, proxy = request.options, request.proxy
  if options.socket_path then
    return host.net.connect(nil, nil, options.socket_path, left_until(due))
  end
  local to = proxy or request.url
  local stream, err = host.net.connect(to.host, to.port, nil, left_until(due))
  if stream and proxy and request.url.scheme == "https" then
    return tunnel(stream, request, due)
  end
  return stream, err
end

--- Opens a connection for a request: through its proxy, to its socket, with TLS.
---@async
---@param request perigee.http.Request
---@param session? userdata
---@return table? connection perigee.host.client's
---@return perigee.Error? err
function M.connect(request, session)
  local due = earlier(request.due, M.due_in(request.options.connect_timeout_ms))
  local stream, err = open_stream(request, due)
  if stream and request.url.scheme == "https" then
    stream, err = secure(stream, request, session, due)
  end
  if not stream then
    return nil, err
  end
  return client_host.new(stream)
end

--- The proxy that a request goes through; nil for none.
---@param options perigee.http.Options
---@param target perigee.Url
---@return perigee.Url?
function M.proxy(options, target)
  if options.socket_path or options.proxy == false then
    return nil
  end
  local text = options.proxy or proxies.from_environment(target)
  if not text or text == true then
    return nil
  end
  local proxy, problem = proxies.parse(text)
  if not proxy or proxy.scheme ~= "http" then
    problem = problem or "only http:// proxies are spoken to"
    errors.raise("http: '%s' is not a proxy: %s", text:gsub("%c", "?"), problem)
  end
  return proxy
end

--- What makes connections interchangeable.
---@param request perigee.http.Request
---@return string
function M.key(request)
  local options, proxy = request.options, request.proxy
  local parts = { url.origin(request.url), options.socket_path or "" }
  if proxy then
    -- A proxy's connection serves every http origin, but a tunnel only its own.
    parts[1] = request.url.scheme == "https" and parts[1] or "http"
    parts[3] = table.concat({ url.origin(proxy), proxy.user or "", proxy.password or "" }, "\0")
  end
  if request.url.scheme == "https" then
    parts[4] = tls.key(options)
  end
  return table.concat({ parts[1], parts[2], parts[3] or "", parts[4] or "" }, "\1")
end

return M
