local dependency = require("perigee.dependency")
local errors = require("perigee.errors")
local perigee = require("perigee")
local t_ = perigee.types

local function nothing() end

-- Plans `deps` in front of a handler and runs it for a request.
local function run(deps, req, options)
  options = options or {}
  local entries = dependency.read_entries("test", deps)
  local plan = dependency.plan(entries, {}, options.overrides or {})
  local handler = options.handler or function(same)
    return same.deps
  end
  local resolve = dependency.resolving(plan, handler, options.singletons or dependency.singletons())
  return resolve(req or {}, options.invalid, options.failed), plan
end

test("values are made in the order dependencies were made, those without a name first", function(t)
  local order = {}
  local function named(name)
    return perigee.dependency(function()
      order[#order + 1] = name
      return name
    end)
  end
  local first, second, third = named("first"), named("second"), named("third")
  local deps = run({ z = first, a = second, third })
  t:eq(order, { "third", "first", "second" })
  t:eq(deps, { z = "first", a = "second" })
end)

test("plain functions are dependencies, ordered by their lines", function(t)
  local order = {}
  local function one()
    order[#order + 1] = "one"
  end
  local function two()
    order[#order + 1] = "two"
  end
  run({ a = two, b = one })
  t:eq(order, { "one", "two" })
end)

test("an object that can be called is a dependency, once per request each", function(t)
  local calls = 0
  local Level = {}
  function Level:__call(req)
    calls = calls + 1
    return self.least + req.extra
  end
  local function at_least(least)
    return setmetatable({ least = least }, Level)
  end
  local three = at_least(3)
  local with_inputs = perigee.dependency({ deps = { level = three } }, at_least(10))
  local deps = run({ a = three, b = three, c = at_least(5), d = with_inputs }, { extra = 1 })
  t:eq(deps, { a = 4, b = 4, c = 6, d = 11 })
  t:eq(calls, 3)
  local label = dependency.label(dependency.entry_of("test", "a", three).dependency)
  t:eq(label:match("dependency_test.lua:%d+$") ~= nil, true)
end)

test("pairs and a list of named ones say their own order", function(t)
  local order = {}
  local function mark(name)
    return perigee.dependency(function()
      order[#order + 1] = name
      return name
    end)
  end
  local a, b = mark("a"), mark("b")
  t:eq(run({ { second = b }, { first = a } }), { first = "a", second = "b" })
  t:eq(order, { "b", "a" })
  order = {}
  t:eq(run({ { "second", b }, { "first", a } }), { first = "a", second = "b" })
  t:eq(order, { "b", "a" })
  t:raises("deps: 'second' must be a function or a perigee.dependency, not nil", function()
    dependency.read_entries("test", { { "second" } })
  end)
end)

test("a dependency is called once per request, unless it says otherwise", function(t)
  local calls, fresh = 0, 0
  local shared = perigee.dependency(function()
    calls = calls + 1
    return calls
  end)
  local uncached = perigee.dependency({ cache = false }, function()
    fresh = fresh + 1
    return fresh
  end)
  local a = perigee.dependency({ deps = { n = shared, m = uncached } }, function(req)
    return { req.deps.n, req.deps.m }
  end)
  local b = perigee.dependency({ deps = { n = shared, m = uncached } }, function(req)
    return { req.deps.n, req.deps.m }
  end)
  t:eq(run({ a = a, b = b }), { a = { 1, 1 }, b = { 1, 2 } })
end)

test("a dependency reads its own inputs, and the request's where it declares none", function(t)
  local common = perigee.dependency({ query = { q = t_.string } }, function(req)
    req.seen = req.query.q
    return { q = req.query.q, host = req.headers.host, body = req:body(), method = req.method }
  end)
  local req = {
    ["1.query"] = { q = "own" },
    query = { q = "the operation's" },
    headers = { host = "h" },
    method = "GET",
    body = function(self)
      return self.method .. " body"
    end,
  }
  local deps, plan = run({ common = common }, req)
  t:eq(deps.common, { q = "own", host = "h", body = "GET body", method = "GET" })
  t:eq(req.seen, "own")
  t:eq({ plan.groups[1].source, plan.groups[1].as }, { "query", "1.query" })
end)

test("inputs are collected depth first, and again where a dependency is used again", function(t)
  local inner = perigee.dependency({ headers = { x = t_.string } }, nothing)
  local outer = perigee.dependency({ query = { q = t_.string }, deps = { i = inner } }, nothing)
  local plan = dependency.plan(
    dependency.read_entries("test", { outer, inner }),
    { { source = "path", as = "params", fields = {} } },
    {}
  )
  local order = {}
  for i, group in ipairs(plan.groups) do
    order[i] = group.as
  end
  t:eq(order, { "1.headers", "2.query", "3.headers", "params" })
  t:eq(#plan.steps, 2)
end)

test("one whose inputs are not valid is skipped, the others still run", function(t)
  local order = {}
  local inner = perigee.dependency({ query = { q = t_.string } }, function()
    order[#order + 1] = "inner"
  end)
  local outer = perigee.dependency({ deps = { inner } }, function()
    order[#order + 1] = "outer"
  end)
  local other = perigee.dependency(function()
    order[#order + 1] = "other"
  end)
  local ok, err = pcall(run, { outer, other }, {}, {
    invalid = '{"detail":[]}',
    failed = { ["1.query"] = true },
    handler = error,
  })
  t:eq(ok, false)
  t:eq(errors.is_validation_error(err), true)
  t:eq(order, { "other" })
end)

test("a refusal comes before the 422", function(t)
  local refuse = perigee.dependency(function()
    error(perigee.http_error(401))
  end)
  local _, err = pcall(run, { refuse }, {}, { invalid = "{}", failed = { params = true } })
  t:eq(err.status, 401)
end)

test("a body that cannot be read stops everything", function(t)
  local called = false
  local _, err = pcall(run, {
    function()
      called = true
    end,
  }, {}, { invalid = "{}" })
  t:eq({ errors.is_validation_error(err), called }, { true, false })
end)

test("what was opened is closed in reverse order, with the error", function(t)
  local log = {}
  local function resource(name, on_close)
    return perigee.dependency({
      open = function()
        log[#log + 1] = "open " .. name
        return name
      end,
      close = function(value, err)
        log[#log + 1] = "close " .. value .. (err and " " .. tostring(err) or "")
        if on_close then
          on_close()
        end
      end,
    })
  end
  run({ resource("a"), resource("b") }, {}, {
    handler = function()
      log[#log + 1] = "handler"
    end,
  })
  t:eq(log, { "open a", "open b", "handler", "close b", "close a" })

  log = {}
  local failing = resource("d", function()
    error("replaced", 0)
  end)
  local _, err = pcall(run, { resource("c"), failing }, {}, {
    handler = function()
      error("original", 0)
    end,
  })
  t:eq(err, "replaced")
  t:eq(log, { "open c", "open d", "close d original", "close c replaced" })
end)

test("what the second open raises closes what the first opened", function(t)
  local closed
  local first = perigee.dependency({
    open = function()
      return "first"
    end,
    close = function(_, err)
      closed = err
    end,
  })
  local second = perigee.dependency({
    open = function()
      error("no second", 0)
    end,
  })
  t:raises("no second", run, { first, second })
  t:eq(closed, "no second")
end)

test("scope response closes after the answer, also after an error", function(t)
  local log = {}
  local app = perigee.app({ openapi_url = false })
  local lingering = perigee.dependency({
    scope = "response",
    open = function()
      return "value"
    end,
    close = function(value, err)
      log[#log + 1] = "closed " .. value .. " " .. (err and err.status or "well")
    end,
  })
  app:get("/", { deps = { v = lingering } }, function(req)
    return req.deps.v
  end)
  app:get("/fails", { deps = { v = lingering } }, function()
    error(perigee.http_error(404))
  end)
  local built = app:build()
  for i, status in ipairs({ 200, 404 }) do
    local req = { response = t.host.response.pending() }
    local answer = built.operations[i].handler(req)
    t:eq({ answer.status, #log }, { status, i - 1 })
    answer.tasks[1]()
    t:eq(#log, i)
  end
  t:eq(log, { "closed value well", "closed value 404" })
end)

test("scope app opens once at the start and closes at the stop", function(t)
  local log = {}
  local pool = perigee.dependency({
    scope = "app",
    open = function()
      log[#log + 1] = "open"
      return "pool"
    end,
    close = function(value)
      log[#log + 1] = "close " .. value
    end,
  })
  local app = perigee.app({ openapi_url = false })
  for _, path in ipairs({ "/a", "/b" }) do
    app:get(path, { deps = { pool = pool } }, function(req)
      return req.deps.pool
    end)
  end
  app:on_start(function()
    log[#log + 1] = "start"
  end)
  app:on_stop(function()
    log[#log + 1] = "stop"
  end)
  local built = app:build()
  t:raises("the app has not started", built.operations[1].handler, {})
  built.start()
  t:eq(built.operations[1].handler({}), "pool")
  t:eq(built.operations[2].handler({}), "pool")
  built.stop()
  t:eq(log, { "open", "start", "stop", "close pool" })
end)

test("an override takes the place of a dependency wherever it is used", function(t)
  local app = perigee.app({ openapi_url = false })
  local function settings()
    return "real"
  end
  local inner = perigee.dependency({ deps = { s = settings } }, function(req)
    return req.deps.s
  end)
  app:get("/", { deps = { a = settings, b = inner } }, function(req)
    return req.deps
  end)
  app:override(settings, function()
    return "fake"
  end)
  t:eq(app:build().operations[1].handler({}), { a = "fake", b = "fake" })
  app:override(settings, nil)
  t:eq(app:build().operations[1].handler({}), { a = "real", b = "real" })
end)

test("scopes add up from the operation inwards", function(t)
  local seen = {}
  local user = perigee.dependency({ uses_scopes = true }, function(req)
    seen[#seen + 1] = table.concat(req.scopes, " ")
  end)
  local active = perigee.dependency({
    deps = { perigee.security.scopes(user, { "me" }) },
  }, nothing)
  run({ perigee.security.scopes(active, { "items" }), user }, {}, { handler = nothing })
  t:eq(seen, { "items me", "" })
end)

test("app, router, include and operation dependencies run in this order", function(t)
  local order = {}
  local function mark(name)
    return function()
      order[#order + 1] = name
    end
  end
  local router = perigee.router({ deps = { mark("router") } })
  router:get("/", { deps = { mark("operation") } }, nothing)
  local app = perigee.app({ openapi_url = false, deps = { mark("app") } })
  app:include(router, { deps = { mark("include") } })
  app:build().operations[1].handler({})
  t:eq(order, { "app", "include", "router", "operation" })
end)

test("mistakes are load errors", function(t)
  local function mistake(part, ...)
    t:raises(part, function(...)
      local _ = perigee.dependency(...)
    end, ...)
  end
  mistake("either a function (req) or the option 'open'", {})
  mistake("either a function (req) or the option 'open'", { open = nothing }, nothing)
  mistake("'close' needs 'open'", { close = nothing }, nothing)
  mistake("scope must be request, response or app", { open = nothing, scope = "call" })
  mistake("it has no inputs", { open = nothing, scope = "app", query = { q = t_.string } })
  mistake("unknown option 'qeury' (did you mean 'query'?)", { qeury = {} }, nothing)
  mistake(
    "deps: 'x' must be a function or a perigee.dependency, not string",
    { deps = { x = "y" } },
    nothing
  )
  mistake("'x' must be a function or a perigee.dependency, not a type", {
    deps = { x = t_.string },
  }, nothing)
  local app = perigee.app()
  local named = perigee.dependency({ body = t_.model("A", {}) }, nothing)
  app:post("/", { body = t_.model("B", {}), deps = { named } }, nothing)
  t:raises("both need names", app.build, app)
end)

test("a dependency that needs itself is a load error", function(t)
  local a = perigee.dependency(nothing)
  a.deps = dependency.read_entries("test", { a })
  t:raises(
    "the dependency needs itself",
    dependency.plan,
    dependency.read_entries("test", { a }),
    {},
    {}
  )
end)
