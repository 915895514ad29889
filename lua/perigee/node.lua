--- Nodes: what every declared type is made of, with its options checked. types.lua offers the
--- constructors to apps, model.lua makes those with fields, json_schema.lua describes them, and what
--- they mean is compiled and run by the host (host/schema.h).

local errors = require("perigee.errors")
local host = require("perigee.host")
local json = require("perigee.json")
local json_schema = require("perigee.json_schema")

local M = {}

---@class perigee.Type
---@field kind string
---@field seq integer
local Type = {}
Type.__index = Type
M.Type = Type

local sequence = 0

-- What every type takes, and what each kind takes besides.
local COMMON = {
  optional = "boolean",
  nullable = "boolean",
  default = "any",
  alias = "string",
  title = "string",
  description = "string",
  examples = "table",
  openapi_examples = "table",
  schema_extra = "table",
  deprecated = "boolean",
  hidden = "boolean",
  strict = "boolean",
  check = "function",
  check_before = "function",
  serialize = "table",
}

local function options(own)
  for name, expected in pairs(COMMON) do
    own[name] = expected
  end
  return own
end

local LENGTH = "integer"
local TEXT = options({
  min_length = LENGTH,
  max_length = LENGTH,
  pattern = "string",
  strip = "boolean",
  to_lower = "boolean",
  to_upper = "boolean",
})
local MOMENT = options({ gt = "any", ge = "any", lt = "any", le = "any" })
local ITEMS = options({ min_items = LENGTH, max_items = LENGTH })
local PLAIN = options({})

local OPTIONS = {
  string = TEXT,
  secret = TEXT,
  integer = options({
    gt = "number",
    ge = "number",
    lt = "number",
    le = "number",
    multiple_of = "number",
  }),
  number = options({
    gt = "number",
    ge = "number",
    lt = "number",
    le = "number",
    multiple_of = "number",
    allow_inf_nan = "boolean",
  }),
  decimal = options({
    gt = "number|string",
    ge = "number|string",
    lt = "number|string",
    le = "number|string",
    multiple_of = "number|string",
    max_digits = "integer",
    decimal_places = "integer",
  }),
  bytes = options({ min_length = LENGTH, max_length = LENGTH, encoding = "string" }),
  url = options({ max_length = LENGTH, schemes = "table", host_required = "boolean" }),
  datetime = MOMENT,
  date = MOMENT,
  time = MOMENT,
  duration = MOMENT,
  array = options({ min_items = LENGTH, max_items = LENGTH, unique = "boolean" }),
  set = ITEMS,
  map = ITEMS,
  tuple = options({ rest = "table" }),
  object = options({ extra = "string", computed = "table" }),
  model = options({ extra = "string", computed = "table" }),
  file = options({ max_bytes = "integer", types = "table" }),
}

local FUNCTIONS = { check = true, check_before = true, computed = true, serialize = true }
--- What the options of a kind are checked against.
---@param kind string
---@return table<string, string>
function M.options_of(kind)
  return OPTIONS[kind] or PLAIN
end

local EXTRA = { ignore = true, forbid = true, allow = true }
local MOMENTS = { datetime = true, date = true, time = true, duration = true }
local LISTS = { array = true, set = true, tuple = true }
local ENCODINGS = { utf8 = true, base64 = true, hex = true }

--- Whether a value is a type.
---@param value any
---@return boolean
function M.is_type(value)
  return type(value) == "table" and getmetatable(value) == Type
end

--- The type that a value is, or that a class says it has: its metafield `__schema`. Nil for any other.
---@param value any
---@return perigee.Type?
function M.of(value)
  if M.is_type(value) then
    return value
  end
  local metatable = getmetatable(value)
  local schema = type(metatable) == "table" and rawget(metatable, "__schema")
  return M.is_type(schema) and schema or nil
end

--- Raises unless a value is a type, or a class that has one; returns the type.
---@param what string
---@param value any
---@return perigee.Type
function M.check(what, value)
  local node = M.of(value)
  if not node then
    errors.raise("%s: a type such as t.string is needed, not %s", what, type(value))
  end
  return node
end

--- Makes a node; its sequence number says when it was written.
---@param kind string
---@param fields table becomes the node
---@return perigee.Type
function M.new(kind, fields)
  sequence = sequence + 1
  fields.kind = kind
  fields.seq = sequence
  return setmetatable(fields, Type)
end

--- Adds a function that decides about values.
---@param node perigee.Type
---@param when "before"|"after"
---@param fn? function
function M.add_check(node, when, fn)
  if fn then
    local checks = table.move(node.checks or {}, 1, #(node.checks or {}), 1, {})
    checks[#checks + 1] = { when = when, fn = fn }
    node.checks = checks
  end
end

local function check_bounds(what, node, least, most)
  if node[least] and node[most] and node[least] > node[most] then
    errors.raise("%s: %s is greater than %s: nothing would fit", what, least, most)
  end
end

-- The smallest and the greatest number that the bounds of a number allow, and whether they are allowed
-- themselves. Those of times are texts, which the host compiles.
local function limit(ge, gt, is_tighter)
  ge, gt = tonumber(ge), tonumber(gt)
  if gt and (not ge or is_tighter(gt, ge) or gt == ge) then
    return gt, false
  end
  return ge, true
end

local function is_greater(a, b)
  return a > b
end

local function is_less(a, b)
  return a < b
end

local function check_range(what, node)
  local least, with_least = limit(node.ge, node.gt, is_greater)
  local most, with_most = limit(node.le, node.lt, is_less)
  if not least or not most then
    return
  end
  if node.kind == "integer" then -- integers between bounds that are none, or not allowed
    least = with_least and math.ceil(least) or math.floor(least) + 1
    most = with_most and math.floor(most) or math.ceil(most) - 1
    with_least, with_most = true, true
  end
  if least > most or (least == most and not (with_least and with_most)) then
    errors.raise("%s: no number is within gt, ge, lt and le: nothing would fit", what)
  end
end

local function check_file(what, node)
  if node.max_bytes and node.max_bytes < 0 then
    errors.raise("%s: max_bytes must be 0 or more, not %d", what, node.max_bytes)
  end
  for i, name in ipairs(node.types or {}) do
    if type(name) ~= "string" or not name:find("^[%w!#$&^_.+-]+/[%w!#$&^_.+*-]+$") then
      errors.raise('%s: types[%d] must be a media type such as "image/png" or "image/*"', what, i)
    end
  end
end

-- What a value is written as: { type, function(value) }.
local function read_serializer(what, node, pair)
  if node.kind == "model" or node.kind == "object" then
    errors.raise("%s: serialize is for the types of fields: models have computed fields", what)
  elseif type(pair[2]) ~= "function" then
    errors.raise("%s: serialize must be { type, function }", what)
  end
  return { type = M.check(what .. ": serialize", pair[1]), fn = pair[2] }
end

local NAMES = {} -- "t.string" by kind

local function name_of(kind)
  local name = NAMES[kind] or "t." .. kind
  NAMES[kind] = name
  return name
end

-- What options say together with others, of the node as it is now.
local function check_together(what, node, given)
  if given.extra and not EXTRA[given.extra] then
    errors.raise("%s: extra must be ignore, forbid or allow, not '%s'", what, given.extra)
  end
  if given.encoding and not ENCODINGS[given.encoding] then
    errors.raise("%s: encoding must be utf8, base64 or hex, not '%s'", what, given.encoding)
  end
  if given.multiple_of and (tonumber(given.multiple_of) or 0) <= 0 then
    errors.raise("%s: multiple_of must be greater than 0", what)
  end
  if given.min_length or given.max_length then
    check_bounds(what, node, "min_length", "max_length")
  end
  if given.min_items or given.max_items then
    check_bounds(what, node, "min_items", "max_items")
  end
  if node.kind == "file" then
    check_file(what, node)
  end
  if (given.gt or given.ge or given.lt or given.le) and not MOMENTS[node.kind] then
    check_range(what, node)
  end
end

--- Puts checked options on a node that nobody has seen yet.
---@param node perigee.Type
---@param given? table
---@return perigee.Type node
function M.apply(node, given)
  if given == nil then
    return node
  end
  local what = name_of(node.kind)
  if type(given) ~= "table" or M.is_type(given) then
    errors.raise(
      "%s: options must be a table, not %s",
      what,
      M.is_type(given) and "a type" or type(given)
    )
  end
  errors.check_options(what, given, OPTIONS[node.kind] or PLAIN)
  for name, value in pairs(given) do
    if not FUNCTIONS[name] then
      node[name] = value
    end
  end
  if LISTS[node.kind] and type(given.default) == "table" and not getmetatable(given.default) then
    node.default = json.array(table.move(given.default, 1, #given.default, 1, {})) -- {} means []
  end
  M.add_check(node, "before", given.check_before)
  M.add_check(node, "after", given.check)
  if given.serialize then
    node.serialize = read_serializer(what, node, given.serialize)
  end
  check_together(what, node, given)
  return node
end

--- The same type with more options. A model stays the same model: the result refers to it.
---@param given? table
---@return perigee.Type
function Type:__call(given)
  if self.kind == "model" or (self.kind == "enum" and self.name) then
    local model = self
    local function target()
      return model
    end
    return M.apply(M.new("ref", { target = target, model = model }), given)
  end
  local copy = {}
  for key, value in pairs(self) do
    copy[key] = value
  end
  return M.apply(M.new(self.kind, copy), given)
end

-- Programs of types used by themselves, compiled when first used.
local programs = setmetatable({}, { __mode = "k" })

local function program_of(node)
  local program = programs[node]
  if not program then
    program = host.schema.compile(node)
    programs[node] = program
  end
  return program
end

-- An object with attributes (a row of a database, an instance of a class) as the table of those that a
-- model asks for. Plain tables are what they are.
local function attributes_of(node, value)
  while node.kind == "ref" do
    node = node.target()
  end
  if node.item and type(value) == "table" then
    local list = {}
    for i, item in ipairs(value) do
      list[i] = attributes_of(node.item, item)
    end
    return next(list) ~= nil and list or value
  elseif not node.fields then
    return value
  end
  local metatable = type(value) ~= "string" and getmetatable(value)
  local is_object = type(metatable) == "table" and metatable.__index ~= nil
  if not is_object or type(value.fields_set) == "function" then
    return value
  end
  local plain = json.object({})
  for _, field in ipairs(node.fields) do
    local attribute = value[field.name]
    if attribute ~= nil then
      plain[field.name] = attributes_of(field.type, attribute)
    end
  end
  return plain
end

--- Validates and converts a Lua value. Objects with attributes (userdata or tables with `__index`) count
--- as the models whose fields they have.
---@param value any
---@return any value nil when it is not valid
---@return table[]? errors list of { type, loc, msg, input, ctx }
function Type:validate(value)
  return program_of(self):validate(attributes_of(self, value))
end

--- Validates and converts JSON text.
---@param text string
---@return any value nil when it is not valid
---@return table[]? errors
function Type:validate_json(text)
  return program_of(self):validate_json(text)
end

local ENCODE_OPTIONS = {
  by_alias = "boolean",
  exclude_unset = "boolean",
  exclude_defaults = "boolean",
  exclude_none = "boolean",
  include = "table",
  exclude = "table",
}

--- Writes a value as JSON text: fields filtered and in their order, defaults filled in.
---@param value any
---@param given? table the same as an operation's `response_options`; compiled at each call
---@return string? text nil when the value does not fit
---@return string? message
function Type:encode(value, given)
  if given then
    errors.check_options("type:encode", given, ENCODE_OPTIONS)
    return host.schema.compile(self, given):encode(value)
  end
  return program_of(self):encode(value)
end

local function merge(node, value, patch)
  while node.kind == "ref" do
    node = node.target()
  end
  if not node.fields or type(patch) ~= "table" or type(value) ~= "table" then
    return patch
  end
  local merged = json.object({})
  for key, item in pairs(value) do
    merged[key] = item
  end
  local was_set = type(patch.fields_set) == "function" and patch:fields_set() or patch
  local fields, names = {}, {}
  for _, field in ipairs(node.fields) do
    fields[field.name] = field
    names[field.type.alias or field.name] = field.name
  end
  for key in pairs(was_set) do
    local item = rawget(patch, key)
    key = fields[key] and key or names[key] or key
    if item == json.null then
      item = nil
    end
    if fields[key] and item ~= nil then
      item = merge(fields[key].type, merged[key], item)
    end
    merged[key] = item
  end
  return merged
end

--- A model's value with the fields of a patch in place of its own (RFC 7396): those that the patch does not
--- have stay, those that are null there are gone, objects are merged inside. Validated as a whole. A patch may
--- name fields as here or as on the wire (`alias`).
---@param value table
---@param patch table plain, or a value of this model's partial()
---@return any value nil when the result is not valid
---@return table[]? errors
function Type:merge(value, patch)
  if not self.fields then
    errors.raise("type:merge: only models can be merged, not t.%s", self.kind)
  end
  return self:validate(merge(self, value, patch))
end

--- The JSON Schema, with models under `$defs`.
---@param mode? "input"|"output" "input" unless given
---@return table
function Type:json_schema(mode)
  return json_schema.standalone(self, mode or "input")
end

return M
