--- Runs the framework's tests: `lua5.4 tests/lua/run.lua [name ...]` from the project's root. Each
--- tests/lua/<name>_test.lua gets `test(sentence, function(t) ... end)`.
---
--- `perigee tests/lua/run.lua host [name ...]` runs those of tests/lua/host/, which need the real host:
--- there a test is a task and may wait.

package.path = "lua/?.lua;lua/?/init.lua;tests/lua/?.lua;" .. package.path
local real = arg[1] == "host" and table.remove(arg, 1)
local host = real and require("perigee.host") or require("fake_host").install()

local Checks = {}
Checks.__index = Checks
Checks.host = host

local function show(value, depth)
  if type(value) ~= "table" or (depth or 0) > 6 then
    return type(value) == "string" and ("%q"):format(value) or tostring(value)
  end
  local keys, parts = {}, {}
  for key in pairs(value) do
    keys[#keys + 1] = key
  end
  table.sort(keys, function(a, b)
    return tostring(a) < tostring(b)
  end)
  for i, key in ipairs(keys) do
    parts[i] = tostring(key) .. " = " .. show(value[key], (depth or 0) + 1)
  end
  return "{ " .. table.concat(parts, ", ") .. " }"
end

local function same(a, b)
  if type(a) ~= "table" or type(b) ~= "table" then
    return a == b and math.type(a) == math.type(b)
  end
  for key, value in pairs(a) do
    if not same(value, b[key]) then
      return false
    end
  end
  for key in pairs(b) do
    if a[key] == nil then
      return false
    end
  end
  return true
end

--- Both are the same, tables by their contents.
function Checks.eq(_, actual, expected)
  if not same(actual, expected) then
    error("expected " .. show(expected) .. "\n     got " .. show(actual), 2)
  end
end

--- The call raises, with a message that contains `part`; returns what it raised.
function Checks.raises(_, part, fn, ...)
  local ok, err = pcall(fn, ...)
  if ok then
    error("expected an error with '" .. part .. "'", 2)
  end
  if not tostring(err):find(part, 1, true) then
    error("expected an error with '" .. part .. "'\n     got '" .. tostring(err) .. "'", 2)
  end
  return err
end

local passed, failed = 0, 0

function _G.test(sentence, fn)
  local ok, message = xpcall(fn, debug.traceback, setmetatable({}, Checks))
  if ok then
    passed = passed + 1
  else
    failed = failed + 1
    print("not ok - " .. sentence .. "\n" .. message)
  end
end

local names = table.move(arg, 1, #arg, 1, {})
if #names == 0 and real then
  names = {
    "cancel",
    "compress",
    "crypto",
    "definitions",
    "fs",
    "jwt",
    "mistakes",
    "net",
    "options",
    "process",
    "schedule",
    "shared",
    "sync",
    "task",
    "time",
  }
elseif #names == 0 then
  names = {
    "answers",
    "app",
    "cli",
    "compose",
    "cookie",
    "cron",
    "dependency",
    "docs",
    "errors",
    "from_json_schema",
    "headers",
    "hop",
    "http",
    "inputs",
    "json_schema",
    "middleware",
    "openapi",
    "openapi_diff",
    "ordered",
    "response",
    "security",
    "threaded",
    "settings",
    "types",
    "url",
  }
end
for _, name in ipairs(names) do
  dofile("tests/lua/" .. (real and "host/" or "") .. name .. "_test.lua")
end
print(("%d passed, %d failed"):format(passed, failed))
os.exit(failed == 0)
