local errors = require("perigee.errors")

test("an unknown option names the nearest known one", function(t)
  local known = { status = "integer", response = "any", responses = "table" }
  t:raises(
    "unknown option 'statsu' (did you mean 'status'?)",
    errors.check_options,
    "app:get",
    { statsu = 1 },
    known
  )
  t:raises("did you mean 'response'?", errors.check_options, "app:get", { reponse = 1 }, known)
  t:raises(
    "(known: response, responses, status)",
    errors.check_options,
    "app:get",
    { zebra = 1 },
    known
  )
  t:raises("unknown option '1'", errors.check_options, "app:get", { "x" }, known)
end)

test("an option of another type says which one is needed", function(t)
  local known = { status = "integer", use = "string|table" }
  t:raises(
    "option 'status' must be integer, not string",
    errors.check_options,
    "x",
    { status = "1" },
    known
  )
  t:raises(
    "option 'status' must be integer, not number",
    errors.check_options,
    "x",
    { status = 1.5 },
    known
  )
  t:raises(
    "option 'use' must be string or table, not number",
    errors.check_options,
    "x",
    { use = 1 },
    known
  )
  errors.check_options("x", { status = 1, use = {} }, known)
end)

test("a mistake is reported at the line of the app", function(t)
  local line = debug.getinfo(1, "l").currentline + 2
  t:raises("errors_test.lua:" .. line .. ": bad thing", function()
    errors.raise("bad %s", "thing")
  end)
end)

test("an HTTP error keeps its detail and headers", function(t)
  local err = errors.http_error(401, { why = 1 }, { ["X-A"] = "b" })
  t:eq(err.status, 401)
  t:eq(err.detail, { why = 1 })
  t:eq(err.headers, { { "X-A", "b" } })
  t:eq(errors.is_http_error(err), true)
  t:eq(errors.is_http_error({ status = 401 }), false)
  t:eq(tostring(err), 'HTTP 401: {"why":1}')
  t:eq(tostring(errors.http_error(404)), "HTTP 404")
  t:eq(tostring(errors.http_error(404, "No such item")), "HTTP 404: No such item")
  t:raises("status must be an integer", errors.http_error, "404")
end)

test("a validation error is decoded when somebody looks", function(t)
  local err = errors.validation_error('{"detail":[{"type":"missing"}]}')
  t:eq(rawget(err, "detail"), nil)
  t:eq(err.detail[1].type, "missing")
  t:eq(err.status, 422)
  t:eq(errors.is_answer(err), true)
end)
