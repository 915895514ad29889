local answers = require("perigee.answers")
local errors = require("perigee.errors")
local perigee = require("perigee")
local t_ = perigee.types

local BODY =
  '{"detail":[{"type":"missing","loc":["query","q"],"msg":"Field required","input":null}]}'

local function answer(err, config)
  return answers.answerer(config or {})(err)
end

test("an HTTP error is its detail, or the phrase of its status", function(t)
  t:eq(answer(errors.http_error(404, { a = 1 })).json, { detail = { a = 1 } })
  t:eq(answer(errors.http_error(404)).json, { detail = "Not Found" })
  t:eq(answer(errors.http_error(401, "x", { A = "b" })).headers, { { "A", "b" } })
end)

test("refused input is answered as the host wrote it", function(t)
  t:eq(answer(errors.validation_error(BODY)).body, BODY)
end)

test("clients can be told less of what was wrong", function(t)
  local err = errors.validation_error(BODY)
  t:eq(answer(err, { validation_detail = "codes" }).json, {
    detail = { { type = "missing", loc = { "query", "q" } } },
  })
  t:eq(answer(err, { validation_detail = "none" }).json, { detail = "Unprocessable Content" })
end)

test("problem details have type, title and status", function(t)
  local config = { errors = "problem" }
  local plain = answer(errors.http_error(404, "No such item"), config)
  t:eq(plain.content_type, "application/problem+json")
  t:eq(
    plain.body,
    '{"type":"about:blank","title":"Not Found","status":404,"detail":"No such item"}'
  )
  t:eq(
    answer(errors.http_error(403, { type = "/quota", title = "Quota", left = 0 }), config).body,
    '{"type":"/quota","title":"Quota","status":403,"left":0}'
  )
  t:eq(
    answer(errors.http_error(404), config).body,
    '{"type":"about:blank","title":"Not Found","status":404}'
  )
  local refused = answer(errors.validation_error(BODY), config).body
  t:eq(refused:find('"errors":[{"input":null,', 1, true) ~= nil, true)
  config.validation_detail = "none"
  t:eq(answer(errors.validation_error(BODY), config).body:find("errors"), nil)
end)

test("an error that is no answer is a 500 in the app's own style", function(t)
  local app = perigee.app({ errors = "problem", openapi_url = false })
  app:get("/", function()
    error("secret")
  end)
  local answer_of_handler = app:build().operations[1].handler({})
  t:eq(answer_of_handler.content_type, "application/problem+json")
  t:eq(
    answer_of_handler.body,
    '{"type":"about:blank","title":"Internal Server Error","status":500}'
  )
  t:eq(answers.answerer({})(nil).body, "Internal Server Error")
end)

test("invalid input enters Lua only where Lua must see it", function(t)
  local function sees(declare)
    local app = perigee.app({ openapi_url = false })
    local options = { query = { q = t_.integer } }
    declare(app, options)
    app:get("/", options, function() end)
    return app:build().operations[1].sees_invalid
  end
  local function handler() end
  local App = perigee.dependency({ scope = "app", open = function() end })
  local cases = {
    { false, function() end },
    {
      false,
      function(app)
        app:on_error(404, handler)
      end,
    },
    {
      false,
      function(app)
        app:on_error({}, handler)
      end,
    },
    {
      false,
      function(_, options)
        options.deps = { pool = App }
      end,
    },
    {
      true,
      function(app)
        app:on_error(422, handler)
      end,
    },
    {
      true,
      function(app)
        app:on_error("validation", handler)
      end,
    },
    {
      true,
      function(app)
        app:use(handler)
      end,
    },
    {
      true,
      function(_, options)
        options.deps = { user = handler }
      end,
    },
  }
  for i, case in ipairs(cases) do
    t:eq({ i, sees(case[2]) }, { i, case[1] })
  end
end)

test("an app with problem details answers and documents them everywhere", function(t)
  local app = perigee.app({ errors = "problem", openapi_url = false })
  app:get("/", { query = { q = t_.string } }, function()
    error(perigee.http_error(404))
  end)
  local built = app:build()
  t:eq({ built.operations[1].sees_invalid, built.operations[1].problem }, { false, true })
  t:eq(built.operations[1].handler({}).content_type, "application/problem+json")
  local answer_of_host = perigee.json({ detail = "Method Not Allowed" }, {
    status = 405,
    headers = { Allow = "GET" },
  })
  local lost = built.fallback({}, answer_of_host)
  t:eq({ lost.content_type, lost:get("Allow") }, { "application/problem+json", "GET" })
  local document = app:document()
  t:eq(next(document.paths["/"].get.responses["422"].content), "application/problem+json")
  t:eq(document.components.schemas.ProblemDetails.title, "ProblemDetails")
  t:eq(document.components.schemas.HTTPValidationError, nil)
end)

test("what is documented is what clients are told", function(t)
  local function schemas(detail)
    local app = perigee.app({ validation_detail = detail })
    app:get("/", { query = { q = t_.string } }, function() end)
    app:build()
    return app:document().components.schemas
  end
  t:eq(schemas("codes").ValidationError.required, { "loc", "type" })
  t:eq(schemas("none").ValidationError, nil)
  t:eq(schemas("none").HTTPValidationError.properties.detail.type, "string")
end)

test("an unknown style is a load error", function(t)
  t:raises("errors must be 'detail' or 'problem'", perigee.app, { errors = "rfc9457" })
  t:raises(
    "validation_detail must be full, codes or none",
    perigee.app,
    { validation_detail = "x" }
  )
end)
