--- Middleware and error handlers around handlers: functions in, one function out, made once at load.
--- Knows no paths, types or documents.

local debug_page = require("perigee.debug_page")
local errors = require("perigee.errors")
local host = require("perigee.host")
local response = require("perigee.response")

-- shows_frames: an app of this VM wants to see where its errors come from (debug_page.lua).
local M = { shows_frames = false }

---@alias perigee.Handler fun(req: perigee.Request): any
---@alias perigee.Middleware fun(req: perigee.Request, next: fun(req: perigee.Request): perigee.Response): any
---@alias perigee.ErrorHandler fun(req: perigee.Request, err: any): any

--- An error that is no answer by itself, with where it came from.
---@class perigee.Failure
---@field cause any what was raised
---@field traceback string
---@field frames? table[] of the app's own files, where the app is debugged
local Failure = {}
Failure.__index = Failure

-- The message handler: HTTP errors and cancellation travel as they are, for the rest the stack is kept.
local function keep_traceback(err)
  local in_task = host.task.unwinds(err)
  if errors.is_answer(err) or errors.is_cancelled(err) then
    return err
  end
  local blamed = host.task.blame(err)
  local traceback = debug.traceback(errors.message(blamed), 2)
  if in_task then
    traceback = traceback .. "\nin a task of its group:" .. in_task
  end
  local there = host.worker.trace(err)
  if there then
    traceback = traceback .. "\n" .. there
  end
  local frames = M.shows_frames and debug_page.frames() or nil
  return setmetatable({ cause = blamed, traceback = traceback, frames = frames }, Failure)
end

-- Looks a handler up for an error: by its class (the metatable, and those it inherits from through
-- __index), then by its status. Inner routers were asked before.
local function find_handler(handlers, err)
  local status = 500
  if errors.is_answer(err) then
    if errors.is_validation_error(err) and handlers.validation then
      return handlers.validation
    end
    status = err.status
  else
    local class = getmetatable(err.cause)
    while type(class) == "table" do
      if handlers[class] then
        return handlers[class]
      end
      local index = rawget(class, "__index")
      class = index ~= class and type(index) == "table" and index or getmetatable(class)
    end
  end
  return handlers[status]
end

--- What was raised: an error as the functions of the app know it.
---@param err any
---@return any
function M.unwrapped(err)
  if getmetatable(err) == Failure then
    return err.cause
  end
  return err
end

local function plain_answer(req, err, answer)
  if errors.is_answer(err) then
    return answer(err)
  end
  host.log.failure(req, err.traceback)
  return answer(nil, req, err)
end

--- What becomes of errors.
---@class perigee.Failing
---@field handlers table[] tables of error handlers by class, status or "validation", innermost first
---@field place? table where the handler was declared, for the page of developers: { source, line, locals }
---@field answer fun(err: any, req?: perigee.Request, failure?: perigee.Failure): perigee.Response for HTTP
--- errors and refused input that nobody handles, and for nil: any other error

-- Answers an error: by the innermost fitting handler from the `from`th on, else in the usual way.
local function handle(failing, req, err, from)
  if errors.is_cancelled(err) then
    error(err, 0)
  end
  if type(err) == "string" then -- for want of memory: no message handler was called
    err = setmetatable({ cause = err, traceback = err }, Failure)
  end
  local chain = failing.handlers
  for i = from, #chain do
    local found = find_handler(chain[i], err)
    if found then
      local ok, result = xpcall(found, keep_traceback, req, M.unwrapped(err))
      if ok then
        local error_status = errors.is_answer(err) and err.status or 500
        return response.replace(response.of(result, error_status), host.response.take(req))
      end
      return handle(failing, req, result, i + 1) -- a handler that fails is handled further out
    end
  end
  return response.replace(plain_answer(req, err, failing.answer), host.response.take(req))
end

-- Headers that speak of a body.
local OF_BODY =
  { ["content-type"] = true, etag = true, ["last-modified"] = true, ["set-cookie"] = true }

-- An answer that was made and cannot be sent (its value breaks the declared type, a header is not sound): an
-- error of the handler, like any other. What middleware said on its way out stays, where it can be sent.
function host.response.unsendable(answer, req, message)
  local failing = answer.failing
  local text = "the result cannot be sent: " .. message
  local frames = M.shows_frames and { failing.place } or nil
  local failure = setmetatable({ cause = text, traceback = text, frames = frames }, Failure)
  local instead = handle(failing, req, failure, 1)
  instead.failing = nil
  for _, pair in ipairs(answer.headers or {}) do
    local name, value = pair[1], pair[2]
    local is_text = type(name) == "string" and type(value) == "string"
    local is_sound = is_text and name:find("^[%w_-]+$") and not value:find("%c")
    if is_sound and not OF_BODY[name:lower()] and not instead:get(name) then
      instead:add(name, value)
    end
  end
  return instead
end

--- Makes a handler whose outcome is a response in every case: results are wrapped, errors are handled
--- by the innermost fitting error handler, and what nobody handles becomes the usual answer. Only
--- cancellation passes.
---@param handler fun(req: perigee.Request, invalid: string?, failed: table?): any
---@param failing perigee.Failing
---@param status? integer of a plain result
---@param schema? userdata of a plain result
---@return fun(req: perigee.Request, invalid: string?, failed: table?): perigee.Response
function M.answering(handler, failing, status, schema)
  return function(req, invalid, failed)
    local ok, result = xpcall(handler, keep_traceback, req, invalid, failed)
    if ok then
      local answer = response.merge(result, host.response.take(req), status, schema)
      answer.failing = answer.failing or failing
      return answer
    end
    return handle(failing, req, result, 1)
  end
end

--- Wraps `handler` in `middlewares`, the first one outermost. Each of them sees a response from what it
--- wraps, whatever happened there. Built once, not per request.
---@param middlewares perigee.Middleware[]
---@param handler fun(req: perigee.Request, invalid: string?, failed: table?): perigee.Response
---@param failing perigee.Failing for what middleware raises
---@return fun(req: perigee.Request, invalid: string?, failed: table?): perigee.Response
function M.compose(middlewares, handler, failing)
  local function wrap(inner)
    for i = #middlewares, 1, -1 do
      local middleware, following = middlewares[i], inner
      inner = M.answering(function(req)
        return middleware(req, following)
      end, failing)
    end
    return inner
  end

  local usual = wrap(handler)
  return function(req, invalid, failed)
    if invalid == nil then
      return usual(req)
    end
    -- `next` takes the request alone: what else the host said travels around the middleware.
    return wrap(function(same)
      return handler(same, invalid, failed)
    end)(req)
  end
end

return M
