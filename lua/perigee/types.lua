--- What apps declare types with: `t.string` and `t.string({ min_length = 1 })` are both types. Each
--- makes a new node, so that fields keep their written order.

local errors = require("perigee.errors")
local from_json_schema = require("perigee.from_json_schema")
local model = require("perigee.model")
local node_of = require("perigee.node")

local M = {}

-- Kinds whose node is all there is to say: t.integer, t.integer({ ge = 1 }).
-- stylua: ignore
local SIMPLE = {
  "string", "integer", "number", "boolean", "null", "any", "bytes", "secret", "uuid", "datetime",
  "date", "time", "duration", "decimal", "url", "email", "ipv4", "ipv6", "file",
}

local function list_of(kind)
  return function(item, given)
    return node_of.apply(node_of.new(kind, { item = node_of.check("t." .. kind, item) }), given)
  end
end

--- A list. An empty one stays [].
---@type fun(item: perigee.Type, given?: table): perigee.Type
M.array = list_of("array")

--- A list without duplicates.
---@type fun(item: perigee.Type, given?: table): perigee.Type
M.set = list_of("set")

--- A list of these types in this order; `rest` is the type of any further items.
---@param items perigee.Type[]
---@param given? table
---@return perigee.Type
function M.tuple(items, given)
  if type(items) ~= "table" or node_of.is_type(items) then
    errors.raise("t.tuple: a list of types is needed")
  end
  local nodes = {}
  for i, item in ipairs(items) do
    nodes[i] = node_of.check("t.tuple", item)
  end
  return node_of.apply(node_of.new("tuple", { items = nodes }), given)
end

--- An object with any keys: t.map(value, options) or t.map(key, value, options).
---@param key perigee.Type
---@param value? perigee.Type
---@param given? table
---@return perigee.Type
function M.map(key, value, given)
  if not node_of.of(value) then
    key, value, given = nil, key, value
  end
  if key then
    key = node_of.check("t.map", key)
  end
  return node_of.apply(
    node_of.new("map", { key = key, value = node_of.check("t.map", value) }),
    given
  )
end

--- An object with these fields; it stands in the document where it is used.
---@param fields table<string, perigee.Type>|table[]
---@param given? table
---@return perigee.Type
function M.object(fields, given)
  return model.new("object", "t.object", model.read_fields("t.object", fields), given)
end

--- An object with a name, under which it stands in the document.
---@param name string
---@param fields table<string, perigee.Type>|table[] a table, or a list of { name, type } pairs
---@param given? table
---@return perigee.Type
function M.model(name, fields, given)
  model.check_name("t.model", name)
  local what = ("t.model(%q)"):format(name)
  local node = model.new("model", what, model.read_fields(what, fields), given)
  node.name = name
  return node
end

local function read_values(what, values)
  if type(values) ~= "table" or #values == 0 then
    errors.raise("%s: a list of values is needed", what)
  end
  return values
end

--- One of these values: t.enum(values, options), or t.enum(name, values, options) for one that stands
--- in the document under its name.
---@param name string|any[]
---@param values? any[]|table
---@param given? table
---@return perigee.Type
function M.enum(name, values, given)
  if type(name) ~= "string" then
    name, values, given = nil, name, values
  else
    model.check_name("t.enum", name)
  end
  local node = node_of.apply(node_of.new("enum", { values = read_values("t.enum", values) }), given)
  node.name = name
  node.source = errors.caller()
  return node
end

--- Exactly this value, or one of these.
---@param values any
---@param given? table
---@return perigee.Type
function M.literal(values, given)
  if type(values) ~= "table" then
    values = { values }
  end
  return node_of.apply(node_of.new("literal", { values = read_values("t.literal", values) }), given)
end

--- Any of these types: the one that fits best.
---@param members perigee.Type[]
---@param given? table
---@return perigee.Type
function M.union(members, given)
  if type(members) ~= "table" or node_of.is_type(members) or #members == 0 then
    errors.raise("t.union: a list of types is needed")
  end
  local nodes = {}
  for i, member in ipairs(members) do
    nodes[i] = node_of.check("t.union", member)
  end
  return node_of.apply(node_of.new("union", { members = nodes }), given)
end

-- The field that tells the cases apart must be one of each of them: else its value would be lost. What a
-- t.ref stands for may not be there yet.
local function check_case(tag, name, node)
  node = node.model or node
  if node.kind ~= "model" and node.kind ~= "object" then
    if node.kind ~= "ref" and node.kind ~= "tagged" then
      errors.raise("t.tagged(%q): '%s' must be a model, not a t.%s", tag, name, node.kind)
    end
    return
  end
  for _, field in ipairs(node.fields) do
    if (field.type.alias or field.name) == tag then
      local values = field.type.values
      for _, value in ipairs(values or {}) do
        if value == name then
          return
        end
      end
      if not values then
        return
      end
      errors.raise(
        "t.tagged(%q): the field '%s' of %s never is '%s'",
        tag,
        tag,
        node.name or "the object",
        name
      )
    end
  end
  local hint = ("%s = t.literal(%q)"):format(tag, name)
  errors.raise("t.tagged(%q): %s needs the field: %s", tag, node.name or ("'" .. name .. "'"), hint)
end

--- One of these models, as the field `tag` says.
---@param tag string
---@param cases table<string, perigee.Type>|table[]
---@param given? table
---@return perigee.Type
function M.tagged(tag, cases, given)
  if type(tag) ~= "string" or type(cases) ~= "table" then
    errors.raise(
      't.tagged: a field name and a table of models are needed: t.tagged("kind", { cat = Cat })'
    )
  end
  local list = {}
  for i, field in ipairs(model.read_fields("t.tagged", cases)) do
    check_case(tag, field.name, field.type)
    list[i] = { field.name, field.type }
  end
  return node_of.apply(node_of.new("tagged", { tag = tag, cases = list }), given)
end

-- The function of a reference with its result looked at, once: a type that is there by now, and that is
-- not the reference again.
local function checked_target(target, where)
  local found, is_looking
  return function()
    if found then
      return found
    end
    if is_looking then
      error(where .. ": t.ref: it refers to itself: its function must return a type", 0)
    end
    is_looking = true
    local returned = target()
    local node = node_of.of(returned)
    if not node then
      local format = "%s: t.ref: its function returned a %s, not a type (a local must be declared above "
        .. "the function that returns it: local Node; Node = t.model(...))"
      error(format:format(where, type(returned)), 0)
    end
    if node.kind == "ref" then
      node.target()
    end
    found = node
    return node
  end
end

--- A type that is defined later, for models that contain themselves.
---@param target fun(): perigee.Type
---@param given? table
---@return perigee.Type
function M.ref(target, given)
  if type(target) ~= "function" then
    errors.raise("t.ref: a function that returns the type is needed")
  end
  target = checked_target(target, (errors.caller()))
  return node_of.apply(node_of.new("ref", { target = target }), given)
end

--- The type that accepts what a JSON Schema accepts; an error where types cannot say it.
---@param schema table|string a table, or its JSON text
---@param name? string makes a model of this name when the schema is of an object
---@return perigee.Type
function M.from_json_schema(schema, name)
  local ok, node = pcall(from_json_schema.read, M, schema, name)
  if not ok then
    errors.raise("%s", tostring(node))
  end
  return node
end

local SIMPLE_SET = {}
for _, kind in ipairs(SIMPLE) do
  SIMPLE_SET[kind] = true
end

-- `t.string` makes a node each time it is written, so that fields know their order.
return setmetatable(M, {
  __index = function(_, kind)
    if kind == "KINDS" then -- for tools
      return SIMPLE
    end
    if SIMPLE_SET[kind] then
      return node_of.new(kind, {})
    end
    local known = {}
    for _, set in ipairs({ SIMPLE_SET, M }) do
      for name in pairs(set) do
        known[name] = true
      end
    end
    local nearest = errors.nearest(kind, known)
    errors.raise(
      "there is no type t.%s%s",
      tostring(kind),
      nearest and " (did you mean t." .. nearest .. "?)" or ""
    )
  end,
})
