--- A jar for the cookies of other servers (RFC 6265), kept in memory. It has no list of public suffixes:
--- a Domain attribute must name a domain with a dot, and the host must be in it.

local calendar = require("perigee.calendar")

local M = {}

local MAX_COOKIES = 1000
local MAX_BYTES = 4096

---@class perigee.http.Jar
local Jar = {}
Jar.__index = Jar

---@return perigee.http.Jar
function M.new()
  return setmetatable({ cookies = {}, count = 0 }, Jar)
end

-- Seconds since 1970 of a date such as "Wed, 21 Oct 2026 07:28:00 GMT", in all three formats of HTTP.
local function read_date(text)
  local day, month, year = text:match("(%d%d?)[ -](%a%a%a)%a*[ -](%d%d%d?%d?)")
  if not day then
    month, day, year = text:match("(%a%a%a) +(%d%d?) %d%d:%d%d:%d%d (%d%d%d%d)")
  end
  local hour, minute, second = text:match("(%d%d?):(%d%d):(%d%d)")
  month = month and calendar.month(month)
  if not month or not hour then
    return nil
  end
  local function int(digits)
    return math.tointeger(tonumber(digits))
  end
  year = int(year)
  year = year < 70 and year + 2000 or year < 100 and year + 1900 or year
  return calendar.seconds(year, month, int(day), int(hour), int(minute), int(second))
end

local function is_below(host, domain)
  return host == domain or host:sub(-#domain - 1) == "." .. domain
end

local function is_address(host)
  return host:find("^[%d.]+$") or host:find(":", 1, true)
end

local function default_path(path)
  return path:match("^(/.*)/[^/]*$") or "/"
end

local function path_matches(path, prefix)
  return path == prefix
    or path:sub(1, #prefix) == prefix
      and (prefix:sub(-1) == "/" or path:sub(#prefix + 1, #prefix + 1) == "/")
end

-- Attributes of a Set-Cookie value, names in lower case.
local function attributes_of(text)
  local attributes = {}
  for item in text:gmatch("[^;]+") do
    local name, value = item:match("^%s*([^=]-)%s*=%s*(.-)%s*$")
    attributes[(name or item:match("^%s*(.-)%s*$")):lower()] = value or true
  end
  return attributes
end

local function expiry(attributes, now)
  local max_age = type(attributes["max-age"]) == "string" and attributes["max-age"]
  if max_age and max_age:find("^-?%d+$") then
    return now + tonumber(max_age)
  end
  return type(attributes.expires) == "string" and read_date(attributes.expires) or nil
end

function Jar:_forget(key)
  if self.cookies[key] then
    self.cookies[key] = nil
    self.count = self.count - 1
  end
end

--- Takes a Set-Cookie header's value of an answer.
---@param url perigee.Url whence it came
---@param text string
---@param now? integer Unix time
function Jar:take(url, text, now)
  now = now or os.time()
  local pair, rest = text:match("^([^;]*);?(.*)$")
  local name, value = pair:match("^%s*([^=]-)%s*=%s*(.-)%s*$")
  if not name or name == "" or #text > MAX_BYTES or text:find("%c") then
    return
  end
  local attributes = attributes_of(rest)
  local domain = type(attributes.domain) == "string"
    and attributes.domain ~= ""
    and attributes.domain
  domain = domain and domain:gsub("^%.", ""):lower()
  local is_wide = domain and domain:find(".", 1, true) and not is_address(url.host)
  if domain and domain ~= url.host and not (is_wide and is_below(url.host, domain)) then
    return
  end
  if attributes.secure and url.scheme ~= "https" then
    return
  end
  local path = type(attributes.path) == "string" and attributes.path or ""
  local cookie = {
    name = name,
    value = value,
    domain = is_wide and domain or url.host,
    host_only = not is_wide,
    path = path:sub(1, 1) == "/" and path or default_path(url.path),
    secure = attributes.secure ~= nil,
    expires = expiry(attributes, now),
  }
  local key = table.concat({ cookie.domain, cookie.path, name }, "\0")
  self:_forget(key)
  if (cookie.expires and cookie.expires <= now) or self.count >= MAX_COOKIES then
    return
  end
  self.cookies[key] = cookie
  self.count = self.count + 1
end

--- The Cookie header's value for a request; nil when there are none.
---@param url perigee.Url
---@param now? integer Unix time
---@return string?
function Jar:give(url, now)
  now = now or os.time()
  local found = {}
  for key, cookie in pairs(self.cookies) do
    if cookie.expires and cookie.expires <= now then
      self:_forget(key)
    elseif
      (url.host == cookie.domain or not cookie.host_only and is_below(url.host, cookie.domain))
      and path_matches(url.path, cookie.path)
      and (not cookie.secure or url.scheme == "https")
    then
      found[#found + 1] = cookie
    end
  end
  if #found == 0 then
    return nil
  end
  table.sort(found, function(a, b) -- the longer path first (RFC 6265, 5.4)
    if #a.path ~= #b.path then
      return #a.path > #b.path
    end
    return a.name < b.name
  end)
  for i, cookie in ipairs(found) do
    found[i] = cookie.name .. "=" .. cookie.value
  end
  return table.concat(found, "; ")
end

return M
