--- Conditional requests (RFC 9110, 13): whether a client has what it asks for already, or would change
--- what it has not seen. Files, operations with `etag = true`, and handlers that know their state ask here.

local errors = require("perigee.errors")
local headers = require("perigee.headers")
local http_date = require("perigee.http_date")
local response = require("perigee.response")

local M = {}

-- Whether a list of entity tags, or "*", has this one. The weak comparison takes W/"a" for "a".
local function list_has(list, etag, is_weak)
  if list:match("^%s*(.-)%s*$") == "*" then
    return true
  end
  local own = etag:gsub("^W/", "")
  for weak, tag in list:gmatch('(W?/?)("[^"]*")') do
    if tag == own and (is_weak or (weak == "" and own == etag)) then
      return true
    end
  end
  return false
end

--- Whether a request has the state described by `etag` (and the time of the last change) already: 304
--- for reading, or may not go on because it does not have it: 412. Nil when it is to be answered.
---@param req perigee.Request
---@param etag string? with its quotes; nil: what is there has none
---@param modified integer? seconds since 1970
---@return 304|412|nil
function M.evaluate(req, etag, modified)
  local match = headers.sent(req, "if-match")
  local reads = req.method == "GET" or req.method == "HEAD"
  if match then
    if not (etag and list_has(match, etag, false)) then
      return 412
    end
  else
    local since = http_date.parse(headers.sent(req, "if-unmodified-since") or "")
    if since and modified and modified > since then
      return 412
    end
  end
  local none = headers.sent(req, "if-none-match")
  if none then
    if etag and list_has(none, etag, true) then
      return reads and 304 or 412
    end
  elseif reads then
    local since = http_date.parse(headers.sent(req, "if-modified-since") or "")
    if since and modified and modified <= since then
      return 304
    end
  end
  return nil
end

--- For handlers that know the state of what they are asked about: the answer for a client that has it
--- already, nil when the handler is to go on. Raises 412 when the client speaks of another state, so a
--- PUT with `If-Match` is stopped before it overwrites what its client has not seen.
---
---     local unchanged = perigee.conditional.check(req, ('"%d"'):format(item.version))
---     if unchanged then return unchanged end
---@param req perigee.Request
---@param etag string? with its quotes; nil: there is nothing yet
---@param modified integer? seconds since 1970
---@return perigee.Response? answer 304
function M.check(req, etag, modified)
  if etag and not etag:find('^W?/?"[^"]*"$') then
    errors.raise("conditional.check: an etag needs its quotes: '\"%s\"'", etag)
  end
  local status = M.evaluate(req, etag, modified)
  if status == 412 then
    error(errors.http_error(412), 0)
  elseif status == 304 then
    return response.empty(304, { headers = etag and { ETag = etag } or nil })
  end
end

local function tag_of(text)
  local digest = require("perigee.crypto").hash("sha1", text)
  return '"'
    .. digest:sub(1, 10):gsub(".", function(byte)
      return ("%02x"):format(byte:byte())
    end)
    .. '"'
end

--- Gives the answers of a handler an ETag made of their bytes, and a 304 to those who have it.
---@param handler perigee.Handler
---@param status integer of plain results
---@param schema userdata? of plain results
---@return perigee.Handler
function M.tagged(handler, status, schema)
  return function(req, ...)
    local result = handler(req, ...)
    local answer = response.of(result, status, schema)
    answer.is_plain = answer.is_plain or answer ~= result
    local reads = req.method == "GET" or req.method == "HEAD"
    local final = answer.is_plain and req.response.status or answer.status
    local text = reads and final == 200 and not answer:get("ETag") and response.written(answer)
    if not text then
      return answer
    end
    local etag = tag_of(text)
    local unchanged = M.check(req, etag)
    if unchanged then
      return unchanged
    end
    if answer.json ~= nil then
      answer.json, answer.schema = nil, nil
      answer.content_type = answer.content_type or "application/json"
    end
    answer.body = text
    return answer:set("ETag", etag)
  end
end

return M
