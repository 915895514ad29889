--- Declared inputs: what an operation or dependency says under params, query, headers, cookies, body,
--- form and files, as the groups that host/schema.h validates. Nothing here runs per request.

local errors = require("perigee.errors")
local model = require("perigee.model")
local node_of = require("perigee.node")
local types = require("perigee.types")

local M = {}

-- The options that declare inputs; types are tables, too. Without `convert_underscores` (true unless
-- given) a header is looked up by its very name.
M.options = {
  params = "table",
  query = "table",
  headers = "table",
  cookies = "table",
  body = "table",
  form = "table",
  files = "table",
  convert_underscores = "boolean",
}

---@class perigee.InputGroup
---@field source "path"|"query"|"header"|"cookie"|"body"|"form"
---@field as string the key of the request under which the values are read
---@field fields? { name: string, type: perigee.Type }[] separate values
---@field model? perigee.Type the one value
---@field convert_underscores? boolean

-- In the order in which FastAPI collects errors.
local SOURCES = {
  { key = "params", source = "path" },
  { key = "query", source = "query" },
  { key = "headers", source = "header" },
  { key = "cookies", source = "cookie" },
  { key = "body", source = "body" },
  { key = "form", source = "form" },
}

local CONTAINERS =
  { model = true, object = true, map = true, tagged = true, file = true, any = true }

local function target_of(node)
  while node.kind == "ref" do
    node = node.target()
  end
  return node
end

-- A parameter is text; what has fields of its own cannot be one (a list of texts can).
local function check_parameter(what, field)
  if field.type.kind ~= "any" and CONTAINERS[field.type.kind] then
    errors.raise("%s: '%s' cannot be a t.%s, which is no text", what, field.name, field.type.kind)
  end
end

local function read_group(what, key, source, declared)
  what = what .. ": " .. key
  local group = { source = source, as = key }
  if node_of.is_type(declared) then
    local kind = target_of(declared).kind
    if source ~= "body" and kind ~= "model" and kind ~= "object" then
      errors.raise("%s: a model or a table of types is needed, not a t.%s", what, kind)
    end
    group.model = declared
    return group
  end
  group.fields = model.read_fields(what, declared)
  if source ~= "body" and source ~= "form" then
    for _, field in ipairs(group.fields) do
      check_parameter(what, field)
    end
  end
  return #group.fields > 0 and group or nil
end

-- Form fields and files arrive together and are validated together, in their written order.
local function read_form(what, options)
  local form = options.form and read_group(what, "form", "form", options.form)
  if not options.files then
    return form
  end
  if form and form.model then
    errors.raise("%s: form is a model, so files must be fields of it", what)
  end
  local files = read_group(what, "files", "form", options.files)
  if not files or files.model then
    errors.raise("%s: files must be a table of types", what)
  end
  files.as = "form"
  for _, field in ipairs(files.fields) do
    field.file = true
  end
  if form then
    local fields = table.move(form.fields, 1, #form.fields, #files.fields + 1, files.fields)
    table.sort(fields, function(a, b)
      return a.type.seq < b.type.seq
    end)
  end
  return files
end

--- Reads the declared inputs of an operation or dependency.
---@param what string
---@param options table
---@return perigee.InputGroup[]
function M.read(what, options)
  if options.body and (options.form or options.files) then
    errors.raise("%s: a request has either a body or a form", what)
  end
  local groups = {}
  for _, source in ipairs(SOURCES) do
    if source.key == "form" then
      groups[#groups + 1] = (options.form or options.files) and read_form(what, options) or nil
    elseif options[source.key] then
      local group = read_group(what, source.key, source.source, options[source.key])
      if group and source.key == "headers" then
        group.convert_underscores = options.convert_underscores
      end
      groups[#groups + 1] = group
    end
  end
  return groups
end

--- The parameters of a path in their order: { name, converter } with "" for none. The runtime expressions
--- in the paths of callbacks, such as {$request.body.id}, are none.
---@param path string
---@return { name: string, converter: string }[]
function M.path_parameters(path)
  local list = {}
  for name, converter in path:gmatch("{([^$}:][^}:]*):?([^}]*)}") do
    list[#list + 1] = { name = name, converter = converter }
  end
  return list
end

local CONVERTED = { int = "integer", float = "number", uuid = "uuid" }

--- The parameters of a path that nobody declared, as what their converter says. Raises for a declared
--- one that is not in the path.
---@param what string
---@param groups perigee.InputGroup[]
---@param path string with all prefixes
---@return { name: string, type: perigee.Type }[]
function M.complete_path(what, groups, path)
  local in_path, declared, implicit = {}, {}, {}
  for _, parameter in ipairs(M.path_parameters(path)) do
    in_path[parameter.name] = parameter
  end
  for _, group in ipairs(groups) do
    for _, field in
      ipairs(group.source == "path" and (group.fields or target_of(group.model).fields) or {})
    do
      local name = field.type.alias or field.name
      declared[name] = true
      if not in_path[name] then
        local nearest = errors.nearest(name, in_path)
        local hint = nearest and (" (did you mean '%s'?)"):format(nearest) or ""
        error(("%s: params: '%s' is not in the path%s"):format(what, name, hint), 0)
      end
    end
  end
  for _, parameter in ipairs(M.path_parameters(path)) do
    if not declared[parameter.name] then
      local kind = CONVERTED[parameter.converter] or "string"
      implicit[#implicit + 1] = { name = parameter.name, type = types[kind] }
    end
  end
  return implicit
end

--- Whether a type is, or contains, an uploaded file.
---@param node perigee.Type
---@return boolean
function M.has_file(node)
  node = target_of(node)
  if node.kind == "file" then
    return true
  end
  if node.item then
    return M.has_file(node.item)
  end
  for _, member in ipairs(node.members or {}) do
    if M.has_file(member) then
      return true
    end
  end
  for _, field in ipairs(node.fields or {}) do
    if field.file or M.has_file(field.type) then
      return true
    end
  end
  return false
end

return M
