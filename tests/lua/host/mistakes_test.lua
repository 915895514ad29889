--- Whoever calls the framework with arguments that it does not take is told where he did, not where the
--- framework noticed: every public function is called with all kinds of them.

local perigee = require("perigee")
local task = require("perigee.task")

local HERE = debug.getinfo(1, "S").short_src

-- Their functions are not for apps, or take part in what the framework calls itself.
local NOT_FOR_APPS = {
  ["file.begin"] = true,
  ["file.ranges"] = true,
  ["file.disposition"] = true,
  ["security.password_form.run"] = true,
  ["security.strict_password_form.run"] = true,
  ["settings.parse_env"] = true,
  ["status.has_no_body"] = true,
  ["shared.save"] = true, -- takes the 1 for the name of a file
}

local MODULES = {
  "compress",
  "crypto",
  "file",
  "fs",
  "http",
  "json",
  "jwt",
  "net",
  "process",
  "security",
  "settings",
  "shared",
  "status",
  "task",
  "time",
  "types",
}

-- No numbers and no texts that a function could take for the name of a file.
local function nothing() end
local ARGUMENTS = {
  {},
  { true },
  { {} },
  { nothing },
  { {}, {} },
  { true, true, true },
  { { bogus = 1 } },
  { nothing, { bogus = 1 } },
  { "", {} },
  { "", nothing },
  { "", true },
  { "", "", { bogus = 1 } },
  { "", nothing, { bogus = 1 } },
  { 1, nothing, { bogus = 1 } },
  { 1, true },
}

-- Not a tail call: the line of the call is what an error should name.
local function call(fn, arguments)
  local results = table.pack(fn(table.unpack(arguments)))
  return results
end

local function expect_no_blame(t, name, fn)
  for i, arguments in ipairs(ARGUMENTS) do
    local ok, err = task.move_on(1000, pcall, call, fn, arguments)
    if ok == false and type(err) == "string" then
      t:eq(err:match("^[^:]+"), HERE, ("%s, arguments %d: %s"):format(name, i, err))
    end
  end
end

local function walk(t, prefix, module, seen)
  if seen[module] then
    return
  end
  seen[module] = true
  for key, value in pairs(module) do
    local name = prefix .. "." .. tostring(key)
    if NOT_FOR_APPS[name] then -- luacheck: ignore
    elseif type(value) == "function" then
      expect_no_blame(t, name, value)
    elseif type(value) == "table" and type(key) == "string" then
      walk(t, name, value, seen)
    end
  end
end

for _, name in ipairs(MODULES) do
  test("mistakes in calls of perigee." .. name .. " are told at the place of the call", function(t)
    walk(t, name, require("perigee." .. name), {})
  end)
end

test("mistakes in calls of the functions of perigee are told at the place of the call", function(t)
  for _, name in ipairs(getmetatable(perigee).__names()) do
    local value = perigee[name]
    if type(value) == "function" and name ~= "app" then
      expect_no_blame(t, name, value)
    end
  end
end)

test("limits that there are not are told at the place of the call, with the nearest", function(t)
  local function app(limits)
    local made = perigee.app({ limits = limits })
    return made
  end
  t:raises(HERE .. ":", app, { max_heads = 1 })
  t:raises("unknown option 'max_heads' (did you mean 'max_headers'?)", app, { max_heads = 1 })
  t:raises("'max_headers' must be from 1 to 10000, not 0", app, { max_headers = 0 })
  t:raises("option 'max_headers' must be integer, not string", app, { max_headers = "1" })
  t:raises("unknown option '1'", app, { 5 })
end)

test("options that there are not are told before anything is done", function(t)
  t:raises("json.encode: unknown option 'prety' (did you mean 'pretty'?)", function()
    return perigee.json.encode(1, { pretty = true, prety = true })
  end)
  t:eq(perigee.json.encode({ 1 }, { pretty = false }), "[1]")
  local nowhere = { host = "127.0.0.1", port = 1, tls = { verfy = false } }
  t:raises("net.connect: `tls`: unknown option 'verfy' (did you", perigee.net.connect, nowhere)
  t:raises("perigee.empty: a status is needed, not a table", perigee.empty, { headers = {} })
end)
