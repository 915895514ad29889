--- Errors, of both kinds: those that tell an app's author what is declared wrong (raised while the app
--- loads, at the author's file and line), and the HTTP errors that handlers raise for their clients.

local headers = require("perigee.headers")
local host = require("perigee.host")
local json = require("perigee.json")

local M = {}

-- The folder of the framework's own files, as in debug information: "@perigee/" in the binary.
local HOME = debug.getinfo(1, "S").source:match("^(.*)errors%.lua$")

--- Where the app called into the framework: the innermost frame that is not the framework's own.
---@return string place such as "app.lua:12"; "?" when there is none
---@return string? source the file, as debug.getinfo says it
---@return integer? line
function M.caller()
  local place, source, line = host.app.caller(HOME)
  return place or "?", source, line
end

--- Raises a mistake of the app's author, at the author's line.
---@param format string
---@param ... any
function M.raise(format, ...)
  local where = M.caller()
  local message = select("#", ...) > 0 and format:format(...) or format
  error(where == "?" and message or where .. ": " .. message, 0)
end

-- Edits (insert, delete, replace, swap of neighbours) that turn one word into the other.
local function distance(a, b)
  local before, last, row = {}, {}, {}
  for j = 0, #b do
    last[j] = j
  end
  for i = 1, #a do
    row = { [0] = i }
    for j = 1, #b do
      local same = a:byte(i) == b:byte(j)
      row[j] = math.min(last[j] + 1, row[j - 1] + 1, last[j - 1] + (same and 0 or 1))
      if i > 1 and j > 1 and a:byte(i) == b:byte(j - 1) and a:byte(i - 1) == b:byte(j) then
        row[j] = math.min(row[j], before[j - 2] + 1)
      end
    end
    before, last = last, row
  end
  return #a > 0 and row[#b] or #b
end

--- The known name closest to one that is not known, or nil when none resembles it.
---@param name any
---@param known table<string, any>
---@return string?
function M.nearest(name, known)
  if type(name) ~= "string" then
    return nil
  end
  local best, best_distance
  for candidate in pairs(known) do
    local d = distance(name:lower(), candidate)
    if d <= math.max(1, #candidate // 3) then
      if not best or d < best_distance or (d == best_distance and candidate < best) then
        best, best_distance = candidate, d
      end
    end
  end
  return best
end

local function sorted_names(known)
  local names = {}
  for name in pairs(known) do
    names[#names + 1] = name
  end
  table.sort(names)
  return table.concat(names, ", ")
end

--- Raises unless every option is known and of its type. `known` maps names to a type as type() names
--- it, to several ("string|table"), to "integer", or to "any".
---@param what string what the options are for, such as "app:get"
---@param options table
---@param known table<string, string>
function M.check_options(what, options, known)
  if type(options) ~= "table" then
    M.raise("%s: a table of options is needed, not a %s", what, type(options))
  end
  for name, value in pairs(options) do
    local expected = known[name]
    if not expected then
      local nearest = M.nearest(name, known)
      M.raise(
        "%s: unknown option '%s' (%s)",
        what,
        tostring(name),
        nearest and "did you mean '" .. nearest .. "'?" or "known: " .. sorted_names(known)
      )
    end
    local kind = type(value)
    if
      expected ~= "any"
      and expected ~= kind
      and not ("|" .. expected .. "|"):find("|" .. kind .. "|")
    then
      if not (expected:find("integer") and math.type(value) == "integer") then
        M.raise("%s: option '%s' must be %s, not %s", what, name, expected:gsub("|", " or "), kind)
      end
    end
  end
end

--- The same for what stands in the document as it is given, in OpenAPI's own words: "x-..." may be anything.
---@param what string
---@param given table
---@param known table<string, string>
function M.check_words(what, given, known)
  if type(given) ~= "table" then
    M.raise("%s: a table is needed, not a %s", what, type(given))
  end
  local words = {}
  for word, value in pairs(given) do
    if type(word) ~= "string" or word:sub(1, 2) ~= "x-" then
      words[word] = value
    end
  end
  M.check_options(what, words, known)
end

host.response.http_error.__tostring = function(err)
  local detail = err.detail
  if type(detail) == "table" then
    local _, text = pcall(json.encode, detail)
    detail = text
  end
  return detail == nil and "HTTP " .. err.status or ("HTTP %d: %s"):format(err.status, detail)
end

--- What an error says, whatever it is: a table without __tostring by its fields. Never raises.
---@param err any
---@return string
function M.message(err)
  local ok, text = pcall(host.log.message, err)
  return ok and text or "an error whose message cannot be made"
end

---@class perigee.HttpError
---@field status integer
---@field detail any
---@field headers perigee.HeaderList

--- An error that is answered: `error(perigee.http_error(404, "Item not found"))`, from any depth.
---@param status integer 400 to 599 as a rule
---@param detail? any JSON value; the phrase of the status when it is nil
---@param header_fields? table<string, string>|perigee.HeaderList
---@return perigee.HttpError
function M.http_error(status, detail, header_fields)
  if math.type(status) ~= "integer" or status < 200 or status > 999 then
    M.raise(
      "perigee.http_error: the status must be an integer from 200 to 999, not %s",
      tostring(status)
    )
  end
  return setmetatable({
    status = status,
    detail = detail,
    headers = header_fields and headers.list(header_fields) or nil,
  }, host.response.http_error)
end

--- Whether a value is an HTTP error.
---@param value any
---@return boolean
function M.is_http_error(value)
  return type(value) == "table" and getmetatable(value) == host.response.http_error
end

--- What the client sent is not as declared: raised where error handlers may want it.
---@class perigee.ValidationError
---@field status integer 422
---@field body string the answer's JSON, {"detail":[...]}
---@field detail table[] the same as a list of { type, loc, msg, input, ctx }; decoded when first read
local ValidationError = host.response.validation_error

function ValidationError:__index(key)
  if key == "detail" then
    local detail = json.decode(self.body).detail
    rawset(self, "detail", detail)
    return detail
  end
end

--- Makes one from the answer that the host has prepared.
---@param body string
---@return perigee.ValidationError
function M.validation_error(body)
  return setmetatable({ status = 422, body = body }, ValidationError)
end

--- Whether a value says that the client's input is not valid.
---@param value any
---@return boolean
function M.is_validation_error(value)
  return type(value) == "table" and getmetatable(value) == ValidationError
end

--- Whether an error is an answer by itself: an HTTP error, or refused input.
---@param value any
---@return boolean
function M.is_answer(value)
  return M.is_http_error(value) or M.is_validation_error(value)
end

local Failure = {}
Failure.__index = Failure

function Failure:__tostring()
  return self.message
end

--- A failure of the world, for `return nil, err`, like those the host makes.
---@param code string such as "EFBIG"
---@param message string
---@return perigee.Error
function M.failure(code, message)
  return setmetatable({ code = code, message = message }, Failure)
end

--- Whether a value is the error of a cancelled task, which nothing may swallow.
---@param value any
---@return boolean
function M.is_cancelled(value)
  return type(value) == "table" and rawget(value, "code") == "ECANCELED"
end

return M
