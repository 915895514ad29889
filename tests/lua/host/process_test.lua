--- Child processes; what becomes of them when a task or the program ends is shown by tests/e2e/test_process.py.

local fs = require("perigee.fs")
local process = require("perigee.process")

local function sh(script, options)
  return assert(process.run({ "sh", "-c", script }, options))
end

local function fails(t, code, result, err)
  t:eq(result, nil)
  t:eq(err.code, code)
  return tostring(err)
end

test("a program runs to its end and tells what it wrote", function(t)
  local result = assert(process.run({ "printf", "%s|", "two burgers", "$HOME; `rm`", "" }))
  t:eq(result, { ok = true, code = 0, stdout = "two burgers|$HOME; `rm`||", stderr = "" })
  t:eq(sh("echo no >&2; exit 3"), { ok = false, code = 3, stdout = "", stderr = "no\n" })
  t:eq(sh("kill -9 $$").signal, 9)
  t:eq(sh("echo a; echo b >&2", { stderr = "stdout" }).stdout, "a\nb\n")
  t:eq(
    sh("echo a; echo b >&2", { stdout = "discard", stderr = "discard" }),
    { ok = true, code = 0 }
  )
end)

test("what cannot be started is an error", function(t)
  t:eq(
    fails(t, "ENOENT", process.run({ "/nonexistent/burger" })),
    "start /nonexistent/burger: no such file or directory"
  )
  fails(t, "EACCES", process.run({ "/etc/passwd" }))
  fails(t, "ENOENT", process.run({ "true" }, { cwd = "/nonexistent" }))
  fails(t, "ENOENT", process.pipe({ "/nonexistent/burger" }))
end)

test("input is given whole, also when it is not wanted", function(t)
  local long = ("0123456789"):rep(100000)
  t:eq(assert(process.run({ "cat" }, { stdin = long })).stdout == long, true)
  t:eq(assert(process.run({ "cat" }, { stdin = "" })).stdout, "")
  t:eq(assert(process.run({ "true" }, { stdin = long })).ok, true)
  t:eq(sh("cat").stdout, "")
end)

test("standard streams can be opened by name", function(t)
  t:eq(sh("cat /dev/stdin > /dev/stdout", { stdin = "x" }).stdout, "x")
end)

test("environment and folder are what was asked for", function(t)
  t:eq(sh('echo "$A$B"', { env = { A = "1", B = "2" } }).stdout, "12\n")
  t:eq(sh("echo ${PATH:+set}", { env = { A = "1" } }).stdout, "set\n")
  t:eq(sh("echo ${HOME-unset}", { env = { HOME = false } }).stdout, "unset\n")
  local env =
    assert(process.run({ "/usr/bin/env" }, { clear_env = true, env = { A = "1" } })).stdout
  t:eq(env, "A=1\n")
  t:eq(sh("pwd", { cwd = "/usr" }).stdout, "/usr\n")
end)

test("too much output and too much time end it", function(t)
  fails(t, "EMSGSIZE", process.run({ "yes" }, { max_output_bytes = 100000 }))
  t:eq(#sh("head -c 100000 /dev/zero", { max_output_bytes = 100000 }).stdout, 100000)
  fails(t, "ETIMEDOUT", process.run({ "sleep", "1000" }, { timeout_ms = 20 }))
end)

test("what a child has started ends with it", function(t)
  local temp <close> = fs.temp_folder()
  local path = temp.path .. "/pid"
  local script = ("sleep 1000 & echo $! > %s; wait"):format(path)
  local child <close> = assert(process.pipe({ "sh", "-c", script }))
  repeat
    require("perigee.time").sleep(1)
  until #(fs.read(path) or "") > 0
  local grandchild = fs.read(path):match("%d+")
  child:close()
  repeat
    require("perigee.time").sleep(1)
    local stat = fs.read("/proc/" .. grandchild .. "/stat")
  until not stat or stat:match("%) (%a)") == "Z"
  t:eq(true, true)
end)

test("a child inherits no descriptor", function(t)
  local file <close> = assert(fs.open("/etc/passwd"))
  t:eq(file:read(1) ~= nil, true)
  local listener <close> = assert(require("perigee.net").listen({ host = "127.0.0.1", port = 0 }))
  t:eq(listener:address().host, "127.0.0.1")
  local result = assert(process.run({ "ls", "/proc/self/fd" }))
  t:eq(result.stdout, "0\n1\n2\n3\n") -- 3 is the folder that ls reads
end)

test("a conversation goes both ways", function(t)
  local child <close> =
    assert(process.pipe({ "sh", "-c", 'while read x; do echo "<$x>"; done; echo bye; exit 5' }))
  for _, word in ipairs({ "one", "two" }) do
    t:eq(child.stdin:write(word .. "\n"), true)
    t:eq(child.stdout:read_line(), "<" .. word .. ">")
  end
  t:eq(child.stdin:shutdown(), true)
  t:eq(child.stdout:read_all(100), "bye\n")
  t:eq(child:wait(), { ok = false, code = 5 })
  t:eq(child:wait().code, 5)
  fails(t, "ESRCH", child:kill())
  fails(t, "EPIPE", child.stdin:write("late"))
end)

test("a child is waited for, told to end and closed", function(t)
  local child <close> = assert(process.pipe({ "sleep", "1000" }, { stdin = "discard" }))
  t:eq(child.stdin, nil)
  fails(t, "ETIMEDOUT", child:wait(5))
  t:eq(child:kill("TERM"), true)
  t:eq(child:wait(), { ok = false, signal = 15 })
  child:close()
  child:close()
  t:raises("the process was closed", child.wait, child)
  t:raises("no signal is called 'BURGER'", child.kill, child, "BURGER")
end)

test("a cancelled task ends its child, not its own waiting for one", function(t)
  local task = require("perigee.host").task
  local child <close> = assert(process.pipe({ "cat" }))
  task.group(function(group)
    local running = group:spawn(process.run, { "sleep", "1000" })
    local waiting = group:spawn(child.wait, child)
    running:cancel()
    waiting:cancel()
    t:eq(select(2, running:join()).code, "ECANCELED")
    t:eq(select(2, waiting:join()).code, "ECANCELED")
    local closed = group:spawn(child.wait, child)
    t:eq(child.stdin:write("alive"), true)
    t:eq(child.stdout:read(), "alive")
    child:close()
    fails(t, "ECLOSED", closed:join())
  end)
end)

test("mistakes are the caller's", function(t)
  t:raises("a list of the program", process.run, "ls -l")
  t:raises("did you mean 'timeout_ms'", process.run, { "ls" }, { timeout = 1 })
  t:raises("argument 2 of the process must be text without NUL", process.run, { "ls", "a\0b" })
  t:raises("stdout must be 'capture'", process.run, { "ls" }, { stdout = "stdout" })
end)
