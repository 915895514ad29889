--- What the tests of tasks share.

local host = require("perigee.host")
local perigee = require("perigee")
local task = require("perigee.task")

local M = { FOREVER = 86400000 }

function M.forever()
  perigee.sleep(M.FOREVER)
end

function M.closing(fn)
  return setmetatable({}, { __close = fn })
end

--- A test that leaves nothing behind.
function M.leaves_nothing(sentence, fn)
  _G.test(sentence, function(t)
    local alive = host.task.alive()
    fn(t)
    t:eq(host.task.alive(), alive)
    t:eq(task.cancelled(), false)
  end)
end

function M.fails(fn, ...)
  local ok, err = pcall(fn, ...)
  assert(not ok, "expected an error")
  return err
end

return M
