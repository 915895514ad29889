--- The only module the host calls by name: turns a file into an app that the host can run, and a
--- mistake in it into a message that fits on a screen.
local errors = require("perigee.errors")
local host = require("perigee.host")
local source = require("perigee.source")
local threaded = require("perigee.threaded")

local M = {}

local MAX_MESSAGE = 1500 -- characters of a message; a table dumped into it must not scroll the place away
local MAX_LEVELS = 100 -- of a stack
local MAX_FRAMES = 8

--- The lines of `file` around `line`, numbered, with a mark at it; "" when they cannot be read.
local function excerpt(file, line)
  local lines = {}
  local all = source.lines(file) or {}
  for number = math.max(line - 2, 1), math.min(line, #all) do
    local mark = number == line and ">" or " "
    lines[#lines + 1] = ("  %s %4d | %s"):format(mark, number, all[number]:sub(1, 120))
  end
  return #lines > 0 and "\n\n" .. table.concat(lines, "\n") or ""
end

--- The frames of `traceback` that stand in the app's own files.
local function own_frames(traceback)
  local frames = {}
  for frame in traceback:gmatch("\n\t([^\n]+)") do
    local is_own = not frame:find("^%[C%]") and not frame:find("^perigee/")
    if is_own and not frame:find("^%(%.%.%.tail calls") and #frames < MAX_FRAMES then
      frames[#frames + 1] = "    " .. frame
    end
  end
  return #frames > 1 and "\n\n  called from\n" .. table.concat(frames, "\n") or ""
end

--- The files that a message may speak of: the app, those it quotes, those that are running.
local function known_files(path, message)
  local files = { path }
  for file in message:gmatch("'([^'\n]+)'") do
    files[#files + 1] = file
  end
  -- Looking at a level costs as much as its number, and a stack overflow has 300,000 of them.
  for level = 2, 2 + MAX_LEVELS do
    local info = debug.getinfo(level, "S")
    if not info then
      break
    end
    files[#files + 1] = info.source:match("^@(.+)")
  end
  return files
end

--- The first place named in `message`: a file that can be read, and a line. Lua shortens long names
--- from the left ("...apps/items/app.lua:3:").
local function place_of(path, message)
  for name, line in message:gmatch("([^%s:'\"]+):(%d+):") do
    local tail = name:match("^%.%.%.(.+)") or name
    for _, file in ipairs(known_files(path, message)) do
      if file:sub(-#tail) == tail then
        return file, tonumber(line)
      end
    end
  end
end

local function describe(path, message, traceback)
  message = errors.message(message)
  if #message > MAX_MESSAGE then
    message = message:sub(1, MAX_MESSAGE) .. " ..."
  end
  local file, line = place_of(path, message)
  return ("%s does not load\n\n  %s%s%s"):format(
    path,
    message:gsub("\n", "\n  "),
    file and excerpt(file, line) or "",
    traceback and own_frames(traceback) or ""
  )
end

-- Globals that portable Lua code asks for without needing them.
local ASKED_FOR = {
  unpack = true,
  setfenv = true,
  getfenv = true,
  loadstring = true,
  jit = true,
  ngx = true,
  bit = true,
  bit32 = true,
}

--- Warns while the app in `folder` loads and reads a global that nobody has defined: a misspelt dependency or
--- model would otherwise leave a route open without a word. Returns what ends the watch.
local function watch_globals(folder)
  if getmetatable(_G) or not host.app.is_first() then
    return function() end
  end
  setmetatable(_G, {
    __index = function(_, name)
      local info = debug.getinfo(2, "Sl")
      if info and not ASKED_FOR[name] and info.source:sub(1, #folder + 1) == "@" .. folder then
        host.log.warn(
          ("%s:%d: the global '%s' is not defined: it is nil"):format(
            info.short_src,
            info.currentline,
            tostring(name)
          )
        )
      end
    end,
  })
  return function()
    setmetatable(_G, nil)
  end
end

--- Loads the Lua file at `path`, which must return an app, and builds it once.
---@param path string
---@param settings? { root_path?: string, metrics?: string, health?: boolean, request_id?: boolean, dev?: boolean } what flags say: goes before options
---@return table built what host/app.h describes; raises a string that is ready to be shown
---@return perigee.App app for the tools that look at it
function M.load(path, settings)
  local chunk, message = loadfile(path, "t")
  if not chunk then
    error(describe(path, message), 0)
  end
  local app
  local function build()
    app = chunk()
    if type(app) ~= "table" or type(app.build) ~= "function" then
      error(
        ("it must end with `return app`, an app made by perigee.app(); it returned a %s"):format(
          type(app)
        ),
        0
      )
    end
    local built = app:build(settings)
    built.threaded = threaded.seal(built.operations)
    if #host.app.settings() > 0 then
      require("perigee.settings").check_flags()
    end
    built.cleans_threaded = threaded.cleans
    return built
  end
  M.folder = path:match("^(.*/)") or ""
  local unwatch = watch_globals(M.folder)
  local ok, result = xpcall(build, function(err)
    return describe(path, host.task.blame(err), debug.traceback("", 2))
  end)
  unwatch()
  if not ok then
    error(result, 0)
  end
  return result, app
end

return M
