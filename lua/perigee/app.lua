--- The app: a router with a title, that can be built. app:build() turns what was declared into the
--- flat list of operations that the host serves, and checks what only the whole can tell.

local answers = require("perigee.answers")
local compose = require("perigee.compose")
local conditional = require("perigee.conditional")
local dependency = require("perigee.dependency")
local docs = require("perigee.docs")
local errors = require("perigee.errors")
local hop = require("perigee.hop")
local host = require("perigee.host")
local inputs = require("perigee.inputs")
local node_of = require("perigee.node")
local lifespan = require("perigee.lifespan")
local observe = require("perigee.observe")
local openapi = require("perigee.openapi")
local ordered = require("perigee.ordered")
local rate_limit = require("perigee.rate_limit")
local response_of = require("perigee.response")
local router = require("perigee.router")
local schedule = require("perigee.schedule")
local source = require("perigee.source")
local streams = require("perigee.streams")
local threaded = require("perigee.threaded")
local url = require("perigee.url")

local M = {}

local OPTIONS = {
  title = "string",
  version = "string",
  summary = "string",
  description = "string",
  terms_of_service = "string",
  contact = "table",
  license = "table",
  servers = "table",
  openapi_tags = "table",
  external_docs = "table",
  openapi_url = "string|boolean",
  docs_url = "string|boolean",
  redoc_url = "string|boolean",
  swagger_ui_oauth2_redirect_url = "string|boolean",
  swagger_ui_init_oauth = "table",
  swagger_ui_parameters = "table",
  swagger_js_url = "string",
  swagger_css_url = "string",
  redoc_js_url = "string",
  docs_favicon_url = "string",
  root_path = "string",
  root_path_in_servers = "boolean",
  separate_input_output_schemas = "boolean",
  operation_id = "function",
  openapi_version = "string",
  debug = "boolean",
  errors = "string",
  validation_detail = "string",
  strict = "boolean",
  strict_content_type = "boolean",
  limits = "table",
  metrics = "string",
  health = "boolean",
  request_id = "boolean",
}
for name, expected in pairs(router.router_options) do
  OPTIONS[name] = expected
end

-- What stands in the document as it is given, in OpenAPI's own words; "x-..." may be anything.
local DOCUMENTED = {
  contact = { name = "string", url = "string", email = "string" },
  license = { name = "string", identifier = "string", url = "string" },
  external_docs = { url = "string", description = "string" },
}
local DOCUMENTED_LISTS = {
  servers = { url = "string", description = "string", name = "string", variables = "table" },
  openapi_tags = {
    name = "string",
    description = "string",
    externalDocs = "table",
    summary = "string",
    parent = "string",
    kind = "string",
  },
}
local SERVER_VARIABLE = { enum = "table", default = "string", description = "string" }

---@class perigee.App : perigee.Router
---@field webhooks perigee.Router what the app sends to others, for the document alone
local App = setmetatable({}, { __index = router.Router })
App.__index = App

local function check_documented(config)
  for option, known in pairs(DOCUMENTED) do
    errors.check_words("perigee.app: " .. option, config[option] or {}, known)
  end
  for option, known in pairs(DOCUMENTED_LISTS) do
    for i, entry in ipairs(config[option] or {}) do
      local what = ("perigee.app: %s[%d]"):format(option, i)
      errors.check_words(what, entry, known)
      errors.check_words(
        what .. ": externalDocs",
        entry.externalDocs or {},
        DOCUMENTED.external_docs
      )
      for name, variable in pairs(entry.variables or {}) do
        errors.check_words(("%s: variables['%s']"):format(what, name), variable, SERVER_VARIABLE)
      end
    end
  end
end

local function check_limits(limits)
  local ranges, known = host.app.limits(), {}
  for name in pairs(ranges) do
    known[name] = "integer"
  end
  errors.check_options("perigee.app: limits", limits, known)
  for name, value in pairs(limits) do
    local least, most = table.unpack(ranges[name])
    if value < least or value > most then
      local format = "perigee.app: limits: '%s' must be from %d to %d, not %d"
      errors.raise(format, name, least, most, value)
    end
  end
end

--- Makes an app. A file app.lua returns one.
---@param options? table
---@return perigee.App
function M.new(options)
  local self = setmetatable({}, App)
  router.init(self, "perigee.app", options, OPTIONS)
  local config = self.config
  check_documented(config)
  if config.limits then
    check_limits(config.limits)
  end
  if config.errors and not answers.styles[config.errors] then
    errors.raise("perigee.app: errors must be 'detail' or 'problem', not '%s'", config.errors)
  end
  local version = config.openapi_version
  if version and version ~= "3.1.0" and version ~= "3.2.0" then
    errors.raise("perigee.app: openapi_version must be '3.1.0' or '3.2.0', not '%s'", version)
  end
  if config.validation_detail and not answers.details[config.validation_detail] then
    local format = "perigee.app: validation_detail must be full, codes or none, not '%s'"
    errors.raise(format, config.validation_detail)
  end
  self.answer = answers.answerer(config)
  self.webhooks = router.new()
  self.overrides = {}
  self.decoders = {}
  self.encoders = {}
  self.start_hooks = {}
  self.stop_hooks = {}
  self.schedules = {}
  return self
end

-- Neither list is changed afterwards, nor is what these two return.
local function concat(a, b)
  if #b == 0 then
    return a
  end
  local both = table.move(a, 1, #a, 1, {})
  return table.move(b, 1, #b, #a + 1, both)
end

local function union(a, b)
  if next(b) == nil then
    return a
  end
  local all = {}
  for _, set in ipairs({ a, b }) do
    for key, value in pairs(set) do
      all[key] = value
    end
  end
  return all
end

-- What operations inherit from nothing.
local ROOT = {
  prefix = "",
  tags = {},
  deps = {},
  responses = {},
  middlewares = {},
  error_handlers = {},
  depth = 0,
}

-- Options of which the innermost counts.
-- stylua: ignore
local INHERITED = {
  "deprecated", "hidden", "callbacks", "produces", "timeout_ms", "on_disconnect", "rate_limit",
}

-- What operations inherit once a router's options are added to what it is included in.
local function enter(outer, options, deps, middlewares)
  local inner = {
    prefix = outer.prefix .. (options.prefix or ""),
    tags = concat(outer.tags, options.tags or {}),
    deps = concat(outer.deps, deps),
    responses = union(outer.responses, options.responses or {}),
    middlewares = concat(outer.middlewares, middlewares),
    error_handlers = outer.error_handlers,
    depth = outer.depth + 1,
    mounted_at = outer.mounted_at,
    host = outer.host,
  }
  for _, name in ipairs(INHERITED) do
    inner[name] = outer[name]
    if options[name] ~= nil then
      inner[name] = options[name]
    end
  end
  return inner
end

local function enter_router(outer, inner)
  local context = enter(outer, inner.config, inner.deps, inner.middlewares)
  if next(inner.error_handlers) then
    context.error_handlers = concat({ inner.error_handlers }, context.error_handlers)
  end
  return context
end

-- Visits all operations and mounted apps below a router, in the written order.
local function each_entry(self, context, visit)
  for _, entry in ipairs(self.entries) do
    if entry.kind == "router" then
      if context.depth > 64 then
        error(entry.source .. ": app:include: routers include each other without end", 0)
      end
      local between = enter(context, entry.options, entry.deps, entry.options.use or {})
      each_entry(entry.router, enter_router(between, entry.router), visit)
    else
      visit(entry, context)
    end
  end
end

local function words_of(method, path)
  local words = path:gsub("[^%w]+", "_"):gsub("^_", ""):gsub("_$", "")
  return method:lower() .. "_" .. (words ~= "" and words or "root")
end

-- What an app calls a path of its own, wherever it is mounted.
local function own_path(context, path)
  return path:sub(#(context.mounted_at or "") + 1)
end

-- The ids by which the document knows an operation, one for each of its methods.
local function make_ids(self, operation, given)
  local ids = {}
  for i, method in ipairs(operation.methods) do
    local id = openapi.unique_id(operation.given_name, operation.own_path, method)
    if self.config.operation_id then
      id = self.config.operation_id(operation, method)
    end
    if i == 1 then
      operation.unique_id = given or id
    end
    ids[method] = given and (i == 1 and given or given .. "_" .. method:lower()) or id
  end
  return ids
end

-- A limit is the innermost middleware, so that what is refused elsewhere costs nobody anything, and the
-- document says what it answers.
local function add_rate_limit(operation, options)
  local name = operation.methods[1] .. " " .. operation.path
  operation.middlewares = concat(operation.middlewares, { rate_limit.middleware(options, name) })
  local declared = operation.responses
  if not (declared[429] or declared["429"] or declared["4XX"] or declared.default) then
    operation.responses = union(declared, { [429] = { description = "Too Many Requests" } })
  end
end

-- Everything there is to know about one operation, from what was said of it and around it.
local function describe(self, entry, context)
  local options = entry.options
  local path = context.prefix .. entry.path
  local given_name = options.name
    or (entry.handler and source.name_of(threaded.inner(entry.handler)))
  local shared = enter(context, options, entry.deps, options.use or {})
  local operation = {
    what = entry.what,
    methods = entry.methods,
    path = path,
    own_path = own_path(context, path),
    given_name = given_name,
    name = given_name or words_of(entry.methods[1], own_path(context, path)),
    tags = shared.tags,
    summary = options.summary,
    description = options.description,
    deprecated = shared.deprecated,
    hidden = shared.hidden,
    deps = shared.deps,
    groups = entry.groups,
    host = context.host,
    implicit = inputs.complete_path(
      entry.source .. ": " .. entry.what,
      entry.groups,
      path,
      context.host and context.host.param
    ),
    response = node_of.of(options.response),
    item = node_of.of(options.item),
    etag = options.etag,
    cache = options.cache,
    consumes = options.consumes,
    response_options = options.response_options,
    response_description = options.response_description,
    responses = shared.responses,
    status = options.status or 200,
    openapi = options.openapi,
    handler = entry.handler,
    middlewares = shared.middlewares,
    error_handlers = shared.error_handlers,
    strict = options.strict,
    timeout_ms = shared.timeout_ms,
    on_disconnect = shared.on_disconnect,
    max_body_bytes = options.max_body_bytes,
    source = entry.source,
    file = entry.file,
    line = entry.line,
  }
  operation.produces = shared.produces
  if operation.produces == nil then
    operation.produces = "application/json"
  end
  if shared.rate_limit then
    add_rate_limit(operation, shared.rate_limit)
  end
  operation.ids = make_ids(self, operation, options.operation_id)
  if shared.callbacks then
    operation.callbacks = {}
    each_entry(shared.callbacks, enter_router(ROOT, shared.callbacks), function(callback, inside)
      table.insert(operation.callbacks, describe(self, callback, inside))
    end)
  end
  return operation
end

-- Two operations of one id would be one function in generated clients.
local function check_ids(operations)
  local owners = {}
  for _, operation in ipairs(operations) do
    for _, method in ipairs(operation.hidden and {} or operation.methods) do
      local id = operation.ids[method]
      local owner = owners[id]
      if owner then
        local format = "%s: %s: the operation id '%s' is that of %s, too"
        error(format:format(operation.source, operation.what, id, owner.source), 0)
      end
      owners[id] = operation
    end
  end
end

-- Inputs of the path that nobody declared are strings; they are part of the group once there is one.
local function input_groups(operation)
  local groups = {}
  for i, group in ipairs(operation.groups) do
    groups[i] = group
    if group.source == "path" and group.fields and #operation.implicit > 0 then
      groups[i] = {
        source = "path",
        as = group.as,
        fields = concat(group.fields, operation.implicit),
      }
    end
  end
  return groups
end

-- Separate body values of an operation and its dependencies come in one object, so they need names.
local function check_bodies(operation, groups)
  local bodies, single = 0, false
  for _, group in ipairs(groups) do
    if group.source == "body" or group.source == "form" then
      bodies = bodies + 1
      single = single or group.model ~= nil
    end
  end
  if bodies > 1 and single then
    error(
      ("%s: %s: a dependency declares a body, too: both need names, as in body = { item = Item }"):format(
        operation.source,
        operation.what
      ),
      0
    )
  end
end

-- Compiles, with an error that says which operation it is about.
local function compile(operation, fn, ...)
  local ok, result = pcall(fn, ...)
  if not ok then
    error(("%s: %s: %s"):format(operation.source, operation.what, tostring(result)), 0)
  end
  return result
end

-- Whether Lua must see requests whose inputs are not valid: middleware sees every answer, a handler for
-- validation errors answers them, and dependencies that are called for each request run, and refuse,
-- before anything is said of the inputs. The host answers all others by itself.
local function sees_invalid(operation, plan)
  if #operation.middlewares > 0 then
    return true
  end
  for _, handlers in ipairs(operation.error_handlers) do
    if handlers.validation or handlers[422] then
      return true
    end
  end
  for _, step in ipairs(plan.steps) do
    if step.dependency.scope ~= "app" then
      return true
    end
  end
  return false
end

-- The host reads paths, and would refuse this one when it is to serve the app: every command says so.
local function check_path(operation)
  local path, message = operation.path
  if path == "" then
    message = "an empty path needs a prefix"
  elseif path:sub(1, 1) ~= "/" then
    message = "the path must start with '/'"
  else
    message = host.app.path_error(path)
  end
  if message then
    error(("%s: %s: %s"):format(operation.source, operation.what, message), 0)
  end
end

-- What stands around a handler and looks at its answers: a function that wraps what makes one, or nil. A cache
-- stays on the loop, so that nobody waits for somebody else's answer on a worker.
local function answer_layer(operation, groups, response)
  local status = operation.status
  if not operation.cache and not operation.etag then
    return nil
  end
  local keep = operation.cache
    and require("perigee.answer_cache").keeper(operation, groups, status, response)
  return function(make)
    local made = make
    if keep then
      made = function(req, ...)
        return keep(req, make, ...)
      end
    end
    return operation.etag and conditional.tagged(made, status, response) or made
  end
end

-- One operation as the host takes it. A handler with nothing around it is the app's own function: the
-- way of most requests has nothing of ours on it.
local function build_operation(self, operation, singletons, types)
  if not operation.handler then
    error(
      operation.source
        .. ": "
        .. operation.what
        .. ": the handler must be a function (req), not nil",
      0
    )
  end
  check_path(operation)
  local plan = dependency.plan(operation.deps, input_groups(operation), self.overrides)
  inputs.check(plan.groups)
  check_bodies(operation, plan.groups)

  local strict = operation.strict
  if strict == nil then
    strict = self.config.strict
  end
  local declared, response
  if #plan.groups > 0 then
    declared = compile(operation, host.schema.inputs, {
      groups = plan.groups,
      strict = strict or false,
      strict_content_type = self.config.strict_content_type ~= false,
    }, types)
  end
  if operation.response then
    local options = operation.response_options
    response = compile(operation, host.schema.compile, operation.response, options, types)
  end

  local whole = #operation.middlewares == 0
    and not operation.cache
    and hop.is_whole(plan, operation.handler)
  local legs = not whole and hop.legs(plan, operation.handler, operation.cache ~= nil) or nil
  local handler = threaded.inner(operation.handler)
  if operation.item then
    local item = compile(operation, host.schema.compile, operation.item, nil, types)
    handler = streams.typed(handler, item)
  end
  if operation.produces and not openapi.is_json(operation.produces) then
    handler = response_of.texts(handler, operation.produces, operation.status)
  end
  local is_json = operation.produces == "application/json" and not operation.item
  if is_json and #self.encoders > 0 then
    local cache = operation.cache
    handler = require("perigee.codecs").encoding(
      handler,
      self.encoders,
      operation.status,
      response,
      cache ~= nil
    )
    operation.cache = cache and union(cache, { vary = concat(cache.vary or {}, { "Accept" }) })
  end
  if operation.cache then
    local mistake = require("perigee.answer_cache").mistake(operation)
    if mistake then
      error(("%s: %s: %s"):format(operation.source, operation.what, mistake), 0)
    end
  end
  local layer = answer_layer(operation, plan.groups, response)
  local is_kept_here = operation.cache ~= nil and threaded.is(operation.handler)
  if layer and not is_kept_here then
    handler = layer(handler)
  end
  if plan.cleans then
    handler = response_of.checked(handler, operation.status, response)
  end
  local resolves = #plan.steps > 0
  local sees = declared ~= nil and sees_invalid(operation, plan)
  local wrapped = #operation.middlewares > 0
    or #operation.error_handlers > 0
    or answers.differ(self.config)
    or self.config.debug
  local errands = legs and dependency.errands(plan, handler, singletons)
  if resolves or sees or legs then
    handler = dependency.resolving(plan, handler, singletons, legs, is_kept_here and layer or nil)
  end
  if wrapped or plan.lingers then
    local failing = {
      handlers = operation.error_handlers,
      answer = self.answer,
      place = { source = (operation.file or ""):sub(2), line = operation.line, locals = {} },
    }
    handler = compose.answering(handler, failing, operation.status, response)
    handler = compose.compose(operation.middlewares, handler, failing)
  end
  local needs = {}
  for i, dependency_entry in ipairs(operation.deps) do
    needs[i] = dependency_entry.name or dependency.label(dependency_entry.dependency)
  end
  return {
    name = operation.name,
    needs = needs,
    methods = operation.methods,
    host = operation.host and operation.host.pattern,
    path = operation.path,
    handler = handler,
    status = operation.status,
    inputs = declared,
    response = response,
    sees_invalid = sees,
    problem = self.config.errors == "problem",
    validation_detail = self.config.validation_detail,
    source = operation.source,
    label = table.concat(operation.methods, ",") .. " " .. operation.path,
    timeout_ms = operation.timeout_ms,
    on_disconnect = operation.on_disconnect,
    max_body_bytes = operation.max_body_bytes,
    decodes = #self.decoders > 0 and table.concat(self.decoders, " ") or nil,
    decoder = #self.decoders > 0 and require("perigee.codecs").decoder(self.decoders) or nil,
    threaded = whole,
    hop = errands,
  }
end

-- Leads the answers that the host gives by itself (404, 405, 307, ...) through the app's middleware and
-- error handlers.
local function make_fallback(self)
  if
    #self.middlewares == 0
    and not next(self.error_handlers)
    and not answers.differ(self.config)
  then
    return nil
  end
  local function answer_of_host(req, answer)
    local failure = answer.failure -- on the worker of a request that is wholly threaded; it is logged
    if failure and self.error_handlers[500] then
      error(failure, 0)
    elseif failure then
      return self.answer(nil, req, { cause = failure, traceback = failure })
    end
    local detail = type(answer.json) == "table" and answer.json.detail
    if detail and (self.error_handlers[answer.status] or self.config.errors == "problem") then
      error(errors.http_error(answer.status, detail, answer.headers), 0)
    end
    return answer
  end
  local failing = { handlers = { self.error_handlers }, answer = self.answer }
  return compose.compose(self.middlewares, compose.answering(answer_of_host, failing), failing)
end

-- The document; its operations share what they have in common, so that nobody may change it.
local function make_document(self)
  local webhooks = {}
  each_entry(self.webhooks, enter_router(ROOT, self.webhooks), function(entry, context)
    webhooks[#webhooks + 1] = describe(self, entry, context)
  end)
  local config = self.config
  if self.mounted_at ~= "" and not config.root_path then
    config = union(config, { root_path = self.mounted_at })
  end
  local document = openapi.document(config, self.operations, webhooks, self.decoders, self.encoders)
  source.forget()
  if self.extend then
    document = ordered.copy(document)
    return self.extend(document) or document
  end
  return document
end

-- The operations that serve the documentation, unless the app has its own at their places.
local function build_docs(self, context, taken)
  local built = {}
  local function document()
    return ordered.encode(make_document(self))
  end
  for _, route in ipairs(docs.routes(self.config, context.mounted_at, document)) do
    local path = context.mounted_at .. route.path
    if not taken["GET " .. path] then
      check_path({ path = path, source = self.source, what = "perigee.app" })
      local handler = route.handler
      if #context.middlewares > 0 then
        local failing = { handlers = context.error_handlers, answer = self.answer }
        handler = compose.answering(handler, failing)
        handler = compose.compose(context.middlewares, handler, failing)
      end
      built[#built + 1] = {
        methods = { "GET" },
        host = context.host and context.host.pattern,
        path = path,
        handler = handler,
        status = 200,
        source = self.source,
        threaded = false,
      }
    end
  end
  return built
end

-- Builds an app at a place: the root, or where it is mounted. Appends to `built`.
local function build_at(self, outer, mounted_at, built, singletons)
  if self.config.debug == nil then
    self.config.debug = outer.is_dev
  end
  compose.shows_frames = compose.shows_frames or self.config.debug == true
  local context = enter_router(union(outer, { mounted_at = mounted_at }), self)
  local operations, taken = {}, {}
  each_entry(self, context, function(entry, inside)
    if entry.kind == "app" then
      if inside.depth > 64 then
        error(entry.source .. ": app:mount: apps mount each other without end", 0)
      end
      -- Only middleware reaches into a mounted app: it is an app of its own.
      local at = inside.prefix .. entry.path
      local around =
        union(ROOT, { prefix = at, middlewares = inside.middlewares, depth = inside.depth })
      around.is_dev, around.types = outer.is_dev, outer.types
      around.host = entry.host or inside.host
      if entry.host and (inside.host or at ~= "") then
        error(entry.source .. ": app:host: only the app that is served has hosts", 0)
      end
      build_at(entry.app, around, at, built, singletons)
      return
    end
    local operation = describe(self, entry, inside)
    operations[#operations + 1] = operation
    built[#built + 1] = build_operation(self, operation, singletons, outer.types)
    for _, method in ipairs(operation.methods) do
      taken[method .. " " .. operation.path] = true
    end
  end)
  check_ids(operations)
  self.operations = operations
  self.mounted_at = mounted_at
  local pages = build_docs(self, context, taken)
  table.move(pages, 1, #pages, #built + 1, built)
end

--- Builds what the host serves; called once by perigee.entry, after app.lua has returned.
---@param settings? { root_path?: string, metrics?: string, health?: boolean, request_id?: boolean, dev?: boolean } what flags say: goes before options
---@return table built title, limits, operations, fallback, docs, openapi, start, stop
function App:build(settings)
  settings = settings or {}
  for _, name in ipairs({ "root_path", "metrics", "health", "request_id" }) do
    if settings[name] ~= nil then
      self.config[name] = settings[name]
    end
  end
  observe.add(self)
  local operations, singletons = {}, dependency.singletons()
  local root = union(ROOT, { is_dev = settings.dev, types = host.schema.types() })
  build_at(self, root, "", operations, singletons)
  source.forget()
  local lifespans = lifespan.of(self)
  return {
    title = self.config.title or "Perigee",
    problem = self.config.errors == "problem",
    validation_detail = self.config.validation_detail,
    limits = self.config.limits,
    timeout_ms = self.config.timeout_ms,
    measured = self.config.metrics ~= nil,
    request_id = self.config.request_id,
    operations = operations,
    fallback = make_fallback(self),
    docs = docs.page_path(self.config),
    openapi = function()
      return ordered.encode(make_document(self))
    end,
    background = #self.schedules > 0 and function()
      schedule.follow(self.schedules)
    end or nil,
    start = function()
      singletons:start()
      for _, hook in ipairs(self.start_hooks) do
        hook()
      end
      lifespans:start()
    end,
    stop = function()
      local _ <close> = setmetatable({}, {
        __close = function()
          singletons:stop()
        end,
      })
      lifespans:stop()
      for i = #self.stop_hooks, 1, -1 do
        self.stop_hooks[i]()
      end
    end,
  }
end

local function add_hook(what, hooks, hook)
  if type(hook) ~= "function" then
    errors.raise("%s: a function is needed, not %s", what, type(hook))
  end
  hooks[#hooks + 1] = hook
end

--- Runs a function in each VM before its first request. An error there ends the start.
---@param hook fun()
function App:on_start(hook)
  add_hook("app:on_start", self.start_hooks, hook)
end

--- Runs a function in each VM after its last request; the last one added comes first.
---@param hook fun()
function App:on_stop(hook)
  add_hook("app:on_stop", self.stop_hooks, hook)
end

--- Runs a function every `ms` milliseconds, once for the whole process and beside its requests. An error is
--- logged and the next run comes all the same; a run that takes longer than `ms` puts off the next one.
---@param ms number
---@param fn fun() may wait
---@param options? { at_start?: boolean, timeout_ms?: number, name?: string }
function App:every(ms, fn, options)
  self.schedules[#self.schedules + 1] = schedule.every(ms, fn, options)
end

--- Runs a function when a line of cron says so, in local time unless `utc` is set: `"0 3 * * *"` is every day at
--- three. Otherwise like app:every().
---@param line string minute, hour, day, month, weekday; or @hourly, @daily, @weekly, @monthly, @yearly
---@param fn fun() may wait
---@param options? { utc?: boolean, timeout_ms?: number, name?: string }
function App:cron(line, fn, options)
  self.schedules[#self.schedules + 1] = schedule.cron(line, fn, options)
end

--- The OpenAPI document, for those who want to look at it: a table that openapi_url serves as JSON.
---@return table
function App:document()
  if not self.operations then
    error("app:document: the app is not built yet", 2)
  end
  return ordered.copy(make_document(self))
end

--- Changes the document before it is served: the function gets it and may return another one.
---@param extend fun(document: table): table?
function App:openapi(extend)
  if type(extend) ~= "function" then
    errors.raise("app:openapi: a function (document) is needed, not %s", type(extend))
  end
  self.extend = extend
end

--- Reads declared bodies in another format than JSON: `app:decoder("application/msgpack", msgpack.unpack)`. What
--- the function makes of the bytes is validated as JSON would be, with the same errors; json.null is null. For all
--- operations of the app with a `body`, and in their document.
---@param media_type string
---@param decode fun(bytes: string): any nil, or an error: the bytes are no such format (400). May not wait
function App:decoder(media_type, decode)
  require("perigee.codecs").add("app:decoder", self.decoders, media_type, decode)
end

--- Writes JSON results in another format for clients whose `Accept` wants it more than JSON:
--- `app:encoder("application/msgpack", msgpack.pack)`. The function gets the value as it would be sent: filtered by
--- its declared type, null as json.null. Errors stay JSON.
---@param media_type string
---@param encode fun(value: any): string
function App:encoder(media_type, encode)
  require("perigee.codecs").add("app:encoder", self.encoders, media_type, encode)
end

--- Uses another dependency in place of one, wherever it is asked for; for tests. Counts at the next build.
---@param original perigee.Dependency|function
---@param replacement? perigee.Dependency|function nil takes the override back
function App:override(original, replacement)
  local key = dependency.entry_of("app:override", nil, original).dependency
  self.overrides[key] = replacement
    and dependency.entry_of("app:override", nil, replacement).dependency
end

--- The path of an operation by its name, with its parameters filled in.
---@param name string
---@param params? table<string, string|number>
---@return string
function App:url(name, params)
  for _, operation in ipairs(self.operations or {}) do
    if operation.name == name then
      return url.fill((self.config.root_path or "") .. operation.path, params)
    end
  end
  local known = {}
  for _, operation in ipairs(self.operations or {}) do
    known[operation.name] = true
  end
  local nearest = errors.nearest(name, known)
  local hint = nearest and (" (did you mean '%s'?)"):format(nearest) or ""
  error(("app:url: there is no operation named '%s'%s"):format(tostring(name), hint), 2)
end

return M
