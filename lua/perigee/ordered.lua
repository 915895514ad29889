--- JSON documents with their keys in an order that means something to readers. Lua tables have none, so
--- a table says by its metatable how it wants to be written: `shape` for objects whose keys are known,
--- `map` for those whose keys are data. Any other table is written with its keys sorted.

local host = require("perigee.host")
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

-- The keys of each map in the order they were set; at [0], once they are many, the set of them.
local orders = setmetatable({}, { __mode = "k" })

local MANY = 16

local function has_key(order, key)
  if order[0] then
    return order[0][key] ~= nil
  end
  for i = 1, #order do
    if order[i] == key then
      return true
    end
  end
  return false
end

local function add_key(order, key)
  local count = #order + 1
  order[count] = key
  if order[0] then
    order[0][key] = true
  elseif count > MANY then
    local set = {}
    for i = 1, count do
      set[order[i]] = true
    end
    order[0] = set
  end
end

function Map:__newindex(key, value)
  local order = orders[self]
  if not has_key(order, key) then -- else it was removed and comes back where it stood
    add_key(order, key)
  end
  rawset(self, key, value)
end

--- An object that remembers the order in which its keys (strings) are set.
---@param values? table<string, any> what it begins with; becomes the map
---@param keys? string[] the keys of that in their order; kept
---@return table
function M.map(values, keys)
  local map = setmetatable(values or {}, Map)
  orders[map] = keys or {}
  return map
end

-- Sorts a few keys by rank, then by name; faster here than table.sort with a function.
local function sort(keys, rank)
  for i = 2, #keys do
    local key = keys[i]
    local key_rank = rank[key] or LAST
    local j = i - 1
    while j > 0 do
      local other_rank = rank[keys[j]] or LAST
      if other_rank < key_rank or (other_rank == key_rank and keys[j] < key) then
        break
      end
      keys[j + 1] = keys[j]
      j = j - 1
    end
    keys[j + 1] = key
  end
end

local NO_RANK = {}

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
  for key in next, object do
    keys[#keys + 1] = tostring(key)
  end
  if #keys > 40 then
    table.sort(keys)
  end
  sort(keys, metatable and metatable[RANK] or NO_RANK)
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

--- The JSON text of a document.
---@param document any
---@return string
function M.encode(document)
  return host.document.encode(document, RANK, orders)
end

return M
