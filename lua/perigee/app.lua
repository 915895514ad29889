--- The app: a router with a title, that can be built. app:build() turns what was declared into the
--- flat list of operations that the host serves.

local compose = require("perigee.compose")
local errors = require("perigee.errors")
local router = require("perigee.router")

local M = {}

local OPTIONS = {
  title = "string",
  version = "string",
  limits = "table",
}
for name, expected in pairs(router.router_options) do
  OPTIONS[name] = expected
end

---@class perigee.App : perigee.Router
local App = setmetatable({}, { __index = router.Router })
App.__index = App

--- Makes an app. A file app.lua returns one.
---@param options? table
---@return perigee.App
function M.new(options)
  local self = setmetatable({}, App)
  router.init(self, "perigee.app", options, OPTIONS)
  return self
end

local function concat(a, b)
  local both = table.move(a, 1, #a, 1, {})
  return table.move(b, 1, #b, #a + 1, both)
end

-- What a router adds to what it is included in.
local function enter(outer, options, source)
  local context = {
    prefix = outer.prefix .. (options.prefix or ""),
    middlewares = outer.middlewares,
    error_handlers = outer.error_handlers,
    depth = outer.depth + 1,
  }
  if context.depth > 64 then
    error(source .. ": app:include: routers include each other without end", 0)
  end
  return context
end

-- Visits all operations below a router, in the written order.
local function each_operation(self, context, visit)
  for _, entry in ipairs(self.entries) do
    if entry.kind == "operation" then
      visit(entry, context)
    else
      local inner = entry.router
      local between = enter(context, entry.options, entry.source)
      between.middlewares = concat(between.middlewares, entry.options.use or {})
      local inside = enter(between, inner.config, inner.source)
      inside.middlewares = concat(inside.middlewares, inner.middlewares)
      if next(inner.error_handlers) then
        inside.error_handlers = concat({ inner.error_handlers }, inside.error_handlers)
      end
      each_operation(inner, inside, visit)
    end
  end
end

-- What the host calls for one operation. Without middleware and error handlers that is the app's own
-- function: the way of most requests has nothing of ours on it.
local function compose_handler(entry, context)
  local handler = entry.handler
  local middlewares = concat(context.middlewares, entry.options.use or {})
  if #middlewares > 0 or #context.error_handlers > 0 then
    handler = compose.answering(handler, context.error_handlers, entry.options.status)
    handler = compose.compose(middlewares, handler, context.error_handlers)
  end
  return handler
end

-- Leads the answers that the host gives by itself (404, 405, 413, ...) through the app's middleware and
-- error handlers.
local function make_fallback(self)
  if #self.middlewares == 0 and not next(self.error_handlers) then
    return nil
  end
  local function answer_of_host(_, answer)
    if self.error_handlers[answer.status] then
      local detail = type(answer.json) == "table" and answer.json.detail or nil
      error(errors.http_error(answer.status, detail, answer.headers))
    end
    return answer
  end
  local chain = { self.error_handlers }
  return compose.compose(self.middlewares, compose.answering(answer_of_host, chain), chain)
end

--- Builds what the host serves; called once by perigee.entry, after app.lua has returned.
---@return table built title, limits, operations, fallback
function App:build()
  local operations = {}
  local context = {
    prefix = self.config.prefix or "",
    middlewares = self.middlewares,
    error_handlers = next(self.error_handlers) and { self.error_handlers } or {},
    depth = 0,
  }
  each_operation(self, context, function(entry, inside)
    local path = inside.prefix .. entry.path
    if path == "" then
      error(entry.source .. ": " .. entry.what .. ": an empty path needs a prefix", 0)
    end
    operations[#operations + 1] = {
      methods = entry.methods,
      path = path,
      handler = compose_handler(entry, inside),
      status = entry.options.status or 200,
      source = entry.source,
      timeout_ms = entry.options.timeout_ms,
      threaded = false,
    }
  end)
  return {
    title = self.config.title or "Perigee",
    limits = self.config.limits,
    operations = operations,
    fallback = make_fallback(self),
  }
end

return M
