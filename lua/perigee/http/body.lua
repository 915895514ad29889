--- Bodies of requests: what an app may give, made into text or into pieces.

local crypto = require("perigee.crypto")
local errors = require("perigee.errors")
local json = require("perigee.json")
local url = require("perigee.url")

local M = {}

--- A body ready to be sent: `text`, or `pieces`, which makes an iterator over the bytes.
---@class perigee.http.Body
---@field text? string
---@field pieces? fun(): (fun(): string?)
---@field length? integer of all pieces; nil: they are sent in chunks
---@field once boolean the pieces can be made only once: the request cannot be sent again
---@field type? string its Content-Type, unless the app names another

---@class perigee.http.Part
---@field name string
---@field value? string|number|boolean of a field
---@field data? string|fun(): string? of a file: its bytes, or an iterator over them
---@field filename? string
---@field content_type? string

local function of_text(text, content_type)
  return { text = text, type = content_type, once = false }
end

-- In a quoted parameter, as browsers write it (HTML, "multipart form data").
local function quoted(text)
  local ESCAPES = { ['"'] = "%22", ["\r"] = "%0D", ["\n"] = "%0A" }
  return '"' .. text:gsub('["\r\n]', ESCAPES) .. '"'
end

local PART_OPTIONS = {
  name = "string",
  value = "string|number|boolean",
  data = "string|function",
  filename = "string",
  content_type = "string",
}

local function part_head(boundary, part)
  errors.check_options("http: a part of `multipart`", part, PART_OPTIONS)
  if not part.name then
    errors.raise("http: a part of `multipart` needs a name")
  elseif (part.value == nil) == (part.data == nil) then
    errors.raise("http: the part '%s' of `multipart` needs either value or data", part.name)
  end
  local lines = { "--" .. boundary }
  local disposition = "Content-Disposition: form-data; name=" .. quoted(part.name)
  if part.filename then
    disposition = disposition .. "; filename=" .. quoted(part.filename)
  end
  lines[2] = disposition
  local content_type = part.content_type or (part.filename and "application/octet-stream")
  if content_type then
    if content_type:find("%c") then
      errors.raise("http: the content_type of the part '%s' has control characters", part.name)
    end
    lines[3] = "Content-Type: " .. content_type
  end
  return table.concat(lines, "\r\n") .. "\r\n\r\n"
end

-- A map of fields, in the order of their names, as a list of parts.
local function parts_of(values)
  if values[1] ~= nil or next(values) == nil then
    return values
  end
  local parts = {}
  for name, value in pairs(values) do
    parts[#parts + 1] = { name = name, value = value }
  end
  table.sort(parts, function(a, b)
    return a.name < b.name
  end)
  return parts
end

-- The texts and iterators that follow each other in a multipart body.
local function multipart(values)
  local boundary = "perigee-" .. crypto.hex(crypto.random(16))
  local content_type = "multipart/form-data; boundary=" .. boundary
  local sequence, has_iterator = {}, false
  for _, part in ipairs(parts_of(values)) do
    sequence[#sequence + 1] = part_head(boundary, part)
    local data = part.data
    if type(data) ~= "function" then
      data = data or tostring(part.value)
    else
      has_iterator = true
    end
    sequence[#sequence + 1] = data
    sequence[#sequence + 1] = "\r\n"
  end
  sequence[#sequence + 1] = "--" .. boundary .. "--\r\n"
  if not has_iterator then
    return of_text(table.concat(sequence), content_type)
  end
  local function pieces()
    local i = 1
    return function()
      while i <= #sequence do
        local item = sequence[i]
        if type(item) == "string" then
          i = i + 1
          return item
        end
        local piece = item()
        if piece ~= nil then
          return piece
        end
        i = i + 1
      end
    end
  end
  return { pieces = pieces, type = content_type, once = true }
end

-- A file knows how many bytes are left in it.
local function length_of(object)
  if type(object) == "table" and object.stat and object.position then
    local info = object:stat()
    return info and info.type == "file" and math.max(info.size - object:position(), 0) or nil
  end
end

local function of_value(value)
  if type(value) == "string" then
    return of_text(value)
  elseif type(value) == "function" then
    return {
      pieces = function()
        return value
      end,
      once = true,
    }
  elseif not value.chunks then
    errors.raise(
      "http: `body` must be bytes, an iterator, or something with chunks(), such as a file"
    )
  end
  return {
    pieces = function()
      return value:chunks()
    end,
    length = length_of(value),
    once = true,
  }
end

local MAKERS = {
  body = of_value,
  json = function(value)
    return of_text(json.encode(value), "application/json")
  end,
  form = function(values)
    return of_text(url.query(values, true), "application/x-www-form-urlencoded")
  end,
  multipart = multipart,
}

--- The body that the options of a request describe: at most one of `body`, `json`, `form`, `multipart`.
---@param options table
---@return perigee.http.Body? body
function M.make(options)
  local kind
  for name in pairs(MAKERS) do
    if options[name] ~= nil then
      if kind then
        errors.raise("http: a request has one body, not both '%s' and '%s'", kind, name)
      end
      kind = name
    end
  end
  return kind and MAKERS[kind](options[kind])
end

return M
