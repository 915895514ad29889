--- JSON documents with their keys in an order that means something to readers. Lua tables have none, so
--- a table says by its metatable how it wants to be written: `shape` for objects whose keys are known,
--- `map` for those whose keys are data. Any other table is written with its keys sorted.

local json = require("perigee.json")

local M = {}

local RANK, LAST = {}, math.maxinteger

--- A constructor for objects whose known keys are written in this order, others after them, sorted.
---@param keys string[]
---@return fun(fields: table): table
function M.shape(keys)
  local rank = {}
  for i, key in ipairs(keys) do
    rank[key] = i
  end
  local metatable = { [RANK] = rank }
  return function(fields)
    return setmetatable(fields, metatable)
  end
end

local Map = {}

-- The keys of each map in the order they were set.
local orders = setmetatable({}, { __mode = "k" })

function Map:__newindex(key, value)
  local order = orders[self]
  if order[key] == nil then -- else it was removed and comes back where it stood
    order[#order + 1] = key
    order[key] = #order
  end
  rawset(self, key, value)
end

--- An object that remembers the order in which its keys (strings) are set.
---@return table
function M.map()
  local map = setmetatable({}, Map)
  orders[map] = {}
  return map
end

--- The keys of an object in the order they are written.
---@param object table
---@return string[]
function M.keys(object)
  local keys = {}
  local metatable = getmetatable(object)
  if metatable == Map then
    for _, key in ipairs(orders[object]) do
      if rawget(object, key) ~= nil then
        keys[#keys + 1] = key
      end
    end
    return keys
  end
  for key in pairs(object) do
    keys[#keys + 1] = tostring(key)
  end
  local rank = metatable and metatable[RANK] or {}
  table.sort(keys, function(a, b)
    local rank_a, rank_b = rank[a] or LAST, rank[b] or LAST
    if rank_a ~= rank_b then
      return rank_a < rank_b
    end
    return a < b
  end)
  return keys
end

local function is_object(value)
  local metatable = getmetatable(value)
  if metatable == Map or (metatable and metatable[RANK]) then
    return true
  end
  return not json.is_array(value) and (next(value) == nil or rawlen(value) == 0)
end

--- A deep copy that may be changed.
---@param value any
---@return any
function M.copy(value)
  if type(value) ~= "table" then
    return value
  end
  local copy = {}
  if getmetatable(value) == Map then
    copy = M.map()
    for _, key in ipairs(M.keys(value)) do
      copy[key] = M.copy(value[key])
    end
    return copy
  end
  for key, item in pairs(value) do
    copy[key] = M.copy(item)
  end
  return setmetatable(copy, getmetatable(value))
end

--- Merges `extra` into `base`: objects key by key, lists one after the other, anything else replaced.
--- What is taken from `extra` is taken as it is: give a copy of what shall stay as it was.
---@param base table
---@param extra table
---@return table base
function M.merge(base, extra)
  for _, key in ipairs(M.keys(extra)) do
    local value, old = extra[key], base[key]
    if value == nil then -- a key that is no string
      value = extra[tonumber(key)]
    end
    if type(old) ~= "table" or type(value) ~= "table" then
      base[key] = value
    elseif is_object(old) and is_object(value) then
      M.merge(old, value)
    elseif not is_object(old) and not is_object(value) then
      table.move(value, 1, #value, #old + 1, old)
    else
      base[key] = value
    end
  end
  return base
end

local function write(value, out)
  if type(value) ~= "table" then
    out[#out + 1] = json.encode(value)
  elseif is_object(value) then
    local before = "{"
    for _, key in ipairs(M.keys(value)) do
      local item = value[key]
      if item == nil then -- the table has numbers as keys: { [404] = ... }
        item = value[math.tointeger(key)]
      end
      out[#out + 1] = before .. json.encode(key) .. ":"
      write(item, out)
      before = ","
    end
    out[#out + 1] = before == "{" and "{}" or "}"
  else
    local before = "["
    for _, item in ipairs(value) do
      out[#out + 1] = before
      write(item, out)
      before = ","
    end
    out[#out + 1] = before == "[" and "[]" or "]"
  end
end

--- The JSON text of a document.
---@param document table
---@return string
function M.encode(document)
  local out = {}
  write(document, out)
  return table.concat(out)
end

return M
