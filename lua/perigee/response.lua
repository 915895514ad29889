--- Explicit responses: what a handler returns when its result is not just JSON with the declared
--- status. The host reads their fields; it is the only one that writes bytes.

local cookie = require("perigee.cookie")
local errors = require("perigee.errors")
local headers = require("perigee.headers")
local host = require("perigee.host")
local json = require("perigee.json")

---@class perigee.Response
---@field status integer
---@field headers? perigee.HeaderList
---@field content_type? string
---@field body? string bytes
---@field json? any encoded by the host; json.null for null
---@field schema? userdata the compiled type that guides the encoding of `json`
---@field stream? fun(out: perigee.Out)
---@field length? integer bytes that `stream` will write: it is cut when they are others
---@field file? table what perigee.file says of the file that is to be sent
---@field tasks? function[] what the host runs once the answer is sent
---@field failing? perigee.Failing who answers in its place when it cannot be sent
---@field is_plain? boolean it stands for a plain result, so `req.response.status` is its status
local Response = {}
host.response.metatable.__index = Response

---@class perigee.ResponseOptions
---@field status? integer
---@field headers? table<string, string|string[]>|perigee.HeaderList
---@field content_type? string

---@class perigee.StreamOptions : perigee.ResponseOptions
---@field length? integer how many bytes there will be

local OPTIONS = { status = "integer", headers = "table", content_type = "string" }
local STREAM_OPTIONS =
  { status = "integer", headers = "table", content_type = "string", length = "integer" }

local M = {}

-- `fields` becomes the response. The status is left open (nil) where a declared one may fill it in.
local function make(what, fields, options, known)
  fields.status = 200
  if options then
    errors.check_options(what, options, known or OPTIONS)
    fields.length = options.length
    fields.status = options.status or fields.status
    fields.content_type = options.content_type or fields.content_type
    fields.headers = options.headers and headers.list(options.headers)
  end
  return setmetatable(fields, host.response.metatable)
end

local function check_string(what, value)
  if type(value) ~= "string" then
    errors.raise("%s: a string is needed, not %s", what, type(value))
  end
end

--- Plain text.
---@param text string
---@param options? perigee.ResponseOptions
---@return perigee.Response
function M.text(text, options)
  check_string("perigee.text", text)
  return make("perigee.text", { body = text, content_type = "text/plain; charset=utf-8" }, options)
end

--- A page.
---@param text string
---@param options? perigee.ResponseOptions
---@return perigee.Response
function M.html(text, options)
  check_string("perigee.html", text)
  return make("perigee.html", { body = text, content_type = "text/html; charset=utf-8" }, options)
end

--- A document of XML, as text.
---@param text string
---@param options? perigee.ResponseOptions
---@return perigee.Response
function M.xml(text, options)
  check_string("perigee.xml", text)
  return make("perigee.xml", { body = text, content_type = "application/xml" }, options)
end

--- Bytes as they are.
---@param bytes string
---@param options? perigee.ResponseOptions
---@return perigee.Response
function M.bytes(bytes, options)
  check_string("perigee.bytes", bytes)
  return make("perigee.bytes", { body = bytes, content_type = "application/octet-stream" }, options)
end

--- Any value as JSON, as it is: a declared response type is not applied to it.
---@param value any
---@param options? perigee.ResponseOptions
---@return perigee.Response
function M.json(value, options)
  return make("perigee.json", { json = value == nil and json.null or value }, options)
end

--- No body.
---@param status? integer 204 unless given
---@param options? perigee.ResponseOptions
---@return perigee.Response
function M.empty(status, options)
  if status ~= nil and math.type(status) ~= "integer" then
    errors.raise("perigee.empty: a status is needed, not a %s", type(status))
  end
  local response = make("perigee.empty", {}, options)
  response.status = status or options and options.status or 204
  return response
end

local function percent(char)
  return ("%%%02X"):format(char:byte())
end

--- Sends the client elsewhere: 307 unless `options.status` says otherwise.
---@param url string
---@param options? perigee.ResponseOptions
---@return perigee.Response
function M.redirect(url, options)
  check_string("perigee.redirect", url)
  local response = make("perigee.redirect", {}, options)
  response.status = options and options.status or 307
  response.headers = response.headers or {}
  -- Control characters stay as they are: the host refuses them, and a broken URL is worth an error.
  headers.set(response.headers, "Location", (url:gsub('[ "<>\\^`{|}\128-\255]', percent)))
  return response
end

--- A body made while it is sent: `out:write(bytes)` waits while the client is slow.
---@param produce fun(out: perigee.Out)
---@param options? perigee.StreamOptions
---@return perigee.Response
function M.stream(produce, options)
  if type(produce) ~= "function" then
    errors.raise("perigee.stream: a function is needed, not %s", type(produce))
  end
  return make("perigee.stream", { stream = produce }, options, STREAM_OPTIONS)
end

--- Whether a value is an explicit response.
---@param value any
---@return boolean
function M.is_response(value)
  return type(value) == "table" and getmetatable(value) == host.response.metatable
end

--- The response that a handler's result stands for.
---@param value any
---@param status? integer of a plain value
---@param schema? userdata of a plain value
---@return perigee.Response
function M.of(value, status, schema)
  if M.is_response(value) then
    return value
  end
  local fields =
    { status = status or 200, json = value == nil and json.null or value, schema = schema }
  return setmetatable(fields, host.response.metatable)
end

--- Makes a handler's plain results texts of this content type, as FastAPI's response classes do: a
--- string is sent as it is, nil as nothing.
---@param handler perigee.Handler
---@param content_type string
---@param status integer
---@return perigee.Handler
function M.texts(handler, content_type, status)
  if content_type:find("^text/") and not content_type:find("charset", 1, true) then
    content_type = content_type .. "; charset=utf-8"
  end
  return function(req)
    local value = handler(req)
    if M.is_response(value) then
      return value
    elseif value ~= nil and value ~= json.null and type(value) ~= "string" then
      local format = "the operation produces %s: its result must be a string, not a %s"
      error(format:format(content_type, type(value)), 0)
    end
    local body = type(value) == "string" and value or ""
    return setmetatable(
      { status = status, body = body, content_type = content_type, is_plain = true },
      host.response.metatable
    )
  end
end

--- The text of a response that is there as a whole; nil for streams and files. Raises where a value
--- cannot be sent, or breaks its declared type.
---@param answer perigee.Response
---@return string?
function M.written(answer)
  if answer.body or answer.stream or answer.file then
    return answer.body
  elseif answer.json == nil then
    return ""
  elseif not answer.schema then
    return json.encode(answer.json)
  end
  local text, message = answer.schema:encode(answer.json)
  if not text then
    error("the result cannot be sent: " .. message, 0)
  end
  return text
end

--- Makes a result that cannot be sent an error of its handler, for operations whose dependencies close
--- before the answer leaves: what is not confirmed must not be committed.
---@param handler perigee.Handler
---@param status integer of a plain result
---@param schema? userdata of a plain result
---@return perigee.Handler
function M.checked(handler, status, schema)
  return function(req)
    local result = handler(req)
    M.written(M.of(result, status, schema))
    return result
  end
end

--- What `req.response` is: the part of a response that can be filled in while the result itself is a
--- plain value, by the handler or by a dependency.
---@return perigee.Response
local function pending()
  return setmetatable({}, host.response.metatable)
end

local function append(list, more)
  return more and table.move(more, 1, #more, #(list or {}) + 1, list or {}) or list
end

--- The response that a handler's result stands for, with what was put on `req.response`.
---@param value any
---@param extra? perigee.Response
---@param status? integer of a plain value
---@param schema? userdata of a plain value
---@return perigee.Response
function M.merge(value, extra, status, schema)
  local made = M.of(value, extra and extra.status or status, schema)
  if extra then
    if made.is_plain then
      made.status = extra.status or made.status
    end
    made.headers = append(made.headers, extra.headers)
    made.content_type = made.content_type or extra.content_type
    made.tasks = append(append(made.tasks, extra.tasks), extra.cleanups)
  end
  return made
end

--- The same for an answer that takes the place of the handler's: only cleanup is left of the rest.
---@param answer perigee.Response
---@param extra? perigee.Response
---@return perigee.Response
function M.replace(answer, extra)
  answer.tasks = append(answer.tasks, extra and extra.cleanups)
  return answer
end

host.response.pending = pending
host.response.header_list = headers.list
host.response.merge = M.merge

-- A response with a file becomes what the request asks of the file.
function host.response.begin_file(answer, req)
  require("perigee.file").begin(answer, req)
end

--- The first value of a header, or nil.
---@param name string
---@return string?
function Response:get(name)
  return self.headers and headers.get(self.headers, name)
end

--- Sets a header, in place of all values it had.
---@param name string
---@param value string|number
---@return perigee.Response self
function Response:set(name, value)
  self.headers = self.headers or {}
  headers.set(self.headers, name, value)
  return self
end

--- Adds a header line.
---@param name string
---@param value string|number
---@return perigee.Response self
function Response:add(name, value)
  self.headers = self.headers or {}
  headers.add(self.headers, name, value)
  return self
end

--- Sets a cookie.
---@param name string
---@param value string
---@param options? perigee.CookieOptions
---@return perigee.Response self
function Response:cookie(name, value, options)
  errors.check_options("response:cookie", options or {}, cookie.options)
  return self:add("Set-Cookie", cookie.format(name, value, options))
end

--- Runs a function once the answer has been sent. What it raises is logged, nobody else hears of it.
---@param task function
---@param ... any its arguments
---@return perigee.Response self
function Response:after(task, ...)
  if type(task) ~= "function" then
    errors.raise("response:after: a function is needed, not %s", type(task))
  end
  local arguments = table.pack(...)
  self.tasks = self.tasks or {}
  self.tasks[#self.tasks + 1] = arguments.n == 0 and task
    or function()
      task(table.unpack(arguments, 1, arguments.n))
    end
  return self
end

--- Tells the client to forget a cookie; path and domain must be those it was set with.
---@param name string
---@param options? perigee.CookieOptions
---@return perigee.Response self
function Response:delete_cookie(name, options)
  local gone = { max_age = 0, expires = 0 }
  for key, value in pairs(options or {}) do
    gone[key] = value
  end
  return self:cookie(name, "", gone)
end

return M
