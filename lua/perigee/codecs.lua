--- Formats other than JSON: app:decoder() reads declared bodies in them, app:encoder() writes results. Values
--- pass through JSON on their way, so that declared types mean the same whatever the format: null is json.null,
--- an empty array is marked.

local errors = require("perigee.errors")
local json = require("perigee.json")
local response = require("perigee.response")
local status_names = require("perigee.status")

local M = {}

local JSON = "application/json"

--- Adds a function for a media type to the list of an app.
---@param what string
---@param list table { { type, fn }... } and fn by type
---@param media_type string
---@param fn function
function M.add(what, list, media_type, fn)
  if type(media_type) ~= "string" or not media_type:find("^[%w!#$&^_.+-]+/[%w!#$&^_.+-]+$") then
    local format = '%s: a media type such as "application/msgpack" is needed, not %s'
    errors.raise(format, what, tostring(media_type))
  elseif type(fn) ~= "function" then
    errors.raise("%s: a function is needed, not %s", what, type(fn))
  end
  media_type = media_type:lower()
  if media_type == JSON or media_type:find("+json$") then
    errors.raise("%s: %s is JSON, which needs none", what, media_type)
  elseif list[media_type] then
    errors.raise("%s: there is one for %s already", what, media_type)
  end
  list[#list + 1] = media_type
  list[media_type] = fn
end

--- What the host calls for a body: JSON text, or nil when the bytes are no such format.
---@param decoders table
---@return fun(media_type: string, bytes: string): string?
function M.decoder(decoders)
  return function(media_type, bytes)
    local value = decoders[media_type:lower()](bytes)
    if value == nil then
      return nil
    end
    local ok, text = pcall(json.encode, value)
    return ok and text or nil -- bytes that are no text, as they came from the client
  end
end

-- How much a client wants a media type, 0 to 1; nil when it says nothing of it. The most specific range counts.
local function wanted(accept, media_type)
  local best, quality = 0, nil
  for range in accept:gmatch("[^,]+") do
    local name = range:match("^%s*([^%s;]+)")
    local rank = name == media_type and 3
      or name == media_type:match("^[^/]+") .. "/*" and 2
      or name == "*/*" and 1
      or 0
    if rank > best then
      best = rank
      quality = tonumber(range:match(";%s*[qQ]%s*=%s*([%d.]+)")) or 1
    end
  end
  return quality
end

--- The media type of the answer to a request: JSON, unless the client wants another one more.
---@param accept string the header
---@param encoders table
---@return string
function M.choose(accept, encoders)
  accept = accept:lower()
  local best, most = JSON, wanted(accept, JSON) or 0
  for _, media_type in ipairs(encoders) do
    local quality = wanted(accept, media_type) or 0
    if quality > most then
      best, most = media_type, quality
    end
  end
  return best
end

--- Writes the JSON results of a handler in the format that the client wants.
---@param handler perigee.Handler
---@param encoders table
---@param status integer of plain results
---@param schema? userdata of plain results
---@param is_kept boolean the cache around it says what the answer varies by
---@return perigee.Handler
function M.encoding(handler, encoders, status, schema, is_kept)
  return function(req)
    local result = handler(req)
    local answer = response.of(result, status, schema)
    answer.is_plain = answer.is_plain or answer ~= result
    if answer.json == nil or status_names.has_no_body(answer.status) then
      return answer
    end
    local accept = table.concat(req:all("headers", "accept"), ",")
    local media_type = M.choose(accept, encoders)
    if not is_kept then
      answer:add("Vary", "Accept")
    end
    if media_type == JSON then
      return answer
    end
    local value = json.decode(response.written(answer))
    local bytes = encoders[media_type](value)
    if type(bytes) ~= "string" then
      local format = "the encoder of %s must return a string, not a %s"
      error(format:format(media_type, type(bytes)), 0)
    end
    answer.json, answer.schema = nil, nil
    answer.body, answer.content_type = bytes, media_type
    return answer
  end
end

return M
