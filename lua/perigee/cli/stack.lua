--- `perigee stack`: where one request is, frame by frame.

local seen = require("perigee.cli.seen")
local servers = require("perigee.cli.servers")
local terminal = require("perigee.cli.terminal")

local function write_stack(paint, head, frames)
  io.write(paint("bold", servers.plain(head)), "\n")
  for _, frame in ipairs(frames or {}) do
    local framework = frame:find("^perigee/") or frame:find("^%[C%]")
    frame = "  " .. servers.plain(frame)
    io.write(framework and paint("dim", frame) or frame, "\n")
  end
end

---@type perigee.cli.Command
return {
  name = "stack",
  usage = "ID",
  summary = "shows where a running request is",
  description = "The Lua stack of a request or task, with those of the tasks that work for it and of the worker"
    .. " thread it waits for. ID is the number that `perigee ps` shows, or the request's id in the log.",
  operands = 1,
  needs = 1,
  flags = { servers.SERVER, servers.CONTROL, servers.JSON },
  run = function(operands, flags)
    local rows, lines = servers.ask_about(flags, "stack", operands[1], function(lines)
      local rows = seen.rows(lines)
      return #rows > 0 and rows or nil
    end)
    if not rows then
      return lines
    end
    local paint = terminal.painter(1)
    for _, row in ipairs(rows) do
      local head = ("%s  %s  %s"):format(row.id, row.what:gsub("^ +", ""), row.doing)
      write_stack(paint, head, row.line.stack)
      local worker = seen.worker_of(lines, row.line)
      if worker then
        write_stack(paint, ("on worker %d"):format(worker.worker), worker.stack)
      end
    end
    return 0
  end,
}
