--- What the host offers to Lua, as far as the framework's own tests need it: lets them run in a plain
--- lua5.4. `install()` puts it in package.preload.

local M = {}

local anchor = true
local null = debug.upvalueid(function()
  return anchor
end, 1) -- the only light userdata that plain Lua has to give
local array_mark, object_mark = { __name = "array" }, { __name = "object" }
local json = { null = null }

function json.array(t)
  return setmetatable(t or {}, array_mark)
end

function json.object(t)
  return setmetatable(t or {}, object_mark)
end

function json.is_array(t)
  return getmetatable(t) == array_mark
end

local ESCAPES = { ['"'] = '\\"', ["\\"] = "\\\\", ["\n"] = "\\n", ["\r"] = "\\r", ["\t"] = "\\t" }

local function encode_string(text)
  return '"'
    .. text:gsub('[%c"\\]', function(char)
      return ESCAPES[char] or ("\\u%04x"):format(char:byte())
    end)
    .. '"'
end

local function encode_number(value)
  if math.type(value) == "integer" then
    return tostring(value)
  end
  local short = ("%.15g"):format(value)
  local text = tonumber(short) == value and short or ("%.17g"):format(value)
  return text:find("[.eE]") and text or text .. ".0"
end

function json.encode(value)
  local metafield = type(value) == "table" and getmetatable(value)
  if metafield and metafield.__tojson then
    return json.encode(metafield.__tojson(value))
  end
  if value == null or value == nil then
    return "null"
  elseif type(value) == "string" then
    return encode_string(value)
  elseif type(value) == "number" then
    return encode_number(value)
  elseif type(value) == "boolean" then
    return tostring(value)
  elseif type(value) ~= "table" then
    error("a " .. type(value) .. " cannot be written as JSON")
  end
  local parts = {}
  if metafield == array_mark or (metafield ~= object_mark and #value > 0) then
    for i, item in ipairs(value) do
      parts[i] = json.encode(item)
    end
    return "[" .. table.concat(parts, ",") .. "]"
  end
  local keys = {}
  for key in pairs(value) do
    keys[#keys + 1] = tostring(key)
  end
  table.sort(keys)
  for i, key in ipairs(keys) do
    parts[i] = encode_string(key) .. ":" .. json.encode(value[key])
  end
  return "{" .. table.concat(parts, ",") .. "}"
end

local UNESCAPES = { b = "\b", f = "\f", n = "\n", r = "\r", t = "\t" }

local function decode_string(text, at)
  local from, parts = at + 1, {}
  while true do
    local special = text:find('["\\]', from)
    parts[#parts + 1] = text:sub(from, special - 1)
    if text:sub(special, special) == '"' then
      return table.concat(parts), special + 1
    end
    local kind = text:sub(special + 1, special + 1)
    from = special + 2
    if kind == "u" then
      local code = tonumber(text:sub(from, from + 3), 16)
      from = from + 4
      if code >= 0xD800 and code < 0xDC00 then
        code = 0x10000
          + ((code - 0xD800) << 10)
          + tonumber(text:sub(from + 2, from + 5), 16)
          - 0xDC00
        from = from + 6
      end
      parts[#parts + 1] = utf8.char(code)
    else
      parts[#parts + 1] = UNESCAPES[kind] or kind
    end
  end
end

local decode_value

local function decode_members(text, at, close, read)
  at = text:find("%S", at + 1)
  while text:sub(at, at) ~= close do
    at = text:find("[^%s,]", read(at))
  end
  return at + 1
end

function decode_value(text, at)
  at = text:find("%S", at)
  local char = text:sub(at, at)
  if char == '"' then
    return decode_string(text, at)
  elseif char == "[" then
    local list = json.array()
    return list,
      decode_members(text, at, "]", function(item_at)
        list[#list + 1], item_at = decode_value(text, item_at)
        return item_at
      end)
  elseif char == "{" then
    local object = {}
    return object,
      decode_members(text, at, "}", function(key_at)
        local key
        key, key_at = decode_string(text, key_at)
        object[key], key_at = decode_value(text, text:find(":", key_at, true) + 1)
        return key_at
      end)
  end
  local word = text:match("^[^%s,%]}]+", at)
  local constants = { ["true"] = true, ["false"] = false, null = null }
  if constants[word] == nil then
    return assert(math.tointeger(word) or tonumber(word), "no JSON: " .. word), at + #word
  end
  return constants[word], at + #word
end

function json.decode(text)
  return (decode_value(text, 1))
end

local document = {}

function document.encode(value, ranks, orders)
  if type(value) ~= "table" then
    return json.encode(value)
  end
  local metatable = getmetatable(value)
  local rank = metatable and metatable[ranks]
  if orders[value] then
    rank = {}
    for i, key in ipairs(orders[value]) do
      rank[key] = i
    end
  end
  local parts = {}
  if not rank and (json.is_array(value) or #value > 0) then
    for i, item in ipairs(value) do
      parts[i] = document.encode(item, ranks, orders)
    end
    return "[" .. table.concat(parts, ",") .. "]"
  end
  local keys, place = {}, {}
  for key in next, value do
    keys[#keys + 1] = key
    place[key] = ("%09d %s"):format(rank and rank[key] or 999999999, key)
  end
  table.sort(keys, function(a, b)
    return place[a] < place[b]
  end)
  for i, key in ipairs(keys) do
    local item = document.encode(value[key], ranks, orders)
    parts[i] = encode_string(tostring(key)) .. ":" .. item
  end
  return "{" .. table.concat(parts, ",") .. "}"
end

--- Makes the modules that the host preloads.
---@return table host with `failures`, what was logged
function M.install()
  local host = {
    response = {
      metatable = {},
      http_error = {},
      validation_error = {},
      take = function(req)
        local pending = rawget(req, "response")
        req.response = nil
        return pending
      end,
    },
    task = {
      unwinds = function() end,
      blame = function(err)
        return err
      end,
    },
    time = { sleep = function() end },
    app = {
      caller = function(home)
        for level = 2, math.huge do
          local info = debug.getinfo(level, "Sl")
          if not info then
            return nil
          elseif info.what ~= "C" and info.source:sub(1, #home) ~= home then
            return info.short_src .. ":" .. info.currentline, info.source, info.currentline
          end
        end
      end,
      read_source = function(path)
        local file = io.open(path, "r")
        local text = file and file:read("a")
        if file then
          file:close()
        end
        return text
      end,
      find = function(path)
        return path
      end,
      is_first = function()
        return false
      end,
      path_error = function() end,
      set_state = function() end,
      is_terminal = function()
        return false
      end,
      settings = function()
        return {}
      end,
      version = "0",
    },
    failures = {},
  }
  host.log = {
    failure = function(_, text)
      host.failures[#host.failures + 1] = text
    end,
    message = tostring,
  }
  host.worker = { -- there are none: threaded functions are called where they are
    available = function()
      return false
    end,
    trace = function() end,
    wrap = function(fn)
      return function(...)
        return fn(...)
      end
    end,
    wrap_loop = function(fn)
      return function(...)
        return fn(...)
      end
    end,
  }
  host.document = document
  host.json = json
  host.schema = {
    types = function()
      return {}
    end,
    compile = function(node, options)
      return { node = node, options = options }
    end,
    inputs = function(given)
      return given
    end,
  }
  host.assets = {
    read = function(name)
      if name == "swagger-ui.css" then
        return "packed body{}", "tag"
      end
    end,
    unpack = function()
      return "body{}"
    end,
    pack = function(text)
      return "packed " .. text
    end,
    tag = function()
      return "tag"
    end,
  }
  package.preload["perigee.host"] = function()
    return host
  end
  package.preload["perigee.json"] = function()
    return json
  end
  return host
end

return M
