--- `perigee cancel`: ends one request.

local servers = require("perigee.cli.servers")
local terminal = require("perigee.cli.terminal")

---@type perigee.cli.Command
return {
  name = "cancel",
  usage = "ID",
  summary = "ends a running request or task",
  description = "Its client gets a 503, or a connection that is cut when the answer has begun; the task is"
    .. " cancelled where it is and cleans up. ID is the number that `perigee ps` shows, or the request's id in"
    .. " the log.",
  operands = 1,
  needs = 1,
  flags = { servers.SERVER, servers.JSON },
  run = function(operands, flags)
    local lines, code = servers.ask_one(flags.server, "cancel " .. operands[1])
    if not lines then
      return code
    end
    if flags.json then
      servers.write_json(lines)
    end
    local cancelled = servers.first(lines, "cancelled")
    if not cancelled then
      terminal.fail("nothing that runs has the id %s", operands[1])
      return 1
    end
    if not flags.json then
      io.write(("cancelled %d\n"):format(cancelled.id))
    end
    return 0
  end,
}
