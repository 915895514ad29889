--- Dependencies: what an operation needs before its handler can run. Resolution is planned once, at
--- load, as a flat list of steps; a request walks it. The order is FastAPI's: depth first, each
--- dependency once per request, one whose inputs are not valid is skipped while the others still run.

local callable = require("perigee.callable")
local compose = require("perigee.compose")
local errors = require("perigee.errors")
local hop = require("perigee.hop")
local host = require("perigee.host")
local inputs = require("perigee.inputs")
local node_of = require("perigee.node")
local rounds = require("perigee.rounds")
local source = require("perigee.source")
local threaded = require("perigee.threaded")

local M = {}

---@class perigee.Dependency
---@field seq integer
---@field groups perigee.InputGroup[]
---@field deps table[] entries { name?, dependency, scopes? }
---@field run? fun(req: perigee.Request): any
---@field defined_in? function where the class of an object that can be called says what a call does
---@field open? fun(req: perigee.Request): any
---@field close? fun(value: any, err: any)
---@field scope "request"|"response"|"app"
---@field cache boolean
---@field parallel? boolean runs at the same time as its neighbours that are parallel, too
---@field scheme? table what openapi.lua says of a security scheme
local Dependency = {}
Dependency.__index = Dependency

local OPTIONS = {
  deps = "table",
  open = "function",
  close = "function",
  scope = "string",
  cache = "boolean",
  parallel = "boolean",
  uses_scopes = "boolean",
}
for name, expected in pairs(inputs.options) do
  OPTIONS[name] = expected
end

local SCOPES = { request = true, response = true, app = true }

local sequence = 0

--- A dependency with inputs, dependencies or cleanup of its own. A plain function (req) is one, too, and so is
--- an object that can be called. With `parallel = true` it runs at the same time as its neighbours that say so,
--- too, and that it does not need; a threaded one on a worker of its own.
---@param options table
---@param run? fun(req: perigee.Request): any makes the value; or give `open` and perhaps `close`
---@return perigee.Dependency
function M.new(options, run)
  local what = "perigee.dependency"
  if run == nil and callable.as_function(options) then
    options, run = {}, options
  end
  run = run and callable.as_function(run) or run
  if type(options) ~= "table" then
    errors.raise("%s: options must be a table, not %s", what, type(options))
  end
  errors.check_options(what, options, OPTIONS)
  if (run == nil) == (options.open == nil) or (run ~= nil and type(run) ~= "function") then
    errors.raise("%s: either a function (req) or the option 'open' is needed", what)
  end
  if options.close and not options.open then
    errors.raise("%s: 'close' needs 'open'", what)
  end
  if options.scope and not SCOPES[options.scope] then
    errors.raise("%s: scope must be request, response or app, not '%s'", what, options.scope)
  end
  if options.scope and not options.open then
    errors.raise("%s: 'scope' says when 'close' is due, so it needs 'open'", what)
  end
  sequence = sequence + 1
  local where, file, line = errors.caller()
  local self = setmetatable({
    seq = sequence,
    groups = inputs.read(what, options, where),
    deps = M.read_entries(what, options.deps),
    run = run,
    open = options.open,
    close = options.close,
    scope = options.scope or "request",
    cache = options.cache ~= false,
    parallel = options.parallel,
    uses_scopes = options.uses_scopes,
    source = where,
    file = file,
    line = line,
  }, Dependency)
  if self.scope == "app" and (#self.groups > 0 or #self.deps > 0) then
    errors.raise("%s: one with scope 'app' serves all requests: it has no inputs", what)
  end
  return self
end

---@class perigee.ScopedDependency
local Scoped = {}

--- The same dependency, needing these OAuth2 scopes besides those it is asked for elsewhere.
---@param dependency perigee.Dependency|function
---@param scopes string[]
---@return perigee.ScopedDependency
function M.scoped(dependency, scopes)
  if type(scopes) ~= "table" then
    errors.raise("security.scopes: a list of scopes is needed, not %s", type(scopes))
  end
  sequence = sequence + 1
  local entry = M.entry_of("security.scopes", nil, dependency)
  return setmetatable({ seq = sequence, dependency = entry.dependency, scopes = scopes }, Scoped)
end

local of_function = setmetatable({}, { __mode = "k" })

--- Makes an entry of what stands in a `deps` table.
---@param what string
---@param name? string
---@param value any
---@return { name?: string, dependency: perigee.Dependency, scopes?: string[], seq: number }
function M.entry_of(what, name, value)
  local metatable = getmetatable(value)
  if metatable == Scoped then
    return { name = name, dependency = value.dependency, scopes = value.scopes, seq = value.seq }
  elseif metatable == Dependency then
    return { name = name, dependency = value, seq = value.seq }
  end
  local run = callable.as_function(value)
  if run then
    local fn = callable.definition(value)
    if not of_function[value] then
      of_function[value] = setmetatable({
        groups = {},
        deps = {},
        run = run,
        defined_in = fn ~= value and fn or nil,
        scope = "request",
        cache = true,
      }, Dependency)
    end
    return { name = name, dependency = of_function[value], seq = math.huge, fn = fn }
  end
  local label = name and ("'" .. name .. "'") or "an entry"
  errors.raise(
    "%s: deps: %s must be a function or a perigee.dependency, not %s",
    what,
    label,
    node_of.is_type(value) and "a type" or type(value)
  )
end

-- Dependencies in the order they were made, functions after them in the order of their lines.
local function by_origin(a, b)
  if a.seq ~= b.seq then
    return a.seq < b.seq
  end
  if a.fn and b.fn and a.fn ~= b.fn then
    local one = debug.getinfo(threaded.inner(a.fn), "S")
    local other = debug.getinfo(threaded.inner(b.fn), "S")
    if one.source ~= other.source then
      return one.source < other.source
    elseif one.linedefined ~= other.linedefined then
      return one.linedefined < other.linedefined
    end
  end
  return a.name < b.name
end

--- Reads a `deps` table: entries without a name first, as they stand, then those with one in the order
--- they were made. A { name, dependency } pair, or a table of named ones, in the place of one without a name
--- makes any order possible.
---@param what string
---@param declared? table
---@return table[] entries
function M.read_entries(what, declared)
  local entries, named = {}, {}
  for _, value in ipairs(declared or entries) do
    local is_plain = type(value) == "table" and not getmetatable(value)
    if is_plain and type(value[1]) == "string" then
      entries[#entries + 1] = M.entry_of(what, value[1], value[2])
    elseif is_plain then
      for _, entry in ipairs(M.read_entries(what, value)) do
        entries[#entries + 1] = entry
      end
    else
      entries[#entries + 1] = M.entry_of(what, nil, value)
    end
  end
  for name, value in pairs(declared or entries) do
    if type(name) == "string" then
      named[#named + 1] = M.entry_of(what, name, value)
    end
  end
  table.sort(named, by_origin)
  return table.move(named, 1, #named, #entries + 1, entries)
end

-- The scopes a dependency is asked for: those of everything above it, then its own.
local function join_scopes(outer, own)
  if not own or #own == 0 then
    return outer
  end
  local joined, seen = {}, {}
  for _, list in ipairs({ outer, own }) do
    for _, scope in ipairs(list) do
      if not seen[scope] then
        seen[scope] = true
        joined[#joined + 1] = scope
      end
    end
  end
  return joined
end

local function uses_scopes(entry)
  local dependency = entry.dependency
  if dependency.uses_scopes or dependency.scheme or (entry.scopes and #entry.scopes > 0) then
    return true
  end
  for _, sub in ipairs(dependency.deps) do
    if uses_scopes(sub) then
      return true
    end
  end
  return false
end

-- What tells one use of a dependency from another within a request: the scopes count where somebody
-- looks at them.
local function cache_key(entry, scopes)
  local dependency = entry.dependency
  if #scopes == 0 or not uses_scopes(entry) then
    return dependency
  end
  local sorted = table.move(scopes, 1, #scopes, 1, {})
  table.sort(sorted)
  local text = table.concat(sorted, " ")
  dependency.keys = dependency.keys or {}
  dependency.keys[text] = dependency.keys[text] or {}
  return dependency.keys[text]
end

--- Calls `visit(dependency, scopes)` once for each dependency, those above before those below: the order
--- of a document.
---@param entries table[]
---@param visit fun(dependency: perigee.Dependency, scopes: string[])
function M.each(entries, visit)
  local visited = {}
  local function walk(list, outer)
    for _, entry in ipairs(list) do
      local scopes = join_scopes(outer, entry.scopes)
      local key = cache_key(entry, scopes)
      if not visited[key] then
        visited[key] = true
        visit(entry.dependency, scopes)
        walk(entry.dependency.deps, scopes)
      end
    end
  end
  walk(entries, {})
end

--- What a dependency is called in lists for people: its scheme, its name, or where it was made.
---@param dependency perigee.Dependency
---@return string
function M.label(dependency)
  if dependency.scheme then
    return dependency.scheme.name
  end
  local name = dependency.file and source.assigned_name(dependency.file, dependency.line)
  local fn = threaded.inner(dependency.defined_in or dependency.run or dependency.open)
  local info = debug.getinfo(fn, "S")
  name = name or (not dependency.defined_in and source.name_of(fn))
  return name or info.short_src .. ":" .. info.linedefined
end

-- What a dependency with inputs of its own is called with: its own values, else the request.
local View = {}
local METHODS =
  { after = true, all = true, body = true, chunks = true, early_hints = true, json = true }

function View.__index(view, key)
  local req = rawget(view, View)
  local value = req[key]
  if METHODS[key] and type(value) == "function" then
    return function(_, ...)
      return value(req, ...)
    end
  end
  return value
end

function View.__newindex(view, key, value)
  rawget(view, View)[key] = value
end

-- A function (req, values) that makes what the step's function is called with.
local function make_subject(step)
  local named = #step.names > 0
  if #step.groups == 0 and not named and not step.scopes then
    return nil
  end
  return function(req, values)
    local view = { [View] = req }
    for _, group in ipairs(step.groups) do
      view[group.key] = req[group.as]
    end
    if named then
      local deps = {}
      for _, name in ipairs(step.names) do
        deps[name.name] = values[name.step]
      end
      view.deps = deps
    end
    view.scopes = step.scopes
    return setmetatable(view, View)
  end
end

---@class perigee.Plan
---@field groups perigee.InputGroup[] all inputs, in the order in which errors are collected
---@field steps table[]
---@field names table[] what becomes req.deps
---@field cleans boolean whether something is closed at the end
---@field lingers boolean whether something is closed after the response

--- Plans the resolution of an operation.
---@param entries table[] its dependencies, outermost first
---@param groups perigee.InputGroup[] its own inputs
---@param overrides table<perigee.Dependency, perigee.Dependency>
---@return perigee.Plan
function M.plan(entries, groups, overrides)
  local plan = { groups = {}, steps = {}, names = {}, cleans = false, lingers = false }
  local by_key, open = {}, {}

  local add -- forward: dependencies contain dependencies

  -- Returns the index of the step that makes the value, and the names of groups and steps it needs.
  function add(entry, outer)
    local dependency = overrides[entry.dependency] or entry.dependency
    if open[dependency] then
      error((dependency.source or "?") .. ": the dependency needs itself", 0)
    end
    open[dependency] = true
    local scopes = join_scopes(outer, entry.scopes)
    local is_threaded = dependency.scope ~= "app" and threaded.is(dependency.run or dependency.open)
    local step = {
      dependency = dependency,
      names = {},
      groups = {},
      needs = {},
      scopes = dependency.uses_scopes and scopes or nil,
      parallel = dependency.parallel and dependency.scope ~= "app",
      threaded = is_threaded and not dependency.parallel,
      apart = is_threaded and dependency.parallel, -- a hop of its own
    }
    for _, sub in ipairs(dependency.deps) do
      local index = add(sub, scopes)
      step.needs[#step.needs + 1] = index
      if sub.name then
        step.names[#step.names + 1] = { name = sub.name, step = index }
      end
    end
    -- Inputs of a dependency that is used twice are validated, and complained of, twice: as FastAPI.
    local number = #plan.groups + 1
    for _, group in ipairs(dependency.groups) do
      local own = {}
      for key, value in pairs(group) do
        own[key] = value
      end
      own.as = number .. "." .. group.as
      plan.groups[#plan.groups + 1] = own
      step.groups[#step.groups + 1] = { key = group.as, as = own.as }
    end
    open[dependency] = nil
    local key = cache_key({ dependency = dependency, scopes = entry.scopes }, scopes)
    if dependency.cache and by_key[key] then
      return by_key[key]
    end
    plan.steps[#plan.steps + 1] = step
    by_key[key] = by_key[key] or #plan.steps
    plan.cleans = plan.cleans or (dependency.close ~= nil and dependency.scope == "request")
    plan.lingers = plan.lingers or (dependency.close ~= nil and dependency.scope == "response")
    return #plan.steps
  end

  for _, entry in ipairs(entries) do
    local index = add(entry, {})
    if entry.name then
      plan.names[#plan.names + 1] = { name = entry.name, step = index }
    end
  end
  table.move(groups, 1, #groups, #plan.groups + 1, plan.groups)
  return plan
end

-- Whether the inputs of a step, or of one that it needs, are not valid.
local function is_broken(step, failed, broken)
  for _, group in ipairs(step.groups) do
    if failed[group.as] then
      return true
    end
  end
  for _, index in ipairs(step.needs) do
    if broken[index] then
      return true
    end
  end
  return false
end

-- What was opened for a request, closed in reverse order when the variable that holds it goes out of
-- scope: after the handler, after an error, after a cancellation. What a close function raises takes
-- the place of the error it was given; the same error, raised again, changes nothing.
local Opened = {}

local function close_all(opened, err)
  local last = err
  for i = #opened, 1, -1 do
    local cause = compose.unwrapped(last)
    local ok, raised = pcall(opened[i].close, opened[i].value, cause)
    if not ok and not rawequal(raised, cause) then
      last = raised
    end
  end
  if last ~= err then
    error(last, 0)
  end
end
Opened.__close = close_all

-- What is closed behind the response, and the error that made the response, if one did.
local Lingering = {}

function Lingering.__close(lingering, err)
  lingering.err = err
end

local function make_call(step, singletons)
  local dependency = step.dependency
  local subject = make_subject(step)
  if dependency.scope == "app" then
    singletons:register(dependency)
    return function()
      return singletons:value(dependency)
    end
  end
  local run = dependency.run
  if run then
    if not subject then
      return run
    end
    return function(req, values)
      return run(subject(req, values))
    end
  end
  local place = dependency.scope == "response" and "lingering" or "opened"
  local close = threaded.cleanup(dependency.close)
  return function(req, values, kept)
    local value = dependency.open(subject and subject(req, values) or req)
    if close then
      local stack = kept[place]
      stack[#stack + 1] = { close = close, value = value }
    end
    return value
  end
end

-- Names the values of the dependencies, for requests that need them.
local function name_values(req, names, values)
  if #names > 0 then
    local deps = {}
    for _, name in ipairs(names) do
      deps[name.name] = values[name.step]
    end
    req.deps = deps
  end
end

-- Gives `resolve` something to keep in what has to be closed, and closes it.
local function keeping(plan, resolve)
  if not plan.cleans and not plan.lingers then
    return resolve
  end
  return function(req, invalid, failed)
    local lingering <close> = setmetatable({}, Lingering)
    local kept = { lingering = lingering }
    if plan.lingers then
      local pending = req.response
      pending.cleanups = pending.cleanups or {}
      table.insert(pending.cleanups, function()
        close_all(lingering, lingering.err)
      end)
    end
    local opened <close> = setmetatable({}, Opened)
    kept.opened = opened
    local result = resolve(req, invalid, failed, kept)
    return result
  end
end

-- What stands around a threaded handler may look at the values of dependencies. They do not travel with the
-- request: the errand has those that do.
local function with_names(plan, around)
  return function(make)
    local wrapped = around(function(req, values)
      req.deps = nil
      return make(req, values)
    end)
    return function(req, values)
      name_values(req, plan.names, values)
      return wrapped(req, values)
    end
  end
end

--- Puts the resolution in front of a handler.
---@param plan perigee.Plan
---@param handler fun(req: perigee.Request): any
---@param singletons perigee.Singletons
---@param legs? perigee.Leg[] for an operation of which a part is threaded
---@param around? fun(make: function): function what stands on the loop around a threaded handler
---@return fun(req: perigee.Request, invalid: string?, failed: table?): any
function M.resolving(plan, handler, singletons, legs, around)
  local steps, names = plan.steps, plan.names
  local here, parted, indices, apart = {}, {}, {}, {}
  for i, step in ipairs(steps) do
    here[i], indices[i] = make_call(step, singletons), i
    parted[i] = legs and (step.threaded or step.apart) and hop.one(plan, i) or here[i]
    apart[i] = step.apart and parted[i] or here[i]
  end
  local way = legs and hop.way(plan, legs, apart, around and with_names(plan, around))
  handler = around and around(handler) or handler
  local together = rounds.any(steps) and rounds.runner(steps, indices, here, errors.is_answer)

  return keeping(plan, function(req, invalid, failed, kept)
    local values, broken = {}, {}
    local hops = way and host.worker.available()
    local calls = hops and parted or here
    if invalid then
      for i = 1, failed and #calls or 0 do -- a body that cannot be read stops everything
        broken[i] = is_broken(steps[i], failed, broken)
        if not broken[i] then
          values[i] = calls[i](req, values, kept)
        end
      end
      error(errors.validation_error(invalid), 0)
    elseif hops then
      local answer = way(req, values, kept)
      if answer then
        return answer
      end
    elseif together then
      together(req, values, kept)
    else
      for i = 1, #calls do
        values[i] = calls[i](req, values, kept)
      end
    end
    name_values(req, names, values)
    return handler(req)
  end)
end

--- What a worker runs of an operation of which a part is threaded: some dependencies, whose values go back,
--- or the last of them with the handler.
---@param plan perigee.Plan
---@param handler fun(req: perigee.Request): any
---@param singletons perigee.Singletons
---@return fun(req: perigee.Request, errand: perigee.Errand): any
function M.errands(plan, handler, singletons)
  local keys = hop.keys(plan)
  local calls = {}
  for i, step in ipairs(plan.steps) do
    calls[i] = make_call(step, singletons)
  end

  local function run(req, errand, kept)
    local values = {}
    for name, value in pairs(errand.fields) do
      if name == "state" and type(value) == "table" then
        local state = req.state -- begins with what this VM's lifespan gave
        for key, member in pairs(value) do
          state[key] = member
        end
      else
        req[name] = value
      end
    end
    for i, step in ipairs(plan.steps) do
      if step.dependency.scope == "app" then
        values[i] = calls[i](req, values) -- this VM has its own
      else
        values[i] = errand.values[keys[i]]
      end
    end
    for _, i in ipairs(errand.steps) do
      values[i] = calls[i](req, values, kept)
    end
    return values
  end

  local finish = keeping(plan, function(req, errand, _, kept)
    local values = run(req, errand, kept)
    if errand.status then
      req.response.status = errand.status
    end
    name_values(req, plan.names, values)
    return handler(req)
  end)

  return function(req, errand)
    if errand.final then
      return finish(req, errand)
    end
    local opened <close> = setmetatable({}, Opened)
    local values = run(req, errand, { opened = opened, lingering = opened })
    local brought = {}
    for _, i in ipairs(errand.brings) do
      brought[keys[i]] = values[i]
    end
    if #opened > 0 and host.worker.promise(brought) then
      for i = #opened, 1, -1 do
        opened[i] = nil -- the loop closes it
      end
    end
    return brought
  end
end

--- The dependencies with scope "app": opened before the first request, closed after the last one.
---@class perigee.Singletons
local Singletons = {}
Singletons.__index = Singletons

---@return perigee.Singletons
function M.singletons()
  return setmetatable({ list = {}, held = {} }, Singletons)
end

function Singletons:register(dependency)
  for _, known in ipairs(self.list) do
    if known == dependency then
      return
    end
  end
  self.list[#self.list + 1] = dependency
end

function Singletons:value(dependency)
  local held = self.held[dependency]
  if not held then
    error((dependency.source or "?") .. ": the dependency is not open: the app has not started", 0)
  end
  return held.value
end

--- Opens all of them, in the order in which operations asked for them.
function Singletons:start()
  for _, dependency in ipairs(self.list) do
    self.held[dependency] = { value = dependency.open() }
  end
end

--- Closes all that are open, in reverse order; the first error is raised when all were tried.
function Singletons:stop()
  local opened <close> = setmetatable({}, Opened)
  for _, dependency in ipairs(self.list) do
    local held = self.held[dependency]
    self.held[dependency] = nil
    if held and dependency.close then
      opened[#opened + 1] = { close = dependency.close, value = held.value }
    end
  end
end

return M
