--- `cache` of an operation: its answers are kept for a while, for all threads of the process, and of all who
--- ask for one at the same time one request makes it while the others wait.
---
--- What is kept is what the handler makes: dependencies are resolved for each request, so what they refuse
--- stays refused, and middleware sees every answer. An answer is found by the target of the request, its
--- declared headers and cookies, the headers named in `vary`, and what `key` returns; without a `key` by the
--- headers and cookies of its dependencies, too, because what these find out may reach the handler. Kept are whole answers
--- of the operation's own status without cookies; the store is bounded, what was not used for the longest
--- time goes first. A new version of the app begins with none.

local errors = require("perigee.errors")
local host = require("perigee.host")
local json = require("perigee.json")
local response = require("perigee.response")

local M = {}

local OPTIONS = { ttl_ms = "number", vary = "table", key = "function" }
local TURN_MS = 60000 -- of an operation without a deadline
local READS = { GET = true, HEAD = true }

---@class perigee.Cache
---@field ttl_ms number milliseconds for which an answer is kept
---@field vary? string[] names of headers that the answer depends on
---@field key? fun(req: perigee.Request): string|number|nil what else it depends on, such as whose it is; nil: this
--- one is not kept. Needed where the handler reads values of dependencies.

--- Checks the option of an operation.
---@param what string
---@param options perigee.Cache
function M.check(what, options)
  what = what .. ": cache"
  errors.check_options(what, options, OPTIONS)
  if not options.ttl_ms or options.ttl_ms <= 0 then
    errors.raise("%s: ttl_ms is needed: for how many milliseconds an answer is kept", what)
  end
  for i, name in ipairs(options.vary or {}) do
    if type(name) ~= "string" or not name:find("^[%w!#$%%&'*+.^_`|~-]+$") then
      errors.raise("%s: vary[%d] must be the name of a header, not %s", what, i, tostring(name))
    end
  end
end

--- What is wrong with keeping the answers of an operation; nil when nothing is.
---@param operation table
---@return string?
function M.mistake(operation)
  for _, method in ipairs(operation.methods) do
    if not READS[method] then
      return "cache: only answers to GET are kept, not to " .. method
    end
  end
  for _, group in ipairs(operation.groups) do
    if group.source == "body" or group.source == "form" then
      return "cache: an answer to a body is not kept"
    end
  end
  for _, entry in ipairs(operation.deps) do
    if entry.name and not operation.cache.key then
      local format = "cache: the answer may depend on req.deps.%s: key = function(req) has to tell those apart "
        .. 'who get another one, or to return "" when all get the same'
      return format:format(entry.name)
    end
  end
end

-- The inputs that make an answer another one, besides the target: { key of the request, field } pairs.
local function varying_inputs(groups)
  local inputs = {}
  for _, group in ipairs(groups) do
    if group.source == "header" or group.source == "cookie" then
      local node = group.model
      while node and node.kind == "ref" do
        node = node.target()
      end
      for _, field in ipairs(group.fields or node.fields) do
        inputs[#inputs + 1] = { group.as, field.name }
      end
    end
  end
  return inputs
end

-- A function (req) that returns the key of the answer, or nil when it is not to be kept. `groups` are the
-- inputs of the operation and of its dependencies.
local function make_key(operation, groups, options, version)
  local inputs = varying_inputs(options.key and operation.groups or groups)
  local names, tells_credentials = { operation.host and "host" or nil }, options.key ~= nil
  for _, name in ipairs(options.vary or {}) do
    names[#names + 1] = name:lower()
    tells_credentials = tells_credentials or name:lower() == "authorization"
  end
  local crypto = require("perigee.crypto")
  local place = ("%s %s %s"):format(version, operation.methods[1], operation.path)

  return function(req)
    local parts = { place, req.target }
    local own = options.key and options.key(req)
    if options.key and own == nil then
      return nil
    elseif not tells_credentials and #req:all("headers", "authorization") > 0 then
      return nil -- what somebody gets by their name is theirs (RFC 9111, 3.5)
    end
    parts[#parts + 1] = tostring(own)
    for _, name in ipairs(names) do
      parts[#parts + 1] = json.encode(json.array(req:all("headers", name)))
    end
    for _, input in ipairs(inputs) do
      local value = req[input[1]][input[2]]
      parts[#parts + 1] = json.encode(value == nil and json.null or value)
    end
    for i, part in ipairs(parts) do
      parts[i] = #part .. ":" .. part
    end
    return crypto.hex(crypto.hash("sha256", table.concat(parts)))
  end
end

local function revive(kept)
  return setmetatable(kept, host.response.metatable)
end

-- The answer as it can be kept, and as it is sent: bytes, both. Nil when it is not for others.
local function keepable(answer, status)
  if answer.status ~= status or answer.stream or answer.file or answer:get("Set-Cookie") then
    return nil
  end
  local text = response.written(answer)
  if answer.json ~= nil then
    answer.content_type = answer.content_type or "application/json"
    answer.json, answer.schema, answer.body = nil, nil, text
  end
  return {
    status = answer.status,
    headers = answer.headers,
    content_type = answer.content_type,
    body = answer.body,
    is_plain = answer.is_plain,
  }
end

-- The right to make an answer. It ends with what became of it: "kept"; "private" when everybody has to make
-- their own, as after an error; nothing when whoever had it was cancelled and the next one is to try.
local Turn = {}

function Turn.__close(turn, err)
  local outcome = turn.outcome
  if err ~= nil and not errors.is_cancelled(err) then
    outcome = "private"
  end
  host.shared.answers.delete(turn.lock)
  host.shared.publish(turn.topic, outcome or "open")
end

local versions = 0 -- of apps in a VM that no server has: tests build one after the other

--- A function (req, make, ...) that answers with what make(req, ...) has made for this request or one like it.
---@param operation table as app.lua describes it
---@param groups perigee.InputGroup[] its inputs and those of its dependencies
---@param status integer of plain results
---@param schema? userdata of plain results
---@return fun(req: perigee.Request, make: fun(req: perigee.Request, ...: any): any, ...: any): any
function M.keeper(operation, groups, status, schema)
  local options = operation.cache
  local turn_ms = operation.timeout_ms or TURN_MS
  local key_of
  local answers, shared = host.shared.answers, host.shared
  versions = versions + 1
  local own_version = "t" .. versions

  -- What the handler puts on req.response belongs to the answer, what dependencies have put there does not.
  local function make_answer(req, make, ...)
    local outer = host.response.take(req)
    local result = make(req, ...)
    local answer = response.merge(result, host.response.take(req), status, schema)
    answer.is_plain = answer.is_plain or answer ~= result
    if outer then
      req.response = outer
    end
    return answer
  end

  local function take_turn(req, key, turn, make, ...)
    local answer = make_answer(req, make, ...)
    local kept = keepable(answer, status)
    local is_kept = kept and answers.set(key, kept, options.ttl_ms) == true
    turn.outcome = is_kept and "kept" or "private"
    return answer
  end

  return function(req, make, ...)
    if not key_of then
      local generation = shared.generation()
      key_of = make_key(operation, groups, options, generation > 0 and generation or own_version)
    end
    for _, name in ipairs(options.vary or {}) do
      req.response:add("Vary", name)
    end
    local key = key_of(req)
    local lock, topic = key and key .. " turn", key and "\0answer " .. key
    while key do
      local kept = answers.get(key)
      if kept then
        return revive(kept)
      end
      if answers.set(lock, true, turn_ms, -1) then
        local turn <close> = setmetatable({ lock = lock, topic = topic }, Turn)
        return (take_turn(req, key, turn, make, ...))
      end
      local news <close> = shared.subscribe(topic, 1)
      local left = answers.ttl(lock) -- nil: it ended in between
      if left and news:receive(left) == "private" then
        break
      end
    end
    return make(req, ...)
  end
end

return M
