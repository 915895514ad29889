--- What editors need to know of the API (LuaLS definitions), made of the code itself: the framework's files
--- are part of the binary, annotations included, and a look at what require("perigee") returns tells which
--- of them an app can reach. Only what is written in C is described here by hand.

local host = require("perigee.host")

local M = {}

-- What C offers. tests/lua/host/definitions_test.lua holds it against the code.
local BY_HAND = [==[
---@class perigee.json : table
---@field null userdata JSON's null
---@overload fun(value: any, options?: perigee.ResponseOptions): perigee.Response
perigee.json = {}

--- Writes a value as JSON text. Raises for what is no JSON.
---@param value any
---@param options? { pretty?: boolean }
---@return string
function perigee.json.encode(value, options) end

--- Reads JSON text.
---@param text string
---@return any value nil when it is no JSON
---@return { message: string, position: integer, line: integer, column: integer }? err
function perigee.json.decode(text) end

--- Marks a table as an array: it is written so even if it is empty.
---@generic T: table
---@param table? T
---@return T
function perigee.json.array(table) end

--- Marks a table as an object: it is written so even if its keys are integers.
---@generic T: table
---@param table? T
---@return T
function perigee.json.object(table) end

--- Whether a value is marked as an array: by json.array, or because it was decoded.
---@param value any
---@return boolean
function perigee.json.is_array(value) end

--- Whether a value is marked as an object.
---@param value any
---@return boolean
function perigee.json.is_object(value) end

--- Waits without blocking the loop. Raises when the task is cancelled.
---@async
---@param ms number milliseconds, 0 or more; 0 lets other tasks run first
function perigee.sleep(ms) end

--- An uploaded file, as it stands in `req.files` for a type t.file.
---@class perigee.UploadedFile
---@field name string as the client called it, without folders
---@field type string? the content type that the client gave
---@field size integer bytes
---@field headers table<string, string> of its part, names in lower case
---@field read fun(self: perigee.UploadedFile, bytes?: integer): string? the next bytes, or all the rest
---@field chunks fun(self: perigee.UploadedFile, bytes?: integer): fun(): string? the rest in pieces
---@field seek fun(self: perigee.UploadedFile, at: integer): integer goes on reading there
---@field save fun(self: perigee.UploadedFile, path: string): true?, perigee.Error? all of it; waits
---@field close fun(self: perigee.UploadedFile) lets go of the bytes

--- A test of an app; given by `perigee test`.
---@param name string a sentence
---@param fn async fun(t: perigee.test.Case)
function test(name, fn) end
]==]

local LUA_TYPES = {
  integer = "integer",
  number = "number",
  string = "string",
  boolean = "boolean",
  table = "table",
  ["function"] = "function",
  any = "any",
}

-- "string|table" of a check of options, as LuaLS writes it.
local function lua_type(expected)
  return (expected:gsub("[^|]+", function(kind)
    return LUA_TYPES[kind] or kind
  end))
end

local function sorted_keys(map)
  local keys = {}
  for key in pairs(map) do
    keys[#keys + 1] = key
  end
  table.sort(keys, function(a, b)
    return tostring(a) < tostring(b)
  end)
  return keys
end

local function lines_of(text)
  local lines = {}
  for line in (text .. "\n"):gmatch("(.-)\n") do
    lines[#lines + 1] = line
  end
  return lines
end

-- The `---` block that ends right above a line.
local function block_above(lines, line)
  local first = line
  while first > 1 and lines[first - 1]:find("^%-%-%-") do
    first = first - 1
  end
  return table.concat(lines, "\n", first, line - 1), first
end

-- All of the framework's files: their lines by chunk name ("@perigee/app.lua").
local function read_sources()
  local sources = {}
  for _, name in ipairs(host.app.embedded()) do
    local text, chunk = host.app.embedded(name)
    if chunk:find("%.lua$") and not chunk:find("^@perigee/cli") then
      sources[chunk] = lines_of(text)
    end
  end
  return sources
end

-- The parameters of a function, as debug information has them.
local function parameters_of(fn)
  local names = {}
  local info = debug.getinfo(fn, "u")
  for i = 1, info.nparams do
    names[i] = debug.getlocal(fn, i)
  end
  if info.isvararg then
    names[#names + 1] = "..."
  end
  return table.concat(names, ", ")
end

-- The annotated function, under the name it has for an app.
local function describe_function(sources, name, fn)
  local info = debug.getinfo(fn, "S")
  local lines = sources[info.source]
  local doc = lines and block_above(lines, info.linedefined) or ""
  return (doc ~= "" and doc .. "\n" or "")
    .. ("function %s(%s) end"):format(name, parameters_of(fn))
end

-- Classes of the framework's files: { name, text, methods } by name. A class is what an annotation says of
-- it, and the functions of the table that follows it.
local function read_classes(sources)
  local classes, variables = {}, {}
  for _, chunk in ipairs(sorted_keys(sources)) do
    local lines = sources[chunk]
    for number, line in ipairs(lines) do
      local name = line:match("^%-%-%-@class ([%w_.]+)") or line:match("^%-%-%-@alias ([%w_.]+)")
      if name then
        local last = number
        while (lines[last + 1] or ""):find("^%-%-%-") do
          last = last + 1
        end
        local _, first = block_above(lines, number)
        local variable = (lines[last + 1] or ""):match("^local ([%a_][%w_]*) =")
        local class = {
          name = name,
          text = table.concat(lines, "\n", first, last),
          variable = variable,
          is_alias = line:find("@alias", 1, true) ~= nil,
          methods = {},
        }
        classes[name] = class
        if variable then
          variables[chunk .. variable] = class
          variables[variable] = class
        end
      end
    end
  end
  for _, chunk in ipairs(sorted_keys(sources)) do
    local lines, borrowed = sources[chunk], {}
    for number, line in ipairs(lines) do
      local name, original = line:match("^local ([%a_][%w_]*) = [%w_]+%.([%a_][%w_]*)$")
      if name and name == original then -- local Type = node_of.Type: more methods of that class
        borrowed[name] = variables[name]
      end
      local owner, separator, method, parameters =
        line:match("^function ([%a_][%w_]*)([.:])([%a_][%w_]*)%((.-)%)")
      local class = owner and (variables[chunk .. owner] or borrowed[owner])
      if class and owner ~= "M" and method:sub(1, 2) ~= "__" then
        class.methods[#class.methods + 1] = {
          doc = (block_above(lines, number)),
          head = separator .. method .. "(" .. parameters .. ")",
        }
      end
    end
  end
  return classes
end

-- Classes whose names stand in the text, and those whose names stand in these.
local function reachable(classes, text)
  local found, order = {}, {}
  local function look(words)
    for name in words:gmatch("perigee%.[%w_.]+") do
      name = name:gsub("%.$", "")
      local class = classes[name]
      if class and not found[name] then
        found[name] = true
        order[#order + 1] = name
        look(class.text)
        for _, method in ipairs(class.methods) do
          look(method.doc)
        end
      end
    end
  end
  look(text)
  table.sort(order)
  return order
end

-- Options that are tables of a class.
local OPTION_CLASSES = {
  cache = "perigee.Cache",
  rate_limit = "perigee.RateLimit|boolean",
}

local function options_class(name, known)
  local lines = { "---@class " .. name }
  for _, option in ipairs(sorted_keys(known)) do
    local kind = OPTION_CLASSES[option] or lua_type(known[option])
    lines[#lines + 1] = ("---@field %s? %s"):format(option, kind)
  end
  return table.concat(lines, "\n")
end

-- Methods that router.lua makes in a loop, one for each HTTP method.
local function verb_methods()
  local lines = {}
  for _, verb in ipairs(require("perigee.router").METHODS) do
    lines[#lines + 1] = ([[
--- Declares an operation for %s.
---@param path string such as "/items/{item_id}"
---@param options perigee.OperationOptions|async fun(req: perigee.Request): any
---@param handler? async fun(req: perigee.Request): any
function Router:%s(path, options, handler) end
]]):format(verb:upper(), verb)
  end
  return table.concat(lines, "\n")
end

-- Types that are all said by their kind: t.string is one, and t.string({ ... }) another.
local function simple_types()
  local node_of = require("perigee.node")
  local lines = {}
  for _, kind in ipairs(require("perigee.types").KINDS) do
    local known = node_of.options_of(kind)
    lines[#lines + 1] = options_class("perigee.options." .. kind, known)
    lines[#lines + 1] = ("---@class perigee.types.%s : perigee.Type\n---@overload fun(options: perigee.options.%s): perigee.Type"):format(
      kind,
      kind
    )
    lines[#lines + 1] = ("---@type perigee.types.%s\nperigee.types.%s = nil\n"):format(kind, kind)
  end
  return table.concat(lines, "\n")
end

-- What a module offers, under its public name.
local function describe_module(sources, out, name, module)
  out[#out + 1] = ("---@class %s\n%s = {}\n"):format(name, name)
  for _, key in ipairs(sorted_keys(module)) do
    local value = module[key]
    if type(key) == "string" and not key:find("^_") then
      local public = name .. "." .. key
      if type(value) == "function" then
        out[#out + 1] = describe_function(sources, public, value) .. "\n"
      elseif math.type(value) == "integer" then
        out[#out + 1] = ("%s = %d"):format(public, value)
      end
    end
  end
  local metatable = getmetatable(module)
  if metatable and metatable.__call and name == "perigee.settings" then
    out[#out] = out[#out]
      .. "\n---@overload fun(declared: table<string, perigee.Type>, options?: table): table"
  end
end

--- The definitions of the whole API, as one file for LuaLS.
---@return string
function M.api()
  local sources = read_sources()
  local classes = read_classes(sources)
  local perigee = require("perigee")
  local out = { "---@meta perigee\n", "---@class perigee\nlocal perigee = {}\n", BY_HAND }

  local names = {}
  local seen = {}
  for _, name in ipairs(getmetatable(perigee).__names()) do
    if not seen[name] then
      seen[name] = true
      names[#names + 1] = name
    end
  end
  for _, name in ipairs(names) do
    local value = perigee[name]
    if name ~= "json" and name ~= "sleep" then
      if type(value) == "function" then
        out[#out + 1] = describe_function(sources, "perigee." .. name, value) .. "\n"
      elseif type(value) == "table" then
        describe_module(sources, out, "perigee." .. name, value)
      end
    end
  end
  out[#out + 1] = simple_types()
  local router = require("perigee.router")
  out[#out + 1] = options_class("perigee.OperationOptions", router.operation_options) .. "\n"
  out[#out + 1] = options_class("perigee.RouterOptions", router.router_options) .. "\n"

  local text = table.concat(out, "\n")
  local wanted = text
    .. " perigee.Request perigee.App perigee.Router perigee.Type perigee.test.Case"
  local tail = {}
  for _, name in ipairs(reachable(classes, wanted)) do
    local class = classes[name]
    local variable = class.variable and class.variable or nil
    tail[#tail + 1] = class.text
    if not class.is_alias and #class.methods > 0 then
      tail[#tail + 1] = "do\nlocal " .. variable .. " = {}\n"
      for _, method in ipairs(class.methods) do
        tail[#tail + 1] = (method.doc ~= "" and method.doc .. "\n" or "")
          .. ("function %s%s end\n"):format(variable, method.head)
      end
      if name == "perigee.Router" then
        tail[#tail + 1] = verb_methods()
      end
      tail[#tail + 1] = "end"
    end
    tail[#tail + 1] = ""
  end
  return text .. "\n" .. table.concat(tail, "\n") .. "\nreturn perigee\n"
end

return M
