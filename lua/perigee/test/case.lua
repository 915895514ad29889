--- What a test is given: its checks, its client and its clock. `test("sentence", function(t) ... end)`.

local client = require("perigee.test.client")
local errors = require("perigee.errors")
local host = require("perigee.host")
local show = require("perigee.test.show")

local M = {}

-- What a failed check raises: a table, so that it keeps its place and no traceback is made of it.
local Failure = {
  __tostring = function(self)
    return self.message
  end,
}
M.Failure = Failure

-- What t:skip raises.
local Skip = {}
M.Skip = Skip

---@class perigee.test.Case
---@field app perigee.App
local Case = {}
Case.__index = Case

--- The line of the test file that is running: the innermost frame that is neither ours nor C.
local function place()
  local where = errors.caller()
  return where
end

local function fail(note, format, ...)
  local message = format:format(...)
  error(
    setmetatable(
      { message = note and note .. ": " .. message or message, where = place() },
      Failure
    ),
    0
  )
end

--- Both are the same: tables by their contents.
---@param actual any
---@param expected any
---@param note? string
function Case:eq(actual, expected, note) -- luacheck: ignore self
  local path, left, right = show.difference(actual, expected)
  if not path then
    return
  end
  if path == "" then
    fail(note, "expected %s\n     got %s", show.value(expected), show.value(actual))
  end
  fail(
    note,
    "they differ at %s\nexpected %s\n     got %s\nin %s",
    path,
    show.value(right),
    show.value(left),
    show.value(actual)
  )
end

--- They are not the same.
---@param actual any
---@param unexpected any
---@param note? string
function Case:ne(actual, unexpected, note) -- luacheck: ignore self
  if show.same(actual, unexpected) then
    fail(note, "expected anything but %s", show.value(unexpected))
  end
end

--- The value is neither nil nor false. Returns it.
---@generic T
---@param value T
---@param note? string|any what a function returned behind nil, for one
---@return T
function Case:ok(value, note) -- luacheck: ignore self
  if not value then
    fail(note ~= nil and tostring(note) or nil, "expected a value, got %s", tostring(value))
  end
  return value
end

--- The text holds this pattern of Lua's. Returns the captures.
---@param text any made a string
---@param pattern string
---@param note? string
---@return string ...
function Case:match(text, pattern, note) -- luacheck: ignore self
  local found = table.pack(tostring(text):match(pattern))
  if found[1] == nil then
    fail(
      note,
      "expected a match of %s\n     in %s",
      show.value(pattern),
      show.value(tostring(text))
    )
  end
  return table.unpack(found, 1, found.n)
end

--- The text holds this text, or the list this value.
---@param where string|table
---@param what any
---@param note? string
function Case:contains(where, what, note) -- luacheck: ignore self
  if type(where) == "string" then
    if not where:find(what, 1, true) then
      fail(note, "expected %s\n      in %s", show.value(what), show.value(where))
    end
    return
  end
  for _, item in ipairs(where) do
    if show.same(item, what) then
      return
    end
  end
  fail(note, "expected %s\n      in %s", show.value(what), show.value(where))
end

--- Two numbers differ by no more than this.
---@param actual number
---@param expected number
---@param tolerance number
---@param note? string
function Case:near(actual, expected, tolerance, note) -- luacheck: ignore self
  if type(actual) ~= "number" or math.abs(actual - expected) > tolerance then
    fail(note, "expected %s +- %s\n     got %s", expected, tolerance, show.value(actual))
  end
end

--- The call raises an error that contains `part` (of its text, or of its status for an HTTP error).
--- Returns what was raised.
---@param part string
---@param fn function
---@param ... any
---@return any
function Case:raises(part, fn, ...) -- luacheck: ignore self
  local ok, err = pcall(fn, ...)
  if errors.is_cancelled(err) then
    error(err, 0)
  end
  if ok then
    fail(nil, "expected an error with %s", show.value(part))
  end
  local text =
    tostring(errors.is_http_error(err) and err.status .. " " .. tostring(err.detail) or err)
  if not text:find(part, 1, true) then
    fail(nil, "expected an error with %s\n     got %s", show.value(part), show.value(text))
  end
  return err
end

--- The answer has this status; otherwise its body is shown. Returns the answer.
---@param response perigee.test.Response
---@param status integer
---@param note? string
---@return perigee.test.Response
function Case:status(response, status, note) -- luacheck: ignore self
  if response.status ~= status then
    fail(note, "expected the status %d\n     got %s", status, tostring(response))
  end
  return response
end

--- Ends the test as failed.
---@param message string
function Case:fail(message) -- luacheck: ignore self
  fail(nil, "%s", message)
end

--- Ends the test as neither passed nor failed.
---@param reason string
function Case:skip(reason) -- luacheck: ignore self
  error(setmetatable({ reason = tostring(reason) }, Skip), 0)
end

--- Says something that is shown when the test fails.
---@param ... any
function Case:log(...)
  local parts = table.pack(...)
  for i = 1, parts.n do
    parts[i] = type(parts[i]) == "string" and parts[i] or show.value(parts[i])
  end
  table.insert(self.notes, table.concat(parts, " "))
end

--- Runs a function when the test has ended, however it ended; the last one added comes first.
---@param fn fun()
function Case:cleanup(fn)
  table.insert(self.cleanups, fn)
end

--- Uses another dependency in place of one until the test ends. Comes before the first t:client().
---@param original perigee.Dependency|function
---@param replacement perigee.Dependency|function
function Case:override(original, replacement)
  if self.serving then
    errors.raise("t:override: the app is served already; override before the first t:client()")
  end
  if not self.app then
    errors.raise("t:override: there is no app; use app:override on the one the test makes")
  end
  self.app:override(original, replacement)
end

--- A client of the app of this folder, or of the one given. The app is built and started before the first
--- request and stopped when the test ends.
---@async
---@param app? perigee.App the folder's, unless given
---@param options? perigee.test.ClientOptions
---@return perigee.test.Client
function Case:client(app, options)
  if app and type(app.build) ~= "function" then
    app, options = nil, app
  end
  app = app or self.app
  if not app then
    errors.raise("t:client: there is no app here; give it one: t:client(perigee.app())")
  end
  local made = client.new(options)
  table.insert(self.clients, made)
  if self.serving ~= app then
    self.stop()
    local built = app:build()
    local opened, message = pcall(host.test.open, built)
    if not opened then
      errors.raise("t:client: the app does not load: %s", message)
    end
    self.serving = app
    self.built = built
    built.start()
    self.started = true
    host.test.background("start")
  end
  return made
end

--- Stops the clock of sleeps and deadlines. As a rule it jumps to the next deadline when nothing else
--- can happen, so that waits take no time and end in their order; with `{ manual = true }` it moves by
--- `clock:advance(ms)` only.
---@param options? { manual?: boolean }
---@return perigee.test.Clock
function Case:clock(options)
  options = options or {}
  errors.check_options("t:clock", options, { manual = "boolean" })
  if self.time then
    errors.raise("t:clock: the clock is stopped already")
  end
  self.time = require("perigee.test.clock").new(options)
  return self.time
end

--- Makes the case of one test. `env.app` may be nil.
---@param app? perigee.App
---@return perigee.test.Case
function M.new(app)
  local self = setmetatable({ app = app, notes = {}, cleanups = {}, clients = {} }, Case)
  self.overrides = {}
  for original, replacement in pairs(app and app.overrides or {}) do
    self.overrides[original] = replacement
  end
  self.stop = function()
    M.stop(self)
  end
  return self
end

--- Ends what is served: closes the clients, lets requests come to their end, stops the app.
---@async
---@param self perigee.test.Case
function M.stop(self)
  for _, made in ipairs(self.clients) do
    made:close()
  end
  if not self.serving then
    return
  end
  self.serving = nil
  local started = self.started
  self.started = nil
  local quiet = require("perigee.test.quiet")
  host.test.background("stop")
  quiet.wait_for_connections()
  quiet.wait_for_background()
  quiet.wait_for_tasks()
  if started then
    self.built.stop()
  end
end

--- Undoes what the test has changed: what is served, the clock, overrides; then its own cleanups.
---@async
---@param self perigee.test.Case
function M.close(self)
  if self.time then
    self.time:close()
  end
  local first
  local function try(fn, ...)
    local ok, err = xpcall(fn, function(err)
      return type(err) == "table" and err or debug.traceback(errors.message(err), 2)
    end, ...)
    if not ok and not first then
      first = err
    end
  end
  try(M.stop, self)
  local pools = package.loaded["perigee.http.pool"]
  if pools then
    pools.close_idle() -- what clients keep for later is nothing that a test has forgotten
  end
  for i = #self.cleanups, 1, -1 do
    try(self.cleanups[i])
  end
  if self.app then
    self.app.overrides = self.overrides
  end
  if first then
    error(first, 0)
  end
end

return M
