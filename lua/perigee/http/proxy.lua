--- Which proxy a request goes through: as the environment says (HTTP_PROXY, HTTPS_PROXY, ALL_PROXY,
--- NO_PROXY, in capitals or not), in the way curl reads it.

local url = require("perigee.url")

local M = {}

-- HTTP_PROXY in capitals is not read where it could be a header of a CGI request (httpoxy).
local function variable(name)
  local value = os.getenv(name:lower())
  if value == nil and not (name == "HTTP_PROXY" and os.getenv("REQUEST_METHOD")) then
    value = os.getenv(name)
  end
  return value ~= "" and value or nil
end

local function ipv4_number(text)
  local number = 0
  local parts = { text:match("^(%d%d?%d?)%.(%d%d?%d?)%.(%d%d?%d?)%.(%d%d?%d?)$") }
  for _, part in ipairs(parts) do
    number = number << 8 | math.tointeger(tonumber(part))
  end
  return #parts == 4 and number or nil
end

local function is_in_network(host, network, bits)
  local address, base = ipv4_number(host), ipv4_number(network)
  bits = math.tointeger(tonumber(bits))
  if not address or not base or bits > 32 then
    return false
  end
  local shift = 32 - bits
  return address >> shift == base >> shift
end

-- One entry of NO_PROXY: "*", a name (and what is below it), an address, a network, each with a port
-- perhaps.
local function matches(entry, host, port)
  if entry == "*" then
    return true
  end
  local network, bits = entry:match("^([%d.]+)/(%d+)$")
  if network then
    return is_in_network(host, network, bits)
  end
  local bracketed, bracketed_port = entry:match("^%[(.-)%]:?(%d*)$")
  local name, wanted = bracketed, bracketed_port
  if not name and not entry:find(":.*:") then
    name, wanted = entry:match("^([^:]*):?(%d*)$")
  end
  name = (name or entry):gsub("^%*?%.", ""):lower()
  if wanted and wanted ~= "" and tonumber(wanted) ~= port then
    return false
  end
  return name ~= "" and (host == name or host:sub(-#name - 1) == "." .. name)
end

--- Whether NO_PROXY says that this host is reached directly.
---@param list string
---@param host string
---@param port integer
---@return boolean
function M.is_excluded(list, host, port)
  for entry in list:gmatch("[^,%s]+") do
    if matches(entry, host, port) then
      return true
    end
  end
  return false
end

--- Parses a proxy's URL; the scheme may be missing.
---@param text string
---@return perigee.Url? proxy, string? problem
function M.parse(text)
  return url.parse(text:find("://", 1, true) and text or "http://" .. text)
end

--- The proxy for a URL by the environment; nil for none.
---@param target perigee.Url
---@return string?
function M.from_environment(target)
  local value = variable(target.scheme == "https" and "HTTPS_PROXY" or "HTTP_PROXY")
    or variable("ALL_PROXY")
  local excluded = value and variable("NO_PROXY")
  if excluded and M.is_excluded(excluded, target.host, target.port) then
    return nil
  end
  return value
end

return M
