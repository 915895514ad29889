--- `perigee routes`: what an app serves.

local arguments = require("perigee.cli.arguments")
local load_app = require("perigee.cli.load")
local terminal = require("perigee.cli.terminal")

---@type perigee.cli.Command
return {
  name = "routes",
  usage = "APPDIR",
  summary = "lists the operations of an app and where they are declared",
  description = "One line for each operation: methods, path, name, what it depends on, and its place.",
  operands = 1,
  needs = 1,
  flags = { arguments.SET },
  run = function(operands)
    local built, code = load_app(operands[1])
    if not built then
      return code
    end
    local rows = {}
    for i, operation in ipairs(built.operations) do
      rows[i] = {
        table.concat(operation.methods, ","),
        operation.path,
        operation.name or "",
        operation.needs and #operation.needs > 0 and "needs " .. table.concat(
          operation.needs,
          ", "
        ) or "",
        operation.source,
      }
    end
    local paint = terminal.painter(1)
    local colors = { "cyan", "bold", nil, "dim", "dim" }
    terminal.write_rows(rows, function(column, text)
      return colors[column] and paint(colors[column], text) or text
    end)
    return 0
  end,
}
