--- Conditional requests (RFC 9110, 13): whether a client has what it asks for already, or would change
--- what it has not seen. Looks at headers alone.

local headers = require("perigee.headers")
local http_date = require("perigee.http_date")

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

return M
