--- `perigee ps`: what a running server is doing.

local seen = require("perigee.cli.seen")
local servers = require("perigee.cli.servers")
local terminal = require("perigee.cli.terminal")

local COLORS = { "bold", "dim", "cyan", nil, "yellow" }

---@type perigee.cli.Command
return {
  name = "ps",
  usage = "[PID|SOCKET]",
  summary = "lists what a running server is doing",
  description = "A line for each request that runs, and for tasks that run beside them, the oldest first: its"
    .. " number, its age, what it is, where in the app it is and what it waits for. A server of this user is"
    .. " found by itself when it is the only one.",
  operands = 1,
  flags = { servers.SERVER, servers.CONTROL, servers.JSON },
  run = function(operands, flags)
    local lines, code = servers.ask_one(flags, operands[1], "ps")
    if not lines then
      return code
    end
    if flags.json then
      servers.write_json(lines)
      return 0
    end
    local paint = terminal.painter(1)
    io.write(paint("bold", servers.describe(servers.first(lines, "process"))), "\n")
    for _, complaint in ipairs(seen.complaints(lines)) do
      io.write(paint("red", complaint), "\n")
    end
    local rows = {}
    for i, row in ipairs(seen.rows(lines)) do
      rows[i] = { row.id, row.age, row.what, row.place, row.doing }
      for k, text in ipairs(rows[i]) do
        rows[i][k] = servers.plain(text)
      end
    end
    if #rows == 0 then
      io.write("nothing runs\n")
    else
      table.insert(rows, 1, { "ID", "AGE", "WHAT", "WHERE", "WAITS FOR" })
    end
    terminal.write_rows(rows, function(column, text)
      return COLORS[column] and paint(COLORS[column], text) or text
    end)
    return 0
  end,
}
