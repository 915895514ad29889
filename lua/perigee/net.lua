--- TCP and Unix sockets, client and server, and names. Every call waits without blocking the loop; what
--- the world refuses is `nil, err` (`err.code` such as "ECONNREFUSED", and tostring(err)).
---
--- Strings are bytes. A stream and a listener close with `close()`, at the end of a `<close>` variable, or
--- when they are collected; whoever waits for one that is closed meanwhile gets `nil, err` with
--- `err.code == "ECLOSED"`.

local errors = require("perigee.errors")
local host = require("perigee.host")

local M = {}

local CONNECT_TIMEOUT_MS = 10000
local TLS_OPTIONS =
  { verify = "boolean", ca = "string", cert = "string", key = "string", name = "string" }

---@class perigee.NetTls : perigee.TlsOptions
---@field name? string whom the certificate must be made out to, instead of the host

---@class perigee.Error
---@field code string such as "ENOENT"
---@field message string what tostring() gives, too

---@class perigee.Address
---@field host? string an address as text; nil for a Unix socket
---@field port? integer
---@field path? string of a Unix socket; "" for the end that has no name

--- A connection, or one end of a child process' pipe. One task reads and any number write: what they
--- write leaves in the order of their calls, each string in one piece.
---@class perigee.Stream
---@field read fun(self: perigee.Stream, max?: integer): string?, perigee.Error? what has arrived, 1 to `max` (65536) bytes; nil at the end
---@field read_exactly fun(self: perigee.Stream, bytes: integer): string?, perigee.Error? nil at the end; error "EOF" when it comes in between
---@field read_until fun(self: perigee.Stream, delimiter: string, max?: integer): string?, perigee.Error? without the delimiter; more than `max` (65536) bytes are the error "EMSGSIZE"
---@field read_line fun(self: perigee.Stream, max?: integer): string?, perigee.Error? without "\n" or "\r\n"; the last line may lack it
---@field read_all fun(self: perigee.Stream, max: integer): string?, perigee.Error? up to the end; more than `max` bytes are the error "EMSGSIZE"
---@field write fun(self: perigee.Stream, bytes: string): boolean?, perigee.Error? true when the kernel has all of it: waits for a slow peer
---@field shutdown fun(self: perigee.Stream): boolean?, perigee.Error? ends what is sent; reading goes on
---@field close fun(self: perigee.Stream) at once, and as often as you like
---@field is_closed fun(self: perigee.Stream): boolean
---@field set_timeout fun(self: perigee.Stream, ms?: number) of every later wait: then error "ETIMEDOUT"; nil for none. Nothing can be written after a write that timed out
---@field nodelay fun(self: perigee.Stream, on: boolean): boolean?, perigee.Error? TCP_NODELAY; on at first
---@field keepalive fun(self: perigee.Stream, seconds: integer|false): boolean?, perigee.Error? probes after so much silence; off at first
---@field local_address fun(self: perigee.Stream): perigee.Address?, perigee.Error?
---@field remote_address fun(self: perigee.Stream): perigee.Address?, perigee.Error?
local Stream = host.stream

local function next_or_raise(value, err)
  if err then
    error(err, 0)
  end
  return value
end

--- Iterates over the lines. A failure is raised, as a loop has nobody to return it to.
---@async
---@param max? integer bytes of a line, 65536 if not given
---@return fun(): string?
function Stream:lines(max)
  return function()
    return next_or_raise(self:read_line(max))
  end
end

--- Iterates over the bytes as they arrive. A failure is raised.
---@async
---@param max? integer bytes of a piece, 65536 if not given
---@return fun(): string?
function Stream:chunks(max)
  return function()
    return next_or_raise(self:read(max))
  end
end

local function check_place(what, options)
  if (options.host == nil) == (options.path == nil) then
    errors.raise("%s: either host and port or path must be given", what)
  elseif options.host and not options.port then
    errors.raise("%s: a port is needed with a host", what)
  end
end

-- Speaks TLS from here on, with a server whose certificate is made out to `name`.
local function secure(stream, options, name, timeout_ms)
  local tls = require("perigee.tls")
  local context, err = tls.context(options, false)
  if not context then
    stream:close()
    return nil, err
  end
  local ok
  ok, err = host.tls.start(stream, context, options.name or name, nil, timeout_ms)
  if not ok then
    return nil, err
  end
  return stream
end

--- Connects. All addresses of a name are tried, IPv6 and IPv4 in turn; a silent one gets 250 ms before
--- the next is tried beside it. With `tls` the stream is encrypted, and the server's certificate must be
--- made out to the host, or to `tls.name`.
---@async
---@param options { host?: string, port?: integer, path?: string, timeout_ms?: number, io_timeout_ms?: number, tls?: boolean|perigee.NetTls } `path` of a Unix socket, or host and port; `timeout_ms` for connecting (10000), and as much for TLS; `io_timeout_ms` for every later wait (none)
---@return perigee.Stream? stream, perigee.Error? err
function M.connect(options)
  errors.check_options("net.connect", options, {
    host = "string",
    port = "integer",
    path = "string",
    timeout_ms = "number",
    io_timeout_ms = "number",
    tls = "boolean|table",
  })
  check_place("net.connect", options)
  local tls = options.tls == true and {} or options.tls
  if tls then
    errors.check_options("net.connect: `tls`", tls, TLS_OPTIONS)
  end
  local timeout_ms = options.timeout_ms or CONNECT_TIMEOUT_MS
  local stream, err = host.net.connect(options.host, options.port, options.path, timeout_ms)
  if stream and tls then
    stream, err = secure(stream, tls, options.host or "localhost", timeout_ms)
  end
  if stream and options.io_timeout_ms then
    stream:set_timeout(options.io_timeout_ms)
  end
  return stream, err
end

---@class perigee.Listener
---@field accept fun(self: perigee.Listener): perigee.Stream?, perigee.Error? waits for the next connection
---@field address fun(self: perigee.Listener): perigee.Address?, perigee.Error? the port that 0 became
---@field close fun(self: perigee.Listener)
---@field is_closed fun(self: perigee.Listener): boolean
local Listener = host.net.listener

--- Iterates over the connections, until the listener is closed. Another failure is raised.
---@async
---@return fun(): perigee.Stream?
function Listener:connections()
  return function()
    if self:is_closed() then
      return nil
    end
    local stream, err = self:accept()
    if err and err.code ~= "ECLOSED" then
      error(err, 0)
    end
    return stream
  end
end

-- What the log shows of an error; a cancellation stays what it is.
local function failure_text(err)
  if errors.is_cancelled(err) then
    return err
  end
  return debug.traceback("a connection's function failed: " .. tostring(err), 2)
end

local function serve_one(stream, handle, permit)
  local permit_held <close> = permit -- luacheck: ignore
  local open <close> = stream -- luacheck: ignore
  local ok, err = xpcall(handle, failure_text, stream)
  if not ok and errors.is_cancelled(err) then
    error(err, 0)
  elseif not ok then
    host.log.failure(nil, err)
  end
end

--- Serves each connection in a task of its own, until the listener is closed and the last of them has ended. A
--- connection is closed when its function returns; what it raises is logged and harms no other one.
---@async
---@param handle fun(stream: perigee.Stream)
---@param options? { max_connections?: integer } at a time, 1024 if not given; further ones wait to be accepted
function Listener:serve(handle, options)
  options = options or {}
  errors.check_options("listener:serve", options, { max_connections = "integer" })
  local task = require("perigee.task")
  local room = task.semaphore(options.max_connections or 1024)
  task.group(function(group)
    local permit = room:acquire()
    for stream in self:connections() do
      group:spawn(serve_one, stream, handle, permit)
      permit = room:acquire()
    end
  end)
end

--- Listens. The kernel keeps up to `backlog` (511) connections until they are accepted.
---
--- Every loop and every worker thread loads the app for itself: only one of them gets a port, unless all
--- of them ask with `reuse_port`; then the kernel spreads the connections.
---@async
---@param options { host?: string, port?: integer, path?: string, backlog?: integer, reuse_port?: boolean } port 0: a free one; the file of a Unix socket goes when the listener closes
---@return perigee.Listener? listener, perigee.Error? err
function M.listen(options)
  errors.check_options("net.listen", options, {
    host = "string",
    port = "integer",
    path = "string",
    backlog = "integer",
    reuse_port = "boolean",
  })
  check_place("net.listen", options)
  local name = options.host
  if name and not host.net.is_address(name) then
    local found, err = host.net.resolve(name)
    if not found then
      return nil, err
    end
    name = found[1]
  end
  return host.net.listen(name, options.port, options.path, options.backlog, options.reuse_port)
end

--- Finds the addresses of a name, as the system resolves and orders them.
---@async
---@param name string
---@param options? { family?: "any"|"ipv4"|"ipv6", timeout_ms?: number } any family and 10000 if not given
---@return string[]? addresses, perigee.Error? err
function M.resolve(name, options)
  options = options or {}
  errors.check_options("net.resolve", options, { family = "string", timeout_ms = "number" })
  return host.net.resolve(name, options.family, options.timeout_ms or CONNECT_TIMEOUT_MS)
end

return M
