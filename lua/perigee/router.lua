--- Routers: operations, middleware and error handlers as declared, in their written order. What they
--- come to is decided once, in app:build(), so a router may be filled after it was included.

local errors = require("perigee.errors")

local M = {}

-- stylua: ignore
M.METHODS = { "get", "post", "put", "patch", "delete", "options", "head", "trace" }

local KNOWN_METHODS = {}
for _, method in ipairs(M.METHODS) do
  KNOWN_METHODS[method:upper()] = true
end

-- The options of one operation and the types they are checked against.
M.operation_options = {
  name = "string",
  status = "integer",
  timeout_ms = "integer",
  use = "table",
}

-- What a router says of all its operations.
M.router_options = {
  prefix = "string",
  use = "table",
}

---@class perigee.Router
---@field config table the options it was made with
---@field entries table[] operations, included routers and mounted apps
---@field middlewares perigee.Middleware[]
---@field error_handlers table<any, perigee.ErrorHandler>
local Router = {}
Router.__index = Router
M.Router = Router

-- A function as it is, anything else that can be called as a function; nil for the rest.
local function as_function(value)
  local metatable = getmetatable(value)
  if type(value) == "function" then
    return value
  elseif type(metatable) == "table" and metatable.__call then
    return function(...)
      return value(...)
    end
  end
end

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
  check_middlewares(what, options.use or {})
  self.config = options
  self.source = errors.caller()
  self.entries = {}
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

-- Checks and keeps one operation.
local function declare(self, what, methods, path, options, handler)
  if handler == nil then
    options, handler = {}, options
  end
  if type(path) ~= "string" then
    errors.raise("%s: the path must be a string, not %s", what, type(path))
  end
  what = ("%s(%q)"):format(what, path)
  if path ~= "" and path:sub(1, 1) ~= "/" then
    errors.raise("%s: the path must start with '/'", what)
  end
  if not as_function(handler) then
    errors.raise("%s: the handler must be a function, not %s", what, type(handler))
  end
  if type(options) ~= "table" then
    errors.raise("%s: options must be a table, not %s", what, type(options))
  end
  errors.check_options(what, options, M.operation_options)
  check_middlewares(what, options.use or {})
  if options.status and (options.status < 200 or options.status > 999) then
    errors.raise("%s: status must be from 200 to 999, not %d", what, options.status)
  end
  if options.timeout_ms and options.timeout_ms < 1 then
    errors.raise("%s: timeout_ms must be 1 or more, not %d", what, options.timeout_ms)
  end
  local source, info = errors.caller()
  self.entries[#self.entries + 1] = {
    kind = "operation",
    what = what,
    methods = methods,
    path = path,
    options = options,
    handler = as_function(handler),
    source = source,
    file = info and info.source,
    line = info and info.currentline,
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
  if type(router) ~= "table" or type(router.entries) ~= "table" then
    errors.raise("app:include: a router is needed, not %s", type(router))
  end
  errors.check_options("app:include", options or {}, M.router_options)
  check_prefix("app:include", options and options.prefix)
  check_middlewares("app:include", options and options.use or {})
  self.entries[#self.entries + 1] = {
    kind = "router",
    router = router,
    options = options or {},
    source = (errors.caller()),
  }
end

return M
