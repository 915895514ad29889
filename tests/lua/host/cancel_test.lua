--- Timeouts, shields and what cancellation reaches. Each test ends with no task but its own.

local perigee = require("perigee")
local task = require("perigee.task")
local tasks = require("host.tasks")

local FOREVER = tasks.FOREVER
local sleep = perigee.sleep
local closing, fails, forever, leaves_nothing =
  tasks.closing, tasks.fails, tasks.forever, tasks.leaves_nothing

-- --- cancellation ---------------------------------------------------------------------------------

leaves_nothing("a swallowed cancellation is met again at the next wait", function(t)
  local met = 0
  task.group(function(g)
    local stubborn = g:spawn(function()
      for _ = 1, 3 do
        local ok, err = pcall(forever)
        met = met + ((not ok and err.code == "ECANCELED") and 1 or 0)
      end
      t:eq(task.cancelled(), "it was cancelled")
      return "went its way"
    end)
    stubborn:cancel()
    t:eq(stubborn:join(), "went its way")
  end)
  t:eq(met, 3)
end)

leaves_nothing("xpcall and coroutines end the cleaning up, too", function(t)
  task.group(function(g)
    local results = {}
    local child = g:spawn(function()
      results[1] = select(
        2,
        xpcall(forever, function(err)
          return err.code
        end)
      )
      results[2] = select(2, xpcall(forever, debug.traceback)).code
      results[3] = select(2, coroutine.resume(coroutine.create(forever))).code
      results[4] = select(2, pcall(coroutine.wrap(forever))).code
      local co = coroutine.wrap(function()
        pcall(forever)
        coroutine.yield()
        forever()
      end)
      co()
      results[5] = select(2, pcall(co)).code
    end)
    child:cancel()
    child:join()
    t:eq(results, { "ECANCELED", "ECANCELED", "ECANCELED", "ECANCELED", "ECANCELED" })
  end)
end)

leaves_nothing("an error that is raised again cleans up, too", function(t)
  local cleaned = 0
  local function cleaning()
    return closing(function()
      sleep(0)
      cleaned = cleaned + 1
    end)
  end
  task.group(function(g)
    g:spawn(function()
      local _ <close> = cleaning()
      local ok, err = pcall(function()
        local _ <close> = cleaning()
        forever()
      end)
      t:eq(ok, false)
      error(err, 0)
    end):cancel()
  end)
  t:eq(cleaned, 2)
end)

leaves_nothing("cleaning up may open groups and timeouts of its own", function(t)
  local trace = {}
  task.group(function(g)
    local child = g:spawn(function()
      local _ <close> = closing(function()
        trace[1] = task.timeout(FOREVER, function()
          sleep(1)
          return "in time"
        end)
        trace[2] = select(2, task.move_on(1, forever)).code
        trace[3] = task.group(function(inner)
          return inner
            :spawn(function()
              sleep(1)
              return "spawned"
            end)
            :join()
        end)
        trace[4] = task.shield(function()
          sleep(1)
          return "shielded"
        end)
      end)
      forever()
    end)
    child:cancel()
    child:join()
    t:eq(child:status(), "cancelled")
  end)
  t:eq(trace, { "in time", "ETIMEDOUT", "spawned", "shielded" })
end)

leaves_nothing("a task that was cancelled before it waited ends at its first wait", function(t)
  local reached = {}
  fails(task.group, function(g)
    g:spawn(error, "x", 0)
    reached[1] = task.cancelled()
    g:spawn(function()
      reached[2] = task.cancelled()
      sleep(0)
      reached[3] = true
    end)
  end)
  t:eq(reached, { "another task of its group failed", "another task of its group failed" })
end)

leaves_nothing(
  "an error object of a cancellation means nothing where nobody was cancelled",
  function(t)
    local err = fails(task.group, function(g)
      local child = g:spawn(forever)
      child:cancel()
      local _, why = child:join()
      error(why)
    end)
    t:eq(err.code, "ECANCELED")
  end
)

-- --- timeouts and shields -------------------------------------------------------------------------

leaves_nothing("a timeout raises, move_on returns, and both end what is late", function(t)
  local closed = 0
  local function late()
    local _ <close> = closing(function()
      sleep(0)
      closed = closed + 1
    end)
    task.group(function(g)
      g:spawn(forever)
    end)
  end
  local err = fails(task.timeout, 1, late)
  t:eq({ err.code, tostring(err) }, { "ETIMEDOUT", "it took longer than 1 ms" })
  local result, why = task.move_on(1, late)
  t:eq({ result, why.code }, { nil, "ETIMEDOUT" })
  t:eq(closed, 2)
  t:eq({ task.timeout(FOREVER, function(...)
    sleep(0)
    return ...
  end, 1, 2) }, { 1, 2 })
  t:eq({ task.move_on(FOREVER, function() end) }, {})
  t:eq(fails(task.timeout, FOREVER, error, "x", 0), "x")
end)

leaves_nothing("a timeout reaches what computes, and only that", function(t)
  local function spin()
    while true do
      pcall(function()
        while true do
        end
      end)
    end
  end
  local err = fails(task.timeout, 20, spin)
  t:eq(err.code, "ETIMEDOUT")
  sleep(0) -- what is around it goes on
  local trace = {}
  err = fails(task.group, function(g)
    g:spawn(function()
      local _ <close> = closing(function()
        trace[1] = "closed"
      end)
      spin()
    end)
    sleep(1)
    error("x", 0)
  end)
  t:eq({ err, trace[1] }, { "x", "closed" })
end)

leaves_nothing("a task may be late as often as it likes", function(t)
  local late = 0
  for _ = 1, 150 do
    local _, err = task.move_on(0, forever)
    late = late + (err.code == "ETIMEDOUT" and 1 or 0)
  end
  t:eq(late, 150)
  sleep(0)
end)

leaves_nothing("a result that comes although the time is over counts", function(t)
  t:eq(
    task.timeout(1, function()
      pcall(forever)
      return "late, but here"
    end),
    "late, but here"
  )
end)

leaves_nothing("the outer of two timeouts is told from the inner one", function(t)
  local err = fails(task.timeout, 1, function()
    task.move_on(FOREVER, forever)
    error("not reached")
  end)
  t:eq(err.code, "ETIMEDOUT")
  t:eq(tostring(err), "it took longer than 1 ms")
  t:eq(
    task.timeout(FOREVER, function()
      task.move_on(1, forever)
      sleep(0)
      return "went on"
    end),
    "went on"
  )
end)

leaves_nothing("a timeout reaches the tasks of the groups in it", function(t)
  local ended = 0
  task.move_on(2, function()
    task.group(function(g)
      for _ = 1, 10 do
        g:spawn(function()
          local _ <close> = closing(function()
            ended = ended + 1
          end)
          task.group(function(inner)
            inner:spawn(forever)
          end)
        end)
      end
    end)
  end)
  t:eq(ended, 10)
end)

leaves_nothing("a shield holds, and the cancellation is met behind it", function(t)
  local trace = {}
  task.move_on(1, function()
    trace[1] = task.shield(function(x)
      sleep(10)
      t:eq(task.cancelled(), false)
      return x
    end, "kept")
    trace[2] = task.cancelled()
    sleep(0)
    trace[3] = "not reached"
  end)
  t:eq(trace, { "kept", "it took too long" })
end)

leaves_nothing("a shield does not hold for ever", function(t)
  local err
  task.move_on(1, function()
    task.shield(5, function()
      err = fails(forever)
    end)
  end)
  t:eq(err.code, "ECANCELED")
end)

leaves_nothing("a shield that was not needed leaves nothing behind", function(t)
  t:eq(
    task.shield(function()
      return 1
    end),
    1
  )
  t:eq(fails(task.shield, error, "x", 0), "x")
end)

-- --- whatever comes -----------------------------------------------------------------------------------

-- Random trees of tasks that wait, fail, are cancelled, time out, shield, clean up and talk. Whatever
-- happens, no task outlives its group, and each variable that was opened is closed.
local function stress(seed)
  math.randomseed(seed)
  local random = math.random
  local opened, open_groups = 0, 0
  local channel = task.channel(2)
  local limiter = task.limiter(2)
  local grow

  local function resource()
    opened = opened + 1
    return closing(function()
      if random(2) == 1 then
        pcall(sleep, random(0, 1)) -- not possible in a coroutine that has failed
      end
      opened = opened - 1
      if random(40) == 1 then
        error("closing fails", 0)
      end
    end)
  end

  local actions = {
    function()
      sleep(random(0, 2))
    end,
    function()
      error("fails " .. random(10), 0)
    end,
    function(depth)
      task.move_on(random(0, 2), grow, depth)
    end,
    function(depth)
      task.timeout(random(0, 3), grow, depth)
    end,
    function(depth)
      task.shield(random(1, 3), grow, depth)
    end,
    function(depth)
      pcall(grow, depth)
    end,
    function(depth)
      coroutine.wrap(function()
        coroutine.yield()
        grow(depth)
      end)()
    end,
    function(depth)
      local generator = coroutine.wrap(function()
        grow(depth)
        coroutine.yield()
        grow(depth)
      end)
      generator()
      generator()
    end,
    function()
      task.move_on(1, channel.send, channel, random(9))
    end,
    function()
      task.move_on(1, channel.receive, channel)
    end,
    function(depth)
      limiter:with(task.move_on, 2, grow, depth)
    end,
    function(depth)
      local function branch()
        return grow(depth)
      end
      local function quick()
        sleep(1)
      end
      task[random(2) == 1 and "all" or "race"]({ branch, quick })
    end,
  }

  function grow(depth)
    local _ <close> = resource()
    if depth == 0 then
      sleep(random(0, 2))
      return
    end
    if random(2) == 1 then
      return actions[random(#actions)](depth - 1)
    end
    local running = 0
    open_groups = open_groups + 1
    local group_open <close> = closing(function() -- luacheck: ignore
      open_groups = open_groups - 1
      assert(running == 0, "a task outlived its group")
    end)
    task.group(function(g)
      local children = {}
      for i = 1, random(0, 4) do
        children[i] = g:spawn(function()
          running = running + 1
          local counted <close> = closing(function() -- luacheck: ignore
            running = running - 1
          end)
          grow(depth - 1)
        end)
      end
      for _, child in ipairs(children) do
        local dice = random(8)
        if dice == 1 then
          child:cancel()
        elseif dice == 2 then
          child:join()
        elseif dice == 3 and random(6) == 1 then
          g:cancel()
        end
      end
    end)
  end

  for _ = 1, 20 do
    local ok, err = pcall(task.move_on, random(1, 20), grow, 5)
    if not ok then
      assert(not tostring(err):find("outlived"), tostring(err))
    end
    assert(opened == 0, "not everything was closed")
    assert(open_groups == 0, "a group is open")
  end
end

leaves_nothing("no task outlives its group, whatever happens", function()
  local first, last = (os.getenv("SEEDS") or "1-40"):match("^(%d+)-(%d+)$")
  for seed = tonumber(first), tonumber(last) do
    local ok, err = pcall(stress, seed)
    if not ok then
      error(("seed %d: %s"):format(seed, tostring(err)), 0)
    end
  end
end)

leaves_nothing("thousands of tasks that are cancelled leave their memory", function(t)
  local function burst()
    task.move_on(50, function()
      task.group(function(g)
        for _ = 1, 2000 do
          g:spawn(forever)
        end
      end)
    end)
    collectgarbage()
    collectgarbage()
    return collectgarbage("count")
  end
  for _ = 1, 3 do
    burst() -- the pool of coroutines fills, the registry grows
  end
  local before = burst()
  for _ = 1, 3 do
    burst()
  end
  local after_all = burst()
  t:eq({ after_all < before + 64, before, after_all }, { true, before, after_all })
end)
