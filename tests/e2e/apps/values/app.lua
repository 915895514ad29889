-- JSON in and out: what is read is answered, and what cannot be answered is tried.
local perigee = require("perigee")
local cjson = require("cjson")
local json = perigee.json

local app = perigee.app()

app:post("/echo", function(req)
  return req:json()
end)

app:post("/type", function(req)
  return math.type(req:json()) or type(req:json())
end)

app:post("/decode", function(req)
  local value, err = json.decode(req:body())
  return { ok = value ~= nil, message = tostring(err), position = err and err.position }
end)

local cycle = { name = "loop" }
cycle.next = { back = cycle }

local function nested(depth)
  local value = {}
  for _ = 1, depth do
    value = { value }
  end
  return value
end

local values = {
  ["nil"] = function()
    return nil
  end,
  nothing = function() end,
  null = function()
    return json.null
  end,
  cjson_null = function()
    return { cjson.null }
  end,
  string = function()
    return "Hello"
  end,
  escapes = function()
    return '"\\/\b\f\n\r\t\0\31\127'
  end,
  integer = function()
    return 9007199254740993
  end,
  minimum = function()
    return math.mininteger
  end,
  float = function()
    return 0.1 + 0.2
  end,
  whole = function()
    return 1.0
  end,
  negative_zero = function()
    return -0.0
  end,
  small = function()
    return 5e-324
  end,
  large = function()
    return 1.7976931348623157e308
  end,
  ["true"] = function()
    return true
  end,
  ["false"] = function()
    return false
  end,
  empty = function()
    return {}
  end,
  empty_array = function()
    return json.array({})
  end,
  empty_object = function()
    return json.object({})
  end,
  list = function()
    return { 1, "two", { three = 3 } }
  end,
  -- mistakes
  nan = function()
    return { list = { 1, 0 / 0 } }
  end,
  infinity = function()
    return { far = math.huge }
  end,
  ["function"] = function()
    return { items = { {}, {}, { price = print } } }
  end,
  coroutine = function()
    return { task = coroutine.create(print) }
  end,
  userdata = function()
    return { file = io.stdout }
  end,
  cycle = function()
    return cycle
  end,
  mixed = function()
    return { here = { 1, 2, x = 3 } }
  end,
  boolean_key = function()
    return { here = { [true] = 1 } }
  end,
  bad_utf8 = function()
    return { user = { name = "\255" } }
  end,
  surrogate_utf8 = function()
    return { user = { name = "\xED\xA0\x80" } }
  end,
  bad_utf8_key = function()
    return { here = { ["\192\128"] = 1 } }
  end,
  too_deep = function()
    return nested(600)
  end,
  deep = function()
    return nested(500)
  end,
}

app:get("/value/{name}", function(req)
  return values[req.params.name]()
end)

app:get("/same-null", function()
  return json.null == cjson.null and rawequal(json.null, require("cjson").null)
end)

app:get("/encode-error", function()
  local ok, message = pcall(json.encode, { a = { { b = print } } })
  return { ok = ok, message = tostring(message) }
end)

return app
