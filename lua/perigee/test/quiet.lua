--- Waiting until nothing goes on, and telling what is left when a test has ended.

local host = require("perigee.host")

local M = {}

local TURNS = 3 -- of the loop without anything to do: bytes between two sockets take one
local PATIENCE = 2 -- seconds for what ends by itself
local JOB_PATIENCE = 0.05 -- ... for a run of a schedule

-- Lets others run, and the loop look at its sockets.
local function turn()
  coroutine.yield()
end

-- A function that tells, asked once a turn, whether no task could go on for some turns.
local function settling()
  local quiet_turns = 0
  return function()
    quiet_turns = host.test.is_settled() and quiet_turns + 1 or 0
    return quiet_turns >= TURNS
  end
end

--- Waits until no task could go on.
---@async
function M.settle()
  local settled = settling()
  repeat
    turn()
  until settled()
end

-- Waits until `done()`, but not for ever. Between the looks the loop rests.
local function wait_until(done, patience)
  local since = host.test.stopwatch()
  while not done() do
    if host.test.stopwatch() - since > (patience or PATIENCE) then
      return false
    end
    turn()
  end
  return true
end

--- Waits until the connections of closed clients are gone; cuts them when they are not.
---@async
function M.wait_for_connections()
  local function gone()
    return host.test.counts().connections == 0
  end
  if not wait_until(gone) then
    host.test.cut()
    wait_until(gone)
  end
end

--- Lets functions behind answers hear that the app stops, and whatever else need not wait come to its end.
---@async
function M.wait_for_tasks()
  wait_until(settling())
end

--- Waits until the schedules of an app that stops have ended; cancels a run that takes its time.
---@async
function M.wait_for_background()
  local function ended()
    return not host.test.background("stop")
  end
  if not wait_until(ended, JOB_PATIENCE) then
    host.test.background("cancel")
    wait_until(ended)
  end
  host.test.background("forget")
end

local function leftovers(before)
  local now = host.test.counts()
  local found = {}
  if now.tasks > before.tasks then
    found[#found + 1] = ("%d task%s"):format(
      now.tasks - before.tasks,
      now.tasks - before.tasks == 1 and "" or "s"
    )
  end
  for kind, count in pairs(now.handles) do
    local more = count - (before.handles[kind] or 0)
    if more > 0 then
      found[#found + 1] = ("%d %s handle%s"):format(more, kind, more == 1 and "" or "s")
    end
  end
  table.sort(found)
  return found
end

--- What a test has left behind: nil when nothing is. Left tasks are cancelled.
---@async
---@param before table host.test.counts() as it was before
---@return string?
function M.leftovers(before)
  local function clean()
    return #leftovers(before) == 0
  end
  if clean() then
    return nil
  end
  collectgarbage() -- a handle that nobody holds any more is closed by its collector
  local since = host.test.stopwatch()
  while not clean() and host.test.stopwatch() - since < 0.05 do
    turn() -- what is closing needs a turn of the loop
  end
  local found = leftovers(before)
  if #found == 0 then
    return nil
  end
  host.test.cut()
  wait_until(clean)
  return table.concat(found, ", ")
end

return M
