--- The only module the host calls by name: turns a file into an app that it can run.
local M = {}

--- Loads the Lua file at `path`, which must return an app, and builds it once.
---@param path string
---@return table built what host/app.h describes; raises with a message that names the file
function M.load(path)
  local chunk, message = loadfile(path, "t")
  if not chunk then
    error(message, 0)
  end
  local app = chunk()
  local build = type(app) == "table" and app.build
  if type(build) ~= "function" then
    error(
      ("%s must end with `return app`, an app made by perigee.app(); it returned %s"):format(
        path,
        type(app)
      ),
      0
    )
  end
  return app:build()
end

return M
