--- Values as a person reads them, and where two of them differ. Pure.

local M = {}

local MAX_DEPTH = 6

local function sorted_keys(value)
  local keys = {}
  for key in pairs(value) do
    keys[#keys + 1] = key
  end
  table.sort(keys, function(a, b)
    if type(a) == type(b) and (type(a) == "number" or type(a) == "string") then
      return a < b
    end
    return tostring(a) < tostring(b)
  end)
  return keys
end

local function key_text(key)
  if type(key) == "string" and key:find("^[%a_][%w_]*$") then
    return key
  end
  return "[" .. (type(key) == "string" and ("%q"):format(key) or tostring(key)) .. "]"
end

--- A value in Lua's notation, keys in order.
---@param value any
---@param depth? integer
---@return string
function M.value(value, depth)
  depth = depth or 0
  if type(value) == "string" then
    return (("%q"):format(value):gsub("\\\n", "\\n"))
  elseif type(value) ~= "table" then
    return tostring(value)
  end
  local metatable = getmetatable(value)
  if type(metatable) == "table" and metatable.__tostring or depth >= MAX_DEPTH then
    return tostring(value)
  end
  local parts = {}
  for i, item in ipairs(value) do
    parts[i] = M.value(item, depth + 1)
  end
  local length = #parts
  for _, key in ipairs(sorted_keys(value)) do
    if not (math.type(key) == "integer" and key >= 1 and key <= length) then
      parts[#parts + 1] = key_text(key) .. " = " .. M.value(value[key], depth + 1)
    end
  end
  return #parts > 0 and "{ " .. table.concat(parts, ", ") .. " }" or "{}"
end

--- Whether two values are the same, tables by their contents.
---@param a any
---@param b any
---@return boolean
function M.same(a, b)
  return M.difference(a, b) == nil
end

--- The first place where two values differ: its path, and both values there. Nil when they are the same.
---@param a any
---@param b any
---@param path? string
---@param seen? table
---@return string? path
---@return any a
---@return any b
function M.difference(a, b, path, seen)
  path, seen = path or "", seen or {}
  if type(a) ~= "table" or type(b) ~= "table" or rawequal(a, b) then
    if rawequal(a, b) then
      return nil
    end
    return path, a, b
  end
  if seen[a] == b then
    return nil -- a cycle that is the same so far
  end
  seen[a] = b
  local keys = {}
  for key in pairs(a) do
    keys[key] = true
  end
  for key in pairs(b) do
    keys[key] = true
  end
  for _, key in ipairs(sorted_keys(keys)) do
    local text = key_text(key)
    local inner = path .. (text:sub(1, 1) == "[" and text or (path == "" and "" or ".") .. text)
    local where, left, right = M.difference(a[key], b[key], inner, seen)
    if where then
      return where, left, right
    end
  end
  return nil
end

return M
