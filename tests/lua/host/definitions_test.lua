local definitions = require("perigee.cli.definitions")
local perigee = require("perigee")

local text = definitions.api()

-- What the definitions define, when they are run.
local function defined()
  local environment = setmetatable({}, { __index = _G })
  return assert(load(text, "=definitions", "t", environment))()
end

local function parameters(fn)
  local names = {}
  local info = debug.getinfo(fn, "u")
  for i = 1, info.nparams do
    names[i] = debug.getlocal(fn, i)
  end
  names[#names + 1] = info.isvararg and "..." or nil
  return names
end

local function is_lua(fn)
  return debug.getinfo(fn, "S").what ~= "C"
end

test("the definitions have what the API has, with the same parameters", function(t)
  local mirror, count = defined(), 0
  local function compare(path, real, described)
    for name, value in pairs(real) do
      local where = path .. "." .. tostring(name)
      if type(value) == "function" and not tostring(name):find("^_") then
        count = count + 1
        t:eq({ where, type(described[name]) }, { where, "function" })
        if is_lua(value) then
          t:eq({ where, parameters(described[name]) }, { where, parameters(value) })
        end
      elseif type(value) == "table" and path == "perigee" then
        t:eq({ where, type(described[name]) }, { where, "table" })
        compare(where, value, described[name])
      end
    end
  end
  local names = getmetatable(perigee).__names()
  for _, name in ipairs(names) do
    t:eq(perigee[name] ~= nil, true) -- loads what is lazy
  end
  compare("perigee", perigee, mirror)
  t:eq(count > 80, true)
end)

test("the definitions have nothing else", function(t)
  local function compare(path, described, real)
    for name, value in pairs(described) do
      local where = path .. "." .. tostring(name)
      t:eq({ where, real[name] ~= nil }, { where, true })
      if type(value) == "table" and path == "perigee" then
        compare(where, value, real[name])
      end
    end
  end
  compare("perigee", defined(), perigee)
end)

-- The methods that the definitions give to a class.
local function methods_of(class)
  local methods = {}
  local body =
    text:match("%-%-%-@class " .. class:gsub("%p", "%%%0") .. "%f[%s][^\n]*\n.-\ndo\n(.-)\nend\n")
  for name in (body or ""):gmatch("\nfunction [%w_]+[.:]([%w_]+)") do
    methods[name] = true
  end
  return methods
end

test("classes have the methods of their objects", function(t)
  local app = perigee.app()
  local objects = {
    ["perigee.App"] = getmetatable(app),
    ["perigee.Router"] = require("perigee.router").Router,
    ["perigee.Type"] = getmetatable(perigee.types.string).__index,
  }
  for class, metatable in pairs(objects) do
    local described, found = methods_of(class), 0
    for name, value in pairs(metatable) do
      if type(value) == "function" and not name:find("^_") then
        found = found + 1
        t:eq({ class, name, described[name] }, { class, name, true })
      end
    end
    t:eq(found > 3, true)
  end
end)

test("options are what the code checks", function(t)
  local function fields(class)
    local found = {}
    local block = text:match("%-%-%-@class " .. class:gsub("%p", "%%%0") .. "\n(.-)\n[^-]")
    for name in (block .. "\n"):gmatch("%-%-%-@field ([%w_]+)%? ") do
      found[name] = true
    end
    return found
  end
  local function names(known)
    local found = {}
    for name in pairs(known) do
      found[name] = true
    end
    return found
  end
  local node_of = require("perigee.node")
  for _, kind in ipairs(perigee.types.KINDS) do
    t:eq(fields("perigee.options." .. kind), names(node_of.options_of(kind)))
  end
  local router = require("perigee.router")
  t:eq(fields("perigee.OperationOptions"), names(router.operation_options))
  t:eq(fields("perigee.RouterOptions"), names(router.router_options))
end)

test("every class that is named is defined", function(t)
  local missing = {}
  for name in text:gmatch("perigee%.[%w_.]*%u[%w_]*") do
    local known = text:find("@class " .. name, 1, true)
      or text:find("@alias " .. name, 1, true)
      or text:find("function " .. name, 1, true)
      or text:find(name .. " =", 1, true)
    if not known then
      missing[name] = true
    end
  end
  t:eq(missing, {})
end)
