--- Reads the arguments of a command by the flags it declares. Pure.

local errors = require("perigee.errors")

local M = {}

---@class perigee.cli.Flag
---@field name string without the dashes
---@field argument? string what stands behind it in the help; none: it is given or not
---@field values? string[] the only ones it takes
---@field number? boolean takes a whole number
---@field many? boolean may be given several times: its value is a list
---@field help string

---@class perigee.cli.Command
---@field name string
---@field usage string what follows the name
---@field summary string one line, in lower case
---@field description? string
---@field operands? integer how many it takes at most; 0 unless given
---@field needs? integer how many it takes at least; 0 unless given
---@field flags? perigee.cli.Flag[]
---@field run? fun(operands: string[], flags: table<string, any>): integer the exit code

-- What every command takes that loads an app.
M.SET = {
  name = "set",
  argument = "NAME=VALUE",
  many = true,
  help = "a setting that the app declares; may be given again",
}

local function known_flags(command)
  local known = {}
  for _, flag in ipairs(command.flags or {}) do
    known[flag.name] = flag
  end
  known.help = { name = "help" }
  return known
end

local function convert(flag, text)
  if flag.number then
    local number = math.tointeger(tonumber(text))
    if not number or number < 0 then
      return nil, ("--%s takes a whole number, not '%s'"):format(flag.name, text)
    end
    return number
  end
  for _, value in ipairs(flag.values or {}) do
    if value == text then
      return text
    end
  end
  if flag.values then
    local list = table.concat(flag.values, ", ")
    return nil, ("--%s takes one of %s, not '%s'"):format(flag.name, list, text)
  end
  return text
end

local function store(flags, flag, value)
  local key = flag.name:gsub("-", "_")
  if flag.many then
    flags[key] = flags[key] or {}
    table.insert(flags[key], value)
  else
    flags[key] = value
  end
end

--- How a command is called: "perigee routes APPDIR".
---@param command perigee.cli.Command
---@return string
function M.usage(command)
  return command.usage == "" and "perigee " .. command.name
    or ("perigee %s %s"):format(command.name, command.usage)
end

--- Splits arguments into operands and flags: `--name value`, `--name=value`, `--` ends the flags.
---@param command perigee.cli.Command
---@param arguments string[]
---@return string[]? operands nil when something is wrong
---@return table<string, any>|string flags names with underscores; or what is wrong
function M.parse(command, arguments)
  local known = known_flags(command)
  local operands, flags = {}, {}
  local i, only_operands = 1, false
  while arguments[i] do
    local argument = arguments[i]
    if argument == "--" and not only_operands then
      only_operands = true
    elseif argument == "-h" and not only_operands then
      flags.help = true
    elseif argument:sub(1, 1) == "-" and #argument > 1 and not only_operands then
      local name, value = argument:match("^%-%-([^=]+)=?(.*)$")
      local flag = name and known[name]
      if not flag then
        local nearest = errors.nearest(name or argument:sub(2), known)
        local hint = nearest and ("did you mean --%s?"):format(nearest)
          or ("perigee %s --help lists them"):format(command.name)
        return nil, ("unknown option %s (%s)"):format(argument:match("^[^=]*"), hint)
      end
      if not flag.argument then
        if argument:find("=", 1, true) then
          return nil, ("--%s takes no value"):format(name)
        end
        store(flags, flag, true)
      else
        if not argument:find("=", 1, true) then
          i = i + 1
          value = arguments[i]
          if not value then
            return nil, ("--%s needs %s"):format(name, flag.argument)
          end
        end
        local converted, message = convert(flag, value)
        if converted == nil then
          return nil, message
        end
        store(flags, flag, converted)
      end
    else
      operands[#operands + 1] = argument
    end
    i = i + 1
  end
  if flags.help then
    return operands, flags
  end
  local most = command.operands or 0
  if #operands > most then
    return nil, ("'%s' is too much (usage: %s)"):format(operands[most + 1], M.usage(command))
  end
  if #operands < (command.needs or 0) then
    return nil, "usage: " .. M.usage(command)
  end
  return operands, flags
end

return M
