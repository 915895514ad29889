--- Lifespans: what an app sets up before its first connection and takes down behind its last request,
--- written as one function that stops in the middle.
---
---     app:lifespan(function(_, serve)
---       local pool <close> = open_pool()
---       serve({ pool = pool })
---     end)
---
--- Each is a coroutine that starts with the VM and stands in serve() until the VM stops.

local errors = require("perigee.errors")
local host = require("perigee.host")

local M = {}

local SERVING = {} -- what serve() yields

---@alias perigee.Lifespan fun(app: perigee.Router, serve: fun(state?: table))

--- Adds a lifespan to a router or an app.
---@param what string for messages
---@param list table[]
---@param owner perigee.Router
---@param fn perigee.Lifespan
function M.add(what, list, owner, fn)
  if type(fn) ~= "function" then
    errors.raise("%s: a function (app, serve) is needed, not a %s", what, type(fn))
  end
  list[#list + 1] = { run = fn, owner = owner, source = errors.caller() }
end

-- The lifespans of a router and of everything in it, outermost first, each once.
local function collect(router, found, seen)
  if seen[router] then
    return found
  end
  seen[router] = true
  table.move(router.lifespans, 1, #router.lifespans, #found + 1, found)
  for _, entry in ipairs(router.entries) do
    if entry.kind == "router" then
      collect(entry.router, found, seen)
    elseif entry.kind == "app" then
      collect(entry.app, found, seen)
    end
  end
  return found
end

---@class perigee.Lifespans
---@field private all table[]
---@field private serving table[] that have reached serve(), with their coroutines
---@field private state table what they gave to serve()
local Lifespans = {}
Lifespans.__index = Lifespans

---@param router perigee.Router
---@return perigee.Lifespans
function M.of(router)
  return setmetatable({ all = collect(router, {}, {}), serving = {}, state = {} }, Lifespans)
end

local function serve(state)
  if state ~= nil and type(state) ~= "table" then
    errors.raise("serve: a table of values for req.state is needed, not a %s", type(state))
  end
  local co, is_main = coroutine.running()
  if is_main or not co then
    errors.raise("serve: it is called within the function of app:lifespan")
  end
  coroutine.yield(SERVING, state)
end

--- Runs each one until it serves. When one fails, those before it are stopped and its error is raised.
---@async
function Lifespans:start()
  for _, lifespan in ipairs(self.all) do
    local co = coroutine.create(lifespan.run)
    local ok, marker, state = coroutine.resume(co, lifespan.owner, serve)
    if not ok or marker ~= SERVING then
      local message = not ok and marker
        or lifespan.source .. ": app:lifespan: the function ended without serve()"
      if not ok and type(marker) == "string" then
        message = debug.traceback(co, marker)
      end
      coroutine.close(co)
      pcall(self.stop, self)
      error(message, 0)
    end
    self.serving[#self.serving + 1] = { co = co, source = lifespan.source }
    for name, value in pairs(state or {}) do
      self.state[name] = value
    end
  end
  if next(self.state) ~= nil then
    host.app.set_state(self.state)
  end
end

--- Lets them go on behind serve(), the last one first; the first error is raised when all have ended.
---@async
function Lifespans:stop()
  local failed
  for i = #self.serving, 1, -1 do
    local serving = self.serving[i]
    self.serving[i] = nil
    local ok, err = coroutine.resume(serving.co)
    if ok and coroutine.status(serving.co) ~= "dead" then
      ok, err = false, serving.source .. ": app:lifespan: serve() was called twice"
    end
    coroutine.close(serving.co)
    if not ok then
      failed = failed or { err }
    end
  end
  if failed then
    error(failed[1], 0)
  end
end

return M
