--- What changed between two OpenAPI documents that breaks clients written for the first one. Pure. What
--- clients send may only be asked to be less, what they get may only become more.

local sorted_keys = require("perigee.sorted_keys")

local M = {}

local METHODS = { "get", "put", "post", "delete", "options", "head", "patch", "trace" }

local Diff = {}
Diff.__index = Diff

function Diff:add(where, format, ...)
  self.list[#self.list + 1] = where .. ": " .. format:format(...)
end

local function resolve(document, schema)
  local seen = 0
  while schema and schema["$ref"] and seen < 32 do
    local name = schema["$ref"]:match("^#/components/schemas/(.+)$")
    schema = name and document.components and document.components.schemas[name]
    seen = seen + 1
  end
  return schema or {}
end

local function set_of(list)
  local set = {}
  for _, value in ipairs(list or {}) do
    set[value] = true
  end
  return set
end

-- All JSON types a schema admits, as a set; nil when it admits any.
local function types_of(document, schema)
  schema = resolve(document, schema)
  local members = schema.anyOf or schema.oneOf
  if members then
    local all = {}
    for _, member in ipairs(members) do
      local types = types_of(document, member)
      if not types then
        return nil
      end
      for name in pairs(types) do
        all[name] = true
      end
    end
    return all
  end
  if type(schema.type) == "table" then
    return set_of(schema.type)
  end
  return schema.type and { [schema.type] = true } or nil
end

-- Whether everything of type `name` is also of one of `types`.
local function admits(types, name)
  return types == nil or types[name] or (name == "integer" and types.number) or false
end

-- The member of a nullable schema that is not null, so that its inside can be compared.
local function inside(document, schema)
  schema = resolve(document, schema)
  local found
  for _, member in ipairs(schema.anyOf or {}) do
    if resolve(document, member).type ~= "null" then
      if found then
        return schema
      end
      found = member
    end
  end
  return found and resolve(document, found) or schema
end

local TIGHTER = {
  maxLength = "lower",
  maximum = "lower",
  exclusiveMaximum = "lower",
  maxItems = "lower",
  minLength = "higher",
  minimum = "higher",
  exclusiveMinimum = "higher",
  minItems = "higher",
}

function Diff:bounds(where, old, new)
  for _, name in ipairs(sorted_keys(TIGHTER)) do
    local before, after = old[name], new[name]
    if after and after ~= before then
      local tighter = before == nil
        or (TIGHTER[name] == "lower" and after < before)
        or (TIGHTER[name] == "higher" and after > before)
      if tighter then
        self:add(where, "%s is now %s", name, tostring(after))
      end
    end
  end
  if new.pattern and new.pattern ~= old.pattern then
    self:add(where, "the pattern is now %s", new.pattern)
  end
end

-- `sends` is true for what clients send and false for what they get.
function Diff:schema(where, old, new, sends, depth)
  if depth > 16 then
    return -- recursion: everything above was compared
  end
  local old_types, new_types = types_of(self.old, old), types_of(self.new, new)
  local narrow, wide = old_types, new_types
  if not sends then
    narrow, wide = new_types, old_types
  end
  if wide then
    for _, name in ipairs(narrow and sorted_keys(narrow) or { "any type" }) do
      if not admits(wide, name) then
        self:add(where, sends and "no longer takes %s" or "may now be %s", name)
      end
    end
  end
  old, new = inside(self.old, old), inside(self.new, new)
  local from, to = sends and old or new, sends and new or old
  if to.enum then
    local known = set_of(to.enum)
    for _, value in ipairs(from.enum or {}) do
      if not known[value] then
        self:add(where, sends and "no longer takes '%s'" or "may now be '%s'", tostring(value))
      end
    end
  end
  if sends then
    self:bounds(where, old, new)
  end
  if old.items and new.items then
    self:schema(where .. "[]", old.items, new.items, sends, depth + 1)
  end
  self:properties(where, old, new, sends, depth)
end

-- Members that are not declared: whether they are taken, and what they are.
function Diff:additional(where, old, new, sends, depth)
  local before, after = old.additionalProperties, new.additionalProperties
  if sends and after == false and before ~= false and old.type == "object" then
    self:add(where, "no longer takes fields that are not declared")
  end
  if type(before) == "table" and type(after) == "table" then
    self:schema(where .. "{}", before, after, sends, depth + 1)
  end
end

function Diff:properties(where, old, new, sends, depth)
  self:additional(where, old, new, sends, depth)
  local before, after = set_of(old.required), set_of(new.required)
  if sends then
    for _, name in ipairs(sorted_keys(after)) do
      if not before[name] then
        self:add(where .. "." .. name, "is now required")
      end
    end
  else
    for _, name in ipairs(sorted_keys(before)) do
      if not after[name] and (new.properties or {})[name] then
        self:add(where .. "." .. name, "may now be missing")
      end
    end
  end
  for _, name in ipairs(sorted_keys(old.properties)) do
    local property = (new.properties or {})[name]
    if property then
      self:schema(where .. "." .. name, old.properties[name], property, sends, depth + 1)
    elseif not sends then
      self:add(where .. "." .. name, "is gone")
    elseif new.additionalProperties == false then
      self:add(where .. "." .. name, "is no longer taken")
    end
  end
end

local function parameters_of(operation)
  local map = {}
  for _, parameter in ipairs(operation.parameters or {}) do
    map[parameter["in"] .. " parameter " .. parameter.name] = parameter
  end
  return map
end

function Diff:parameters(where, old, new)
  local before, after = parameters_of(old), parameters_of(new)
  for _, key in ipairs(sorted_keys(after)) do
    local parameter, known = after[key], before[key]
    if parameter.required and not (known and known.required) then
      self:add(where .. ": " .. key, "is now required")
    end
    if known and known.schema and parameter.schema then
      self:schema(where .. ": " .. key, known.schema, parameter.schema, true, 0)
    end
  end
end

function Diff:bodies(where, old, new)
  local before, after = old.requestBody, new.requestBody
  if after and after.required and not (before and before.required) then
    self:add(where, "a body is now required")
  end
  if before and not after then
    self:add(where, "the body is no longer taken")
  end
  for _, kind in ipairs(sorted_keys(before and before.content)) do
    local media = after and after.content[kind]
    if media then
      self:schema(where .. ": body", before.content[kind].schema or {}, media.schema or {}, true, 0)
    elseif after then
      self:add(where, "a body of %s is no longer taken", kind)
    end
  end
end

function Diff:responses(where, old, new)
  for _, status in ipairs(sorted_keys(old.responses)) do
    local before, after = old.responses[status], new.responses[status]
    local place = where .. ": " .. status
    if not after then
      if status:find("^2") then
        self:add(place, "is no longer answered")
      end
    else
      for _, kind in ipairs(sorted_keys(before.content)) do
        local media = after.content and after.content[kind]
        if media then
          self:schema(place, before.content[kind].schema or {}, media.schema or {}, false, 0)
        else
          self:add(place, "%s is no longer answered", kind)
        end
      end
    end
  end
end

function Diff:security(where, old, new)
  if new.security and #new.security > 0 and not (old.security and #old.security > 0) then
    self:add(where, "now needs credentials")
  end
end

--- The breaking changes, one line each; an empty list when clients of `old` can go on.
---@param old table
---@param new table
---@return string[]
function M.compare(old, new)
  local diff = setmetatable({ old = old, new = new, list = {} }, Diff)
  for _, path in ipairs(sorted_keys(old.paths)) do
    for _, method in ipairs(METHODS) do
      local before = old.paths[path][method]
      local after = (new.paths[path] or {})[method]
      local where = method:upper() .. " " .. path
      if before and not after then
        diff:add(where, "is gone")
      elseif before then
        diff:parameters(where, before, after)
        diff:bodies(where, before, after)
        diff:responses(where, before, after)
        diff:security(where, before, after)
      end
    end
  end
  return diff.list
end

return M
