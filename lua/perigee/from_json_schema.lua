--- Types from JSON Schema (2020-12, as far as it says what types can say). What it cannot say is an
--- error, never a type that would accept more.

local json = require("perigee.json")
local sorted_keys = require("perigee.sorted_keys")

local M = {}

local FORMATS = {
  uuid = "uuid",
  uuid4 = "uuid",
  ["date-time"] = "datetime",
  date = "date",
  time = "time",
  duration = "duration",
  email = "email",
  uri = "url",
  ipv4 = "ipv4",
  ipv6 = "ipv6",
  password = "secret",
}

-- What is about a value as a whole and means the same for each type.
local ANNOTATIONS = {
  title = "title",
  description = "description",
  default = "default",
  examples = "examples",
  deprecated = "deprecated",
}

-- Keywords that say nothing about which values are valid.
local SILENT = {
  ["$schema"] = true,
  ["$id"] = true,
  ["$comment"] = true,
  ["$defs"] = true,
  definitions = true,
  format = true,
  readOnly = true,
  writeOnly = true,
  example = true,
  contentMediaType = true,
}

---@class perigee.SchemaReader
---@field t table perigee.types
---@field root table
---@field known table<string, perigee.Type> models by reference
local Reader = {}
Reader.__index = Reader

local function fail(where, format, ...)
  error(("t.from_json_schema: %s: %s"):format(where, format:format(...)), 0)
end

-- Takes the keywords in `names` from the schema as options of a type.
local function options_of(schema, names, used)
  local options = {}
  for keyword, option in pairs(names) do
    if schema[keyword] ~= nil then
      options[option] = schema[keyword]
      used[keyword] = true
    end
  end
  return options
end

local TEXT = { minLength = "min_length", maxLength = "max_length", pattern = "pattern" }
local NUMBER = {
  minimum = "ge",
  maximum = "le",
  exclusiveMinimum = "gt",
  exclusiveMaximum = "lt",
  multipleOf = "multiple_of",
}
local LIST = { minItems = "min_items", maxItems = "max_items" }
local MAP = { minProperties = "min_items", maxProperties = "max_items" }

local readers = {}

function readers.string(reader, schema, _, used)
  if schema.contentEncoding == "base64" then
    used.contentEncoding = true
    return reader.t.bytes({ encoding = "base64" }), {}
  end
  local kind = FORMATS[schema.format] or "string"
  if kind == "string" or kind == "secret" then
    return reader.t[kind], options_of(schema, TEXT, used)
  elseif kind == "url" then
    used.minLength = true -- a URL is never empty
    return reader.t.url, options_of(schema, { maxLength = "max_length" }, used)
  end
  return reader.t[kind], {}
end

function readers.integer(reader, schema, _, used)
  return reader.t.integer, options_of(schema, NUMBER, used)
end

function readers.number(reader, schema, _, used)
  return reader.t.number, options_of(schema, NUMBER, used)
end

function readers.boolean(reader)
  return reader.t.boolean, {}
end

function readers.null(reader)
  return reader.t.null, {}
end

function readers.array(reader, schema, where, used)
  used.items, used.prefixItems = true, true
  local rest = type(schema.items) == "table" and reader:read(schema.items, where .. "/items") or nil
  if schema.prefixItems then
    local items = {}
    for i, item in ipairs(schema.prefixItems) do
      items[i] = reader:read(item, where .. "/prefixItems/" .. i - 1)
    end
    used.minItems, used.maxItems = true, true
    if (schema.minItems or 0) ~= #items and not rest then
      fail(where, "a tuple whose items may be missing cannot be said")
    end
    return reader.t.tuple(items, { rest = rest }), {}
  end
  local options = options_of(schema, LIST, used)
  if schema.uniqueItems then
    options.unique = true
  end
  used.uniqueItems = true
  return reader.t.array(rest or reader.t.any), options
end

function readers.object(reader, schema, where, used)
  used.properties, used.required, used.additionalProperties = true, true, true
  local additional = schema.additionalProperties
  if not schema.properties then
    local value = type(additional) == "table"
      and reader:read(additional, where .. "/additionalProperties")
    if additional == false then
      return reader.t.object({}, { extra = "forbid" }), {}
    end
    return reader.t.map(value or reader.t.any), options_of(schema, MAP, used)
  end
  if type(additional) == "table" then
    fail(where, "properties beside a type of all other properties cannot be said")
  end
  local required, fields = {}, {}
  for _, name in ipairs(schema.required or {}) do
    required[name] = true
    if not schema.properties[name] then
      fail(where, "'%s' is required but not among the properties", name)
    end
  end
  for i, name in ipairs(sorted_keys(schema.properties)) do
    local node = reader:read(schema.properties[name], where .. "/properties/" .. name)
    if not required[name] and rawget(node, "default") == nil then
      node = node({ optional = true, nullable = node.nullable })
    end
    fields[i] = { name, node }
  end
  local extra = additional == false and "forbid" or additional == true and "allow" or nil
  return reader.t.object(fields, { extra = extra }), {}
end

-- A union; null among its members makes the rest nullable.
local function read_union(reader, members, where)
  local types, nullable = {}, false
  for i, member in ipairs(members) do
    if member.type == "null" then
      nullable = true
    else
      types[#types + 1] = reader:read(member, where .. "/" .. i - 1)
    end
  end
  if #types == 0 then
    return reader.t.null, {}
  end
  return #types == 1 and types[1] or reader.t.union(types), { nullable = nullable or nil }
end

local function read_tagged(reader, schema, where)
  local cases = {}
  for i, tag in ipairs(sorted_keys(schema.discriminator.mapping or {})) do
    cases[i] = { tag, reader:reference(schema.discriminator.mapping[tag], where) }
  end
  if #cases == 0 then
    fail(where, "a discriminator needs a mapping")
  end
  return reader.t.tagged(schema.discriminator.propertyName, cases), {}
end

-- The definition behind a reference: made once, and a model under its name when it is an object.
function Reader:reference(reference, where)
  if self.known[reference] then
    return self.known[reference]
  end
  local target = self.root
  local path = reference:match("^#(.*)$") or fail(where, "'%s' is outside of the schema", reference)
  for key in path:gmatch("/([^/]+)") do
    key = key:gsub("~1", "/"):gsub("~0", "~")
    target = type(target) == "table" and (target[key] or target[math.tointeger(key)])
  end
  if type(target) ~= "table" then
    fail(where, "there is no '%s'", reference)
  end
  local made
  self.known[reference] = self.t.ref(function()
    return made
  end)
  made = self:read(target, reference)
  if made.kind == "object" then
    local name = reference:match("([^/]+)$"):gsub("[^%w._-]", "_")
    local fields = {}
    for i, field in ipairs(made.fields) do
      fields[i] = { field.name, field.type }
    end
    made = self.t.model(name, fields, { extra = made.extra, description = made.description })
  end
  self.known[reference] = made
  return made
end

local function read_type(reader, schema, where, used)
  if schema["$ref"] then
    used["$ref"] = true
    return reader:reference(schema["$ref"], where), {}
  elseif schema.const ~= nil then
    used.const, used.type = true, true
    return reader.t.literal(schema.const), {}
  elseif schema.enum then
    used.enum, used.type = true, true
    return reader.t.enum(schema.enum), {}
  elseif schema.oneOf and schema.discriminator then
    used.oneOf, used.discriminator = true, true
    return read_tagged(reader, schema, where)
  end
  local keyword = schema.anyOf and "anyOf" or schema.oneOf and "oneOf"
  if keyword then
    used[keyword] = true
    return read_union(reader, schema[keyword], where .. "/" .. keyword)
  end
  used.type = true
  if type(schema.type) == "table" then
    local members = {}
    for i, name in ipairs(schema.type) do
      members[i] = setmetatable({ type = name }, { __index = schema })
    end
    for name in pairs(schema) do
      used[name] = true -- each belongs to the member whose type knows it
    end
    return read_union(reader, members, where)
  end
  local kind = schema.type or (schema.properties and "object")
  if kind == nil then
    return reader.t.any, {}
  end
  local read = readers[kind] or fail(where, "'%s' is no type", tostring(kind))
  return read(reader, schema, where, used)
end

--- Reads one schema.
---@param schema table|boolean
---@param where string
---@return perigee.Type
function Reader:read(schema, where)
  if schema == true then
    return self.t.any
  elseif type(schema) ~= "table" then
    fail(where, "a schema must be an object, not %s", type(schema))
  end
  local used = {}
  local node, options = read_type(self, schema, where, used)
  for keyword, option in pairs(ANNOTATIONS) do
    if schema[keyword] ~= nil and not (keyword == "title" and node.kind == "model") then
      options[option] = schema[keyword]
    end
    used[keyword] = true
  end
  for keyword in pairs(schema) do
    if not used[keyword] and not SILENT[keyword] and keyword:sub(1, 2) ~= "x-" then
      fail(where, "'%s' cannot be said here", keyword)
    end
  end
  return next(options) and node(options) or node
end

--- The type that accepts what a schema accepts.
---@param t table perigee.types
---@param schema table|string a table, or its JSON text
---@param name? string makes a model of this name when the schema is of an object
---@return perigee.Type
function M.read(t, schema, name)
  if type(schema) == "string" then
    schema = json.decode(schema)
  end
  local reader = setmetatable({ t = t, root = schema, known = {} }, Reader)
  local node = reader:read(schema, "#")
  if name and node.kind == "object" then
    local fields = {}
    for i, field in ipairs(node.fields) do
      fields[i] = { field.name, field.type }
    end
    return t.model(name, fields, { extra = node.extra, description = node.description })
  end
  return node
end

return M
