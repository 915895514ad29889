local compose = require("perigee.compose")
local errors = require("perigee.errors")
local response = require("perigee.response")

local answer = require("perigee.answers").answerer({})

local function answering(handler, handlers, status)
  return compose.answering(handler, { handlers = handlers, answer = answer }, status)
end

local function composed(middlewares, handler, handlers)
  return compose.compose(middlewares, handler, { handlers = handlers, answer = answer })
end

test("the first middleware is outermost and sees a response", function(t)
  local seen = {}
  local function named(name)
    return function(req, next)
      seen[#seen + 1] = name .. " in"
      local res = next(req)
      seen[#seen + 1] = name .. " out " .. tostring(res.json)
      return res
    end
  end
  local inner = answering(function()
    return "result"
  end, {}, 201)
  local handler = composed({ named("a"), named("b") }, inner, {})
  local res = handler({})
  t:eq(seen, { "a in", "b in", "b out result", "a out result" })
  t:eq(res.status, 201)
end)

test("a middleware may answer by itself, with any value", function(t)
  local handler = composed({
    function()
      return { stopped = true }
    end,
  }, error, {})
  t:eq(handler({}).json, { stopped = true })
end)

test("an HTTP error becomes its answer before middleware sees it", function(t)
  local inner = answering(function()
    error(errors.http_error(404, "gone", { A = "b" }))
  end, {})
  local status
  local handler = composed({
    function(req, next)
      local res = next(req)
      status = res.status
      return res:set("X-Seen", "1")
    end,
  }, inner, {})
  local res = handler({})
  t:eq(status, 404)
  t:eq(res.json, { detail = "gone" })
  t:eq(res.headers, { { "A", "b" }, { "X-Seen", "1" } })
end)

test("what an inner middleware raises is an answer to the outer one", function(t)
  local status
  local handler = composed({
    function(req, next)
      local res = next(req)
      status = res.status
      return res
    end,
    function()
      error(errors.http_error(401))
    end,
  }, error, {})
  t:eq(handler({}).json, { detail = "Unauthorized" })
  t:eq(status, 401)
end)

test("any other error is logged with its traceback and answered without detail", function(t)
  local logged = #t.host.failures
  local res = answering(function()
    error("the secret")
  end, {})({})
  t:eq({ res.status, res.body }, { 500, "Internal Server Error" })
  t:eq(#t.host.failures, logged + 1)
  t:eq(t.host.failures[logged + 1]:find("the secret.*stack traceback") ~= nil, true)
end)

test("error handlers are found by status, innermost first", function(t)
  local chain = {
    {
      [404] = function(_, err)
        return response.text("inner " .. err.detail, { status = 404 })
      end,
    },
    {
      [404] = error,
      [409] = function()
        return { outer = true }
      end,
    },
  }
  local function raising(status)
    return answering(function()
      error(errors.http_error(status, "d"))
    end, chain)({})
  end
  t:eq(raising(404).body, "inner d")
  t:eq(raising(409).json, { outer = true })
  t:eq(raising(409).status, 409)
  t:eq(raising(410).json, { detail = "d" })
end)

test("error handlers are found by class, and by what a class inherits from", function(t)
  local Base = {}
  Base.__index = Base
  local Derived = setmetatable({}, { __index = Base })
  Derived.__index = Derived
  local chain = {
    {
      [Base] = function(_, err)
        return response.json(err.name, { status = 418 })
      end,
    },
  }
  for _, class in ipairs({ Base, Derived }) do
    local res = answering(function()
      error(setmetatable({ name = "yolo" }, class))
    end, chain)({})
    t:eq({ res.status, res.json }, { 418, "yolo" })
  end
end)

test("a handler for 500 gets what nobody else handles", function(t)
  local res = answering(function()
    error("oops", 0)
  end, {
    {
      [500] = function(_, err)
        return { said = err }
      end,
    },
  })({})
  t:eq({ res.status, res.json }, { 500, { said = "oops" } })
end)

test("an error handler that fails is handled further out", function(t)
  local chain = {
    {
      [404] = function()
        error(errors.http_error(500, "inner failed"))
      end,
    },
    {
      [500] = function(_, err)
        return { outer = err.detail }
      end,
    },
  }
  local res = answering(function()
    error(errors.http_error(404))
  end, chain)({})
  t:eq(res.json, { outer = "inner failed" })
end)

test("refused input goes to the validation handler, else to the one for 422", function(t)
  local body = '{"detail":[{"type":"missing","loc":["query","q"]}]}'
  local function refuse(chain)
    return answering(function()
      error(errors.validation_error(body))
    end, chain)({})
  end
  t:eq(
    { refuse({}).status, refuse({}).body, refuse({}).content_type },
    { 422, body, "application/json" }
  )
  local function echo(_, err)
    return err.detail[1].loc
  end
  t:eq(refuse({ { validation = echo, [422] = error } }).json, { "query", "q" })
  t:eq(refuse({ { [422] = echo } }).json, { "query", "q" })
end)

test("cancellation passes everything", function(t)
  local cancelled = { code = "ECANCELED" }
  local handler = composed(
    {
      function(req, next)
        return next(req)
      end,
    },
    answering(function()
      error(cancelled)
    end, { { [500] = error } }),
    {}
  )
  local ok, err = pcall(handler, {})
  t:eq(ok, false)
  t:eq(rawequal(err, cancelled), true)
end)

test("what the host says beside the request reaches the handler through middleware", function(t)
  local inner = answering(function(_, invalid)
    return invalid
  end, {})
  local handler = composed({
    function(req, next)
      return next(req)
    end,
  }, inner, {})
  t:eq(handler({}, "422 body").json, "422 body")
end)
