--- What commands say of themselves: for `--help`, from the same tables as the manual page and the
--- completion of shells.

local arguments = require("perigee.cli.arguments")
local host = require("perigee.host")
local terminal = require("perigee.cli.terminal")

local M = {}

--- The flags of a command that the host runs, read out of the host's own help.
---@return perigee.cli.Flag[]
function M.host_flags()
  local flags = {}
  for line in host.app.run_help():gmatch("[^\n]+") do
    local name, argument, help = line:match("^  %-%-([%w-]+) ?(%S*)%s+(.*)$")
    if name then
      flags[#flags + 1] = {
        name = name,
        argument = argument ~= "" and argument or nil,
        help = help,
      }
    elseif line:find("^" .. (" "):rep(20) .. " *%S") then -- goes on from the line above
      flags[#flags].help = flags[#flags].help .. " " .. line:match("^%s+(.*)$")
    end
  end
  return flags
end

--- All flags of a command.
---@param command perigee.cli.Command
---@return perigee.cli.Flag[]
function M.flags_of(command)
  return command.host_flags and M.host_flags() or command.flags or {}
end

--- Breaks a text into lines.
---@param text string
---@param width integer
---@return string[]
function M.wrap(text, width)
  local lines, line = {}, ""
  for word in text:gmatch("%S+") do
    if line ~= "" and #line + 1 + #word > width then
      lines[#lines + 1] = line
      line = word
    else
      line = line == "" and word or line .. " " .. word
    end
  end
  lines[#lines + 1] = line
  return lines
end

--- The list of all commands.
---@param commands perigee.cli.Command[]
---@return string
function M.overview(commands)
  local paint = terminal.painter(1)
  local lines = { "perigee " .. host.app.version .. ": serves web APIs written in Lua", "" }
  local width = 0
  for _, command in ipairs(commands) do
    width = math.max(width, #command.name + #(command.short_usage or command.usage) + 1)
  end
  for _, command in ipairs(commands) do
    local usage = command.name .. " " .. (command.short_usage or command.usage)
    local padded = terminal.pad(usage, width)
    lines[#lines + 1] = "  perigee " .. paint("bold", padded) .. "  " .. command.summary
  end
  lines[#lines + 1] = "  perigee "
    .. paint("bold", terminal.pad("FILE.lua [arguments]", width))
    .. "  runs a script inside the loop"
  lines[#lines + 1] = ""
  lines[#lines + 1] = "perigee help COMMAND tells more of one."
  return table.concat(lines, "\n") .. "\n"
end

--- What there is to know of one command.
---@param command perigee.cli.Command
---@return string
function M.command(command)
  if command.host_flags then
    local flags = host.app.run_help():match("\n\n.*")
    return "usage: " .. arguments.usage(command) .. flags
  end
  local paint = terminal.painter(1)
  local lines = { "usage: " .. arguments.usage(command), "" }
  local text = command.summary:sub(1, 1):upper() .. command.summary:sub(2) .. "."
  for _, line in ipairs(M.wrap(text .. " " .. (command.description or ""), 96)) do
    lines[#lines + 1] = line
  end
  if #(command.flags or {}) > 0 then
    lines[#lines + 1] = ""
    for _, flag in ipairs(command.flags) do
      local name = "--" .. flag.name .. (flag.argument and " " .. flag.argument or "")
      lines[#lines + 1] = "  " .. paint("bold", terminal.pad(name, 26)) .. "  " .. flag.help
    end
  end
  return table.concat(lines, "\n") .. "\n"
end

return M
