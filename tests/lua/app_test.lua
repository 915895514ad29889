local perigee = require("perigee")
local t_ = perigee.types

local function paths(built)
  local list = {}
  for i, operation in ipairs(built.operations) do
    list[i] = table.concat(operation.methods, ",") .. " " .. operation.path
  end
  return list
end

local function handler() end

test("operations are built in the order they were declared", function(t)
  local app = perigee.app({ title = "Shop", openapi_url = false })
  app:get("/", handler)
  app:post("/items", { status = 201 }, handler)
  app:route({ "put", "PATCH" }, "/items/{id}", handler)
  local built = app:build()
  t:eq(built.title, "Shop")
  t:eq(paths(built), { "GET /", "POST /items", "PUT,PATCH /items/{id}" })
  t:eq(built.operations[2].status, 201)
  t:eq(built.operations[1].status, 200)
end)

test("every method has a function, and any stands for all", function(t)
  local app = perigee.app({ openapi_url = false })
  for _, method in ipairs({ "get", "post", "put", "patch", "delete", "options", "head", "trace" }) do
    app[method](app, "/" .. method, handler)
  end
  app:any("/any", handler)
  local built = app:build()
  t:eq(#built.operations, 9)
  t:eq(#built.operations[9].methods, 8)
end)

test("a handler with nothing around it is handed over as it is", function(t)
  local app = perigee.app()
  app:get("/", { status = 202 }, handler)
  t:eq(rawequal(app:build().operations[1].handler, handler), true)
  t:eq(app:build().fallback, nil)
end)

test("anything that can be called is a handler", function(t)
  local app = perigee.app()
  app:get(
    "/",
    setmetatable({}, {
      __call = function(_, req)
        return req
      end,
    })
  )
  t:eq(app:build().operations[1].handler("req"), "req")
end)

test("an operation knows where it was declared", function(t)
  local app = perigee.app()
  app:get("/", handler)
  local line = debug.getinfo(1, "l").currentline - 1
  t:eq(app:build().operations[1].source:match("app_test.lua:%d+$"), "app_test.lua:" .. line)
end)

test("mistakes are reported where they were made", function(t)
  local app = perigee.app()
  local function mistake(part, method, ...)
    local err = t:raises(part, function(...)
      app[method](app, ...)
    end, ...)
    t:eq(err:find("app_test.lua:%d+: ") ~= nil, true)
  end
  mistake("the path must be a string, not number", "get", 1, handler)
  mistake("the handler must be a function (req), not string", "get", "/", {}, "x")
  mistake("unknown option 'statsu' (did you mean 'status'?)", "get", "/", { statsu = 1 }, handler)
  mistake("options must be a table, not string", "get", "/", "x", handler)
  mistake("status must be from 200 to 999", "get", "/", { status = 99 }, handler)
  mistake("timeout_ms must be 1 or more", "get", "/", { timeout_ms = 0 }, handler)
  mistake("unknown method 'GTE'", "route", { "GTE" }, "/", handler)
  mistake("the methods must be a list", "route", {}, "/", handler)
  mistake("the middleware must be a function", "use", 1)
  mistake("use[2] must be a function", "get", "/", { use = { handler, 1 } }, handler)
  mistake("a status, a class or 'validation'", "on_error", "404", handler)
  mistake("a router is needed, not string", "include", "x")
  mistake(
    "must start with '/' and not end with one",
    "include",
    perigee.router(),
    { prefix = "x/" }
  )
  t:raises("what the document says of tags stands in the app's option openapi_tags", function()
    perigee.app({ tags = { { name = "items", description = "Things" } } })
  end)
  t:raises(
    "perigee.app: unknown option 'titel' (did you mean 'title'?)",
    perigee.app,
    { titel = "x" }
  )
end)

test("what the document says of the app is read word by word", function(t)
  for message, options in pairs({
    ["contact: unknown option 'nam' (did you mean 'name'?)"] = { contact = { nam = "x" } },
    ["license: unknown option 'identifer' (did"] = { license = { identifer = "MIT" } },
    ["external_docs: unknown option 'ulr' (did"] = { external_docs = { ulr = "/" } },
    ["servers[2]: unknown option 'ulr'"] = { servers = { { url = "/" }, { ulr = "/" } } },
    ["servers[1]: a table is needed, not a string"] = { servers = { "/" } },
    ["openapi_tags[1]: unknown option 'descripton'"] = {
      openapi_tags = { { name = "a", descripton = "x" } },
    },
  }) do
    t:raises("perigee.app: " .. message, perigee.app, options)
  end
  perigee.app({ contact = { name = "x", ["x-phone"] = 1 }, servers = { { ["x-a"] = true } } })
end)

test("routers bring prefix and middleware, nested and more than once", function(t)
  local seen = {}
  local function mark(name)
    return function(req, next)
      seen[#seen + 1] = name
      return next(req)
    end
  end
  local inner = perigee.router({ prefix = "/inner", use = { mark("inner") } })
  inner:get("", function()
    return "root"
  end)
  local outer = perigee.router({ prefix = "/outer" })
  outer:use(mark("outer"))
  outer:include(inner, { prefix = "/x", use = { mark("include") } })
  local app = perigee.app({ openapi_url = false })
  app:use(mark("app"))
  app:include(outer)
  app:include(outer, { prefix = "/again" })
  outer:get("/late", { use = { mark("operation") } }, handler)

  local built = app:build()
  t:eq(paths(built), {
    "GET /outer/x/inner",
    "GET /outer/late",
    "GET /again/outer/x/inner",
    "GET /again/outer/late",
  })
  t:eq(built.operations[1].handler({}).json, "root")
  t:eq(seen, { "app", "outer", "include", "inner" })
  seen = {}
  built.operations[4].handler({})
  t:eq(seen, { "app", "outer", "operation" })
end)

test("a router's error handlers come before the app's", function(t)
  local router = perigee.router({ prefix = "/r" })
  router:get("/x", function()
    error(perigee.http_error(404))
  end)
  router:on_error(404, function()
    return "router"
  end)
  local app = perigee.app()
  app:include(router)
  app:get("/x", function()
    error(perigee.http_error(404))
  end)
  app:on_error(404, function()
    return "app"
  end)
  local built = app:build()
  t:eq(built.operations[1].handler({}).json, "router")
  t:eq(built.operations[2].handler({}).json, "app")
end)

test("routers that include each other are a load error", function(t)
  local a, b = perigee.router(), perigee.router()
  a:include(b)
  b:include(a)
  local app = perigee.app()
  app:include(a)
  t:raises("routers include each other without end", app.build, app)
end)

test("what only the whole can tell is found when the app is built", function(t)
  local function mistake(part, declare)
    local app = perigee.app()
    declare(app)
    local err = t:raises(part, app.build, app)
    t:eq(err:find("app_test.lua:%d+: ") ~= nil, true)
  end
  mistake("an empty path needs a prefix", function(app)
    app:get("", handler)
  end)
  mistake("the path must start with '/'", function(app)
    app:get("items", handler)
  end)
  mistake("the handler must be a function (req), not nil", function(app)
    app:get("/items", {})
  end)
  mistake("params: 'item' is not in the path (did you mean 'items'?)", function(app)
    app:get("/{items}", { params = { item = t_.string } }, handler)
  end)
  mistake("the operation id 'same' is that of", function(app)
    app:get("/a", { operation_id = "same" }, handler)
    app:get("/b", { operation_id = "same" }, handler)
  end)
end)

test("the fallback leads the host's answers through middleware and error handlers", function(t)
  local app = perigee.app()
  app:use(function(req, next)
    return next(req):set("X-Seen", "yes")
  end)
  app:on_error(404, function(_, err)
    return { lost = err.detail }
  end)
  local fallback = app:build().fallback
  local lost = fallback({}, perigee.json({ detail = "Not Found" }, { status = 404 }))
  t:eq(
    { lost.status, lost.json, lost.headers },
    { 404, { lost = "Not Found" }, { { "X-Seen", "yes" } } }
  )
  local other = perigee.json(
    { detail = "Method Not Allowed" },
    { status = 405, headers = { Allow = "GET" } }
  )
  t:eq(fallback({}, other).headers, { { "Allow", "GET" }, { "X-Seen", "yes" } })
end)

test("perigee.json is the module and makes responses", function(t)
  t:eq(perigee.json.encode({ 1 }), "[1]")
  t:eq(perigee.json({ 1 }, { status = 201 }).status, 201)
  t:eq(perigee.status.CREATED, 201)
  t:eq(perigee.status.IM_A_TEAPOT, 418)
end)
