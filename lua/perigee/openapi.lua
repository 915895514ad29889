--- The OpenAPI 3.1 document, as FastAPI writes it: ids, summaries, titles, component names, the 422, and
--- the order of keys. Made from operations as app.lua has resolved them; knows nothing of requests.

local dependency = require("perigee.dependency")
local inputs = require("perigee.inputs")
local json = require("perigee.json")
local json_schema = require("perigee.json_schema")
local node_of = require("perigee.node")
local ordered = require("perigee.ordered")
local source = require("perigee.source")
local status_names = require("perigee.status")
local threaded = require("perigee.threaded")

local M = {}

local PREFIX = "#/components/schemas/"

-- stylua: ignore start
local Document = ordered.shape({
  "openapi", "info", "servers", "paths", "webhooks", "components", "tags", "externalDocs",
})
local Info = ordered.shape({
  "title", "summary", "description", "termsOfService", "contact", "license", "version",
})

-- FastAPI takes a path through its models of OpenAPI, and with them into their order, unless one of the
-- path's operations has parameters: then it is left as it was built. Webhooks always go through.
local BUILT = {
  Schema = json_schema.Inline,
  PathItem = ordered.map,
  Operation = ordered.shape({
    "tags", "summary", "description", "operationId", "deprecated", "security", "parameters",
    "requestBody", "callbacks", "responses", "externalDocs", "servers",
  }),
  Parameter = ordered.shape({
    "name", "in", "required", "schema", "description", "examples", "deprecated",
  }),
  RequestBody = ordered.shape({ "required", "content" }),
}
local MODELLED = {
  Schema = json_schema.Schema,
  PathItem = ordered.shape({
    "get", "put", "post", "delete", "options", "head", "patch", "trace",
  }),
  Operation = ordered.shape({
    "tags", "summary", "description", "externalDocs", "operationId", "parameters", "requestBody",
    "responses", "callbacks", "deprecated", "security", "servers",
  }),
  Parameter = ordered.shape({
    "description", "required", "deprecated", "schema", "examples", "name", "in",
  }),
  RequestBody = ordered.shape({ "content", "required" }),
}
-- stylua: ignore end
local MediaType = ordered.shape({ "schema", "itemSchema", "example", "examples" })
local Response = ordered.shape({ "description", "headers", "content", "links" })
local Undescribed = ordered.shape({ "headers", "content", "links", "description" })
local Server = ordered.shape({ "url", "description", "variables" })
local Example = ordered.shape({ "summary", "description", "value", "externalValue" })
local Components = ordered.shape({ "schemas", "securitySchemes" })
local Scheme =
  ordered.shape({ "type", "description", "in", "name", "scheme", "bearerFormat", "flows" })

local Data = ordered.shape({ "type", "contentMediaType", "contentSchema" })

local STREAMS = { ["text/event-stream"] = true, ["application/jsonl"] = true }

local RANGES = {
  ["1XX"] = "Information",
  ["2XX"] = "Success",
  ["3XX"] = "Redirection",
  ["4XX"] = "Client Error",
  ["5XX"] = "Server Error",
  ["default"] = "Default Response",
}

local PARAMETER_PLACES = { "path", "query", "header", "cookie" }
local PLACES = { "path", "query", "header", "cookie", "body", "form" }

local METHODS_WITH_BODY =
  { GET = true, HEAD = true, POST = true, PUT = true, DELETE = true, PATCH = true }

--- The path without converters: "/files/{file_path:path}" -> "/files/{file_path}".
---@param path string
---@return string
function M.path_format(path)
  return (path:gsub("{([^}:]*):[^}]*}", "{%1}"))
end

--- FastAPI's id of an operation: its name, its path and its method in one word.
---@param name? string nil for an operation that has none
---@param path string
---@param method string
---@return string
function M.unique_id(name, path, method)
  local words = ((name or "") .. M.path_format(path)):gsub("[^%w_]", "_")
  if not name then
    words = words:match("^_*(.*)$")
    words = words ~= "" and words or "root"
  end
  return words .. "_" .. method:lower()
end

local function as_list(values)
  return json.array(table.move(values, 1, #values, 1, {}))
end

local function target_of(node)
  while node.kind == "ref" do
    node = node.target()
  end
  return node
end

---@class perigee.OpenApiWriter
---@field schemas perigee.SchemaGenerator
---@field security table<string, table> schemes by name
---@field invalid? table the 422, once an operation has one
---@field inputs table<table, table> what each operation takes, by source
---@field shapes table BUILT or MODELLED: how the path at hand is written
---@field shared table<table, table> what operations share, by the shapes that it has
---@field known table<string, table> parameters by place, type (of a header: field) and name
---@field bodies table<boolean, table<perigee.Type, table>> request bodies: forms by their type, others by theirs
---@field answers table<table, table<string, table>> successful answers with the 422, by their type
---@field shares boolean whether operations may share anything: false while one is made that is changed
local Writer = {}
Writer.__index = Writer

local NONE = {}

local Collected = {
  __index = function()
    return NONE
  end,
}

local function collect_groups(collected, groups)
  for _, group in ipairs(groups) do
    local list = rawget(collected, group.source)
    if list then
      list[#list + 1] = group
    else
      collected[group.source] = { group }
    end
  end
end

-- Everything an operation takes, by source: its own first, then that of its dependencies.
local function collect(operation)
  local collected = setmetatable({}, Collected)
  collect_groups(collected, operation.groups)
  if #operation.deps == 0 then
    return collected
  end
  local schemes = {}
  dependency.each(operation.deps, function(used, scopes)
    if used.scheme then
      schemes[#schemes + 1] = { scheme = used.scheme, scopes = scopes }
    else
      collect_groups(collected, used.groups)
    end
  end)
  collected.schemes = schemes
  return collected
end

local function examples_of(node)
  local examples = node.openapi_examples and ordered.copy(node.openapi_examples)
  for _, example in pairs(examples or NONE) do
    Example(example)
  end
  return examples
end

-- The same, made once: each method of an operation asks for it, and so does its path.
function Writer:collected(operation)
  local collected = self.inputs[operation] or collect(operation)
  self.inputs[operation] = collected
  return collected
end

function Writer:parameter(place, field, group)
  local node = field.type
  local name = node.alias or field.name
  local title = name
  if place == "header" and not node.alias and group.convert_underscores ~= false then
    name = name:gsub("_", "-")
    title = group.model and title or name
  end
  return self.shapes.Parameter({
    name = name,
    ["in"] = place,
    required = place == "path" or not json_schema.is_optional(node),
    schema = self.schemas:titled(node, "input", title),
    description = node.description,
    examples = examples_of(node),
    deprecated = node.deprecated and true or nil,
  })
end

-- The same, made once for all operations that declare it: a header's name depends on its group, any other one
-- on its type and its name.
function Writer:shared_parameter(place, field, group)
  local known = self.known[place]
  local maker = place == "header" and field or field.type
  local by_name = known[maker]
  if not by_name then
    by_name = {}
    known[maker] = by_name
  end
  local parameter = by_name[field.name]
  if not parameter then
    parameter = self:parameter(place, field, group)
    by_name[field.name] = parameter
  end
  return parameter
end

-- Adds those of one place to the list; `at` says where each name stands in it.
function Writer:add_parameters(list, at, place, fields, group, host_param)
  for _, field in ipairs(fields) do
    local node = field.type
    if not node.hidden and (not host_param or (node.alias or field.name) ~= host_param) then
      local make = self.shares and self.shared_parameter or self.parameter
      local parameter = make(self, place, field, group)
      local index = at[parameter.name]
      if not index then
        at[parameter.name] = #list + 1
        list[#list + 1] = parameter
      elseif parameter.required or not list[index].required then
        list[index] = parameter
      end
    end
  end
end

-- The parameters, in FastAPI's order of places; where two declare the same one, a required one wins.
function Writer:parameters(collected, implicit, host_param)
  local list = json.array({})
  for _, place in ipairs(PARAMETER_PLACES) do
    local groups, at = rawget(collected, place), {}
    local of_host = place == "path" and host_param or nil
    for _, group in ipairs(groups or NONE) do
      local fields = group.fields or target_of(group.model).fields
      self:add_parameters(list, at, place, fields, group, of_host)
    end
    if place == "path" then
      self:add_parameters(list, at, place, implicit, nil, of_host)
    end
  end
  return list
end

local function form_type(node)
  return inputs.has_file(node) and "multipart/form-data" or "application/x-www-form-urlencoded"
end

-- The one type of a request body. Separate values become fields of a model made for the purpose.
local function body_node(operation, groups)
  if #groups == 1 and groups[1].model then
    return groups[1].model
  end
  local fields = {}
  for _, group in ipairs(groups) do
    for _, field in ipairs(group.fields) do
      fields[#fields + 1] = field
    end
  end
  local name = "Body_" .. operation.unique_id
  local node = node_of.new("model", { name = name, fields = fields })
  local required = false
  for _, field in ipairs(fields) do
    required = required or not json_schema.is_optional(field.type)
  end
  return required and node or node({ default = json.null })
end

-- The content of a body or an answer: the same in each of its formats.
local function in_formats(media, content_type, others)
  local content, order = { [content_type] = media }, { content_type }
  for i, other in ipairs(others) do
    content[other], order[i + 1] = media, other
  end
  return ordered.map(content, order)
end

function Writer:request_body(operation, collected)
  local is_form = #collected.form > 0
  local groups = is_form and collected.form or collected.body
  if #groups == 0 then
    return nil
  end
  local node = body_node(operation, groups)
  local known = self.shares and not operation.consumes and self.bodies[is_form]
  if known and known[node] then
    return known[node]
  end
  local media = MediaType({
    schema = self.schemas:titled(node, "input", "body"),
    examples = examples_of(node),
  })
  local content_type = is_form and form_type(node) or operation.consumes or "application/json"
  local body = self.shapes.RequestBody({
    content = in_formats(media, content_type, is_form and NONE or self.decoders),
    required = not json_schema.is_optional(node) or nil,
  })
  if known then
    known[node] = body
  end
  return body
end

--- Whether values of this content type are JSON.
---@param content_type string
---@return boolean
function M.is_json(content_type)
  return content_type == "application/json" or content_type:find("^application/[^;]*%+json") ~= nil
end

local function status_key(status)
  local key = tostring(status):upper()
  return key == "DEFAULT" and "default" or key
end

-- Additional responses by status, in the order of their statuses.
local function sorted_statuses(responses)
  local statuses = {}
  for status in pairs(responses) do
    statuses[#statuses + 1] = status
  end
  table.sort(statuses, function(a, b)
    return status_key(a) < status_key(b)
  end)
  return statuses
end

-- What one item of a streamed body is; events as OpenAPI 3.2 describes them (4.14.4). FastAPI's models do not
-- know the word `itemSchema` and leave it as it was built.
function Writer:item_schema(operation)
  local shapes = self.shapes
  self:use(BUILT)
  local schema = self:built_item_schema(operation)
  self:use(shapes)
  return schema
end

function Writer:built_item_schema(operation)
  local name = "StreamItem_" .. operation.unique_id
  local item = operation.item and self.schemas:titled(operation.item, "output", name)
  if operation.produces ~= "text/event-stream" then
    return item or self.shapes.Schema({})
  end
  local text = self.shapes.Schema({ type = "string" })
  local data = text
  if item then
    data = Data({ type = "string", contentMediaType = "application/json", contentSchema = item })
  end
  local event = self.shapes.Schema({ type = "object", properties = ordered.map() })
  event.properties.data = data
  event.properties.event = text
  event.properties.id = text
  event.properties.retry = self.shapes.Schema({ type = "integer", minimum = 0 })
  event.required = item and json.array({ "data" }) or nil
  return event
end

-- What a successful answer holds; and whether that is the same for every operation of this `response`.
function Writer:media(operation)
  local produces = operation.produces
  if STREAMS[produces] then
    self.streams = true
    return MediaType({ itemSchema = self:item_schema(operation) }), false
  elseif operation.item then
    local items = self.schemas:schema(operation.item, "output")
    return MediaType({ schema = self.shapes.Schema({ type = "array", items = items }) }), false
  elseif not M.is_json(produces) then
    return MediaType({ schema = self.shapes.Schema({ type = "string" }) }), true
  elseif operation.response then
    local name = "Response_" .. operation.unique_id
    local schema = self.schemas:titled(operation.response, "output", name)
    return MediaType({ schema = schema }), schema["$ref"] ~= nil
  end
  return MediaType({ schema = self.shapes.Schema({}) }), true
end

-- The answers of an operation but for those that it adds; and whether others of this `response` have the same.
function Writer:make_answers(operation, takes_input)
  local key, produces = tostring(operation.status), operation.produces
  local description = operation.response_description or "Successful Response"
  local success = Response({ description = description })
  local same = true
  if produces and not status_names.has_no_body(operation.status) then
    local media
    media, same = self:media(operation)
    local is_json = produces == "application/json" and not operation.item
    success.content = in_formats(media, produces, is_json and self.encoders or NONE)
  end
  if takes_input and key ~= "422" and next(operation.responses) == nil then
    return ordered.map({ [key] = success, ["422"] = self:refusal() }, { key, "422" }), same
  end
  return ordered.map({ [key] = success }, { key }), same
end

function Writer:responses(operation, takes_input)
  if next(operation.responses) ~= nil then
    local responses = self:additional_responses(operation, (self:make_answers(operation)))
    if takes_input and not (responses["422"] or responses["4XX"] or responses.default) then
      responses["422"] = self:refusal()
    end
    return responses
  elseif not self.shares or operation.item then
    return (self:make_answers(operation, takes_input))
  end
  local of_response = operation.response or NONE
  local known = self.answers[of_response]
  if not known then
    known = {}
    self.answers[of_response] = known
  end
  local key = ("%d\n%s\n%s\n%s"):format(
    operation.status,
    takes_input,
    operation.produces,
    operation.response_description
  )
  local answers = known[key]
  if not answers then
    local same
    answers, same = self:make_answers(operation, takes_input)
    known[key] = same and answers or nil
  end
  return answers
end

function Writer:additional_responses(operation, responses)
  for _, status in ipairs(sorted_statuses(operation.responses)) do
    local declared = ordered.copy(operation.responses[status])
    local additional = Response(declared)
    local model = node_of.of(operation.responses[status].model)
    additional.model = nil
    local key = status_key(status)
    if model then
      local name = ("Response_%s_%s"):format(status, operation.unique_id)
      local schema = self.schemas:titled(model, "output", name)
      local content_type = operation.produces or "application/json"
      additional.content = additional.content or ordered.map()
      local media = MediaType(additional.content[content_type] or {})
      media.schema = media.schema and ordered.merge(media.schema, schema) or schema
      additional.content[content_type] = media
    end
    local base = responses[key] or Response({})
    additional.description = additional.description
      or base.description
      or RANGES[key]
      or status_names.phrase(math.tointeger(tonumber(key)) or 0)
    local merged = ordered.merge(base, additional)
    local is_described = operation.responses[status].description
      or key == tostring(operation.status)
    responses[key] = not is_described and self.shapes == BUILT and Undescribed(merged) or merged
  end
  return responses
end

function Writer:add_security(document, schemes)
  local by_name = ordered.map()
  for _, used in ipairs(schemes) do
    local name = used.scheme.name
    self.security[name] = Scheme(ordered.copy(used.scheme.document))
    by_name[name] = by_name[name] or { seen = {} }
    for _, scope in ipairs(used.scopes) do
      if not by_name[name].seen[scope] then
        by_name[name].seen[scope] = true
        table.insert(by_name[name], scope)
      end
    end
  end
  local list = json.array({})
  for _, name in ipairs(ordered.keys(by_name)) do
    list[#list + 1] = { [name] = as_list(by_name[name]) }
  end
  if #list > 0 then
    document.security = list
  end
end

local function description_of(operation)
  if operation.description then
    return operation.description
  end
  local text = source.comment_above(operation.file, operation.line)
  if not text and operation.handler then
    local info = debug.getinfo(threaded.inner(operation.handler), "S")
    text = source.comment_above(info.source, info.linedefined)
  end
  return text
end

function Writer:validation_error()
  local name = self.problems and "ProblemDetails" or "HTTPValidationError"
  return Response({
    description = "Validation Error",
    content = {
      [self.problems and "application/problem+json" or "application/json"] = MediaType({
        schema = self.shapes.Schema({ ["$ref"] = PREFIX .. name }),
      }),
    },
  })
end

-- The 422.
function Writer:refusal()
  self.invalid = self.invalid or self:validation_error()
  return self.shares and self.invalid or self:validation_error()
end

function Writer:operation(operation, method)
  local collected = self:collected(operation)
  local shared = self.shares
  self.shares = shared and not operation.openapi
  local document = self.shapes.Operation({
    tags = #operation.tags > 0 and as_list(operation.tags) or nil,
    summary = operation.summary or json_schema.title(operation.name),
    description = description_of(operation),
    operationId = operation.ids[method],
    deprecated = operation.deprecated and true or nil,
  })
  self:add_security(document, collected.schemes)
  local host_param = operation.host and operation.host.param
  local parameters = self:parameters(collected, operation.implicit, host_param)
  if #parameters > 0 then
    document.parameters = parameters
  end
  if METHODS_WITH_BODY[method] then
    document.requestBody = self:request_body(operation, collected)
  end
  if operation.callbacks then
    document.callbacks = ordered.map()
    for _, callback in ipairs(operation.callbacks) do
      document.callbacks[callback.name] = { [callback.own_path] = self:path_item({ callback }) }
    end
  end
  local takes_input = false
  for _, place in ipairs(PLACES) do
    takes_input = takes_input or rawget(collected, place) ~= nil
  end
  document.responses = self:responses(operation, takes_input)
  if operation.openapi then
    ordered.merge(document, ordered.copy(operation.openapi))
  end
  self.shares = shared
  return document
end

local function has_visible(groups)
  for _, group in ipairs(groups) do
    for _, field in ipairs(group.fields or target_of(group.model).fields) do
      if not field.type.hidden then
        return true
      end
    end
  end
  return false
end

-- Whether one of the operations, or of their callbacks, has parameters in the document.
function Writer:have_parameters(operations)
  for _, operation in ipairs(operations) do
    local host_param = operation.host and operation.host.param
    for _, parameter in ipairs(operation.implicit) do
      if parameter.name ~= host_param then
        return true
      end
    end
    local collected = self:collected(operation)
    for _, place in ipairs(PARAMETER_PLACES) do
      if has_visible(collected[place]) then
        return true
      end
    end
    if operation.callbacks and self:have_parameters(operation.callbacks) then
      return true
    end
  end
  return false
end

-- Writes from now on in these shapes.
function Writer:use(shapes)
  self.shapes, self.schemas.shape = shapes, shapes.Schema
  local shared = self.shared[shapes]
  if not shared then
    shared = {
      known = { path = {}, query = {}, header = {}, cookie = {} },
      bodies = { [true] = {}, [false] = {} },
      answers = {},
    }
    self.shared[shapes] = shared
  end
  self.known, self.bodies, self.answers = shared.known, shared.bodies, shared.answers
end

-- All operations of one path.
function Writer:path_item(operations)
  local item = self.shapes.PathItem({})
  for _, operation in ipairs(operations) do
    for _, method in ipairs(operation.methods) do
      item[method:lower()] = self:operation(operation, method)
    end
  end
  return item
end

-- Paths in the order they were declared, with what is hidden left out.
function Writer:paths(operations, are_webhooks)
  local paths, at = ordered.map(), {}
  for _, operation in ipairs(operations) do
    if not operation.hidden then
      local path = M.path_format(operation.own_path)
      if not at[path] then
        at[path] = {}
        paths[path] = at[path]
      end
      table.insert(at[path], operation)
    end
  end
  for _, path in ipairs(ordered.keys(paths)) do
    self:use(not are_webhooks and self:have_parameters(at[path]) and BUILT or MODELLED)
    paths[path] = self:path_item(at[path])
  end
  return paths
end

local Schema = json_schema.Schema

local function properties_of(list)
  local properties = ordered.map()
  for _, pair in ipairs(list) do
    properties[pair[1]] = Schema(pair[2])
  end
  return properties
end

local function error_list(title)
  local items = Schema({ ["$ref"] = PREFIX .. "ValidationError" })
  return { items = items, type = "array", title = title }
end

-- What one entry of a 422 holds, as far as the app lets clients see it.
local function validation_error(detail)
  local text, number = Schema({ type = "string" }), Schema({ type = "integer" })
  local location = Schema({ anyOf = json.array({ text, number }) })
  local properties = {
    { "loc", { type = "array", title = "Location", items = location } },
    { "msg", { type = "string", title = "Message" } },
    { "type", { type = "string", title = "Error Type" } },
    { "input", { title = "Input" } },
    { "ctx", { type = "object", title = "Context" } },
  }
  if detail == "codes" then
    properties = { properties[1], properties[3] }
  end
  return Schema({
    properties = properties_of(properties),
    type = "object",
    required = json.array(detail == "codes" and { "loc", "type" } or { "loc", "msg", "type" }),
    title = "ValidationError",
  })
end

-- The components that describe a 422.
local function validation_definitions(config)
  local detail = config.validation_detail or "full"
  local definitions = {}
  if detail ~= "none" then
    definitions.ValidationError = validation_error(detail)
  end
  if config.errors == "problem" then
    local properties = {
      { "type", { type = "string", format = "uri-reference", title = "Type" } },
      { "title", { type = "string", title = "Title" } },
      { "status", { type = "integer", title = "Status" } },
      { "detail", { type = "string", title = "Detail" } },
      detail ~= "none" and { "errors", error_list("Errors") } or nil,
    }
    definitions.ProblemDetails = Schema({
      properties = properties_of(properties),
      type = "object",
      title = "ProblemDetails",
    })
    return definitions
  end
  local list = detail == "none" and { type = "string", title = "Detail" } or error_list("Detail")
  definitions.HTTPValidationError = Schema({
    properties = { detail = Schema(list) },
    type = "object",
    title = "HTTPValidationError",
  })
  return definitions
end

local function contact_or_license(given)
  return given and ordered.shape({ "name", "identifier", "url", "email" })(ordered.copy(given))
end

--- Writes the document.
---@param config table what the app was made with
---@param operations table[] as app.lua resolved them, in their written order
---@param webhooks table[]
---@param decoders string[] media types of bodies, besides JSON
---@param encoders string[] media types of results, besides JSON
---@return table
function M.document(config, operations, webhooks, decoders, encoders)
  local writer = setmetatable({
    schemas = json_schema.new({
      prefix = PREFIX,
      separate = config.separate_input_output_schemas,
      is_document = true,
    }),
    security = ordered.map(),
    shared = {},
    inputs = {},
    decoders = decoders,
    encoders = encoders,
    shares = true,
    problems = config.errors == "problem",
  }, Writer)
  local document = Document({
    info = Info({
      title = config.title or "Perigee",
      version = config.version or "0.1.0",
      summary = config.summary,
      description = config.description,
      termsOfService = config.terms_of_service,
      contact = contact_or_license(config.contact),
      license = contact_or_license(config.license),
    }),
    paths = writer:paths(operations),
    tags = config.openapi_tags and as_list(config.openapi_tags) or nil,
    externalDocs = config.external_docs,
  })
  local servers = json.array({})
  for i, server in ipairs(config.servers or NONE) do
    servers[i] = Server(ordered.copy(server))
  end
  if config.root_path and config.root_path_in_servers ~= false then
    local known = false
    for _, server in ipairs(servers) do
      known = known or server.url == config.root_path
    end
    if not known then
      table.insert(servers, 1, { url = config.root_path })
    end
  end
  document.servers = #servers > 0 and servers or nil
  if #webhooks > 0 then
    document.webhooks = writer:paths(webhooks, true)
  end

  -- `itemSchema` is a word of OpenAPI 3.2.
  document.openapi = config.openapi_version or (writer.streams and "3.2.0" or "3.1.0")

  local definitions = writer.schemas:definitions()
  if writer.invalid then
    for name, definition in pairs(validation_definitions(config)) do
      definitions[name] = definition
    end
  end
  local components = Components({})
  components.schemas = next(definitions) and definitions or nil
  components.securitySchemes = next(writer.security) and writer.security or nil
  document.components = next(components) and components or nil
  return document
end

return M
