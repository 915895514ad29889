--- `perigee test`: runs the tests of an app.

local arguments = require("perigee.cli.arguments")
local coverage = require("perigee.test.coverage")
local host = require("perigee.host")
local report = require("perigee.test.report")
local runner = require("perigee.test.runner")
local terminal = require("perigee.cli.terminal")

local WATCH_MS = 200 -- between looks at the files

-- Where results go: standard output, or the file that --output names.
local function open_output(path)
  if not path then
    return function(...)
      io.stdout:write(...)
    end, function()
      io.stdout:flush()
    end
  end
  local file, message = io.open(path, "w")
  if not file then
    return nil, message
  end
  return function(...)
    file:write(...)
  end, function()
    file:close()
  end
end

local function write_coverage(counter, sources, flags)
  local files = counter:files(sources)
  if flags.coverage then
    io.stdout:write("\n", coverage.text(files))
  end
  if flags.lcov then
    local file, message = io.open(flags.lcov, "w")
    if not file then
      return terminal.fail("%s", message)
    end
    file:write(coverage.lcov(files))
    file:close()
  end
end

-- One run of all tests. Returns the exit code.
local function run_once(path, flags, counter)
  local files, folder, sources = runner.find(path)
  if not files then
    return terminal.fail("%s: %s", path, tostring(folder))
  end
  if #files == 0 then
    return terminal.fail(
      "no tests in '%s': they stand in files whose names end with _test.lua",
      path
    )
  end
  local write, finish = open_output(flags.output)
  if not write then
    return terminal.fail("%s", tostring(finish))
  end
  local paint = flags.output and function(_, text)
    return text
  end or terminal.painter(1)
  local began = host.test.stopwatch()
  local results = report[flags.format or "text"](write, paint)
  local count, failed = runner.run(files, folder, {
    filter = flags.filter,
    timeout_ms = flags.timeout_ms or 30000,
    fail_fast = flags.fail_fast,
    report = results.result,
  })
  results.finish(host.test.stopwatch() - began)
  finish()
  if count == 0 then
    return terminal.fail("no test's name holds '%s'", flags.filter or "")
  end
  if counter then
    local code = write_coverage(counter, sources, flags)
    if code then
      return code
    end
  end
  return failed > 0 and 1 or 0
end

-- What the files are like: changes when one does, comes or goes.
local function state_of(path)
  local parts = {}
  for _, file in ipairs(host.app.files(path) or {}) do
    parts[#parts + 1] = ("%s %.9f"):format(file.path, file.modified)
  end
  return table.concat(parts, "\n")
end

local function watch(path, flags)
  local folder = path:match("^(.*)/[^/]*_test%.lua$") or path
  while true do
    local before = state_of(folder)
    run_once(path, flags)
    io.stdout:write(terminal.painter(1)("dim", "waiting for a change; Ctrl-C ends"), "\n")
    io.stdout:flush()
    repeat
      host.time.sleep(WATCH_MS)
    until state_of(folder) ~= before
    io.stdout:write("\n")
  end
end

---@type perigee.cli.Command
return {
  name = "test",
  usage = "[APPDIR | FILE_test.lua] [options]",
  summary = "runs the tests of an app",
  description = 'Runs each test("sentence", function(t) ... end) of the files *_test.lua below the folder, '
    .. "the working directory unless one is given. The exit code is 0 when all pass, 1 when one fails, 2 "
    .. "when there is none. No port is used, so that any number of runs may go on at once.",
  operands = 1,
  flags = {
    {
      name = "filter",
      argument = "TEXT",
      help = 'only tests whose "file: name" holds this text',
    },
    {
      name = "format",
      argument = "text|tap|junit",
      values = { "text", "tap", "junit" },
      help = "how results are told (text)",
    },
    { name = "output", argument = "FILE", help = "where they go (standard output)" },
    { name = "coverage", help = "tell which lines of the app have run" },
    { name = "lcov", argument = "FILE", help = "write the lines that have run as lcov does" },
    { name = "watch", help = "run them again when a file changes" },
    { name = "fail-fast", help = "end with the first test that fails" },
    {
      name = "timeout-ms",
      argument = "N",
      number = true,
      help = "for one test, in real time (30000)",
    },
    arguments.SET,
  },
  run = function(operands, flags)
    local path = operands[1] or "."
    if flags.watch then
      if flags.coverage or flags.lcov then
        return terminal.fail("--watch does not go with --coverage and --lcov")
      end
      return watch(path, flags)
    end
    local counter = (flags.coverage or flags.lcov) and coverage.start() or nil
    return run_once(path, flags, counter)
  end,
}
