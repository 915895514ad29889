--- Files and folders. Every call waits without blocking the loop (the work is done on other threads) and can
--- be cancelled; while an app loads, it is done at once. What the world refuses is `nil, err` with `err.code`
--- such as "ENOENT". Paths are relative to the folder the program was started in.

local errors = require("perigee.errors")
local host = require("perigee.host")

local M = {}

local MAX_BYTES = 64 * 1024 * 1024
local MAX_ENTRIES = 100000
local CHUNK = 65536

--- Reads a whole file. One that is longer than `max_bytes` is the error "EFBIG", and memory stays bounded.
---@async
---@param path string
---@param options? { max_bytes?: integer } 64 MiB if not given
---@return string? bytes, perigee.Error? err
function M.read(path, options)
  options = options or {}
  errors.check_options("fs.read", options, { max_bytes = "integer" })
  local max = options.max_bytes or MAX_BYTES
  if max < 0 then
    errors.raise("fs.read: max_bytes must be 0 or more")
  end
  return host.fs.read(path, max)
end

local WRITE_OPTIONS = { mode = "integer", sync = "boolean" }

--- Writes a whole file in one step: whoever reads it, even after a crash, finds the old content or the new
--- one. The permissions of an existing file and links to it stay. With `sync` it is on the disk before this
--- returns.
---@async
---@param path string
---@param bytes string
---@param options? { mode?: integer, sync?: boolean } `mode` of a new file: tonumber("640", 8); 666 less the umask if not given
---@return boolean? done, perigee.Error? err
function M.write(path, bytes, options)
  options = options or {}
  errors.check_options("fs.write", options, WRITE_OPTIONS)
  return host.fs.replace(path, bytes, options.mode, options.sync)
end

--- Adds to the end of a file, which is made when it is not there.
---@async
---@param path string
---@param bytes string
---@param options? { mode?: integer, sync?: boolean } as for write()
---@return boolean? done, perigee.Error? err
function M.append(path, bytes, options)
  options = options or {}
  errors.check_options("fs.append", options, WRITE_OPTIONS)
  return host.fs.append(path, bytes, options.mode, options.sync)
end

--- Copies a file, permissions included; like write(), in one step.
---@async
---@param from string
---@param to string
---@return boolean? done, perigee.Error? err
function M.copy(from, to)
  return host.fs.copy(from, to)
end

--- Renames or moves within a file system; what had the new name is replaced.
---@async
---@param from string
---@param to string
---@return boolean? done, perigee.Error? err
function M.rename(from, to)
  return host.fs.rename(from, to)
end

--- Removes a file, a link, or an empty folder; with `recursive` a folder and all that is in it. Never follows
--- a link.
---@async
---@param path string
---@param options? { recursive?: boolean }
---@return boolean? done, perigee.Error? err
function M.remove(path, options)
  options = options or {}
  errors.check_options("fs.remove", options, { recursive = "boolean" })
  return host.fs.remove(path, options.recursive)
end

---@class perigee.Stat
---@field type "file"|"folder"|"link"|"pipe"|"socket"|"device"
---@field size integer bytes
---@field mode integer permission bits
---@field modified number seconds since 1970
---@field changed number seconds since 1970, of the entry itself
---@field inode integer
---@field device integer
---@field links integer
---@field uid integer
---@field gid integer

--- What is known of a file.
---@async
---@param path string
---@param options? { follow?: boolean } false: of a link itself
---@return perigee.Stat? stat, perigee.Error? err
function M.stat(path, options)
  options = options or {}
  errors.check_options("fs.stat", options, { follow = "boolean" })
  return host.fs.stat(path, options.follow ~= false)
end

--- Whether there is something of this name; a link to nothing is nothing.
---@async
---@param path string
---@return boolean? exists, perigee.Error? err
function M.exists(path)
  local stat, err = host.fs.stat(path, true)
  if not stat and err.code ~= "ENOENT" and err.code ~= "ENOTDIR" then
    return nil, err
  end
  return stat ~= nil
end

--- What is in a folder, by name.
---@async
---@param path string
---@param options? { max_entries?: integer } more than these (100000) are the error "EFBIG"
---@return { name: string, type: string }[]? entries, perigee.Error? err types as in stat()
function M.list(path, options)
  options = options or {}
  errors.check_options("fs.list", options, { max_entries = "integer" })
  local entries, err = host.fs.list(path, options.max_entries or MAX_ENTRIES)
  if not entries then
    return nil, err
  end
  table.sort(entries, function(a, b)
    return a.name < b.name
  end)
  return entries
end

--- Makes a folder; with `parents` also those above it, and then it may be there already.
---@async
---@param path string
---@param options? { parents?: boolean, mode?: integer } 777 less the umask if not given
---@return boolean? done, perigee.Error? err
function M.mkdir(path, options)
  options = options or {}
  errors.check_options("fs.mkdir", options, { parents = "boolean", mode = "integer" })
  return host.fs.mkdir(path, options.mode, options.parents)
end

--- The absolute path without links, "." and "..".
---@async
---@param path string
---@return string? path, perigee.Error? err
function M.realpath(path)
  return host.fs.realpath(path)
end

--- A file that is open. It has one position for reading and writing; one task uses it at a time. Closed by
--- `close()`, at the end of a `<close>` variable, or when it is collected.
---@class perigee.File
---@field path string
---@field private handle userdata?
---@field private at integer where the next byte is read from the file, or written
---@field private ahead string what was read
---@field private taken integer how many bytes of it are gone
local File = {}
File.__index = File

local function new_file(handle, path)
  return setmetatable({ handle = handle, path = path, at = 0, ahead = "", taken = 0 }, File)
end

local function handle_of(file)
  return file.handle or error("the file is closed", 3)
end

-- How many bytes were read and not taken yet.
local function left(file)
  return #file.ahead - file.taken
end

-- Reads on. False at the end.
local function fill(file, size)
  local bytes, err = handle_of(file):read(file.at, size)
  if not bytes then
    return nil, err
  end
  file.at = file.at + #bytes
  file.ahead = left(file) > 0 and file.ahead:sub(file.taken + 1) .. bytes or bytes
  file.taken = 0
  return #bytes > 0
end

local function take(file, len, skip)
  local bytes = file.ahead:sub(file.taken + 1, file.taken + len)
  file.taken = math.min(file.taken + (skip or len), #file.ahead)
  return bytes
end

local function move_to(file, at)
  file.at, file.ahead, file.taken = at, "", 0
end

--- The next bytes, fewer than asked for only before the end; nil at the end.
---@async
---@param bytes? integer 65536 if not given
---@return string? bytes, perigee.Error? err
function File:read(bytes)
  local size = bytes or CHUNK
  if math.type(size) ~= "integer" or size < 1 then
    error("file:read: a number of bytes, 1 or more, expected", 2)
  end
  handle_of(self)
  while left(self) < size do
    local more, err = fill(self, math.min(math.max(size - left(self), CHUNK), 4 * 1024 * 1024))
    if err then
      return nil, err
    elseif not more then
      break
    end
  end
  if left(self) == 0 then
    return nil
  end
  return take(self, size)
end

--- All the rest; "" at the end. More than `max_bytes` are the error "EFBIG".
---@async
---@param max_bytes? integer 64 MiB if not given
---@return string? bytes, perigee.Error? err
function File:read_all(max_bytes)
  max_bytes = max_bytes or MAX_BYTES
  local from, parts, len = self:position(), {}, left(self)
  parts[1] = take(self, len)
  while len <= max_bytes do
    local more, err = fill(self, 1024 * 1024)
    if err then
      return nil, err
    elseif not more then
      return table.concat(parts)
    end
    len = len + left(self)
    parts[#parts + 1] = take(self, left(self))
  end
  move_to(self, from)
  return nil, errors.failure("EFBIG", ("%s: more than %d bytes"):format(self.path, max_bytes))
end

local function too_long(file, max)
  return nil,
    errors.failure("EMSGSIZE", ("%s: a line of more than %d bytes"):format(file.path, max))
end

--- The next line without its "\n" or "\r\n"; nil at the end. A line of more than `max` bytes is the error
--- "EMSGSIZE".
---@async
---@param max? integer 65536 if not given
---@return string? line, perigee.Error? err
function File:read_line(max)
  max = max or CHUNK
  local seen = 0 -- bytes without a line's end
  while true do
    local at = self.ahead:find("\n", self.taken + seen + 1, true)
    if at then
      local len = at - self.taken - 1
      if len > 0 and self.ahead:byte(at - 1) == 13 then
        len = len - 1
      end
      if len > max then
        return too_long(self, max)
      end
      return take(self, len, at - self.taken)
    end
    seen = left(self)
    if seen > max + 1 then
      return too_long(self, max)
    end
    local more, err = fill(self, CHUNK)
    if err then
      return nil, err
    elseif not more then
      return seen > 0 and take(self, seen) or nil
    end
  end
end

local function iterate(method, file, argument)
  handle_of(file)
  return function()
    local value, err = method(file, argument)
    if err then
      error(err, 0)
    end
    return value
  end
end

--- Iterates over the lines that follow. A failure is raised, as a loop has nobody to return it to.
---@async
---@param max? integer bytes of a line, 65536 if not given
---@return fun(): string?
function File:lines(max)
  return iterate(File.read_line, self, max)
end

--- Iterates over the bytes that follow. A failure is raised.
---@async
---@param bytes? integer of a piece, 65536 if not given
---@return fun(): string?
function File:chunks(bytes)
  return iterate(File.read, self, bytes)
end

--- Writes at the position, or at the end of a file opened for appending.
---@async
---@param bytes string
---@return boolean? done, perigee.Error? err
function File:write(bytes)
  local handle = handle_of(self)
  local at = self:position()
  local done, err = handle:write(at, bytes)
  if done then
    move_to(self, at + #bytes)
  end
  return done, err
end

--- Moves the position, counted from the start of the file; from its end with `"end"`.
---@async
---@param offset integer
---@param whence? "start"|"end"
---@return integer? position, perigee.Error? err
function File:seek(offset, whence)
  local handle = handle_of(self)
  if whence == "end" then
    local stat, err = handle:stat()
    if not stat then
      return nil, err
    end
    offset = stat.size + offset
  elseif whence and whence ~= "start" then
    error("file:seek: 'start' or 'end' expected, not '" .. tostring(whence) .. "'", 2)
  end
  if offset < 0 then
    error("file:seek: a position before the start", 2)
  end
  move_to(self, offset)
  return offset
end

--- The position: where the next byte is read or written.
---@return integer
function File:position()
  return self.at - left(self)
end

--- What is known of the open file.
---@async
---@return perigee.Stat? stat, perigee.Error? err
function File:stat()
  return handle_of(self):stat()
end

--- Makes the file `size` bytes long.
---@async
---@param size integer
---@return boolean? done, perigee.Error? err
function File:truncate(size)
  return handle_of(self):truncate(size)
end

--- Waits until all that was written is on the disk.
---@async
---@return boolean? done, perigee.Error? err
function File:sync()
  return handle_of(self):sync()
end

--- Closes it, as often as you like.
function File:close()
  if self.handle then
    self.handle:close()
  end
  self.handle = nil
end
File.__close = File.close

--- Opens a file. Pipes and sockets are refused ("ENOTSUP"), as they could hold a thread for ever.
---@async
---@param path string
---@param mode? string "r" (the default), "w" (made or emptied), "a" (made, written at its end); with "+" for both, with "x" only when it is new
---@return perigee.File? file, perigee.Error? err
function M.open(path, mode)
  mode = mode or "r"
  if type(mode) ~= "string" or not mode:find("^[rwa][+bx]*$") or mode:find("^r.*x") then
    errors.raise("fs.open: mode '%s' is none of r, w, a with + and x", tostring(mode))
  end
  local handle, err = host.fs.open(path, mode)
  if not handle then
    return nil, err
  end
  return new_file(handle, path)
end

--- A temporary file or folder, removed with all that is in it when it is closed, at the end of a `<close>`
--- variable, when it is collected or when the program ends, unless it was renamed or kept.
---@class perigee.Temporary
---@field path string
---@field file perigee.File? open for reading and writing
local Temporary = {}
Temporary.__index = Temporary

--- Leaves it where it is.
function Temporary:keep()
  self.kept = true
end

--- Removes it. Does not wait, so that it also works while a task is cancelled.
function Temporary:close()
  if self.file then
    self.file:close()
  end
  if not self.kept then
    host.fs.discard(self.path)
  end
  self.kept = true
end
Temporary.__close = Temporary.close
Temporary.__gc = Temporary.close

local TEMPORARY_OPTIONS = { folder = "string", prefix = "string" }

local function temporary_place(what, options)
  options = options or {}
  errors.check_options(what, options, TEMPORARY_OPTIONS)
  local prefix = options.prefix or "perigee-"
  if prefix == "" or prefix:find("[/\0]") then
    errors.raise("%s: the prefix must be part of a file name", what)
  end
  return options.folder or os.getenv("TMPDIR") or "/tmp", prefix
end

--- Makes a temporary file that only this user can read: `local temp <close> = fs.temp_file()`, `temp.file`,
--- `temp.path`.
---@async
---@param options? { folder?: string, prefix?: string } $TMPDIR or /tmp, and "perigee-", if not given
---@return perigee.Temporary? temporary, perigee.Error? err
function M.temp_file(options)
  local handle, path = host.fs.temporary_file(temporary_place("fs.temp_file", options))
  if not handle then
    return nil, path
  end
  return setmetatable({ path = path, file = new_file(handle, path) }, Temporary)
end

--- Makes a temporary folder that only this user can enter: `local temp <close> = fs.temp_folder()`, `temp.path`.
---@async
---@param options? { folder?: string, prefix?: string } as for temp_file()
---@return perigee.Temporary? temporary, perigee.Error? err
function M.temp_folder(options)
  local path, err = host.fs.temporary_folder(temporary_place("fs.temp_folder", options))
  if not path then
    return nil, err
  end
  return setmetatable({ path = path }, Temporary)
end

--- Events of files and folders. Closed like a file.
---@class perigee.Watch
---@field private watch userdata
---@field private recursive boolean
---@field private folders table<string, boolean>
local Watch = {}
Watch.__index = Watch

-- Watches a folder and those in it. What is gone meanwhile is none of our business; the first must be there.
local function watch_tree(self, path)
  local ok, err = self.watch:add(path, true)
  if not ok then
    return nil, err
  end
  self.folders[path] = true
  for _, entry in ipairs(M.list(path) or {}) do
    local inner = path .. "/" .. entry.name
    if entry.type == "folder" and not self.folders[inner] then
      watch_tree(self, inner)
    end
  end
  return true
end

-- What happens to a watched folder itself bears its own name, as if it were in it.
local function of_itself(path)
  local folder, name = path:match("^(.*)/([^/]+)$")
  if folder and folder:match("[^/]+$") == name and not host.fs.stat(path, false) then
    return folder
  end
  return path
end

-- Keeps the watched folders those that are there.
local function follow(self, path)
  local stat = host.fs.stat(path, false)
  if stat and stat.type == "folder" then
    watch_tree(self, path)
  elseif self.folders[path] then
    self.folders[path] = nil
    self.watch:drop(path)
  end
end

--- Waits for the next event; nil once the watch is closed.
---@async
---@return { path: string, kind: "rename"|"change"|"overflow" }? event
function Watch:next()
  local path, kind = self.watch:next()
  if not path then
    return nil
  end
  path = of_itself(path)
  if self.recursive and kind == "rename" then
    follow(self, path)
  end
  return { path = path, kind = kind }
end

--- Iterates over the events until the watch is closed.
---@async
---@return fun(): { path: string, kind: string }?
function Watch:events()
  return function()
    return self:next()
  end
end

function Watch:close()
  self.watch:close()
end
Watch.__close = Watch.close

--- Watches a file or a folder. An event is a "change" of content or attributes, a "rename" (it came, went or has
--- another name), or "overflow" (some events were lost: look at everything). Several changes in a row may
--- be one event. With `recursive` folders that appear later are watched, too; what happens in one before that is
--- done (its first files) may have no event of its own.
---@async
---@param path string
---@param options? { recursive?: boolean }
---@return perigee.Watch? watch, perigee.Error? err
function M.watch(path, options)
  options = options or {}
  errors.check_options("fs.watch", options, { recursive = "boolean" })
  local self = setmetatable(
    { watch = host.fs_watch.new(), recursive = options.recursive or false, folders = {} },
    Watch
  )
  local stat, err = M.stat(path)
  local ok = false
  if stat and stat.type == "folder" and self.recursive then
    ok, err = watch_tree(self, path)
  elseif stat then
    ok, err = self.watch:add(path, stat.type == "folder")
  end
  if not ok then
    self.watch:close()
    return nil, err
  end
  return self
end

return M
