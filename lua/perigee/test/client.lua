--- The client of tests: sends real bytes through the host's own connection, parser and exchange, in the
--- same loop and without a port. Requests are written here and answers read here; what an answer's
--- framing must look like is checked on the way.

local cookie_jar = require("perigee.test.cookie_jar")
local host = require("perigee.host")
local json = require("perigee.json")
local multipart = require("perigee.test.multipart")
local reply = require("perigee.test.reply")
local url = require("perigee.url")

local errors = require("perigee.errors")
local sorted_keys = require("perigee.sorted_keys")

local M = {}

local MAX_REDIRECTS = 20

---@class perigee.test.RequestOptions
---@field query? table<string, any>|string a list repeats the name
---@field headers? table<string, string|number|string[]>
---@field cookies? table<string, string> besides those of the client
---@field json? any the body, as JSON
---@field form? table<string, any> the body, as an HTML form sends it
---@field files? table<string, string|table> with `form`: a multipart body; text, or { name, content, type }
---@field body? string|fun(): string? bytes; a function gives them piece by piece, until nil
---@field follow_redirects? boolean as the client does, unless given

local REQUEST_OPTIONS = {
  query = "table|string",
  headers = "table",
  cookies = "table",
  json = "any",
  form = "table",
  files = "table",
  body = "string|function",
  follow_redirects = "boolean",
}

---@class perigee.test.ClientOptions
---@field headers? table<string, string|number|string[]> of every request
---@field cookies? table<string, string> to begin with
---@field follow_redirects? boolean true unless given
---@field address? string the client's IP address: "127.0.0.1" unless given
---@field host? string the Host header: "testserver" unless given

local CLIENT_OPTIONS = {
  headers = "table",
  cookies = "table",
  follow_redirects = "boolean",
  address = "string",
  host = "string",
}

---@class perigee.test.Client
---@field cookies table<string, string> what the server has set; may be read and written
local Client = {}
Client.__index = Client

--- Makes a client of the app that is open.
---@param options? perigee.test.ClientOptions
---@return perigee.test.Client
function M.new(options)
  options = options or {}
  errors.check_options("t:client", options, CLIENT_OPTIONS)
  local self = setmetatable({
    headers = options.headers or {},
    follow_redirects = options.follow_redirects ~= false,
    address = options.address or "127.0.0.1",
    host = options.host or "testserver",
    streams = setmetatable({}, { __mode = "k" }),
  }, Client)
  self.jar, self.cookies = cookie_jar.new()
  for name, value in pairs(options.cookies or {}) do
    self.cookies[name] = value
  end
  return self
end

-- Names and values as a query or a form has them.
local function encode_pairs(values)
  local parts = {}
  for _, name in ipairs(sorted_keys(values)) do
    local value = values[name]
    for _, one in ipairs(type(value) == "table" and value or { value }) do
      parts[#parts + 1] = url.encode(name) .. "=" .. url.encode(tostring(one))
    end
  end
  return table.concat(parts, "&")
end

local function with_query(target, query)
  if not query or query == "" then
    return target
  end
  local text = type(query) == "table" and encode_pairs(query) or query
  if text == "" then
    return target
  end
  return target .. (target:find("?", 1, true) and "&" or "?") .. text
end

-- The body and the type that goes with it.
local function make_body(options)
  local given = 0
  for _, name in ipairs({ "json", "body" }) do
    given = given + (options[name] ~= nil and 1 or 0)
  end
  given = given + ((options.form or options.files) and 1 or 0)
  if given > 1 then
    errors.raise("client: one of json, body, and form with files: not several of them")
  end
  if options.json ~= nil then
    return json.encode(options.json), "application/json"
  elseif options.files then
    return multipart.encode(options.form or {}, options.files)
  elseif options.form then
    return encode_pairs(options.form), "application/x-www-form-urlencoded"
  end
  return options.body
end

local function add_headers(list, seen, headers)
  for _, name in ipairs(sorted_keys(headers)) do
    local value = headers[name]
    seen[name:lower()] = true
    for _, one in ipairs(type(value) == "table" and value or { value }) do
      list[#list + 1] = name .. ": " .. tostring(one)
    end
  end
end

-- The head of a request, without the empty line behind it.
local function make_head(self, method, target, options, body, content_type)
  local list, seen = { ("%s %s HTTP/1.1"):format(method, target) }, {}
  local own = options.headers or {}
  add_headers(list, seen, own)
  for name, value in pairs(self.headers) do
    if not seen[name:lower()] then
      add_headers(list, {}, { [name] = value })
    end
  end
  for name in pairs(self.headers) do
    seen[name:lower()] = true
  end
  local function default(name, value)
    if value and not seen[name] then
      list[#list + 1] = name .. ": " .. value
    end
  end
  default("host", self.host)
  default("accept", "*/*")
  default("user-agent", "testclient")
  default("content-type", content_type)
  default("cookie", self.jar:header(target, options.cookies))
  if type(body) == "string" then
    default("content-length", tostring(#body))
  elseif body then
    default("transfer-encoding", "chunked")
  elseif method == "POST" or method == "PUT" or method == "PATCH" then
    default("content-length", "0")
  end
  return table.concat(list, "\r\n")
end

-- Sends a body that comes piece by piece. A server that has answered may have stopped reading.
local function send_pieces(stream, body)
  for piece in body do
    if #piece > 0 and not stream:write(("%x\r\n%s\r\n"):format(#piece, piece)) then
      return
    end
  end
  stream:write("0\r\n\r\n")
end

--- A request that was sent and whose answer may be waited for later.
---@class perigee.test.Pending
local Pending = {}
Pending.__index = Pending

--- Waits for the whole answer.
---@async
---@return perigee.test.Response
function Pending:wait()
  local response <close> = self:stream()
  response:read()
  return response
end

--- Waits for the head of the answer; its body is read as it arrives.
---@async
---@return perigee.test.Response
function Pending:stream()
  if not self.response then
    self.response = reply.read(self.wire, self.method, self.url)
    self.client.jar:take(self.response, self.target)
  end
  return self.response
end

--- Goes away without an answer.
function Pending:close()
  self.wire:close()
end

--- Sends a request and does not wait for the answer. Redirects are not followed.
---@async
---@param method string
---@param target string path and query
---@param options? perigee.test.RequestOptions
---@return perigee.test.Pending
function Client:send(method, target, options)
  options = options or {}
  errors.check_options("client:" .. method:lower(), options, REQUEST_OPTIONS)
  if type(target) ~= "string" or target:sub(1, 1) ~= "/" and target ~= "*" then
    errors.raise("client: a target such as '/items/1' is needed, not '%s'", tostring(target))
  end
  target = with_query(target, options.query)
  local body, content_type = make_body(options)
  local head = make_head(self, method, target, options, body, content_type)
  local stream = assert(host.test.connect(self.address, 50000))
  self.streams[stream] = true
  stream:write(head .. "\r\n\r\n" .. (type(body) == "string" and body or ""))
  if type(body) == "function" then
    send_pieces(stream, body)
  end
  return setmetatable({
    client = self,
    method = method,
    target = target,
    url = "http://" .. self.host .. target,
    wire = stream,
  }, Pending)
end

-- What comes after a redirect: its target, method and options; nil when it leads elsewhere.
local function next_request(self, response, method, target, options)
  local location = response.headers.location
  local status = response.status
  if
    not location
    or not (status == 301 or status == 302 or status == 303 or status == 307 or status == 308)
  then
    return nil
  end
  local origin = "http://" .. self.host
  if location:sub(1, #origin) == origin then
    location = location:sub(#origin + 1)
  elseif location:find("^%a[%w+.-]*:") or location:sub(1, 2) == "//" then
    return nil
  end
  location = location:match("^[^#]*")
  if location:sub(1, 1) == "?" then
    location = target:match("^[^?]*") .. location
  elseif location:sub(1, 1) ~= "/" then
    location = target:match("^[^?]*/") .. location
  end
  local kept = { headers = options.headers, cookies = options.cookies }
  if status >= 307 then
    kept.json, kept.form, kept.files, kept.body =
      options.json, options.form, options.files, options.body
    if type(kept.body) == "function" then
      return nil -- it has been used up
    end
  elseif method ~= "HEAD" and (status == 303 or method == "POST") then
    method = "GET"
  end
  return location, method, kept
end

--- Sends a request, follows redirects and waits for the whole answer.
---@async
---@param method string
---@param target string path and query
---@param options? perigee.test.RequestOptions
---@return perigee.test.Response
function Client:request(method, target, options)
  options = options or {}
  local follow = self.follow_redirects
  if options.follow_redirects ~= nil then
    follow = options.follow_redirects
  end
  local history = {}
  while true do
    local response = self:send(method, target, options):wait()
    response.history = history
    local location, next_method, kept = next_request(self, response, method, target, options)
    if not follow or not location then
      return response
    end
    history[#history + 1] = response
    if #history > MAX_REDIRECTS then
      error("client: more than " .. MAX_REDIRECTS .. " redirects from " .. target, 2)
    end
    target, method, options = location, next_method, kept
  end
end

--- Sends a request and waits for the head of its answer only: the body is read as it arrives, with
--- `response:chunks()`, `:lines()` or `:events()`. Close it, or declare it as `<close>`.
---@async
---@param method string
---@param target string path and query
---@param options? perigee.test.RequestOptions
---@return perigee.test.Response
function Client:stream(method, target, options)
  return self:send(method, target, options):stream()
end

--- A connection to the app as it is: `:write(bytes)`, `:read()` and `:close()`, for what no client sends.
---@return table
function Client:connect()
  local stream = assert(host.test.connect(self.address, 50000))
  self.streams[stream] = true
  return stream
end

--- Closes every connection of this client.
function Client:close()
  for stream in pairs(self.streams) do
    stream:close()
  end
  self.streams = setmetatable({}, { __mode = "k" })
end

for _, method in ipairs({ "get", "post", "put", "patch", "delete", "options", "head" }) do
  Client[method] = function(self, target, options)
    return self:request(method:upper(), target, options)
  end
end

return M
