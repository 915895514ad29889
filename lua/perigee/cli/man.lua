--- `perigee man`: the manual page perigee(1), made of the table of commands.

local cli = require("perigee.cli")
local help = require("perigee.cli.help")
local host = require("perigee.host")

-- Text as troff takes it: no line begins with a dot, and dashes are dashes.
local function troff(text)
  return (
    text:gsub("\\", "\\e"):gsub("%-", "\\-"):gsub("^([.'])", "\\&%1"):gsub("\n([.'])", "\n\\&%1")
  )
end

local function sentence(text)
  return text:sub(1, 1):upper() .. text:sub(2) .. "."
end

local function add_flags(lines, flags)
  for _, flag in ipairs(flags) do
    local argument = flag.argument and " \\fI" .. troff(flag.argument) .. "\\fR" or ""
    lines[#lines + 1] = ".TP"
    lines[#lines + 1] = "\\fB" .. troff("--" .. flag.name) .. "\\fR" .. argument
    lines[#lines + 1] = troff(sentence(flag.help))
  end
end

local function page()
  local lines = {
    ('.TH PERIGEE 1 "" "perigee %s" "User Commands"'):format(host.app.version),
    ".SH NAME",
    "perigee \\- serves web APIs written in Lua",
    ".SH SYNOPSIS",
    ".B perigee",
    "\\fICOMMAND\\fR [\\fIarguments\\fR]",
    ".br",
    ".B perigee",
    "\\fIFILE.lua\\fR [\\fIarguments\\fR]",
    ".SH DESCRIPTION",
    "Serves apps: folders with a file app.lua that returns one. With a Lua file in place of a command it",
    "runs that file as a script inside the loop.",
    ".SH COMMANDS",
  }
  for _, command in ipairs(cli.commands()) do
    lines[#lines + 1] = ".SS " .. troff("perigee " .. command.name .. " " .. command.usage)
    lines[#lines + 1] = troff(sentence(command.summary))
    if command.description then
      lines[#lines + 1] = troff(command.description)
    end
    add_flags(lines, help.flags_of(command))
  end
  for _, line in ipairs({
    ".SH ENVIRONMENT",
    "Every option of \\fBperigee run\\fR may also stand in the environment: \\fBPERIGEE_PORT=9000\\fR stands",
    "for \\fB\\-\\-port 9000\\fR. A flag wins.",
    ".TP",
    ".B NO_COLOR",
    "When it is set and not empty, nothing is coloured. Only terminals are, anyway.",
    ".SH EXIT STATUS",
    ".TP",
    ".B 0",
    "All is well.",
    ".TP",
    ".B 1",
    "The app does not load, a test failed, or a check found something.",
    ".TP",
    ".B 2",
    "What was asked for is not there, or was not asked properly.",
    ".SH EXAMPLES",
    ".nf",
    "perigee new notes",
    "perigee test notes",
    "perigee run notes \\-\\-port 9000",
    ".fi",
  }) do
    lines[#lines + 1] = line
  end
  return table.concat(lines, "\n") .. "\n"
end

---@type perigee.cli.Command
return {
  name = "man",
  usage = "",
  summary = "prints the manual page",
  description = "perigee man | man -l - shows it; `make install` puts it where man looks.",
  run = function()
    io.write(page())
    return 0
  end,
}
