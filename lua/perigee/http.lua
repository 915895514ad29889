--- An HTTP client: connections are kept and shared by the requests of a VM, TLS is verified, answers are
--- bounded, every wait has a limit. Nothing here blocks the loop; a cancelled task's request is cut off
--- at once.
---
--- What the world refuses is `nil, err`: `err.code` is such as "ECONNREFUSED", "ETIMEDOUT", "EAI_NONAME",
--- "ECERT_EXPIRED", "EPROTO" (the server breaks the protocol), "EMSGSIZE" (its answer is too large),
--- "ELOOP" (too many redirects), and `tostring(err)` reads well. Any status, 404 and 500 too, is an
--- answer and no error. Mistakes of the caller raise.

local connections = require("perigee.http.connect")
local cookies = require("perigee.http.cookies")
local errors = require("perigee.errors")
local exchange = require("perigee.http.exchange")
local failure = require("perigee.host").client.failure
local pools = require("perigee.http.pool")
local requests = require("perigee.http.request")
local responses = require("perigee.http.response")
local url = require("perigee.url")

---@alias perigee.http.Verb async fun(url: string, options?: perigee.http.Options): perigee.http.Response?, perigee.Error?

---@class perigee.http
---@field get perigee.http.Verb
---@field post perigee.http.Verb
---@field put perigee.http.Verb
---@field patch perigee.http.Verb
---@field delete perigee.http.Verb
---@field head perigee.http.Verb
---@field options perigee.http.Verb
local M = {}

local DEFAULTS = {
  timeout_ms = 30000,
  connect_timeout_ms = 10000,
  idle_timeout_ms = 30000,
  max_response_bytes = 16 * 1024 * 1024,
  max_redirects = 20,
}
local POOL_DEFAULTS = {
  max_connections = 100,
  max_connections_per_host = 32,
  keep_alive_ms = 60000,
}

--- What a client may say for all its requests, and each of them anew. Times of 0 mean no limit.
---@class perigee.http.Defaults
---@field headers? table<string, string|string[]>|perigee.HeaderList
---@field auth? { [1]: string, [2]: string } user and password, by Basic
---@field bearer? string a token, sent as `Authorization: Bearer ...`
---@field timeout_ms? number of all of it, redirects included: 30000. With `stream` until the head has come, unless it is given
---@field connect_timeout_ms? number of name, connection and TLS: 10000
---@field idle_timeout_ms? number that nothing may move: 30000
---@field max_response_bytes? integer of the body, unpacked: 16 MiB. With `stream` none, unless it is given
---@field max_redirects? integer 20; 0 returns redirects as they are
---@field stream? boolean the body is read by the caller, piece by piece
---@field decompress? boolean true
---@field proxy? string|false a proxy's URL; false for none; the environment's unless given
---@field socket_path? string connects to this Unix socket whatever the URL says
---@field verify? boolean true; false trusts any certificate
---@field ca? string PEM text, file or folder of the authorities that are trusted instead of the system's
---@field cert? string PEM text or file: our certificate
---@field key? string PEM text or file: its key, unless it is in `cert`

--- Options of a request.
---@class perigee.http.Options : perigee.http.Defaults
---@field query? table<string, any> added to the URL's own
---@field body? string|(fun(): string?)|perigee.File|perigee.http.Response|perigee.Request the bytes; an iterator over them; or what has chunks(), such as an open file. All but bytes are sent as they come
---@field json? any sent as JSON
---@field form? table<string, any> sent as a form, urlencoded
---@field multipart? table<string, any>|perigee.http.Part[] sent as multipart/form-data
local OPTIONS = {
  headers = "table",
  query = "table",
  body = "string|function|table|userdata",
  json = "any",
  form = "table",
  multipart = "table",
  auth = "table",
  bearer = "string",
  timeout_ms = "number",
  connect_timeout_ms = "number",
  idle_timeout_ms = "number",
  max_response_bytes = "integer",
  max_redirects = "integer",
  stream = "boolean",
  decompress = "boolean",
  proxy = "string|boolean",
  socket_path = "string",
  verify = "boolean",
  ca = "string",
  cert = "string",
  key = "string",
}

---@class perigee.http.ClientOptions : perigee.http.Defaults
---@field base_url? string what relative URLs are relative to
---@field cookies? boolean keep the cookies of servers and send them back
---@field max_connections? integer 100
---@field max_connections_per_host? integer 32
---@field keep_alive_ms? number that a connection may be idle: 60000

local function with(base, more)
  return setmetatable(more, { __index = base })
end

local function copy(...)
  local all = {}
  for _, one in ipairs({ ... }) do
    for name, value in pairs(one) do
      all[name] = value
    end
  end
  return all
end

local REQUEST_OPTIONS = copy(OPTIONS, { method = "string", url = "string" })
local CLIENT_OPTIONS = copy(OPTIONS, {
  base_url = "string",
  cookies = "boolean",
  max_connections = "integer",
  max_connections_per_host = "integer",
  keep_alive_ms = "number",
})
for _, name in ipairs({ "body", "json", "form", "multipart", "query" }) do
  CLIENT_OPTIONS[name] = nil
end

---@alias perigee.http.Method async fun(self: perigee.http.Client, url: string, options?: perigee.http.Options): perigee.http.Response?, perigee.Error?

---@class perigee.http.Client
---@field get perigee.http.Method
---@field post perigee.http.Method
---@field put perigee.http.Method
---@field patch perigee.http.Method
---@field delete perigee.http.Method
---@field head perigee.http.Method
---@field options perigee.http.Method
local Client = {}
Client.__index = Client

local function perform(request)
  local lease, head, visited = exchange.follow(request)
  if not lease then
    return nil, head
  end
  local response = responses.new(head)
  response.url = url.format(request.url)
  response.redirects = visited
  response._lease = lease
  if request.options.stream then
    if not requests.given(request, "timeout_ms") then
      lease.connection:set_due(0) -- a stream takes its time
    end
    return response
  end
  local reading <close> = response -- a cancelled task leaves here
  local body, err = reading:text()
  if not body then
    return nil, err
  end
  return response
end

-- Says where it failed, unless the message does already.
local function located(request, err)
  local place = url.origin(request.url)
  if not err.message:find(request.url.host, 1, true) then
    return failure(err.code, place .. ": " .. err.message)
  end
  return nil, err
end

--- Sends a request and waits for its answer.
---@async
---@param options perigee.http.Options|{ method?: string, url: string } GET unless a method is given
---@return perigee.http.Response? response, perigee.Error? err
function Client:request(options)
  errors.check_options("http.request", options, REQUEST_OPTIONS)
  local request = requests.new(self, with(self.defaults, copy(options)))
  request.due = connections.due_in(request.options.timeout_ms)
  local response, err = perform(request)
  if not response then
    return located(request, err)
  end
  return response
end

local function verb(method)
  return function(self, target, options)
    errors.check_options("http." .. method:lower(), options or {}, OPTIONS)
    return self:request(copy(options or {}, { method = method, url = target }))
  end
end

for _, method in ipairs({ "GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS" }) do
  Client[method:lower()] = verb(method)
end

--- Closes the idle connections, and the others when their answers are read.
function Client:close()
  self.pool:close()
end

Client.__close = Client.close

--- A client with connections, defaults and (if it shall) cookies of its own. Make it once, not for each
--- request: the connections are what it is for.
---@param options? perigee.http.ClientOptions
---@return perigee.http.Client
function M.client(options)
  options = options or {}
  errors.check_options("http.client", options, CLIENT_OPTIONS)
  local self = setmetatable({}, Client)
  local pool_options = copy(POOL_DEFAULTS, options)
  for _, name in ipairs({ "max_connections", "max_connections_per_host" }) do
    if pool_options[name] < 1 then
      errors.raise("http.client: `%s` must be 1 or more", name)
    end
  end
  self.pool = pools.new(pool_options)
  self.jar = options.cookies and cookies.new() or nil
  self.header_list = requests.headers(options.headers)
  self.base = options.base_url and requests.url(self, options.base_url)
  self.defaults = with(DEFAULTS, copy(options))
  self.defaults.headers = nil
  return self
end

-- The client behind http.get and its like, made when it is first needed: one for each VM.
local shared
local function shared_client()
  shared = shared or M.client()
  return shared
end

--- Sends a request with the VM's own client.
---@async
---@param options perigee.http.Options|{ method?: string, url: string }
---@return perigee.http.Response? response, perigee.Error? err
function M.request(options)
  return shared_client():request(options)
end

for _, name in ipairs({ "get", "post", "put", "patch", "delete", "head", "options" }) do
  M[name] = function(target, options)
    local client = shared_client()
    return client[name](client, target, options)
  end
end

return M
