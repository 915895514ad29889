--- Snapshots of the store and the files they are kept in; what the store itself does is shown by
--- tests/unit/store_test.c and tests/e2e/test_shared.py.

local fs = require("perigee.fs")
local shared = require("perigee.shared")

local function refused(t, code, ok, err)
  t:eq(ok, nil)
  t:eq(err.code, code)
  return tostring(err)
end

test("a snapshot brings back what the store held", function(t)
  local temp <close> = assert(fs.temp_folder())
  local path = temp.path .. "/snapshot"
  shared.set("shared_test", { 1, "two" })
  t:eq(shared.save(path), true)
  shared.delete("shared_test")
  t:eq(shared.load(path), true)
  t:eq(shared.get("shared_test"), { 1, "two" })
  shared.delete("shared_test")
end)

test("a snapshot takes the place of a file only, and is read from one only", function(t)
  local temp <close> = assert(fs.temp_folder())
  local pipe = temp.path .. "/pipe"
  assert(os.execute("mkfifo " .. pipe))
  local message = pipe .. " is no regular file: snapshots are kept in one"
  t:eq(refused(t, "EINVAL", shared.save(pipe)), message)
  t:eq(refused(t, "EINVAL", shared.load(pipe)), message)
  t:eq(assert(fs.stat(pipe)).type, "pipe")
  refused(t, "EISDIR", shared.save(temp.path))
  refused(t, "EISDIR", shared.load(temp.path))
  t:eq(#assert(fs.list(temp.path)), 1)
end)
