--- Set-Cookie lines (RFC 6265). Pure.

local http_date = require("perigee.http_date")

local M = {}

local SAME_SITE = { lax = "lax", strict = "strict", none = "none" }

---@class perigee.CookieOptions
---@field max_age? integer seconds; 0 deletes the cookie
---@field expires? integer|string a Unix time, or the date as it shall be sent
---@field path? string "/" unless given
---@field domain? string
---@field secure? boolean
---@field http_only? boolean
---@field same_site? "lax"|"strict"|"none" "lax" unless given
---@field partitioned? boolean

M.options = {
  max_age = "integer",
  expires = "integer|string",
  path = "string",
  domain = "string",
  secure = "boolean",
  http_only = "boolean",
  same_site = "string",
  partitioned = "boolean",
}

local function octal(char)
  return ("\\%03o"):format(char:byte())
end

-- A value with other characters than RFC 6265 has for it is quoted, as Python's http.cookies does.
local function quoted(value)
  if value:find("^[%w!#$%%&'*+%-.^_`|~:]*$") then
    return value
  end
  return '"'
    .. value:gsub('[\\"]', "\\%0"):gsub("[^%w!#$%%&'*+%-.^_`|~: ()/<=>?@%[%]{}\\\"]", octal)
    .. '"'
end

--- The value of a Set-Cookie header. Raises on a name or an attribute that no client would take.
---@param name string
---@param value string
---@param options? perigee.CookieOptions
---@return string
function M.format(name, value, options)
  options = options or {}
  if not name:find("^[%w!#$%%&'*+%-.^_`|~]+$") then
    error("cookie: '" .. name .. "' cannot be a name", 0)
  end
  local same_site = options.same_site or "lax"
  if not SAME_SITE[same_site:lower()] then
    error("cookie: same_site must be lax, strict or none, not '" .. same_site .. "'", 0)
  end
  local parts = { name .. "=" .. quoted(value) }
  local function attribute(label, given)
    if given then
      given = given == true and "" or "=" .. tostring(given)
      if given:find("[;%c]") then
        error("cookie: " .. label .. " has a character that cannot be sent", 0)
      end
      parts[#parts + 1] = label .. given
    end
  end
  local expires = options.expires
  attribute("Domain", options.domain)
  attribute("expires", math.type(expires) == "integer" and http_date.format(expires) or expires)
  attribute("HttpOnly", options.http_only)
  attribute("Max-Age", options.max_age)
  attribute("Partitioned", options.partitioned)
  attribute("Path", options.path or "/")
  attribute("SameSite", same_site:lower())
  attribute("Secure", options.secure)
  return table.concat(parts, "; ")
end

return M
