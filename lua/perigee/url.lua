--- URLs: percent-encoding, parsing, references (RFC 3986). Pure.

local M = {}

local function percent(char)
  return ("%%%02X"):format(char:byte())
end

--- Encodes a text for one segment of a path, or for a name or value of a query.
---@param text string
---@return string
function M.encode(text)
  return (text:gsub("[^%w%-._~]", percent))
end

--- Encodes a text that may contain slashes.
---@param text string
---@return string
function M.encode_path(text)
  return (text:gsub("[^%w%-._~/]", percent))
end

--- Fills the parameters of a path. Raises for one that is missing, empty or unknown.
---@param path string such as "/items/{item_id}"
---@param params? table<string, string|number>
---@return string
function M.fill(path, params)
  local used = {}
  local filled = path:gsub("{([^}:]*):?([^}]*)}", function(name, converter)
    local value = params and params[name]
    if value == nil then
      error(("url: '%s' needs the parameter '%s'"):format(path, name), 0)
    end
    used[name] = true
    local text = tostring(value)
    if converter == "path" then
      return M.encode_path(text)
    elseif text == "" then
      error(("url: the parameter '%s' of '%s' is empty"):format(name, path), 0)
    end
    return M.encode(text)
  end)
  for name in pairs(params or used) do
    if not used[name] then
      error(("url: '%s' has no parameter '%s'"):format(path, tostring(name)), 0)
    end
  end
  return filled
end

--- Writes names and values as the query of a URL, or as a form (`plus`: a blank is "+"). A map is written
--- in the order of its names, as a table has no order of its own; a list of { name, value } in its own.
---@param values table<string, string|number|boolean|(string|number|boolean)[]>|{ [1]: string, [2]: any }[]
---@param plus? boolean
---@return string such as "a=1&b=two%20words"
function M.query(values, plus)
  local parts = {}
  local function add(name, value)
    if type(value) == "table" then
      for _, one in ipairs(value) do
        add(name, one)
      end
      return
    end
    local pair = M.encode(tostring(name)) .. "=" .. M.encode(tostring(value))
    parts[#parts + 1] = plus and pair:gsub("%%20", "+") or pair
  end
  if type(values[1]) == "table" then
    for _, pair in ipairs(values) do
      add(pair[1], pair[2])
    end
    return table.concat(parts, "&")
  end
  local names = {}
  for name in pairs(values) do
    names[#names + 1] = name
  end
  table.sort(names, function(a, b)
    return tostring(a) < tostring(b)
  end)
  for _, name in ipairs(names) do
    add(name, values[name])
  end
  return table.concat(parts, "&")
end

--- The parts of an http or https URL, ready to be used: the host in lower case and without brackets, the
--- path never empty, without dot segments and percent-encoded where it must be. No fragment.
---@class perigee.Url
---@field scheme "http"|"https"
---@field user? string percent-decoded
---@field password? string percent-decoded
---@field host string
---@field port integer
---@field path string
---@field query? string without the "?"

local PORTS = { http = 80, https = 443 }
-- What may not stand in a path or a query as it is. Others (such as "|") are left alone, as browsers do.
local UNSAFE = '[%z\1-\32\127-\255"<>`{}\\^]'

local function decode(text)
  return (text:gsub("%%(%x%x)", function(hex)
    return string.char(tonumber(hex, 16))
  end))
end

-- RFC 3986, 5.2.4; %2e is a dot, too.
local function without_dots(path)
  local kept = {}
  local last
  for slash, segment in path:gmatch("(/)([^/]*)") do
    local plain = segment:gsub("%%2[eE]", ".")
    last = plain == "." or plain == ".."
    if plain == ".." then
      kept[#kept] = nil
    elseif plain ~= "." then
      kept[#kept + 1] = slash .. segment
    end
  end
  return table.concat(kept) .. ((last or #kept == 0) and "/" or "")
end

local function is_ipv6(text)
  return text:find("^[%x:.]+$") and text:find(":.*:") and #text <= 45
end

-- "user:password@host:port" into `url`. Returns what is wrong with it, or nil.
local function read_authority(url, authority)
  local userinfo, place = authority:match("^(.*)@(.*)$")
  if userinfo then
    local user, password = userinfo:match("^([^:]*):(.*)$")
    url.user, url.password = decode(user or userinfo), decode(password or "")
    authority = place
  end
  local host, port = authority:match("^%[([^%]]*)%](.*)$")
  if host then
    if not is_ipv6(host) then
      return "'" .. host .. "' is not an IPv6 address"
    end
  else
    host, port = authority:match("^([^:]*)(.*)$")
    if host == "" then
      return "there is no host"
    elseif host:find("[\128-\255]") then
      return "write the host '" .. host .. "' in ASCII (xn--...)"
    elseif not host:find("^[%w%-._]+$") or #host > 253 then
      return "'" .. host .. "' cannot be a host"
    end
  end
  url.host = host:lower()
  if port == "" or port == ":" then
    url.port = PORTS[url.scheme]
    return nil
  end
  url.port = port:find("^:%d%d?%d?%d?%d?$") and math.tointeger(tonumber(port:sub(2)))
  if not url.port or url.port < 1 or url.port > 65535 then
    return "'" .. port .. "' is not a port"
  end
end

local function set_target(url, path, query)
  local function percents(text)
    return (text:gsub(UNSAFE, percent))
  end
  url.path = without_dots(percents(path == "" and "/" or path))
  url.query = query and percents(query)
  return url
end

-- "path?query#fragment" -> path, query
local function split(text)
  text = text:match("^[^#]*")
  local path, query = text:match("^([^?]*)%?(.*)$")
  return path or text, query
end

--- Parses an absolute http or https URL. Returns nil and what is wrong with it, when it is none.
---@param text string
---@return perigee.Url? url, string? problem
function M.parse(text)
  if text:find("%c") then
    return nil, "it has control characters (such as CR or LF)"
  end
  local scheme, authority, rest = text:match("^(%a[%w+.-]*)://([^/?#]*)(.*)$")
  scheme = scheme and scheme:lower()
  if not PORTS[scheme] then
    return nil, "it must begin with http:// or https://"
  end
  local url = { scheme = scheme }
  local problem = read_authority(url, authority)
  if problem then
    return nil, problem
  end
  return set_target(url, split(rest))
end

--- What a reference, such as a Location header's, means where `base` stands. Credentials are not taken
--- over.
---@param base perigee.Url
---@param reference string
---@return perigee.Url? url, string? problem
function M.resolve(base, reference)
  if reference:find("^%a[%w+.-]*:") then
    return M.parse(reference)
  elseif reference:find("%c") then
    return nil, "it has control characters (such as CR or LF)"
  elseif reference:sub(1, 2) == "//" then
    return M.parse(base.scheme .. ":" .. reference)
  end
  local path, query = split(reference)
  if path == "" then
    path, query = base.path, query or base.query
  elseif path:sub(1, 1) ~= "/" then
    path = base.path:match("^(.*/)") .. path
  end
  local url = { scheme = base.scheme, host = base.host, port = base.port }
  return set_target(url, path, query)
end

--- Host and port as the Host header has them: the port only where it is not the scheme's own.
---@param url perigee.Url
---@return string
function M.authority(url)
  local host = url.host:find(":", 1, true) and "[" .. url.host .. "]" or url.host
  return url.port == PORTS[url.scheme] and host or host .. ":" .. url.port
end

--- Scheme, host and port: two URLs with the same origin may share credentials.
---@param url perigee.Url
---@return string
function M.origin(url)
  return url.scheme .. "://" .. M.authority(url)
end

--- Path and query, as the request line has them.
---@param url perigee.Url
---@return string
function M.target(url)
  return url.query and url.path .. "?" .. url.query or url.path
end

--- The URL as text, without credentials.
---@param url perigee.Url
---@return string
function M.format(url)
  return M.origin(url) .. M.target(url)
end

return M
