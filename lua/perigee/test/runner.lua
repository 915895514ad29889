--- Runs the tests of an app: finds its `*_test.lua` files, loads each with the app anew, and runs every
--- test in a task of its own. What a test leaves behind fails it.

local case = require("perigee.test.case")
local entry = require("perigee.entry")
local errors = require("perigee.errors")
local host = require("perigee.host")
local quiet = require("perigee.test.quiet")
local threaded = require("perigee.threaded")

local M = {}

local CLOSE_MS = 10000 -- for what comes behind a test: requests that end, hooks, cleanups

---@class perigee.test.Result
---@field file string
---@field name string
---@field outcome "passed"|"failed"|"skipped"
---@field seconds number
---@field message? string why it failed, or was skipped
---@field where? string file:line of the check that failed
---@field notes? string[] what the test said with t:log, and what the app logged

---@class perigee.test.Options
---@field filter? string tests whose "file: name" holds this text
---@field timeout_ms integer real time for one test
---@field fail_fast? boolean
---@field report fun(result: perigee.test.Result)

-- Everything a file of tests may have changed for the next one.
local function snapshot()
  local globals, modules = {}, {}
  for name, value in pairs(_G) do
    globals[name] = value
  end
  for name, value in pairs(package.loaded) do
    modules[name] = value
  end
  return { globals = globals, modules = modules, path = package.path, cpath = package.cpath }
end

local function restore(saved)
  for _, pair in ipairs({ { _G, saved.globals }, { package.loaded, saved.modules } }) do
    local live, kept = pair[1], pair[2]
    for name in pairs(live) do
      if kept[name] == nil then
        live[name] = nil
      end
    end
    for name, value in pairs(kept) do
      live[name] = value
    end
  end
  package.path, package.cpath = saved.path, saved.cpath
end

--- Finds the files of tests, in the order of their names. `path` may be one such file.
---@param path string
---@return string[]? files nil when there is no such path
---@return string? folder where the app is; or what is wrong
---@return string[]? sources the other Lua files of the folder
function M.find(path)
  local single = path:find("_test%.lua$")
  local folder = single and (path:match("^(.*)/[^/]*$") or ".") or path
  local list, message = host.app.files(folder)
  if not list then
    return nil, message
  end
  local tests, sources = {}, {}
  for _, file in ipairs(list) do
    if file.path:find("_test%.lua$") then
      tests[#tests + 1] = file.path
    elseif file.path:find("%.lua$") then
      sources[#sources + 1] = file.path
    end
  end
  return single and { path } or tests, folder, sources
end

-- The app of a folder; nil where there is none. `require("app")` gives the same one.
local function load_app(folder)
  local file = host.app.find(folder)
  if not file then
    return nil
  end
  local _, app = entry.load(file)
  package.loaded.app = app
  threaded.reopen()
  return app
end

-- The tests that a file declares, in their order.
local function collect(path, folder)
  local tests, names = {}, {}
  local app = load_app(folder)
  function _G.test(name, fn)
    if type(name) ~= "string" or type(fn) ~= "function" then
      errors.raise("test: a sentence and a function (t) are needed")
    end
    if names[name] then
      errors.raise("test: '%s' is declared twice in this file", name)
    end
    names[name] = true
    tests[#tests + 1] = { name = name, fn = fn, app = app }
  end
  local chunk = assert(loadfile(path, "t"))
  chunk()
  _G.test = nil
  return tests
end

-- What is said of something that was raised.
local function describe(result, err)
  local metatable = getmetatable(err)
  if metatable == case.Skip then
    result.outcome, result.message = "skipped", err.reason
    return
  end
  result.outcome = "failed"
  if metatable == case.Failure then
    result.message, result.where = err.message, err.where
  elseif errors.is_cancelled(err) then
    result.message = tostring(err.reason or err)
  elseif errors.is_http_error(err) then
    result.message = ("an HTTP error was raised: %d %s"):format(err.status, tostring(err.detail))
  else -- with a traceback, as a rule: what is below the test is ours
    result.message = (errors.message(err):gsub("\n[^\n]*perigee/test/runner%.lua.*$", ""))
  end
end

local function lines_of(text)
  local lines = {}
  for line in text:gmatch("[^\n]+") do
    lines[#lines + 1] = line
  end
  return lines
end

-- Runs one test and what belongs to its end.
local function run_test(test, options)
  local result = { name = test.name, outcome = "passed" }
  local before = host.test.counts()
  local began = host.test.stopwatch()
  host.test.capture_log(true)
  local t = case.new(test.app)
  local ok, err = host.test.run(function()
    test.fn(t)
  end, options.timeout_ms)
  if not ok then
    describe(result, err)
  end
  ok, err = host.test.run(function()
    case.close(t)
  end, CLOSE_MS)
  if not ok and result.outcome ~= "failed" then
    describe(result, err)
    result.message = "at its end: " .. result.message
  end
  local left = quiet.leftovers(before)
  if left and result.outcome ~= "failed" then
    result.outcome = "failed"
    result.message = "it left behind: " .. left
  end
  result.seconds = host.test.stopwatch() - began
  result.notes = t.notes
  table.move(lines_of(host.test.capture_log(false)), 1, 1000, #t.notes + 1, t.notes)
  return result
end

local function run_file(path, folder, options)
  local tests
  local ok, err = host.test.run(function()
    tests = collect(path, folder)
  end, options.timeout_ms)
  if not ok then
    local result = { file = path, name = "(the file loads)", seconds = 0 }
    describe(result, err)
    options.report(result)
    return 1, 1
  end
  local count, failed = 0, 0
  for _, test in ipairs(tests) do
    local full = path .. ": " .. test.name
    if not options.filter or full:find(options.filter, 1, true) then
      local result = run_test(test, options)
      result.file = path
      count = count + 1
      failed = failed + (result.outcome == "failed" and 1 or 0)
      options.report(result)
      if failed > 0 and options.fail_fast then
        break
      end
    end
  end
  return count, failed
end

--- Runs the tests of these files.
---@async
---@param files string[]
---@param folder string of the app
---@param options perigee.test.Options
---@return integer count
---@return integer failed
function M.run(files, folder, options)
  local count, failed = 0, 0
  for _, path in ipairs(files) do
    local saved = snapshot()
    local ran, bad = run_file(path, folder, options)
    restore(saved)
    count, failed = count + ran, failed + bad
    if failed > 0 and options.fail_fast then
      break
    end
  end
  return count, failed
end

return M
