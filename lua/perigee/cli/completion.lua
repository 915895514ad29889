--- `perigee completion`: what shells complete, made of the table of commands.

local cli = require("perigee.cli")
local help = require("perigee.cli.help")

local M = {}

local function words_of(list, field)
  local words = {}
  for i, item in ipairs(list) do
    words[i] = item[field]
  end
  return table.concat(words, " ")
end

-- The values a flag takes: those it lists, or those its argument spells out ("text|json|off").
local function values_of(flag)
  if flag.values then
    return table.concat(flag.values, " ")
  end
  if flag.argument and flag.argument:find("|", 1, true) and not flag.argument:find("%u") then
    return (flag.argument:gsub("|", " "))
  end
end

local BASH = [[
# bash completion for perigee; made by `perigee completion bash`
_perigee() {
  local word=${COMP_WORDS[COMP_CWORD]} command=${COMP_WORDS[1]} before=${COMP_WORDS[COMP_CWORD-1]}
  local flags=
  COMPREPLY=()
  if [ "$COMP_CWORD" -eq 1 ]; then
    COMPREPLY=($(compgen -W "%s" -- "$word") $(compgen -f -X '!*.lua' -- "$word"))
    return
  fi
  case $command in
%s  esac
  case $word in
    -*) COMPREPLY=($(compgen -W "$flags --help" -- "$word")); return ;;
  esac
  case $command$before in
%s  esac
  COMPREPLY=($(compgen -f -- "$word"))
}
complete -o filenames -F _perigee perigee
]]

--- The script for bash.
---@return string
function M.bash()
  local commands = cli.commands()
  local flags, values = {}, {}
  for _, command in ipairs(commands) do
    local names = {}
    for i, flag in ipairs(help.flags_of(command)) do
      names[i] = "--" .. flag.name
      local list = values_of(flag)
      if list then
        local format = '    %s--%s) COMPREPLY=($(compgen -W "%s" -- "$word")); return ;;\n'
        values[#values + 1] = format:format(command.name, flag.name, list)
      end
    end
    if #names > 0 then
      flags[#flags + 1] = ('    %s) flags="%s" ;;\n'):format(command.name, table.concat(names, " "))
    end
    if command.values then
      local format = '    %s%s) COMPREPLY=($(compgen -W "%s" -- "$word")); return ;;\n'
      local list = type(command.values) == "function" and command.values() or command.values
      values[#values + 1] =
        format:format(command.name, command.name, table.concat(list --[[@as string[] ]], " "))
    end
  end
  return BASH:format(words_of(commands, "name"), table.concat(flags), table.concat(values))
end

local ZSH = [[
#compdef perigee
# zsh completion for perigee; made by `perigee completion zsh`
_perigee() {
  local -a commands
  commands=(
%s  )
  if (( CURRENT == 2 )); then
    _describe -t commands command commands
    _files -g '*.lua'
    return
  fi
  local command=$words[2]
  shift words
  (( CURRENT-- ))
  case $command in
%s    *) _files ;;
  esac
}
if [ "$funcstack[1]" = "_perigee" ]; then
  _perigee "$@"
else
  compdef _perigee perigee
fi
]]

-- Text inside single quotes and the brackets of _arguments.
local function zsh_text(text)
  return (text:gsub("'", "'\\''"):gsub("[%[%]:]", "\\%0"))
end

--- The script for zsh.
---@return string
function M.zsh()
  local names, cases = {}, {}
  for i, command in ipairs(cli.commands()) do
    names[i] = ("    '%s:%s'\n"):format(command.name, zsh_text(command.summary))
    local specs = {}
    for j, flag in ipairs(help.flags_of(command)) do
      local spec = ("--%s[%s]"):format(flag.name, zsh_text(flag.help))
      if flag.argument then
        local values = values_of(flag)
        local action = values and "(" .. values .. ")"
          or (flag.argument:find("FILE") or flag.argument:find("json")) and "_files"
          or ""
        spec = ("%s:%s:%s"):format(spec, zsh_text(flag.argument), action)
      end
      specs[j] = "'" .. spec .. "'"
    end
    if command.values then
      local list = type(command.values) == "function" and command.values() or command.values
      specs[#specs + 1] = ("'1:value:(%s)'"):format(table.concat(list --[[@as string[] ]], " "))
    elseif command.operands then
      specs[#specs + 1] = "'*:file:_files'"
    end
    if #specs > 0 then
      local format = "    %s)\n      _arguments \\\n        %s\n      ;;\n"
      cases[#cases + 1] = format:format(command.name, table.concat(specs, " \\\n        "))
    end
  end
  return ZSH:format(table.concat(names), table.concat(cases))
end

---@type perigee.cli.Command
return {
  name = "completion",
  usage = "bash|zsh",
  summary = "prints what a shell needs to complete commands and options",
  description = 'For bash: eval "$(perigee completion bash)", in ~/.bashrc. For zsh: put the output into a '
    .. "file _perigee in a folder of $fpath. `make install` puts both where the shells look.",
  operands = 1,
  needs = 1,
  values = { "bash", "zsh" },
  run = function(operands)
    local make = M[operands[1]]
    if not make then
      local terminal = require("perigee.cli.terminal")
      return terminal.fail("no completion for '%s': there are bash and zsh", operands[1])
    end
    io.write(make())
    return 0
  end,
}
