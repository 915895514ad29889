--- Requests: what the app asked for, checked, and the head that is sent for it.

local body_of = require("perigee.http.body")
local errors = require("perigee.errors")
local headers = require("perigee.headers")
local host = require("perigee.host")
local url = require("perigee.url")

local M = {}

--- An option that the request or its client gave; no default.
---@param request perigee.http.Request
---@param name string
---@return any
function M.given(request, name)
  local value = rawget(request.options, name)
  if value == nil then
    value = rawget(request.client.defaults, name)
  end
  return value
end

-- Of the connection, which is ours.
local MANAGED = {
  connection = true,
  ["keep-alive"] = true,
  ["proxy-connection"] = true,
  ["transfer-encoding"] = true,
  te = true,
  trailer = true,
  upgrade = true,
  expect = true,
}

local function check_header(name, value)
  if type(name) ~= "string" or not name:find("^[%w!#$%%&'*+%-.^_`|~]+$") then
    errors.raise("http: %q cannot be the name of a header", name)
  elseif value:find("[%z\1-\8\10-\31\127]") then
    errors.raise(
      "http: the header '%s' has a control character (such as CR or LF) in its value",
      name
    )
  elseif MANAGED[name:lower()] then
    errors.raise("http: the header '%s' belongs to the connection, which the client manages", name)
  end
end

--- A header list of what an app gave, checked.
---@param fields table?
---@return perigee.HeaderList
function M.headers(fields)
  local list = headers.list(fields)
  for _, pair in ipairs(list) do
    check_header(pair[1], pair[2])
  end
  return list
end

-- The client's headers, and the request's, which take the place of those of the same name.
local function merged_headers(client, options)
  local own = M.headers(rawget(options, "headers"))
  local list = {}
  for _, pair in ipairs(client.header_list) do
    if not headers.get(own, pair[1]) then
      list[#list + 1] = pair
    end
  end
  table.move(own, 1, #own, #list + 1, list)
  return list
end

local function add_default(list, name, value)
  if value and not headers.get(list, name) then
    list[#list + 1] = { name, value }
  end
end

--- The credentials of Basic authorization.
---@param user string
---@param password string
---@return string
function M.basic(user, password)
  return "Basic " .. require("perigee.crypto").base64(user .. ":" .. password)
end

local function authorization(options, target)
  local auth = options.auth
  if auth then
    if type(auth[1]) ~= "string" or type(auth[2]) ~= "string" then
      errors.raise("http: `auth` is { user, password }")
    elseif auth[1]:find(":", 1, true) then
      errors.raise("http: a user of Basic authorization cannot have a colon")
    end
    return M.basic(auth[1], auth[2])
  elseif options.bearer then
    if not options.bearer:find("^[%w%-._~+/=]+$") then
      errors.raise("http: `bearer` has characters that no token has")
    end
    return "Bearer " .. options.bearer
  end
  return target.user and M.basic(target.user, target.password)
end

--- Parses a URL, which may be relative to the client's base.
---@param client perigee.http.Client
---@param text any
---@return perigee.Url
function M.url(client, text)
  if type(text) ~= "string" then
    errors.raise("http: a request needs a URL")
  end
  local parsed, problem
  if client.base and not text:find("^%a[%w+.-]*://") then
    -- "/users" and "users" are both below "http://host/api": a base is a folder.
    local base = setmetatable(
      { path = (client.base.path:gsub("/?$", "/")) },
      { __index = client.base }
    )
    parsed, problem = url.resolve(base, (text:gsub("^/", "")))
    if parsed then
      parsed.user, parsed.password = base.user, base.password
    end
  else
    parsed, problem = url.parse(text)
  end
  if not parsed then
    errors.raise("http: '%s' is not a URL to request: %s", text:gsub("%c", "?"), problem)
  end
  return parsed
end

local function with_query(target, values)
  local more = values and url.query(values) or ""
  if more ~= "" then
    target.query = target.query and target.query ~= "" and target.query .. "&" .. more or more
  end
end

local function describe_body(request, content)
  if not content then
    if request.method == "POST" or request.method == "PUT" or request.method == "PATCH" then
      content = { text = "" }
    else
      return
    end
  end
  request.body = content
  add_default(request.headers, "Content-Type", content.type)
  local declared = headers.get(request.headers, "content-length")
  headers.remove(request.headers, "content-length")
  if content.text then
    content.length = #content.text
  elseif declared then
    content.length = math.tointeger(tonumber(declared))
    if not content.length or content.length < 0 then
      errors.raise("http: '%s' is not a Content-Length", declared)
    end
  end
end

--- A request of a client's, checked and complete, but for what redirects change. Raises what the caller
--- has done wrong.
---@class perigee.http.Request
---@field client perigee.http.Client
---@field options perigee.http.Options with the client's, and the defaults, behind them
---@field method string
---@field url perigee.Url
---@field headers perigee.HeaderList
---@field authorization? string
---@field body? perigee.http.Body
---@field due integer when it must be over; 0: never
---@field proxy? perigee.Url
---@field key string of the connections that can serve it

---@param client perigee.http.Client
---@param options perigee.http.Options
---@return perigee.http.Request
function M.new(client, options)
  local method = options.method or "GET"
  if not method:find("^[%w!#$%%&'*+%-.^_`|~]+$") or method:upper() == "CONNECT" then
    errors.raise("http: '%s' cannot be the method of a request", method)
  end
  local target = M.url(client, options.url)
  with_query(target, options.query)
  local request = {
    client = client,
    method = method,
    url = target,
    headers = merged_headers(client, options),
    options = options,
  }
  describe_body(request, body_of.make(options))
  add_default(request.headers, "User-Agent", "Perigee/" .. host.app.version)
  add_default(request.headers, "Accept", "*/*")
  if options.decompress ~= false and not headers.get(request.headers, "range") then
    add_default(request.headers, "Accept-Encoding", "gzip, deflate, br")
  end
  request.authorization = not headers.get(request.headers, "authorization")
    and authorization(options, target)
  return request
end

--- The request's head, as it is sent.
---@param request perigee.http.Request
---@return string
function M.head(request)
  local client = request.client
  local target = url.target(request.url)
  local proxy = request.proxy
  local is_forwarded = proxy and request.url.scheme == "http"
  if is_forwarded then
    target = url.format(request.url)
  end
  local lines = { request.method .. " " .. target .. " HTTP/1.1" }
  local function add(name, value)
    lines[#lines + 1] = name .. ": " .. value
  end
  if not headers.get(request.headers, "host") then
    add("Host", url.authority(request.url))
  end
  for _, pair in ipairs(request.headers) do
    add(pair[1], pair[2])
  end
  if request.authorization then
    add("Authorization", request.authorization)
  end
  if is_forwarded and proxy.user then
    add("Proxy-Authorization", M.basic(proxy.user, proxy.password))
  end
  local jar = client.jar
    and not headers.get(request.headers, "cookie")
    and client.jar:give(request.url)
  if jar then
    add("Cookie", jar)
  end
  local content = request.body
  if content and content.length then
    add("Content-Length", content.length)
  elseif content then
    add("Transfer-Encoding", "chunked")
  end
  return table.concat(lines, "\r\n") .. "\r\n\r\n"
end

return M
