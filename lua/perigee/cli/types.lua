--- `perigee types`: classes for editors, of an app's models or of the API itself.

local arguments = require("perigee.cli.arguments")
local definitions = require("perigee.cli.definitions")
local load_app = require("perigee.cli.load")
local models_of = require("perigee.cli.models")
local terminal = require("perigee.cli.terminal")

-- What a kind is in Lua, once it was validated.
local KINDS = {
  string = "string",
  secret = "string",
  bytes = "string",
  uuid = "string",
  url = "string",
  email = "string",
  ipv4 = "string",
  ipv6 = "string",
  decimal = "string",
  integer = "integer",
  number = "number",
  boolean = "boolean",
  null = "nil",
  file = "perigee.UploadedFile",
}

local describe

local function union(nodes)
  local parts, seen = {}, {}
  for _, node in ipairs(nodes) do
    local text = describe(node)
    if not seen[text] then
      seen[text] = true
      parts[#parts + 1] = text
    end
  end
  return table.concat(parts, "|")
end

local function values(list)
  local parts = {}
  for i, value in ipairs(list) do
    parts[i] = type(value) == "string" and ("%q"):format(value) or tostring(value)
  end
  return table.concat(parts, "|")
end

local function fields_of(node)
  local parts = {}
  for i, field in ipairs(node.fields) do
    parts[i] = field.name .. ": " .. describe(field.type)
  end
  return "{ " .. table.concat(parts, ", ") .. " }"
end

local function class_name(node)
  return (node.name:gsub("[^%w_.]", "_"))
end

local function wrapped(text)
  return text:find("|", 1, true) and "(" .. text .. ")" or text
end

function describe(node)
  local kind = node.kind
  local text
  if kind == "ref" then
    text = describe(node.target())
  elseif kind == "model" then
    text = class_name(node)
  elseif kind == "object" then
    text = fields_of(node)
  elseif kind == "array" or kind == "set" then
    text = wrapped(describe(node.item)) .. "[]"
  elseif kind == "map" then
    text = ("table<%s, %s>"):format(
      node.key and describe(node.key) or "string",
      describe(node.value)
    )
  elseif (kind == "enum" or kind == "literal") and type(node.values) == "table" then
    text = values(node.values)
  elseif kind == "union" and type(node.members) == "table" then
    text = union(node.members)
  else
    text = KINDS[kind] or "any"
  end
  return node.nullable and wrapped(text) .. "|userdata" or text
end

local function write_model(node, place)
  io.write("--- Declared in ", place, ".\n")
  if node.description then
    io.write("--- ", (node.description:gsub("\n", "\n--- ")), "\n")
  end
  io.write("---@class ", class_name(node), "\n")
  for _, field in ipairs(node.fields) do
    local absent = field.type.optional and field.type.default == nil
    local note = field.type.description and " " .. field.type.description:gsub("\n", " ") or ""
    local name = field.name:find("^[%a_][%w_]*$") and field.name or ("[%q]"):format(field.name)
    io.write("---@field ", name, absent and "?" or "", " ", describe(field.type), note, "\n")
  end
  io.write("\n")
end

---@type perigee.cli.Command
return {
  name = "types",
  usage = "APPDIR | --api",
  summary = "prints classes for editors: of an app's models, or of the whole API",
  description = "Put the output into a Lua file of the workspace: LuaLS then completes and checks. "
    .. "perigee types APPDIR > types.lua; perigee types --api > perigee_api.lua.",
  operands = 1,
  flags = { { name = "api", help = 'the definitions of require("perigee")' }, arguments.SET },
  run = function(operands, flags)
    if flags.api and operands[1] then
      return terminal.fail("--api takes no app: '%s' is too much", operands[1])
    elseif flags.api then
      io.write(definitions.api())
      return 0
    elseif not operands[1] then
      return terminal.fail("usage: perigee types APPDIR | --api")
    end
    local made, _, built, code = models_of(function()
      return load_app(operands[1])
    end)
    if not built then
      return code
    end
    io.write("---@meta\n\n")
    local seen = {}
    for _, one in ipairs(made) do
      if one.node.name and not seen[one.node.name] then
        seen[one.node.name] = true
        write_model(one.node, one.where)
      end
    end
    return 0
  end,
}
