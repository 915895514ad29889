--- The cookies of a test's client: what Set-Cookie says is sent back, by name and path (RFC 6265). There
--- is one host only, and `Secure` is taken as met.

local M = {}

local Jar = {}
Jar.__index = Jar

local function path_matches(path, cookie_path)
  return path == cookie_path
    or path:sub(1, #cookie_path) == cookie_path
      and (cookie_path:sub(-1) == "/" or path:sub(#cookie_path + 1, #cookie_path + 1) == "/")
end

--- Makes a jar, and the table through which a test sees its names and values.
---@return table jar
---@return table<string, string> view
function M.new()
  local jar = setmetatable({ cookies = {} }, Jar)
  local view = setmetatable({}, {
    __index = function(_, name)
      local cookie = jar.cookies[name]
      return cookie and cookie.value
    end,
    __newindex = function(_, name, value)
      jar.cookies[name] = value ~= nil and { value = tostring(value), path = "/" } or nil
    end,
    __pairs = function()
      local values = {}
      for name, cookie in pairs(jar.cookies) do
        values[name] = cookie.value
      end
      return pairs(values)
    end,
  })
  return jar, view
end

-- Whether an attribute says that the cookie shall go.
local function is_over(attributes)
  local max_age = tonumber(attributes["max-age"])
  if max_age then
    return max_age <= 0
  end
  local expires = attributes.expires
  local year = expires and tonumber(expires:match("%d%d%d%d"))
  return year ~= nil and year < 2000 -- how servers delete: 1970
end

local function parse(line)
  local name, value, rest = line:match("^%s*([^=;]+)=([^;]*)(.*)$")
  if not name then
    return nil
  end
  local attributes = {}
  for attribute in rest:gmatch("[^;]+") do
    local key, given = attribute:match("^%s*([^=]-)%s*=%s*(.-)%s*$")
    attributes[(key or attribute:match("^%s*(.-)%s*$")):lower()] = given or ""
  end
  return name, value, attributes
end

--- Takes the cookies that an answer sets.
---@param response perigee.test.Response
---@param target string of the request
function Jar:take(response, target)
  for _, line in ipairs(response:all("set-cookie")) do
    local name, value, attributes = parse(line)
    if name then
      local folder = target:match("^[^?]*"):match("^(/.*)/") or "/"
      local path = attributes.path and attributes.path:sub(1, 1) == "/" and attributes.path
        or folder
      self.cookies[name] = not is_over(attributes) and { value = value, path = path } or nil
    end
  end
end

--- The Cookie header of a request; nil when there is nothing to send.
---@param target string
---@param more? table<string, string>
---@return string?
function Jar:header(target, more)
  local path = target:match("^[^?]*")
  local values = {}
  for name, cookie in pairs(self.cookies) do
    if path_matches(path, cookie.path) then
      values[name] = cookie.value
    end
  end
  for name, value in pairs(more or {}) do
    values[name] = tostring(value)
  end
  local parts = {}
  for name, value in pairs(values) do
    parts[#parts + 1] = name .. "=" .. value
  end
  table.sort(parts)
  return #parts > 0 and table.concat(parts, "; ") or nil
end

return M
