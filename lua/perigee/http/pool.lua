--- The connections of one HTTP client: which are open, which are idle, who waits for one. A connection is
--- either leased to one request, idle, or gone; an idle one that the server closes notices by itself and
--- is dropped when it is met.

local host = require("perigee.host").client

-- A task that has computed for too long may be interrupted between any two instructions, but not in here:
-- what a pool knows of itself must fit together.
local atomically = host.atomically

local MAX_SESSIONS = 256

--- One leased connection. Closing it (a `<close>` variable does) gives it back, or ends it when its
--- answer was not read to the end.
---@class perigee.http.Lease
---@field connection table perigee.host.client's
---@field key string
---@field reused boolean whether it has served a request before
local Lease = {}
Lease.__index = Lease

---@class perigee.http.Pool
local Pool = {}
Pool.__index = Pool

local M = {}

local all = setmetatable({}, { __mode = "k" }) -- pools of this VM

---@param options { max_connections: integer, max_connections_per_host: integer, keep_alive_ms: number }
---@return perigee.http.Pool
function M.new(options)
  local self = setmetatable({
    max = options.max_connections,
    max_per_host = options.max_connections_per_host,
    keep_alive_ms = options.keep_alive_ms,
    open = 0, -- connections, those that are being opened included
    hosts = {}, -- key -> { open, idle = { connection ... } }
    queue = {}, -- tickets, the longest waiting first
    sessions = {}, -- key -> TLS session
    session_count = 0,
    closed = false,
  }, Pool)
  all[self] = true
  return self
end

local function host_of(pool, key)
  local entry = pool.hosts[key]
  if not entry then
    entry = { open = 0, idle = {} }
    pool.hosts[key] = entry
  end
  return entry
end

local function reserve(pool, key)
  local entry = host_of(pool, key)
  entry.open = entry.open + 1
  pool.open = pool.open + 1
end

local function unreserve(pool, key)
  local entry = pool.hosts[key]
  entry.open = entry.open - 1
  pool.open = pool.open - 1
  if entry.open == 0 then
    pool.hosts[key] = nil
  end
end

-- An idle connection that is alive, the one used last: the others may grow old and go.
local function take_idle(pool, key)
  local entry = pool.hosts[key]
  while entry and #entry.idle > 0 do
    local connection = table.remove(entry.idle)
    if connection:unpark() then
      return connection
    end
    unreserve(pool, key)
  end
end

-- Ends one idle connection, of any host, to make room for another.
local function evict(pool)
  for key, entry in pairs(pool.hosts) do
    local connection = table.remove(entry.idle, 1)
    if connection then
      connection:close()
      unreserve(pool, key)
      return true
    end
  end
  return false
end

local function has_room(pool, key)
  local entry = pool.hosts[key]
  if entry and entry.open >= pool.max_per_host then
    return false
  end
  return pool.open < pool.max or evict(pool)
end

-- Hands what is free to those who wait: an idle connection, or the right to open one.
local function serve(pool)
  local i = 1
  while i <= #pool.queue do
    local ticket = pool.queue[i]
    local connection = take_idle(pool, ticket.key)
    if connection or has_room(pool, ticket.key) then
      if not connection then
        reserve(pool, ticket.key)
      end
      table.remove(pool.queue, i)
      ticket.granted = connection or true
      ticket.gate:open()
    else
      i = i + 1
    end
  end
end

-- What a request for a connection is granted: an idle one, or `true`, the right to open one; nil while it
-- waits in the queue, false once it was taken. Closing the ticket leaves the queue, or passes on what was
-- not taken: at any point between two instructions, each connection has one owner.
local Ticket = {}
Ticket.__index = Ticket

local function ask(self)
  local pool, key = self.pool, self.key
  if not pool:is_awaited(key) then -- else they go first
    local connection = take_idle(pool, key)
    if connection then
      self.granted = connection
      return
    elseif has_room(pool, key) then
      reserve(pool, key)
      self.granted = true
      return
    end
  end
  self.gate = host.gate()
  table.insert(pool.queue, self)
end

local function leave(self)
  local pool, granted = self.pool, self.granted
  self.granted = false
  if granted == nil then
    for i, ticket in ipairs(pool.queue) do
      if ticket == self then
        table.remove(pool.queue, i)
        return
      end
    end
  elseif granted then
    if granted ~= true then
      granted:close()
    end
    unreserve(pool, self.key)
    serve(pool)
  end
end

function Ticket:__close()
  atomically(leave, self)
end

Ticket.__gc = Ticket.__close

-- The lease takes the place of the ticket.
local function take(self, connection, reused)
  self.granted = false
  return setmetatable(
    { pool = self.pool, key = self.key, connection = connection, reused = reused },
    Lease
  )
end

--- Leases a connection: an idle one, or one that `connect(session)` opens (it returns a connection of
--- the host's, or nil and an error). Waits for its turn when the limits are reached, until `due`.
---@async
---@param key string what makes connections interchangeable
---@param due integer 0 for no limit
---@param connect fun(session?: userdata): table?, perigee.Error?
---@return perigee.http.Lease?, perigee.Error?
function Pool:lease(key, due, connect)
  local ticket <close> = setmetatable({ pool = self, key = key }, Ticket)
  atomically(ask, ticket)
  if ticket.gate then
    ticket.gate:wait(due)
  end
  local granted = ticket.granted
  if not granted then
    return host.failure("ETIMEDOUT", "no connection became free in time (timeout_ms)")
  elseif granted ~= true then
    return atomically(take, ticket, granted, true)
  end
  local connection, err = connect(self.sessions[key])
  if not connection then
    return nil, err
  end
  return atomically(take, ticket, connection, false)
end

--- Whether somebody waits for a connection of this key: then nobody goes before them.
---@param key string
---@return boolean
function Pool:is_awaited(key)
  for _, ticket in ipairs(self.queue) do
    if ticket.key == key then
      return true
    end
  end
  return false
end

local function remember_session(pool, key, connection)
  local session = connection:session()
  if not session then
    return
  end
  if not pool.sessions[key] then
    if pool.session_count >= MAX_SESSIONS then
      pool.sessions, pool.session_count = {}, 0
    end
    pool.session_count = pool.session_count + 1
  end
  pool.sessions[key] = session
end

local function give_back(self)
  local pool, connection = self.pool, self.connection
  if not connection then
    return
  end
  self.connection = nil
  remember_session(pool, self.key, connection)
  if not pool.closed and connection:park(pool.keep_alive_ms) then
    table.insert(host_of(pool, self.key).idle, connection)
  else
    connection:close()
    unreserve(pool, self.key)
  end
  serve(pool)
end

--- Gives the connection back: it is kept when its answer was read to the end and the server lets it live.
function Lease:release()
  atomically(give_back, self)
end

Lease.__close = Lease.release
Lease.__gc = Lease.release

--- Closes the idle connections now and the leased ones when they come back.
function Pool:close()
  self.closed = true
  repeat
    local was_idle = atomically(evict, self)
  until not was_idle
end

--- Closes the idle connections of all clients of the VM, which go on with new ones.
function M.close_idle()
  for pool in pairs(all) do
    repeat
      local was_idle = atomically(evict, pool)
    until not was_idle
  end
end

return M
