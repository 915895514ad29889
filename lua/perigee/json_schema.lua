--- Types as JSON Schema (2020-12), written as Pydantic and FastAPI write it: titles from names, null as
--- an `anyOf`, models and named enums as references. What clients send ("input") and what they get
--- ("output") may differ for the same model; it then has two definitions.
---
--- A document is FastAPI's to the byte, and FastAPI takes its definitions through a model of JSON Schema,
--- which puts the words into its own order and makes bounds floats, while what stands in paths is left as
--- Pydantic made it. So there are two ways to write a schema, and a generator is in one of them at a time.

local json = require("perigee.json")
local ordered = require("perigee.ordered")

local M = {}

-- stylua: ignore
local Schema = ordered.shape({
  "$ref", "$defs", "allOf", "anyOf", "oneOf", "prefixItems", "items", "properties",
  "patternProperties", "additionalProperties", "propertyNames", "type", "enum", "const",
  "multipleOf", "maximum", "exclusiveMaximum", "minimum", "exclusiveMinimum", "maxLength",
  "minLength", "pattern", "maxItems", "minItems", "uniqueItems", "maxProperties", "minProperties",
  "required", "format", "contentEncoding", "contentMediaType", "title", "description", "default",
  "deprecated", "readOnly", "writeOnly", "examples", "discriminator",
})
M.Schema = Schema

-- stylua: ignore start
local TYPE = {
  "$ref", "anyOf", "oneOf", "discriminator", "const", "enum", "type", "properties", "required",
}
local LIMITS = {
  "writeOnly", "format", "contentMediaType", "contentEncoding", "uniqueItems", "prefixItems", "items",
  "minItems", "maxItems", "additionalProperties", "patternProperties", "propertyNames",
  "minProperties", "maxProperties", "multipleOf", "maximum", "minimum", "exclusiveMaximum",
  "exclusiveMinimum", "minLength", "maxLength", "pattern",
}
local NOTES = { "description", "deprecated", "examples" }
local REST = { "default", "readOnly" }
-- stylua: ignore end

local function joined(...)
  local keys = {}
  for _, list in ipairs({ ... }) do
    table.move(list, 1, #list, #keys + 1, keys)
  end
  return ordered.shape(keys)
end

-- How a schema is written that stands in paths; and one whose limits are added to what is said about it.
local TITLE = { "title" }
local Inline = joined(TYPE, LIMITS, TITLE, NOTES, REST)
local Late = joined(TYPE, TITLE, NOTES, LIMITS, REST)
M.Inline = Inline

-- The same with the title that FastAPI adds at the end to what has none, by their metatables.
local TITLED = {
  [getmetatable(Inline({}))] = joined(TYPE, LIMITS, NOTES, REST, TITLE),
  [getmetatable(Late({}))] = joined(TYPE, NOTES, LIMITS, REST, TITLE),
}

local Discriminator = ordered.shape({ "propertyName", "mapping" })

local UPPER = {}
for byte = string.byte("a"), string.byte("z") do
  UPPER[string.char(byte)] = string.char(byte):upper()
end

local titles, trimmed = {}, {} -- the same few names again and again

--- "item_id" -> "Item Id", as Python's str.title() has it.
---@param name string
---@return string
function M.title(name)
  local title = titles[name]
  if not title then
    title = name:lower():gsub("%f[%a\128-\255]%l", UPPER):gsub("_", " ")
    titles[name] = title
  end
  return title
end

-- That of a field: without what is blank around it.
local function field_title(name)
  local title = trimmed[name]
  if not title then
    title = M.title(name):match("^%s*(.-)%s*$")
    trimmed[name] = title
  end
  return title
end

---@class perigee.SchemaGenerator
---@field prefix string in front of names in references
---@field separate boolean whether input and output may have definitions of their own
---@field is_document boolean whether what is no definition is written as it stands in paths
---@field shape fun(fields: table): table how the schema at hand is written
---@field is_defining? boolean whether that is part of a definition, whose keys Pydantic sorts
local Generator = {}
Generator.__index = Generator

--- Collects the definitions of one document.
---@param settings { prefix: string, separate?: boolean, is_document?: boolean }
---@return perigee.SchemaGenerator
function M.new(settings)
  return setmetatable({
    prefix = settings.prefix,
    separate = settings.separate ~= false,
    is_document = settings.is_document or false,
    shape = settings.is_document and Inline or Schema,
    entries = { input = {}, output = {} }, -- by mode and node
    differing = {}, -- whether input and output differ, by node
    list = {}, -- all entries in the order they were reached
    references = {}, -- { where, key, entry }: filled in when the names are known
  }, Generator)
end

-- The model, named enum or other type that a node stands for, through any references.
local function resolve(node)
  while node.kind == "ref" do
    node = node.target()
  end
  return node
end

local function is_definition(node)
  return node.kind == "model" or (node.kind == "enum" and node.name ~= nil)
end

local function json_type(value)
  if math.type(value) == "integer" then
    return "integer"
  end
  return value == json.null and "null" or type(value)
end

local function values_schema(generator, values)
  local schema = generator.shape({})
  if #values == 1 then
    schema.const = values[1]
  else
    schema.enum = json.array(table.move(values, 1, #values, 1, {}))
  end
  local common = json_type(values[1])
  for _, value in ipairs(values) do
    common = common == json_type(value) and common or nil
  end
  schema.type = common
  return schema
end

local FORMATS = {
  uuid = "uuid",
  datetime = "date-time",
  date = "date",
  time = "time",
  duration = "duration",
  ipv4 = "ipv4",
  ipv6 = "ipv6",
}

local writers = {}

for kind, format in pairs(FORMATS) do
  writers[kind] = function(generator)
    return generator.shape({ type = "string", format = format })
  end
end

function writers.string(generator, node)
  return generator.shape({
    type = "string",
    minLength = node.min_length,
    maxLength = node.max_length,
    pattern = node.pattern,
  })
end

local function late(generator, schema)
  return generator.shape == Inline and Late(schema) or schema
end

function writers.secret(generator, node)
  local schema = writers.string(generator, node)
  schema.format = "password"
  schema.writeOnly = true
  return schema.minLength == nil and schema.maxLength == nil and late(generator, schema) or schema
end

function writers.email(generator)
  return late(generator, generator.shape({ type = "string", format = "email" }))
end

-- Integers beyond it are not written as floats: they would be rounded.
local MOST_EXACT = 1 << 53

local BOUNDS = {
  { "gt", "exclusiveMinimum" },
  { "ge", "minimum" },
  { "lt", "exclusiveMaximum" },
  { "le", "maximum" },
  { "multiple_of", "multipleOf" },
}

local function bounded(generator, node, kind)
  local schema = generator.shape({ type = kind })
  local as_floats = node.kind == "decimal" or (generator.is_document and generator.shape == Schema)
  for _, pair in ipairs(BOUNDS) do
    local number = tonumber(node[pair[1]])
    if number and as_floats and -MOST_EXACT <= number and number <= MOST_EXACT then
      number = number + 0.0
    end
    schema[pair[2]] = number
  end
  return schema
end

function writers.integer(generator, node)
  return bounded(generator, node, "integer")
end

function writers.number(generator, node)
  return bounded(generator, node, "number")
end

function writers.decimal(generator, node, mode)
  if mode == "output" then
    return generator.shape({ type = "string" })
  end
  local text = generator.shape({ type = "string" })
  return generator.shape({ anyOf = json.array({ bounded(generator, node, "number"), text }) })
end

function writers.boolean(generator)
  return generator.shape({ type = "boolean" })
end

function writers.null(generator)
  return generator.shape({ type = "null" })
end

function writers.any(generator)
  return generator.shape({})
end

function writers.bytes(generator, node)
  return generator.shape({
    type = "string",
    contentMediaType = "application/octet-stream",
    contentEncoding = node.encoding == "base64" and "base64" or nil,
    minLength = node.min_length,
    maxLength = node.max_length,
  })
end

function writers.file(generator)
  return generator.shape({ type = "string", contentMediaType = "application/octet-stream" })
end

function writers.url(generator, node)
  return generator.shape({
    type = "string",
    format = "uri",
    minLength = 1,
    maxLength = node.max_length,
  })
end

function writers.literal(generator, node)
  if #node.values == 1 and node.values[1] == json.null then
    return writers.null(generator)
  end
  return values_schema(generator, node.values)
end

function writers.enum(generator, node)
  local schema = values_schema(generator, node.values)
  if schema.const ~= nil then
    schema.enum, schema.const = json.array({ schema.const }), nil
  end
  return schema
end

function writers.array(generator, node, mode)
  return generator.shape({
    type = "array",
    items = generator:schema(node.item, mode),
    minItems = node.min_items,
    maxItems = node.max_items,
    uniqueItems = (node.unique or node.kind == "set") and true or nil,
  })
end
writers.set = writers.array

function writers.tuple(generator, node, mode)
  local count = #node.items
  local schema = generator.shape({ type = "array", minItems = count > 0 and count or nil })
  if count > 0 then
    schema.prefixItems = json.array({})
    for i, item in ipairs(node.items) do
      schema.prefixItems[i] = generator:schema(item, mode)
    end
  end
  if node.rest then
    schema.items = generator:schema(node.rest, mode)
  else
    schema.minItems, schema.maxItems = count, count
  end
  return schema
end

local function has_one_key(schema)
  return next(schema) ~= nil and next(schema, next(schema)) == nil
end

function writers.map(generator, node, mode)
  local schema = generator.shape({
    type = "object",
    minProperties = node.min_items,
    maxProperties = node.max_items,
  })
  local value = generator:schema(node.value, mode)
  local key = node.key and generator:schema(node.key, mode) or {}
  local pattern
  if not key["$ref"] then
    pattern, key.pattern, key.title = key.pattern, nil, nil
  end
  value.title = nil
  if pattern then
    schema.patternProperties = { [pattern] = value }
  else
    schema.additionalProperties = next(value) == nil or value
  end
  if key["$ref"] or (key.type == "string" and not has_one_key(key)) then
    key.type = nil
    schema.propertyNames = key
  end
  return schema
end

-- Whether the schema of a field or parameter is left without the title made from its name: those
-- that are references have the title of what they refer to.
local function has_own_title(node)
  node = resolve(node)
  if node.kind ~= "union" then
    return not is_definition(node)
  end
  local only
  for _, member in ipairs(node.members) do
    member = resolve(member)
    if member.kind ~= "null" and only and only ~= member then
      return true
    end
    only = member.kind ~= "null" and member or only
  end
  return not only or not is_definition(only)
end

function writers.object(generator, node, mode)
  local properties, names, required = {}, {}, json.array({})
  local function add(field, name, is_required)
    local described = generator:schema(field.type, mode)
    if not described.title and has_own_title(field.type) then
      described.title = field_title(name)
    end
    if not properties[name] then
      names[#names + 1] = name
    end
    properties[name] = described
    if is_required then
      required[#required + 1] = name
    end
    return described
  end
  for _, field in ipairs(node.fields) do
    if not field.type.hidden then
      add(field, field.type.alias or field.name, not M.is_optional(field.type))
    end
  end
  for _, field in ipairs(mode == "output" and node.computed or {}) do
    add(field, field.type.alias or field.name, true).readOnly = true
  end
  local schema = generator.shape({ type = "object", properties = ordered.map(properties, names) })
  if #required > 0 then
    schema.required = required
  end
  if node.extra == "forbid" then
    schema.additionalProperties = false
  elseif node.extra == "allow" then
    schema.additionalProperties = true
  end
  return schema
end
writers.model = writers.object

local function holds(members, schema)
  local text = members[1] and ordered.encode(schema)
  for _, member in ipairs(members) do
    if ordered.encode(member) == text then
      return true
    end
  end
  return false
end

-- Adds a schema to those of a union: what is there twice is there once, and unions inside unions are one.
-- Returns null where it is among them.
local function add_member(members, schema)
  local null
  if schema.anyOf and has_one_key(schema) then
    for _, inner in ipairs(schema.anyOf) do
      null = add_member(members, inner) or null
    end
  elseif schema.type == "null" and has_one_key(schema) then
    null = schema
  elseif not holds(members, schema) then
    members[#members + 1] = schema
  end
  return null
end

-- Any of these schemas, as Python's typing has it: null comes last.
local function any_of(generator, schemas)
  local members, null = json.array({}), nil
  for _, schema in ipairs(schemas) do
    null = add_member(members, schema) or null
  end
  members[#members + 1] = null
  if #members == 1 then
    return members[1]
  end
  return generator.shape({ anyOf = members })
end

function writers.union(generator, node, mode)
  local schemas = {}
  for i, member in ipairs(node.members) do
    schemas[i] = generator:schema(member, mode)
  end
  return any_of(generator, schemas)
end

function writers.tagged(generator, node, mode)
  local schema = generator.shape({ oneOf = json.array({}) })
  local mapping, seen = generator.is_defining and {} or ordered.map(), {}
  for _, case in ipairs(node.cases) do
    local target = resolve(case[2])
    if not seen[target] then
      seen[target] = true
      schema.oneOf[#schema.oneOf + 1] = generator:schema(case[2], mode)
    end
    if is_definition(target) then
      generator:refer(mapping, case[1], target, mode)
    end
  end
  schema.discriminator = Discriminator({ propertyName = node.tag, mapping = mapping })
  return schema
end

--- Whether a client may leave a field or parameter of this type out.
---@param node perigee.Type
---@return boolean
function M.is_optional(node)
  return node.optional == true or rawget(node, "default") ~= nil
end

-- Writes what the options of `node` say about its use at one place.
local function annotate(schema, node)
  schema.title = node.title or schema.title
  schema.description = node.description or schema.description
  local default = rawget(node, "default")
  if default ~= nil and default ~= json.null and type(default) ~= "function" then
    if node.kind == "secret" then
      default = "**********"
    end
    schema.default = type(default) == "userdata" and tostring(default) or default
  end
  schema.deprecated = node.deprecated and true or schema.deprecated
  if node.examples then
    schema.examples = json.array(table.move(node.examples, 1, #node.examples, 1, {}))
  end
  if node.schema_extra then
    ordered.merge(schema, ordered.copy(node.schema_extra))
  end
  return schema
end

local HAS_PARTS = {
  array = true,
  set = true,
  tuple = true,
  map = true,
  object = true,
  model = true,
  union = true,
  tagged = true,
}

-- Whether input and output of a type are written differently. A type that contains itself always
-- counts, as it does for Pydantic, which compares references by name.
local function differs(node, known)
  node = resolve(node)
  if node.serialize then
    return true
  elseif not HAS_PARTS[node.kind] then
    return node.kind == "decimal"
  end
  if known[node] ~= nil then
    return known[node]
  end
  if node.computed and #node.computed > 0 then
    known[node] = true
    return true
  end
  known[node] = true -- while it is looked at: meeting it again is recursion
  local result = false
  local function look(child)
    result = differs(child, known) or result
  end
  for _, key in ipairs({ "item", "key", "value", "rest" }) do
    if node[key] then
      look(node[key])
    end
  end
  for _, item in ipairs(node.items or node.members or {}) do
    look(item)
  end
  for _, case in ipairs(node.cases or {}) do
    look(case[2])
  end
  for _, field in ipairs(node.fields or {}) do
    look(field.type)
  end
  known[node] = result
  return result
end

--- Makes `where[key]` the reference to a definition, once its name is known.
---@param where table
---@param key string
---@param node perigee.Type a model or named enum
---@param mode "input"|"output"
function Generator:refer(where, key, node, mode)
  if not self.separate and not node.computed then
    mode = "input"
  end
  local entry = self.entries[mode][node]
  if not entry then -- what looks the same both ways is written once
    local other = self.entries[mode == "input" and "output" or "input"][node]
    entry = other and not differs(node, self.differing) and other
    self.entries[mode][node] = entry or nil
  end
  if not entry then
    entry = { node = node, mode = mode }
    self.entries[mode][node] = entry -- before its schema is made: it may refer to itself
    self.list[#self.list + 1] = entry
    local shape, was_defining = self.shape, self.is_defining
    self.shape, self.is_defining = Schema, true
    entry.schema = annotate(writers[node.kind](self, node, mode), node)
    self.shape, self.is_defining = shape, was_defining
    entry.schema.title = node.title or node.name
  end
  where[key] = tostring(entry) -- tells it from others meanwhile
  self.references[#self.references + 1] = { where, key, entry }
end

--- The schema of a type. Definitions it needs are kept until definitions() is called.
---@param node perigee.Type
---@param mode "input"|"output"
---@return table
function Generator:schema(node, mode)
  local target = node
  if node.kind == "ref" then
    target = resolve(node)
  end
  local schema
  if mode == "output" and target.serialize then
    schema = self:schema(target.serialize.type, mode)
  elseif is_definition(target) then
    schema = self.shape({})
    self:refer(schema, "$ref", target, mode)
  elseif target ~= node then
    schema = self:schema(target, mode)
  else
    schema = writers[node.kind](self, node, mode)
  end
  if (node.optional or node.nullable) and schema.type ~= "null" then
    schema = any_of(self, { schema, self.shape({ type = "null" }) })
  end
  if target == node and is_definition(node) then
    return schema -- its options describe the definition
  end
  return annotate(schema, node)
end

--- The schema of a parameter, body or response: always with a title, unless it is a reference.
---@param node perigee.Type
---@param mode "input"|"output"
---@param name string
---@return table
function Generator:titled(node, mode, name)
  local schema = self:schema(node, mode)
  if not schema["$ref"] and not schema.title then
    schema.title = M.title(name)
    local titled = TITLED[getmetatable(schema)]
    return titled and titled(schema) or schema
  end
  return schema
end

-- "routers/items.lua:12" -> "routers__items__"
local function qualifier(node)
  local path = (node.source or ""):gsub(":%d+$", ""):gsub("%.lua$", ""):gsub("^%.?/", "")
  return (path:gsub("%W", "__")) .. "__"
end

-- Two models of the same name: as long as they look the same they are one, else each is named after
-- its file, and numbered as a last resort.
local function tell_apart(nodes, texts)
  local names, taken = {}, {}
  local distinct = {}
  for _, node in ipairs(nodes) do
    distinct[texts[node]] = true
  end
  local several = next(distinct, next(distinct)) ~= nil
  for _, node in ipairs(nodes) do
    local name = several and qualifier(node) .. node.name or node.name
    local unique, number = name, 1
    while taken[unique] and taken[unique] ~= texts[node] do
      number = number + 1
      unique = name .. "__" .. number
    end
    taken[unique] = texts[node]
    names[node] = unique
  end
  return names
end

--- Names all definitions, completes the references to them and returns them, sorted by name.
---@return table definitions
function Generator:definitions()
  local by_name, names = {}, {}
  for _, entry in ipairs(self.list) do
    local nodes = by_name[entry.node.name] or {}
    by_name[entry.node.name] = nodes
    if not nodes[entry.node] then
      nodes[entry.node] = true
      nodes[#nodes + 1] = entry.node
    end
  end
  for name, nodes in pairs(by_name) do
    if #nodes == 1 then
      names[nodes[1]] = name
    else
      local texts = {}
      for _, node in ipairs(nodes) do
        local entry = self.entries.input[node] or self.entries.output[node]
        texts[node] = ordered.encode(entry.schema)
      end
      for node, unique in pairs(tell_apart(nodes, texts)) do
        names[node] = unique
      end
    end
  end

  local definitions = {}
  for _, entry in ipairs(self.list) do
    local node = entry.node
    entry.name = names[node]
    if self.entries.input[node] and self.entries.output[node] and differs(node, self.differing) then
      entry.name = entry.name .. (entry.mode == "input" and "-Input" or "-Output")
    end
    definitions[entry.name] = definitions[entry.name] or entry.schema
  end
  for _, reference in ipairs(self.references) do
    reference[1][reference[2]] = self.prefix .. reference[3].name
  end
  return definitions
end

--- The schema of a type by itself, with the definitions it needs under `$defs`.
---@param node perigee.Type
---@param mode "input"|"output"
---@return table
function M.standalone(node, mode)
  local generator = M.new({ prefix = "#/$defs/" })
  local schema = generator:schema(node, mode)
  local definitions = generator:definitions()
  local uses = 0
  for _, reference in ipairs(generator.references) do
    uses = uses + (reference[3] == generator.list[1] and 1 or 0)
  end
  if node == (generator.list[1] or {}).node and uses == 1 then
    definitions[generator.list[1].name] = nil -- a model that nothing refers to stands at the top
    schema = generator.list[1].schema
  end
  if next(definitions) then
    schema["$defs"] = definitions
  end
  return schema
end

return M
