--- Settings of an app: declared once with their types, taken from flags, the environment and a file
--- `.env`, and all that is wrong with them said at once, before the app serves anybody.
---
---     local settings = perigee.settings({
---       port = t.integer({ default = 5432, le = 65535 }),
---       password = t.secret({ min_length = 12 }),
---     }, { prefix = "DB_" })

local entry = require("perigee.entry")
local errors = require("perigee.errors")
local host = require("perigee.host")
local json = require("perigee.json")
local model = require("perigee.model")

local M = {}

local MASK = "**********"

local OPTIONS = {
  prefix = "string", -- of names in the environment and in the file
  env_file = "string|boolean", -- ".env" beside app.lua unless given; false for none
}

-- Which flags (--set name=value) some settings have asked for, in this VM.
local asked = {}

local ESCAPES = { n = "\n", r = "\r", t = "\t", ['"'] = '"', ["\\"] = "\\", ["$"] = "$" }

-- A value as it stands in the file.
local function parse_value(text)
  local single = text:match("^'([^']*)'%s*$") or text:match("^'([^']*)'%s+#")
  if single then
    return single
  end
  if text:sub(1, 1) == '"' then
    local value, at = {}, 2
    while at <= #text do
      local char = text:sub(at, at)
      if char == '"' then
        local rest = text:sub(at + 1)
        return (rest:find("^%s*$") or rest:find("^%s+#")) and table.concat(value) or nil
      elseif char == "\\" then
        at = at + 1
        local escaped = text:sub(at, at)
        char = ESCAPES[escaped] or "\\" .. escaped
      end
      value[#value + 1] = char
      at = at + 1
    end
    return nil
  elseif text:sub(1, 1) == "'" then
    return nil
  end
  return (text:gsub("%s+#.*$", ""):gsub("%s+$", ""))
end

--- Reads the text of a file `.env`: lines NAME=value, comments, quotes; a mark of its encoding (BOM) is
--- none of it. Pure.
---@param text string
---@return table<string, string>? values nil when a line cannot be read
---@return integer? line the number of that line
function M.parse_env(text)
  local values, number = {}, 0
  text = text:gsub("^\xEF\xBB\xBF", ""):gsub("\r\n", "\n")
  for line in (text .. "\n"):gmatch("(.-)\n") do
    number = number + 1
    if line:find("%S") and not line:find("^%s*#") then
      local name, value = line:match("^%s*([%a_][%w_]*)%s*=%s*(.*)$")
      if not name then
        name, value = line:match("^%s*export%s+([%a_][%w_]*)%s*=%s*(.*)$")
      end
      local parsed = name and parse_value(value)
      if not parsed then
        return nil, number
      end
      values[name] = parsed
    end
  end
  return values
end

local function read_env_file(options)
  local name = options.env_file
  if name == false then
    return {}
  end
  local path = (entry.folder or "") .. (type(name) == "string" and name or ".env")
  if type(name) == "string" and name:sub(1, 1) == "/" then
    path = name
  end
  local text, message, missing = host.app.read_text(path)
  if not text and missing and type(name) ~= "string" then
    return {} -- one that nobody asked for may be missing, and nothing else
  elseif not text then
    errors.raise("perigee.settings: '%s' cannot be read: %s", path, message)
  end
  local values, line = M.parse_env(text)
  if not values then
    errors.raise("perigee.settings: %s:%d: a line NAME=value is needed", path, line)
  end
  return values
end

-- The flags: { ["database.url"] = "..." }.
local function read_flags()
  local flags = {}
  for _, text in ipairs(host.app.settings()) do
    local name, value = text:match("^([%w_.]+)=(.*)$")
    if not name then
      errors.raise("--set takes name=value, not '%s'", text)
    end
    flags[name] = value
  end
  return flags
end

-- The node itself: what `t.x({...})` made of a model refers to it.
local function resolve(node)
  while node.kind == "ref" do
    node = node.target()
  end
  return node
end

-- Whether values of this type hold a secret somewhere. `seen` has the models that refer to themselves.
local function holds_secret(node, seen)
  node, seen = resolve(node), seen or {}
  if node.kind == "secret" or seen[node] then
    return node.kind == "secret"
  end
  seen[node] = true
  local parts = { table.unpack(node.items or node.members or {}) }
  for _, field in ipairs(node.fields or {}) do
    parts[#parts + 1] = field.type
  end
  parts[#parts + 1] = node.item or node.value
  parts[#parts + 1] = node.rest
  for _, part in ipairs(parts) do
    if holds_secret(part, seen) then
      return true
    end
  end
  return false
end

-- The value as it may be shown: with a mask for each secret in it.
local function masked(node, value)
  node = resolve(node)
  if type(value) ~= "table" or node.kind == "union" then
    return value ~= json.null and holds_secret(node) and MASK or value
  elseif not holds_secret(node) or getmetatable(value) and getmetatable(value).__tojson then
    return value -- what is protected by itself knows how to show itself
  end
  local shown = {}
  if node.fields then
    for _, field in ipairs(node.fields) do
      shown[field.name] = masked(field.type, value[field.name])
    end
    return json.object(shown)
  elseif node.kind == "map" then
    for key, item in pairs(value) do
      shown[key] = masked(node.value, item)
    end
    return json.object(shown)
  end
  for i, item in ipairs(value) do
    shown[i] = masked(node.item or node.items[i] or node.rest, item)
  end
  return json.array(shown)
end

local STRUCTURED = { array = true, set = true, tuple = true, map = true, any = true, union = true }

-- What a text stands for, before its type decides: JSON for what has structure, and a list may also be
-- written with commas.
local function read_text(node, text)
  local kind = resolve(node).kind
  if kind == "model" or kind == "object" or STRUCTURED[kind] then
    if text:find("^%s*[%[{]") then
      local value = json.decode(text)
      if value ~= nil then
        return value
      end
    elseif kind == "array" or kind == "set" or kind == "tuple" then
      local items = json.array({})
      for item in (text .. ","):gmatch("%s*(.-)%s*,") do
        items[#items + 1] = item
      end
      return text:find("%S") and items or json.array({})
    end
  end
  return text
end

-- Gathers the raw values of fields; `places` tells where each came from, by its dotted name.
local function gather(fields, sources, prefix, dotted, places)
  local raw = {}
  for _, field in ipairs(fields) do
    local name = dotted .. field.name
    local variable = prefix .. field.name:upper()
    local node = resolve(field.type)
    places[name] = { variable = variable, node = field.type }
    asked[name] = true
    for _, source in ipairs(sources) do
      local text = source.get(name, variable)
      if text then
        raw[field.name] = read_text(field.type, text)
        places[name].from = source.name
        break
      end
    end
    if (node.kind == "model" or node.kind == "object") and node.fields then
      local inner = gather(node.fields, sources, variable .. "__", name .. ".", places)
      if next(inner) and type(raw[field.name]) ~= "string" then -- which is no object, and said so
        local given = raw[field.name] or {}
        for key, value in pairs(inner) do
          given[key] = value
        end
        raw[field.name] = given
      elseif raw[field.name] == nil and not field.type.optional and field.type.default == nil then
        raw[field.name] = {} -- what is missing in it is named one by one
      end
    end
  end
  return raw
end

local function describe(problem, places)
  local parts = {}
  for _, part in ipairs(problem.loc) do
    parts[#parts + 1] = tostring(part)
  end
  local name = table.concat(parts, ".")
  local place = places[name]
  while not place and #parts > 1 do -- an item of a list
    table.remove(parts)
    place = places[table.concat(parts, ".")]
  end
  local variable = place and place.variable or name
  if problem.type == "missing" then
    return ("%s is missing"):format(variable)
  end
  local input = ""
  local hidden = problem.input == MASK or place and holds_secret(place.node)
  if type(problem.input) == "string" and not hidden then
    input = (", not '%s'"):format(problem.input)
  end
  local from = place and place.from and (" (from %s)"):format(place.from) or ""
  return ("%s: %s%s%s"):format(variable, problem.msg, input, from)
end

-- An empty table in front of the values: it cannot be written, shows itself without its secrets, and knows
-- what it does not have.
local function protect(values, fields, what)
  local known = {}
  for _, field in ipairs(fields) do
    known[field.name] = field.type
    local node = resolve(field.type)
    if type(values[field.name]) == "table" and node.fields then
      values[field.name] = protect(values[field.name], node.fields, what .. "." .. field.name)
    end
  end
  local function shown(name)
    local value = values[name]
    return value ~= nil and masked(known[name], value) or value
  end
  return setmetatable({}, {
    __index = function(_, name)
      if known[name] then
        return values[name]
      end
      local nearest = errors.nearest(name, known)
      local hint = nearest and (" (did you mean '%s'?)"):format(nearest) or ""
      error(("%s has no '%s'%s"):format(what, tostring(name), hint), 2)
    end,
    __newindex = function(_, name)
      error(
        ("%s is what the app was started with: '%s' cannot be set"):format(what, tostring(name)),
        2
      )
    end,
    __pairs = function()
      return pairs(values)
    end,
    __tojson = function()
      local copy = {}
      for name in pairs(known) do
        copy[name] = shown(name)
      end
      return json.object(copy)
    end,
    __tostring = function()
      local parts = {}
      for _, field in ipairs(fields) do
        parts[#parts + 1] = field.name .. " = " .. tostring(shown(field.name))
      end
      return "{ " .. table.concat(parts, ", ") .. " }"
    end,
  })
end

--- Takes settings from `--set name=value`, then the environment (PREFIX_NAME), then the file `.env` beside
--- app.lua, then their defaults. Texts are converted as in a query; what has structure is JSON, and a list may
--- be written with commas. Models within are PREFIX_OUTER__INNER, and --set outer.inner=value. Raises one
--- error that names everything that is missing or wrong. Secrets are masked wherever settings are shown.
---@param declared table<string, perigee.Type>
---@param options? { prefix?: string, env_file?: string|false }
---@return table<string, any>
function M.new(declared, options)
  options = options or {}
  errors.check_options("perigee.settings", options, OPTIONS)
  local fields = model.read_fields("perigee.settings", declared)
  local node = model.new("object", "perigee.settings", fields)
  local flags, file = read_flags(), read_env_file(options)
  local sources = {
    {
      name = "--set",
      get = function(name)
        return flags[name]
      end,
    },
    {
      name = "the environment",
      get = function(_, variable)
        return os.getenv(variable)
      end,
    },
    {
      name = options.env_file or ".env",
      get = function(_, variable)
        return file[variable]
      end,
    },
  }
  local places = {}
  local raw = gather(fields, sources, options.prefix or "", "", places)
  local values, problems = node:validate(json.object(raw))
  if values == nil then
    local lines = {}
    for _, problem in ipairs(problems or {}) do
      lines[#lines + 1] = "  " .. describe(problem, places)
    end
    for name in pairs(flags) do
      local nearest = not asked[name] and errors.nearest(name, asked)
      if nearest then
        lines[#lines + 1] = ("  --set %s: did you mean '%s'?"):format(name, nearest)
      end
    end
    errors.raise(
      "settings are missing or wrong (environment, .env, or --set name=value):\n%s",
      table.concat(lines, "\n")
    )
  end
  return protect(values, fields, "settings")
end

--- Raises for flags that no settings have asked for. Called when the app has loaded.
function M.check_flags()
  for name in pairs(read_flags()) do
    if not asked[name] then
      local nearest = errors.nearest(name, asked)
      local hint = nearest and ("did you mean '%s'?"):format(nearest)
        or "the app declares no such setting"
      error(("--set %s: %s"):format(name, hint), 0)
    end
  end
end

return setmetatable(M, {
  __call = function(_, declared, options)
    return M.new(declared, options)
  end,
})
