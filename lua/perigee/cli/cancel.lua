--- `perigee cancel`: ends one request.

local servers = require("perigee.cli.servers")

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
  flags = { servers.SERVER, servers.CONTROL, servers.JSON },
  run = function(operands, flags)
    local cancelled, code = servers.ask_about(flags, "cancel", operands[1], function(lines)
      return servers.first(lines, "cancelled")
    end)
    if not cancelled then
      return code
    end
    io.write(("cancelled %d\n"):format(cancelled.id))
    return 0
  end,
}
