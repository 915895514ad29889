--- Files and folders, on a temporary folder of their own. Where the disk is not enough to show something
--- (cancellation, what is left behind after a kill), tests/e2e/test_files.py shows it.

local fs = require("perigee.fs")

local function folder()
  return assert(fs.temp_folder())
end

local function names(path)
  local list = {}
  for i, entry in ipairs(assert(fs.list(path))) do
    list[i] = entry.name .. ":" .. entry.type
  end
  return list
end

local function fails(t, code, result, err)
  t:eq(result, nil)
  t:eq(err.code, code)
  return tostring(err)
end

test("what is written is read, byte for byte", function(t)
  local temp <close> = folder()
  local path = temp.path .. "/a"
  for _, bytes in ipairs({ "", "two\0burgers\r\n", ("x"):rep(3000000) .. "end" }) do
    t:eq(fs.write(path, bytes), true)
    t:eq(fs.read(path) == bytes, true)
  end
  t:eq(names(temp.path), { "a:file" })
end)

test("a missing file is nil and an error that names it", function(t)
  local message = fails(t, "ENOENT", fs.read("/nonexistent/a"))
  t:eq(message, "/nonexistent/a: no such file or directory")
  fails(t, "EISDIR", fs.read("/tmp"))
  fails(t, "ENOENT", fs.write("/nonexistent/a", "x"))
end)

test("reading is bounded, also where a file does not tell its size", function(t)
  local temp <close> = folder()
  local path = temp.path .. "/a"
  fs.write(path, ("x"):rep(1000))
  t:eq(#fs.read(path, { max_bytes = 1000 }), 1000)
  fails(t, "EFBIG", fs.read(path, { max_bytes = 999 }))
  fails(t, "EFBIG", fs.read("/dev/zero", { max_bytes = 100000 }))
  t:eq(fs.read("/proc/self/stat"):match("^%d+") ~= nil, true)
end)

test("a pipe without a writer holds nobody", function(t)
  local temp <close> = folder()
  local path = temp.path .. "/pipe"
  assert(os.execute("mkfifo " .. path))
  t:eq(fs.read(path), "")
  fails(t, "ENXIO", fs.write(path, "x"))
  fails(t, "ENOTSUP", fs.open(path))
  t:eq(fs.stat(path).type, "pipe")
end)

test("writing keeps permissions and follows links", function(t)
  local temp <close> = folder()
  local path, link = temp.path .. "/a", temp.path .. "/link"
  fs.write(path, "old", { mode = tonumber("640", 8) })
  t:eq(fs.stat(path).mode, tonumber("640", 8))
  assert(os.execute("chmod 604 " .. path .. " && ln -s a " .. link))
  t:eq(fs.write(link, "new", { sync = true }), true)
  t:eq(fs.read(path), "new")
  t:eq(fs.stat(path).mode, tonumber("604", 8))
  t:eq(names(temp.path), { "a:file", "link:link" })
end)

test("appending makes the file and adds to it", function(t)
  local temp <close> = folder()
  local path = temp.path .. "/log"
  t:eq(fs.append(path, "one\n"), true)
  t:eq(fs.append(path, "two\n", { sync = true }), true)
  t:eq(fs.read(path), "one\ntwo\n")
end)

test("stat tells what things are, links included", function(t)
  local temp <close> = folder()
  local path = temp.path .. "/a"
  local before = require("perigee.time").now()
  fs.write(path, "four")
  assert(os.execute("ln -s a " .. temp.path .. "/link"))
  local stat = fs.stat(temp.path .. "/link")
  t:eq({ stat.type, stat.size, stat.links }, { "file", 4, 1 })
  t:eq(stat.modified > before - 2 and stat.modified < before + 60, true)
  t:eq(fs.stat(temp.path .. "/link", { follow = false }).type, "link")
  t:eq(fs.stat(temp.path).type, "folder")
  t:eq({ fs.exists(path), fs.exists(path .. "x"), fs.exists(path .. "/x") }, { true, false, false })
  t:eq(fs.realpath(temp.path .. "/./link"), fs.realpath(path))
end)

test("folders are made with their parents and listed by name", function(t)
  local temp <close> = folder()
  fails(t, "ENOENT", fs.mkdir(temp.path .. "/b/c"))
  t:eq(fs.mkdir(temp.path .. "/b/c//d/", { parents = true }), true)
  t:eq(fs.mkdir(temp.path .. "/b/c", { parents = true }), true)
  fails(t, "EEXIST", fs.mkdir(temp.path .. "/b"))
  fs.write(temp.path .. "/a", "")
  fails(t, "ENOTDIR", fs.mkdir(temp.path .. "/a/b", { parents = true }))
  t:eq(names(temp.path), { "a:file", "b:folder" })
  fails(t, "EFBIG", fs.list(temp.path, { max_entries = 1 }))
  fails(t, "ENOENT", fs.list(temp.path .. "/x"))
end)

test("removing recursively never goes through a link", function(t)
  local temp <close> = folder()
  local inner, outer = temp.path .. "/inner", temp.path .. "/outer"
  fs.mkdir(inner .. "/deep/deeper", { parents = true })
  fs.mkdir(outer)
  fs.write(inner .. "/deep/file", "x")
  fs.write(outer .. "/precious", "x")
  assert(os.execute(("ln -s %s %s/deep/link"):format(outer, inner)))
  fails(t, "ENOTEMPTY", fs.remove(inner))
  t:eq(fs.remove(inner, { recursive = true }), true)
  t:eq(names(temp.path), { "outer:folder" })
  assert(os.execute(("ln -s %s %s/link"):format(outer, temp.path)))
  t:eq(fs.remove(temp.path .. "/link", { recursive = true }), true)
  t:eq(fs.read(outer .. "/precious"), "x")
  fails(t, "ENOENT", fs.remove(inner, { recursive = true }))
end)

test("copying and renaming replace what was there", function(t)
  local temp <close> = folder()
  local a, b, c = temp.path .. "/a", temp.path .. "/b", temp.path .. "/c"
  fs.write(a, ("y"):rep(100000), { mode = tonumber("750", 8) })
  fs.write(b, "old")
  t:eq(fs.copy(a, b), true)
  t:eq(#fs.read(b), 100000)
  t:eq(fs.stat(b).mode, tonumber("750", 8))
  t:eq(fs.rename(b, c), true)
  t:eq(names(temp.path), { "a:file", "c:file" })
  fails(t, "EISDIR", fs.copy(temp.path, b))
  fails(t, "EISDIR", fs.copy(a, temp.path))
  t:eq(fs.copy("/proc/self/cmdline", b), true)
  t:eq(#fs.read(b) > 0, true)
end)

test("an open file is read in pieces, in lines and from anywhere", function(t)
  local temp <close> = folder()
  local path = temp.path .. "/a"
  fs.write(path, "one\r\ntwo\n\nlast")
  local file <close> = assert(fs.open(path))
  t:eq(file:read(2), "on")
  t:eq(file:read_line(), "e")
  t:eq(file:position(), 5)
  local lines = {}
  for line in file:lines() do
    lines[#lines + 1] = line
  end
  t:eq(lines, { "two", "", "last" })
  t:eq({ file:read() }, {})
  t:eq(file:seek(0), 0)
  local pieces = {}
  for piece in file:chunks(6) do
    pieces[#pieces + 1] = piece
  end
  t:eq(pieces, { "one\r\nt", "wo\n\nla", "st" })
  t:eq(file:seek(-4, "end"), 10)
  t:eq(file:read_all(), "last")
  t:eq(file:read_all(), "")
  file:seek(0)
  fails(t, "EFBIG", file:read_all(13))
  t:eq(file:position(), 0)
  fails(t, "EBADF", file:write("x"))
end)

test("long lines and large files take bounded memory", function(t)
  local temp <close> = folder()
  local path = temp.path .. "/a"
  fs.write(path, ("x"):rep(200000) .. "\n" .. ("short\n"):rep(50000))
  local file <close> = assert(fs.open(path))
  fails(t, "EMSGSIZE", file:read_line())
  file:seek(0)
  t:eq(#file:read_line(200000), 200000)
  local count = 0
  for line in file:lines(5) do
    count = count + (line == "short" and 1 or 0)
  end
  t:eq(count, 50000)
end)

test("an open file is written, appended to and cut", function(t)
  local temp <close> = folder()
  local path = temp.path .. "/a"
  local file <close> = assert(fs.open(path, "w+"))
  t:eq(file:write("burger"), true)
  t:eq(file:write("s!"), true)
  t:eq(file:seek(0), 0)
  t:eq(file:read(3), "bur")
  t:eq(file:write("GER"), true) -- where reading stopped, not where it read ahead
  t:eq(file:sync(), true)
  t:eq(fs.read(path), "burGERs!")
  t:eq(file:truncate(6), true)
  t:eq(file:stat().size, 6)
  local log <close> = assert(fs.open(path, "a"))
  log:write("1")
  log:write("2")
  t:eq(fs.read(path), "burGER12")
  fails(t, "EEXIST", fs.open(path, "wx"))
  t:raises("mode 'rx'", fs.open, path, "rx")
end)

test("a closed file says so, as often as it is closed", function(t)
  local temp <close> = folder()
  local file = assert(fs.open(temp.path .. "/a", "w"))
  file:close()
  file:close()
  t:raises("the file is closed", file.write, file, "x")
  t:raises("the file is closed", file.lines, file)
end)

test("what is temporary goes when its variable does", function(t)
  local path
  do
    local temp <close> = assert(fs.temp_file({ prefix = "burger-" }))
    path = temp.path
    t:eq(temp.file:write("x"), true)
    t:eq(fs.stat(path).mode, tonumber("600", 8))
    t:eq(path:match("burger%-......$") ~= nil, true)
  end
  repeat -- it is removed some time soon
    require("perigee.time").sleep(1)
  until not fs.exists(path)
  local kept
  do
    local temp <close> = folder()
    kept = temp.path
    temp:keep()
  end
  t:eq(fs.remove(kept), true)
end)

local function wait_for(watch, path)
  repeat
    local event = watch:next()
  until event.path == path
end

test("a watch tells of changes in a folder, a file and a tree", function(t)
  local temp <close> = folder()
  fs.mkdir(temp.path .. "/in")
  local flat <close> = assert(fs.watch(temp.path))
  local tree <close> = assert(fs.watch(temp.path, { recursive = true }))
  fs.append(temp.path .. "/a", "x")
  t:eq(flat:next(), { path = temp.path .. "/a", kind = "rename" })
  t:eq(flat:next(), { path = temp.path .. "/a", kind = "change" })
  wait_for(tree, temp.path .. "/a")
  fs.write(temp.path .. "/in/b", "x")
  wait_for(tree, temp.path .. "/in/b")
  fs.mkdir(temp.path .. "/new")
  wait_for(tree, temp.path .. "/new")
  fs.append(temp.path .. "/new/c", "x")
  wait_for(tree, temp.path .. "/new/c")
  local one <close> = assert(fs.watch(temp.path .. "/a"))
  fs.append(temp.path .. "/a", "y")
  t:eq(one:next().path, temp.path .. "/a")
  fails(t, "ENOENT", fs.watch(temp.path .. "/none"))
  one:close()
  t:raises("is closed", one.next, one)
end)

test("mistakes are the caller's", function(t)
  t:raises("did you mean 'max_bytes'", fs.read, "a", { max_byte = 1 })
  t:raises("a path without NUL", fs.read, "a\0b")
  t:raises("a path without NUL", fs.read, "")
  t:raises("string expected", fs.write, "a", nil)
end)

-- Runs `fn` in a task and ends it where it waits.
local function cancelled(t, fn)
  local task = require("perigee.host").task
  task.group(function(group)
    local child = group:spawn(fn)
    t:eq(child:status(), "running")
    child:cancel()
    t:eq(select(2, child:join()).code, "ECANCELED")
  end)
end

test("what is cancelled stops between two steps and leaves nothing", function(t)
  local temp <close> = folder()
  local path = temp.path .. "/a"
  collectgarbage() -- what earlier tests have left to it
  collectgarbage()
  local before = #fs.list("/proc/self/fd")
  cancelled(t, function()
    return fs.read("/dev/zero", { max_bytes = 1 << 40 })
  end)
  cancelled(t, function()
    return fs.write(path, ("x"):rep(20000000))
  end)
  cancelled(t, function()
    return fs.open(path, "w")
  end)
  cancelled(t, function()
    return fs.temp_file({ folder = temp.path, prefix = "temporary" })
  end)
  cancelled(t, function()
    return fs.temp_folder({ folder = temp.path, prefix = "temporary" })
  end)
  cancelled(t, function()
    local watch <close> = assert(fs.watch(temp.path))
    return watch:next()
  end)
  for _, entry in ipairs(fs.list(temp.path)) do
    t:eq(entry.name, "a") -- opening may have been too fast; nothing else was left
  end
  t:eq(#fs.list("/proc/self/fd"), before)
end)
