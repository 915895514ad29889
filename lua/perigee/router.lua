--- Routers: operations, middleware and error handlers as declared, in their written order. What they
--- come to is decided once, in app:build(), so a router may be filled after it was included.

local callable = require("perigee.callable")
local dependency = require("perigee.dependency")
local errors = require("perigee.errors")
local lifespan = require("perigee.lifespan")
local inputs = require("perigee.inputs")
local node_of = require("perigee.node")
local rate_limit = require("perigee.rate_limit")

local as_function = callable.as_function

local M = {}

-- stylua: ignore
M.METHODS = { "get", "post", "put", "patch", "delete", "options", "head", "trace" }

local KNOWN_METHODS = {}
for _, method in ipairs(M.METHODS) do
  KNOWN_METHODS[method:upper()] = true
end

local function merged(...)
  local all = {}
  for _, options in ipairs({ ... }) do
    for name, expected in pairs(options) do
      all[name] = expected
    end
  end
  return all
end

-- What an operation may say about itself, and a router about all of its operations.
local SHARED = {
  tags = "table",
  deps = "table",
  responses = "table",
  deprecated = "boolean",
  hidden = "boolean",
  callbacks = "table",
  produces = "string|boolean",
  use = "table",
  timeout_ms = "integer|boolean",
  on_disconnect = "string",
  rate_limit = "table|boolean",
}

-- The options of one operation and the types they are checked against.
M.operation_options = merged(SHARED, inputs.options, {
  name = "string",
  summary = "string",
  description = "string",
  operation_id = "string",
  status = "integer",
  response = "table",
  item = "table",
  etag = "boolean",
  cache = "table",
  consumes = "string",
  response_options = "table",
  response_description = "string",
  openapi = "table",
  strict = "boolean",
  max_body_bytes = "integer",
})

-- What a router says of all its operations.
M.router_options = merged(SHARED, { prefix = "string" })

-- What perigee.events, perigee.lines and perigee.json_array produce.
local STREAMED = {
  ["text/event-stream"] = true,
  ["application/jsonl"] = true,
  ["application/json"] = true,
}

local RESPONSE_OPTIONS = {
  by_alias = "boolean",
  exclude_unset = "boolean",
  exclude_defaults = "boolean",
  exclude_none = "boolean",
  include = "table",
  exclude = "table",
}

local RESPONSE_ENTRY = {
  model = "table",
  description = "string",
  content = "table",
  headers = "table",
  links = "table",
}

-- OpenAPI's own words for what stands in such an entry, under names of the app's choice.
local RESPONSE_PARTS = {
  content = {
    schema = "any",
    example = "any",
    examples = "table",
    encoding = "table",
    itemSchema = "any",
    prefixEncoding = "table",
    itemEncoding = "table",
  },
  headers = {
    ["$ref"] = "string",
    description = "string",
    required = "boolean",
    deprecated = "boolean",
    style = "string",
    explode = "boolean",
    schema = "any",
    example = "any",
    examples = "table",
    content = "table",
  },
  links = {
    ["$ref"] = "string",
    operationRef = "string",
    operationId = "string",
    parameters = "table",
    requestBody = "any",
    description = "string",
    server = "table",
  },
}

---@class perigee.Router
---@field config table the options it was made with
---@field entries table[] operations, included routers and mounted apps
---@field middlewares perigee.Middleware[]
---@field error_handlers table<any, perigee.ErrorHandler>
local Router = {}
Router.__index = Router
M.Router = Router

local NONE = {}

local function check_middlewares(what, list)
  for i, middleware in ipairs(list) do
    if not as_function(middleware) then
      errors.raise("%s: use[%d] must be a function (req, next), not %s", what, i, type(middleware))
    end
  end
end

local function check_prefix(what, prefix)
  if prefix and prefix ~= "" and (prefix:sub(1, 1) ~= "/" or prefix:sub(-1) == "/") then
    errors.raise("%s: the prefix '%s' must start with '/' and not end with one", what, prefix)
  end
end

local function check_tags(what, tags)
  for i, tag in ipairs(tags) do
    if type(tag) == "table" and tag.name then
      local format = "%s: tags[%d] must be a string: what the document says of tags stands in the "
        .. "app's option openapi_tags"
      errors.raise(format, what, i)
    elseif type(tag) ~= "string" then
      errors.raise("%s: tags[%d] must be a string, not %s", what, i, type(tag))
    end
  end
end

local function check_responses(what, responses)
  for status, entry in pairs(responses) do
    local key = tostring(status):upper()
    if not (key:find("^[1-9]%d%d$") or key:find("^[1-5]XX$") or key == "DEFAULT") then
      errors.raise("%s: responses: '%s' is no status (404, '4XX' or 'default')", what, status)
    end
    if type(entry) ~= "table" or node_of.of(entry) then
      errors.raise("%s: responses[%s] must be a table such as { model = Message }", what, key)
    end
    local place = ("%s: responses[%s]"):format(what, key)
    errors.check_options(place, entry, RESPONSE_ENTRY)
    for part, known in pairs(RESPONSE_PARTS) do
      for name, described in pairs(entry[part] or {}) do
        errors.check_words(("%s: %s['%s']"):format(place, part, name), described, known)
      end
    end
    if entry.model then
      node_of.check(place .. ": model", entry.model)
    end
  end
end

--- Checks the contents of the options that operations and routers share.
---@param what string
---@param options table
function M.check_shared(what, options)
  check_middlewares(what, options.use or NONE)
  check_tags(what, options.tags or NONE)
  check_responses(what, options.responses or NONE)
  if options.produces == true then
    errors.raise("%s: produces must be a content type, or false for none", what)
  end
  local timeout_ms, on_disconnect = options.timeout_ms, options.on_disconnect
  if timeout_ms == true or (timeout_ms and timeout_ms < 1) then
    errors.raise(
      "%s: timeout_ms must be 1 or more (false for none), not %s",
      what,
      tostring(timeout_ms)
    )
  end
  if on_disconnect and on_disconnect ~= "cancel" and on_disconnect ~= "finish" then
    errors.raise("%s: on_disconnect must be 'cancel' or 'finish', not '%s'", what, on_disconnect)
  end
  if options.rate_limit == true then
    errors.raise("%s: rate_limit must be a table, or false for none", what)
  elseif options.rate_limit then
    rate_limit.check(what, options.rate_limit)
  end
  if options.callbacks and type(options.callbacks.entries) ~= "table" then
    errors.raise("%s: callbacks must be a router", what)
  end
end

--- Fills a new router (or app) with what every one of them has.
---@param self table
---@param what string
---@param options? table
---@param known table<string, string>
function M.init(self, what, options, known)
  options = options or {}
  if type(options) ~= "table" then
    errors.raise("%s: options must be a table, not %s", what, type(options))
  end
  errors.check_options(what, options, known)
  check_prefix(what, options.prefix)
  M.check_shared(what, options)
  self.config = options
  self.deps = dependency.read_entries(what, options.deps)
  self.source = errors.caller()
  self.entries = {}
  self.lifespans = {}
  self.middlewares = table.move(options.use or {}, 1, #(options.use or {}), 1, {})
  self.error_handlers = {}
end

--- A group of operations that share a prefix, tags, dependencies, responses, middleware.
---@param options? table
---@return perigee.Router
function M.new(options)
  local self = setmetatable({}, Router)
  M.init(self, "perigee.router", options, M.router_options)
  return self
end

local function check_operation(what, options)
  errors.check_options(what, options, M.operation_options)
  M.check_shared(what, options)
  if options.response and not node_of.of(options.response) then
    node_of.check(what .. ": response", options.response)
  end
  if options.item then
    node_of.check(what .. ": item", options.item)
    if not STREAMED[options.produces] then
      local format = "%s: 'item' is the type of what is streamed, so it needs produces = %s"
      errors.raise(format, what, '"text/event-stream", "application/jsonl" or "application/json"')
    end
  end
  local consumes = options.consumes
  if
    consumes
    and not consumes:find("^application/json$")
    and not consumes:find("^application/.*%+json$")
  then
    local format = "%s: consumes must be JSON, as application/merge-patch+json is, not '%s' (app:decoder() "
      .. "reads other formats)"
    errors.raise(format, what, consumes)
  elseif consumes and not options.body then
    errors.raise("%s: consumes is the media type of a body, and none is declared", what)
  end
  if options.cache then
    require("perigee.answer_cache").check(what, options.cache)
  end
  if options.response_options then
    errors.check_options(what .. ": response_options", options.response_options, RESPONSE_OPTIONS)
  end
  if options.status and (options.status < 200 or options.status > 999) then
    errors.raise("%s: status must be from 200 to 999, not %d", what, options.status)
  end
  if options.max_body_bytes and options.max_body_bytes < 1 then
    errors.raise("%s: max_body_bytes must be 1 or more, not %d", what, options.max_body_bytes)
  end
end

-- Checks and keeps one operation. Those of callbacks and webhooks are documented and never called, so
-- whether the handler is there is looked at when the app is built.
local function declare(self, what, methods, path, options, handler)
  if handler == nil and type(options) ~= "table" or as_function(options) then
    options, handler = {}, options
  end
  if type(path) ~= "string" then
    errors.raise("%s: the path must be a string, not %s", what, type(path))
  end
  what = ("%s(%q)"):format(what, path)
  if type(options) ~= "table" then
    errors.raise("%s: options must be a table, not %s", what, type(options))
  end
  if handler ~= nil and not as_function(handler) then
    errors.raise("%s: the handler must be a function (req), not %s", what, type(handler))
  end
  check_operation(what, options)
  local place, file, line = errors.caller()
  self.entries[#self.entries + 1] = {
    kind = "operation",
    what = what,
    methods = methods,
    path = path,
    options = options,
    groups = inputs.read(what, options, place),
    deps = dependency.read_entries(what, options.deps),
    handler = as_function(handler),
    source = place,
    file = file,
    line = line,
  }
end

for _, method in ipairs(M.METHODS) do
  Router[method] = function(self, path, options, handler)
    declare(self, "app:" .. method, { method:upper() }, path, options, handler)
  end
end

--- Declares one operation for several methods.
---@param methods string[]
---@param path string
---@param options table|perigee.Handler
---@param handler? perigee.Handler
function Router:route(methods, path, options, handler)
  if type(methods) ~= "table" or #methods == 0 then
    errors.raise("app:route: the methods must be a list such as { 'GET', 'POST' }")
  end
  local upper = {}
  for i, method in ipairs(methods) do
    upper[i] = tostring(method):upper()
    if not KNOWN_METHODS[upper[i]] then
      errors.raise(
        "app:route: unknown method '%s' (known: %s)",
        tostring(method),
        table.concat(M.METHODS, ", ")
      )
    end
  end
  declare(self, "app:route", upper, path, options, handler)
end

--- Declares one operation for every method.
---@param path string
---@param options table|perigee.Handler
---@param handler? perigee.Handler
function Router:any(path, options, handler)
  local upper = {}
  for i, method in ipairs(M.METHODS) do
    upper[i] = method:upper()
  end
  declare(self, "app:any", upper, path, options, handler)
end

--- Adds middleware around all operations of this router: the first one added is outermost.
--- On an app it sees every answer, also those the host gives by itself.
---@param middleware perigee.Middleware
function Router:use(middleware)
  if not as_function(middleware) then
    errors.raise("app:use: the middleware must be a function (req, next), not %s", type(middleware))
  end
  self.middlewares[#self.middlewares + 1] = as_function(middleware)
end

--- Sets something up before the first connection is accepted, and takes it down behind the last request:
--- `function(app, serve) local pool <close> = open_pool() serve({ pool = pool }) end`. What is given to
--- serve() is read as `req.state.pool`. It may wait; an error ends the start. In each VM; those of included
--- routers and mounted apps run, too, inside of the outer ones.
---@param fn perigee.Lifespan
function Router:lifespan(fn)
  lifespan.add("app:lifespan", self.lifespans, self, fn)
end

--- Handles errors before they are answered: HTTP errors of a status, raised tables of a class (their
--- metatable), or "validation". What it returns is the answer; 500 is what nothing else handles.
---@param what integer|table|"validation"
---@param handler perigee.ErrorHandler
function Router:on_error(what, handler)
  local known = math.type(what) == "integer" or type(what) == "table" or what == "validation"
  if not known then
    errors.raise(
      "app:on_error: a status, a class or 'validation' is needed, not %s",
      tostring(what)
    )
  end
  if not as_function(handler) then
    errors.raise("app:on_error: the handler must be a function (req, err), not %s", type(handler))
  end
  self.error_handlers[what] = as_function(handler)
end

--- Takes in the operations of another router, which may be included again elsewhere.
---@param router perigee.Router
---@param options? table what perigee.router takes, on top of the router's own
function Router:include(router, options)
  if options == nil or type(options) == "string" then
    options = {} -- app:include(require("users")): require returns the file's path, too
  end
  if type(router) ~= "table" or type(router.entries) ~= "table" then
    errors.raise("app:include: a router is needed, not %s", type(router))
  end
  errors.check_options("app:include", options, M.router_options)
  check_prefix("app:include", options.prefix)
  M.check_shared("app:include", options)
  self.entries[#self.entries + 1] = {
    kind = "router",
    router = router,
    options = options,
    deps = dependency.read_entries("app:include", options.deps),
    source = (errors.caller()),
  }
end

--- Serves another app for a host name: with its own documentation, middleware and error handlers. A first
--- label in braces is a parameter, which the other app's operations have among their `params`.
---@param pattern string "api.example.com" or "{tenant}.example.com"; ports do not count
---@param app perigee.App
function Router:host(pattern, app)
  local name = type(pattern) == "string" and pattern:match("^{([%a_][%w_]*)}%.[%w.-]+$")
  if not name and not (type(pattern) == "string" and pattern:find("^[%w%[%]:.-]+$")) then
    local format = 'app:host: \'%s\' is no host such as "api.example.com" or "{tenant}.example.com"'
    errors.raise(format, tostring(pattern))
  elseif type(app) ~= "table" or type(app.build) ~= "function" then
    errors.raise("app:host: an app is needed, not %s", type(app))
  end
  self.entries[#self.entries + 1] = {
    kind = "app",
    path = "",
    host = { pattern = pattern, param = name or nil },
    app = app,
    source = (errors.caller()),
  }
end

--- Serves another app below a path: with its own documentation, middleware and error handlers.
---@param path string
---@param app perigee.App
function Router:mount(path, app)
  if type(path) ~= "string" or path == "" then
    errors.raise("app:mount: a path is needed")
  end
  check_prefix("app:mount", path)
  if type(app) ~= "table" or type(app.build) ~= "function" then
    errors.raise("app:mount: an app is needed, not %s", type(app))
  end
  self.entries[#self.entries + 1] = {
    kind = "app",
    path = path,
    app = app,
    source = (errors.caller()),
  }
end

return M
