--- Every option that the API's annotations name, misspelt in every function that takes it, is a mistake whose
--- message names the right one. What is tried is made of the annotations: a new function is tried, too.

local case = require("perigee.test.case")
local definitions = require("perigee.cli.definitions")
local perigee = require("perigee")

-- Classes that have fields which may be missing, and are no options.
local NO_OPTIONS = {
  App = true,
  Dependency = true,
  Failing = true,
  Request = true,
  Response = true,
  ["http.Response"] = true,
}

-- What goes before the options, where the type of a parameter does not tell.
local ARGUMENTS = {
  ["App:cron"] = { "0 3 * * *" },
  ["test.Case:client"] = { perigee.app() },
  ["perigee.jwt.sign"] = { {}, "0123456789abcdef0123456789abcdef" },
  ["perigee.jwt.verify"] = { "a.b.c", "0123456789abcdef0123456789abcdef" },
  ["perigee.process.pipe"] = { { "true" } },
  ["perigee.process.run"] = { { "true" } },
  ["perigee.redirect"] = { "/" },
}

-- Options without which those inside of them are not looked at.
local NEEDED = {
  ["http.Client:request"] = { url = "http://127.0.0.1:1/" },
  ["perigee.http.request"] = { url = "http://127.0.0.1:1/" },
  ["perigee.net.connect"] = { host = "127.0.0.1", port = 1 },
}

local function nothing() end

local VALUES = {
  { "^string", "/x" },
  { "^number", 1 },
  { "^integer", 1 },
  { "fun%(", nothing },
  { "perigee%.Type", perigee.types.string },
  { "perigee%.Handler", nothing },
  { "^table", {} },
  { "^any", 1 },
}

-- Classes: { fields = { name = type } }, with those of their bases; and functions, in their order:
-- { name, key, class, parameters = { { name, type } } }; of a method, `key` begins with the class.
local function parse(text)
  local classes, functions, class, parameters = {}, {}, nil, {}
  local class_name
  for line in text:gmatch("[^\n]+") do
    local name, base = line:match("^%-%-%-@class perigee%.(%S+)%s*:?%s*(%S*)")
    local field, field_type = line:match("^%-%-%-@field ([%w_]+%??) (.+)")
    local parameter, type_ = line:match("^%-%-%-@param ([%w_]+)%?? (.+)")
    if name then
      class, class_name = { base = base:match("^perigee%.(.+)"), fields = {} }, name
      classes[name] = class
    elseif field then
      class.fields[field:gsub("%?$", "")] = field_type
      class.optional = class.optional or field:find("?", 1, true) ~= nil
    elseif parameter then
      parameters[#parameters + 1] = { name = parameter, type = type_ }
    elseif line:find("^function ") then
      local called, method =
        line:match("^function ([%w_.:]+)"), line:match("^function %w+(:[%w_]+)")
      functions[#functions + 1] = {
        name = called,
        key = method and class_name .. method or called,
        class = class_name,
        parameters = parameters,
      }
      parameters = {}
    elseif not line:find("^%-%-%-") then
      parameters = {}
    end
  end
  for _, known in pairs(classes) do
    local base = classes[known.base]
    while base do
      for field, type_ in pairs(base.fields) do
        known.fields[field] = known.fields[field] or type_
      end
      base = classes[base.base]
    end
  end
  return classes, functions
end

local classes, functions = parse(definitions.api())

-- The options that a type describes: those of a table that is written out, `{ a?: integer, b: string }`, and of
-- a class. nil when there are none.
local function options_of(type_)
  local fields = {}
  local inline = type_:match("%b{}") or ""
  for name, field_type in inline:sub(2, -2):gmatch("([%a_][%w_]*)%??: ([^,]+)") do
    fields[name] = field_type
  end
  for name in type_:gsub("%b{}", ""):gmatch("perigee%.([%w_.]+)") do
    local class = classes[name]
    if class and class.optional and not NO_OPTIONS[name] then
      for field, field_type in pairs(class.fields) do
        fields[field] = field_type
      end
    end
  end
  return next(fields) and fields or nil
end

-- Calls `use` with something of the class.
local INSTANCES = {
  App = function(use)
    use(perigee.app())
  end,
  Router = function(use)
    use(perigee.router())
  end,
  Response = function(use)
    use(perigee.text("x"))
  end,
  Listener = function(use)
    local listener <close> = assert(perigee.net.listen({ host = "127.0.0.1", port = 0 }))
    use(listener)
  end,
  Events = function(use, t)
    local app = perigee.app()
    app:get("/", function()
      return perigee.events(use)
    end)
    local of_app = case.new(app)
    t:eq(of_app:client():get("/").status, 200)
    case.close(of_app)
  end,
  ["http.Client"] = function(use)
    local client <close> = perigee.http.client()
    use(client)
  end,
  ["test.Case"] = function(use)
    local of_app = case.new(perigee.app())
    use(of_app)
    case.close(of_app)
  end,
  ["test.Client"] = function(use)
    local of_app = case.new(perigee.app())
    use(of_app:client())
    case.close(of_app)
  end,
}

local function value_of(type_)
  for _, entry in ipairs(VALUES) do
    if type_:find(entry[1]) then
      return entry[2]
    end
  end
  return {}
end

-- Everything to call it with: nil where the options are.
local function arguments_of(fn, position)
  local given = {}
  for i, parameter in ipairs(fn.parameters) do
    local known = ARGUMENTS[fn.key] and ARGUMENTS[fn.key][i]
    given[i] = i ~= position and (known or value_of(parameter.type)) or nil
  end
  return given
end

local function try(t, fn, call, position, options, name)
  local given = arguments_of(fn, position)
  given[position] = options
  local ok, err = pcall(call, table.unpack(given, 1, #fn.parameters))
  local expected = ("unknown option '%s_' (did you mean '%s'?)"):format(name, name)
  local what = ("%s, '%s_': %s"):format(fn.name, name, ok and "no error" or tostring(err))
  t:eq({ what, not ok and tostring(err):find(expected, 1, true) ~= nil }, { what, true })
end

local function copy(options)
  local new = {}
  for name, value in pairs(options or {}) do
    new[name] = value
  end
  return new
end

local function try_all(t, fn, call)
  local count = 0
  for position, parameter in ipairs(fn.parameters) do
    for name, type_ in pairs(options_of(parameter.type) or {}) do
      local options = copy(NEEDED[fn.key])
      options[name .. "_"] = true
      try(t, fn, call, position, options, name)
      count = count + 1
      for inner in pairs(options_of(type_) or {}) do
        local misspelt = { [inner .. "_"] = true }
        options = copy(NEEDED[fn.key])
        options[name] = type_:find("[]", 1, true) and { misspelt } or misspelt
        try(t, fn, call, position, options, inner)
        count = count + 1
      end
    end
  end
  return count
end

local function reach(path)
  local value = perigee
  for name in path:gmatch("%.([%w_]+)") do
    value = value[name]
  end
  return value
end

local function takes_options(fn)
  for _, parameter in ipairs(fn.parameters) do
    if options_of(parameter.type) then
      return true
    end
  end
  return false
end

test("a misspelt option is refused with the right one, wherever there are options", function(t)
  local count = 0
  for _, fn in ipairs(functions) do
    local method = fn.name:match(":(.+)")
    if method and takes_options(fn) and fn.name ~= "App:build" then
      INSTANCES[fn.class](function(instance)
        count = count
          + try_all(t, fn, function(...)
            return instance[method](instance, ...)
          end)
      end, t)
    elseif takes_options(fn) and not method then
      count = count + try_all(t, fn, reach(fn.name))
    end
  end
  t:eq(count > 500, true)
end)

local described = {
  ["perigee.app: contact"] = { { contact = { url_ = "" } }, "url" },
  ["perigee.app: servers[1]: variables['port']"] = {
    { servers = { { url = "/", variables = { port = { defaults = "1" } } } } },
    "default",
  },
  ["perigee.app: openapi_tags[1]: externalDocs"] = {
    { openapi_tags = { { name = "a", externalDocs = { urls = "" } } } },
    "url",
  },
  ["perigee.app: responses[404]: headers['X-A']"] = {
    { responses = { [404] = { headers = { ["X-A"] = { descripton = "" } } } } },
    "description",
  },
  ["perigee.app: responses[404]: content['text/plain']"] = {
    { responses = { [404] = { content = { ["text/plain"] = { exampel = "" } } } } },
    "example",
  },
  ["perigee.app: responses[404]: links['next']"] = {
    { responses = { [404] = { links = { next = { operation_id = "" } } } } },
    "operationId",
  },
}

test("so are OpenAPI's own words where an app gives them, but for extensions", function(t)
  for what, entry in pairs(described) do
    local message = t:raises(what .. ": unknown option", perigee.app, entry[1])
    t:eq({ what, message:match("did you mean '([^']+)'") }, { what, entry[2] })
  end
  perigee.app({ responses = { [404] = { headers = { ["X-A"] = { ["x-mine"] = 1 } } } } })
end)
