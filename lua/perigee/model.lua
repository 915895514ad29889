--- Models: types with named fields, and models made from models.

local errors = require("perigee.errors")
local node_of = require("perigee.node")

local Type = node_of.Type

local M = {}

-- Sorts by sequence number, then by name. Fields are few: faster than table.sort with a function.
local function sort_fields(fields)
  for i = 2, #fields do
    local field = fields[i]
    local seq, name = field.type.seq, field.name
    local j = i - 1
    while j > 0 do
      local other = fields[j]
      local other_seq = other.type.seq
      if other_seq < seq or (other_seq == seq and other.name < name) then
        break
      end
      fields[j + 1] = other
      j = j - 1
    end
    fields[j + 1] = field
  end
end

--- The fields of a model: a table of types in the order of their sequence numbers, or a list of
--- { name, type } pairs as it stands.
---@param what string
---@param declared table
---@return { name: string, type: perigee.Type }[]
function M.read_fields(what, declared)
  local fields, seen = {}, {}
  if type(declared) ~= "table" or node_of.of(declared) then
    errors.raise("%s: fields must be a table of types", what)
  end
  if #declared > 0 then
    for i, pair in ipairs(declared) do
      if type(pair) ~= "table" then
        errors.raise("%s: a list of fields must hold { name, type } pairs", what)
      end
      fields[i] = { name = pair[1], type = pair[2] }
    end
  else
    for name, node in pairs(declared) do
      fields[#fields + 1] = { name = name, type = node }
    end
  end
  for _, field in ipairs(fields) do
    if type(field.name) ~= "string" then
      errors.raise("%s: field names must be strings, not %s", what, tostring(field.name))
    end
    field.type = node_of.of(field.type)
      or node_of.check(what .. ": field '" .. field.name .. "'", field.type)
    if seen[field.name] then
      errors.raise("%s: field '%s' is declared twice", what, field.name)
    end
    seen[field.name] = true
  end
  if #declared == 0 then
    sort_fields(fields)
  end
  return fields
end

-- Fields that are computed when a value is encoded: { name = { type, function(value) } }.
local function read_computed(what, declared)
  local nodes, functions = {}, {}
  for name, pair in pairs(declared) do
    if type(pair) ~= "table" or type(pair[2]) ~= "function" then
      errors.raise("%s: computed '%s' must be { type, function }", what, tostring(name))
    end
    nodes[name], functions[name] = pair[1], pair[2]
  end
  local computed = M.read_fields(what, nodes)
  for _, field in ipairs(computed) do
    field.fn = functions[field.name]
  end
  return computed
end

--- Makes a node with fields.
---@param kind "object"|"model"
---@param what string
---@param fields { name: string, type: perigee.Type }[]
---@param given? table
---@return perigee.Type
function M.new(kind, what, fields, given)
  local node = node_of.apply(node_of.new(kind, { fields = fields }), given)
  node.computed = given and given.computed and read_computed(what, given.computed) or nil
  node.source = errors.caller()
  return node
end

local function check_model(method, node)
  if node.kind ~= "model" then
    errors.raise("%s: only models have it, not t.%s", method, node.kind)
  end
end

--- Raises unless a name can stand in a document.
---@param what string
---@param name any
function M.check_name(what, name)
  if type(name) ~= "string" or not name:find("^[%w._-]+$") then
    errors.raise(
      "%s: the name must be a string of letters, digits, '.', '-' and '_', not %s",
      what,
      type(name) == "string" and ("%q"):format(name) or type(name)
    )
  end
end

local function derive(method, model, name, fields, given)
  M.check_name(method, name)
  local node = M.new("model", method, fields, given)
  node.name = name
  node.extra = node.extra or model.extra
  node.computed = node.computed or model.computed
  if node.strict == nil then
    node.strict = model.strict
  end
  return node
end

-- The names of fields as a set.
local function wanted(method, model, new_name, names)
  check_model(method, model)
  M.check_name(method, new_name)
  if type(names) ~= "table" or (#names == 0 and next(names) ~= nil) then
    errors.raise(
      '%s: a list of field names is needed, as in %s("%s", { "id" })',
      method,
      method,
      new_name
    )
  end
  local set = {}
  for _, name in ipairs(names) do
    set[name] = true
  end
  local known = {}
  for _, field in ipairs(model.fields) do
    known[field.name] = true
  end
  for name in pairs(set) do
    if not known[name] then
      local nearest = errors.nearest(name, known)
      errors.raise(
        "%s: %s has no field '%s'%s",
        method,
        tostring(model.name),
        tostring(name),
        nearest and " (did you mean '" .. nearest .. "'?)" or ""
      )
    end
  end
  return set
end

local function filter(model, keep)
  local fields = {}
  for _, field in ipairs(model.fields) do
    if keep(field.name) then
      fields[#fields + 1] = field
    end
  end
  return fields
end

--- A model with only these fields.
---@param name string
---@param names string[]
---@param given? table options of the new model
---@return perigee.Type
function Type:pick(name, names, given)
  local set = wanted("model:pick", self, name, names)
  return derive(
    "model:pick",
    self,
    name,
    filter(self, function(field)
      return set[field]
    end),
    given
  )
end

--- A model without these fields.
---@param name string
---@param names string[]
---@param given? table options of the new model
---@return perigee.Type
function Type:omit(name, names, given)
  local set = wanted("model:omit", self, name, names)
  return derive(
    "model:omit",
    self,
    name,
    filter(self, function(field)
      return not set[field]
    end),
    given
  )
end

--- A model with more fields; one of the same name replaces the field where it stands. Checks are kept.
---@param name string
---@param declared table
---@param given? table options of the new model
---@return perigee.Type
function Type:extend(name, declared, given)
  check_model("model:extend", self)
  M.check_name("model:extend", name)
  local fields, at = {}, {}
  for i, field in ipairs(self.fields) do
    fields[i], at[field.name] = field, i
  end
  for _, field in ipairs(M.read_fields("model:extend", declared)) do
    fields[at[field.name] or #fields + 1] = field
  end
  local node = derive("model:extend", self, name, fields, given)
  local own = node.checks
  node.checks = self.checks
  for _, check in ipairs(own or {}) do
    node_of.add_check(node, check.when, check.fn)
  end
  return node
end

--- A model whose fields may all be absent, for PATCH: value:fields_set() tells which were sent.
---@param name string
---@param given? table options of the new model
---@return perigee.Type
function Type:partial(name, given)
  check_model("model:partial", self)
  local fields = {}
  for i, field in ipairs(self.fields) do
    local node = field.type({ optional = true })
    node.default = nil
    fields[i] = { name = field.name, type = node }
  end
  return derive("model:partial", self, name, fields, given)
end

return M
