--- Answers that are sequences of values: server-sent events, JSON lines, a JSON array. Each value is
--- written as soon as it is sent, by the type that the operation declares as `item`.

local errors = require("perigee.errors")
local host = require("perigee.host")
local json = require("perigee.json")
local response = require("perigee.response")

local M = {}

local PING_MS = 15000 -- of silence, as FastAPI

-- The JSON text of one value: checked and filtered by the declared type where there is one.
local function encode(answer, value)
  if value == nil then
    value = json.null
  end
  if not answer.item then
    return json.encode(value)
  end
  local text, message = answer.item:encode(value)
  if not text then
    error("the item does not fit the declared type: " .. tostring(message), 0)
  end
  return text
end

-- `write(out, answer)` returns what the producer is called with; `finish(out)` ends the body.
local function make(what, produce, options, begin)
  if type(produce) ~= "function" then
    errors.raise("%s: a function is needed, not %s", what, type(produce))
  end
  local answer
  answer = response.stream(function(out)
    return begin(out, answer)
  end, options)
  return answer
end

--- What values are sent to.
---@class perigee.Items
---@field send fun(self: perigee.Items, value: any) waits while the client is slow

--- One value a line, as application/jsonl: for results that are long, or made while they are read.
---@param produce fun(items: perigee.Items)
---@param options? perigee.StreamOptions
---@return perigee.Response
function M.lines(produce, options)
  options = options or {}
  local answer = make("perigee.lines", produce, options, function(out, answer)
    local items = {}
    function items.send(_, value)
      out:write(encode(answer, value) .. "\n")
    end
    produce(items)
  end)
  answer.content_type = options.content_type or "application/jsonl"
  return answer
end

--- One JSON array, written value by value: a long list in little memory.
---@param produce fun(items: perigee.Items)
---@param options? perigee.StreamOptions
---@return perigee.Response
function M.json_array(produce, options)
  options = options or {}
  local answer = make("perigee.json_array", produce, options, function(out, answer)
    local items, separator = {}, "["
    function items.send(_, value)
      local text = encode(answer, value)
      out:write(separator .. text)
      separator = ","
    end
    produce(items)
    out:write(separator == "[" and "[]" or "]")
  end)
  answer.content_type = options.content_type or "application/json"
  return answer
end

local EVENT_OPTIONS = {
  event = "string",
  id = "string|integer",
  retry = "integer",
  comment = "string",
  raw = "boolean",
}

local STREAM_OPTIONS =
  { status = "integer", headers = "table", ping_ms = "integer", until_stop = "boolean" }

-- The lines of a text, whichever way they end.
local function add_lines(list, name, text)
  text = text:gsub("\r\n?", "\n")
  for line in (text .. "\n"):gmatch("(.-)\n") do
    list[#list + 1] = name .. ": " .. line
  end
end

local function check_line(name, value)
  if value:find("[\r\n%z]") then
    errors.raise("events:send: '%s' must be one line", name)
  end
end

-- An event as it stands on the wire.
local function format_event(data, options)
  local lines = {}
  if options.comment then
    add_lines(lines, "", options.comment)
  end
  if options.event then
    check_line("event", options.event)
    lines[#lines + 1] = "event: " .. options.event
  end
  if data then
    add_lines(lines, "data", data)
  end
  if options.id then
    check_line("id", tostring(options.id))
    lines[#lines + 1] = "id: " .. options.id
  end
  if options.retry then
    if options.retry < 0 then
      errors.raise("events:send: retry must be milliseconds, 0 or more, not %d", options.retry)
    end
    lines[#lines + 1] = "retry: " .. options.retry
  end
  return table.concat(lines, "\n") .. "\n\n"
end

--- What server-sent events are sent to.
---@class perigee.Events
local Events = {}
Events.__index = Events

--- Sends an event: its data is a value, written as JSON; nil for an event without data.
---@async
---@param value any
---@param options? { event?: string, id?: string|integer, retry?: integer, comment?: string, raw?: boolean }
--- `retry` in milliseconds; `raw` sends a string as it stands, a `data:` for each of its lines
function Events:send(value, options)
  options = options or {}
  errors.check_options("events:send", options, EVENT_OPTIONS)
  local data
  if options.raw then
    if type(value) ~= "string" then
      errors.raise("events:send: raw data must be a string, not %s", type(value))
    end
    data = value
  elseif value ~= nil then
    data = encode(self.answer, value)
  end
  self.out:write(format_event(data, options))
end

--- Sends a comment, which clients do not see.
---@async
---@param text string
function Events:comment(text)
  self.out:write(format_event(nil, { comment = text }))
end

--- Server-sent events (text/event-stream), for any method. A comment is sent after 15 seconds without an
--- event, so that proxies keep the connection; the function is cancelled when the client is gone. A client
--- that comes back says which `id` it has seen last: req.headers["Last-Event-ID"].
---
--- When this version of the app is to stop, the function is cancelled, too, and the stream ends as it should:
--- an EventSource connects again, to the next version. Other methods than GET, which no EventSource sends,
--- have the grace to finish; `until_stop` says it for both.
---@param produce fun(events: perigee.Events)
---@param options? { status?: integer, headers?: table, ping_ms?: integer, until_stop?: boolean }
--- ping_ms: 0 for no comments
---@return perigee.Response
function M.events(produce, options)
  options = options or {}
  errors.check_options("perigee.events", options, STREAM_OPTIONS)
  local ping_ms = options.ping_ms or PING_MS
  if ping_ms < 0 then
    errors.raise("perigee.events: ping_ms must be 0 or more, not %d", ping_ms)
  end
  local plain = { status = options.status, headers = options.headers }
  local answer = make("perigee.events", produce, plain, function(out, answer)
    out:write("") -- the head: the client knows that it is connected
    out:keep_alive(ping_ms)
    local events = setmetatable({ out = out, answer = answer }, Events)
    local until_stop = options.until_stop
    if until_stop == nil then
      until_stop = out:method() == "GET"
    end
    if until_stop then
      host.task.until_stop(produce, events)
    else
      produce(events)
    end
  end)
  answer.content_type = "text/event-stream; charset=utf-8"
  for name, value in pairs({ ["Cache-Control"] = "no-cache", ["X-Accel-Buffering"] = "no" }) do
    if not answer:get(name) then
      answer:set(name, value)
    end
  end
  return answer
end

--- Makes a handler's streams write their values by a type.
---@param handler perigee.Handler
---@param item userdata the compiled type
---@return perigee.Handler
function M.typed(handler, item)
  return function(req)
    local answer = handler(req)
    if response.is_response(answer) then
      answer.item = item
    end
    return answer
  end
end

return M
