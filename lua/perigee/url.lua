--- Percent-encoding (RFC 3986). Pure.

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

return M
