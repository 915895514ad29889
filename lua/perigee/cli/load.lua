--- Loads an app for a command, as `perigee run` does.

local entry = require("perigee.entry")
local host = require("perigee.host")
local terminal = require("perigee.cli.terminal")

--- Loads the app of a folder or file. When it does not load, that is said.
---@param path string
---@return table? built nil when it does not load
---@return perigee.App|integer app or the exit code
return function(path)
  local file, message = host.app.find(path)
  if not file then
    return nil, terminal.fail("%s", message)
  end
  local ok, built, app = pcall(entry.load, file)
  if not ok then
    io.stderr:write("perigee: ", tostring(built), "\n")
    return nil, 1
  end
  return built, app
end
