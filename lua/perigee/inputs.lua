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

local CONTAINERS = { model = true, object = true, map = true, tagged = true, file = true }

local LISTS = { array = true, set = true, tuple = true }

local function target_of(node)
  while node.kind == "ref" do
    node = node.target()
  end
  return node
end

local function read_group(what, key, source, declared, place)
  what = what .. ": " .. key
  local group = { source = source, as = key, what = what, at = place }
  local node = node_of.of(declared)
  if node then
    local kind = target_of(node).kind
    if source ~= "body" and kind ~= "model" and kind ~= "object" then
      errors.raise("%s: a model or a table of types is needed, not a t.%s", what, kind)
    end
    group.model = node
    return group
  end
  group.fields = model.read_fields(what, declared)
  return #group.fields > 0 and group or nil
end

-- Form fields and files arrive together and are validated together, in their written order: as lists have
-- it, else as their types were made.
local function read_form(what, options, place)
  local form = options.form and read_group(what, "form", "form", options.form, place)
  if not options.files then
    return form
  end
  if form and form.model then
    errors.raise("%s: form is a model, so files must be fields of it", what)
  end
  local files = read_group(what, "files", "form", options.files, place)
  if not files or files.model then
    errors.raise("%s: files must be a table of types", what)
  end
  files.as = "form"
  for _, field in ipairs(files.fields) do
    field.file = true
  end
  if form then
    local fields = table.move(files.fields, 1, #files.fields, #form.fields + 1, form.fields)
    if #options.form == 0 and #options.files == 0 then
      table.sort(fields, function(a, b)
        return a.type.seq < b.type.seq
      end)
    end
    files.fields = fields
  end
  return files
end

--- Reads the declared inputs of an operation or dependency.
---@param what string
---@param options table
---@param place string where they are declared
---@return perigee.InputGroup[]
function M.read(what, options, place)
  if options.body and (options.form or options.files) then
    errors.raise("%s: a request has either a body or a form", what)
  end
  local groups = {}
  for _, source in ipairs(SOURCES) do
    if source.key == "form" then
      groups[#groups + 1] = (options.form or options.files) and read_form(what, options, place)
        or nil
    elseif options[source.key] then
      local group = read_group(what, source.key, source.source, options[source.key], place)
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
---@param of_host? string the parameter of the host
---@return { name: string, type: perigee.Type }[]
function M.complete_path(what, groups, path, of_host)
  local in_path, declared, implicit = {}, {}, {}
  local parameters = M.path_parameters(path)
  if of_host then
    parameters[#parameters + 1] = { name = of_host, converter = "" }
  end
  for _, parameter in ipairs(parameters) do
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
  for _, parameter in ipairs(parameters) do
    if not declared[parameter.name] then
      local kind = CONVERTED[parameter.converter] or "string"
      implicit[#implicit + 1] = { name = parameter.name, type = types[kind] }
    end
  end
  return implicit
end

local NONE = {}
local PARTS = { "item", "value", "rest" }

-- Types of which is known that they contain no file: many operations share a model, and models share others.
local without_files = setmetatable({}, { __mode = "k" })

-- The same as has_file(); `seen` is what was looked at on the way: types may contain themselves.
local function holds_file(node, seen)
  node = target_of(node)
  if node.kind == "file" then
    return true
  elseif seen[node] or without_files[node] then
    return false
  end
  seen[node] = true
  for _, key in ipairs(PARTS) do
    if node[key] and holds_file(node[key], seen) then
      return true
    end
  end
  for _, member in ipairs(node.items or node.members or NONE) do
    if holds_file(member, seen) then
      return true
    end
  end
  for _, field in ipairs(node.fields or NONE) do
    if field.file or holds_file(field.type, seen) then
      return true
    end
  end
  return false
end

--- Whether a type is, or contains, an uploaded file.
---@param node perigee.Type
---@return boolean
function M.has_file(node)
  local seen = {}
  if holds_file(node, seen) then
    return true
  end
  for one in pairs(seen) do
    without_files[one] = true
  end
  return false
end

-- The kind of what in `node` is no text, and whether it is inside; lists may hold texts, and unions both.
local function misfit(node, in_list)
  node = target_of(node)
  if CONTAINERS[node.kind] or (LISTS[node.kind] and in_list) then
    return node.kind
  end
  local kind
  in_list = in_list or LISTS[node.kind]
  for _, key in ipairs(PARTS) do
    kind = kind or (node[key] and misfit(node[key], in_list))
  end
  for _, part in ipairs(node.items or node.members or NONE) do
    kind = kind or misfit(part, in_list)
  end
  return kind, kind ~= nil
end

-- A parameter is text; what has fields of its own cannot be one (a list of texts can).
local function check_parameter(field)
  local kind, is_inside = misfit(field.type)
  if kind and not is_inside then
    return ("'%s' cannot be a t.%s, which is no text"):format(field.name, kind)
  elseif kind then
    local format = "'%s' cannot hold a t.%s, which is no text: declare it in the body"
    return format:format(field.name, kind)
  end
end

local function check_no_file(field)
  if M.has_file(field.type) then
    return ("'%s' is a file, which comes in a form: files = { %s = t.file }"):format(
      field.name,
      field.name
    )
  end
end

local FILES = { file = true, bytes = true, any = true, null = true }

-- What is declared under `files` is a file, its bytes, or a list of them.
local function check_file(field)
  if not field.file then
    return nil
  end
  local node = target_of(field.type)
  while LISTS[node.kind] and node.item do
    node = target_of(node.item)
  end
  for _, member in ipairs(node.members or { node }) do
    local kind = target_of(member).kind
    if not FILES[kind] then
      local format = "'%s' must be a t.file, t.bytes or t.array of them, not a t.%s (what is no "
        .. "file is declared under form)"
      return format:format(field.name, kind)
    end
  end
end

local CHECKS = { body = check_no_file, form = check_file }

--- Raises for inputs that no request can bring. Called when the app is built: what a t.ref stands for
--- may not be there before.
---@param groups perigee.InputGroup[]
function M.check(groups)
  for _, group in ipairs(groups) do
    local fields = group.fields or target_of(group.model).fields
    if not fields then -- a body of one value
      fields = { { name = "body", type = group.model } }
    end
    for _, field in ipairs(fields) do
      local message = (CHECKS[group.source] or check_parameter)(field)
      if message then
        error(("%s: %s: %s"):format(group.at, group.what, message), 0)
      end
    end
  end
end

return M
