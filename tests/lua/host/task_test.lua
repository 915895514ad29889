--- Groups, and what their tasks know. Each test ends with no task but its own.

local perigee = require("perigee")
local task = require("perigee.task")
local tasks = require("host.tasks")

local FOREVER = tasks.FOREVER
local sleep = perigee.sleep
local closing, fails, forever, leaves_nothing =
  tasks.closing, tasks.fails, tasks.forever, tasks.leaves_nothing

-- --- groups --------------------------------------------------------------------------------------

leaves_nothing("a group returns what its body returned, when all tasks have ended", function(t)
  local trace = {}
  local function step(name, ms)
    sleep(ms)
    trace[#trace + 1] = name
  end
  local a, b, c = task.group(function(g, x)
    g:spawn(step, "slow", 5)
    g:spawn(step, "quick", 1)
    trace[#trace + 1] = "body"
    return x, nil, 3
  end, 1)
  t:eq({ a, b, c }, { 1, nil, 3 })
  t:eq(trace, { "body", "quick", "slow" })
  t:eq(select("#", task.group(function() end)), 0)
end)

leaves_nothing("a task runs at once until its first wait, and join gives its results", function(t)
  task.group(function(g)
    local started = false
    local function f(...)
      started = true
      sleep(0)
      return ...
    end
    local many = g:spawn(f, 1, nil, "x", nil)
    t:eq(started, true)
    t:eq(many:status(), "running")
    local one, none = g:spawn(f, "one"), g:spawn(f)
    t:eq(select("#", many:join()), 4)
    t:eq({ many:join() }, { 1, nil, "x" })
    t:eq({ one:join() }, { "one" })
    t:eq(select("#", none:join()), 0)
    t:eq(none:status(), "returned")
    t:eq(
      g:spawn(function()
        return 7
      end):join(),
      7
    )
  end)
end)

leaves_nothing("several tasks may wait for the same one", function(t)
  local seen = {}
  task.group(function(g)
    local gate = task.event()
    local shared = g:spawn(function()
      gate:wait()
      return "done"
    end)
    for i = 1, 3 do
      g:spawn(function()
        seen[i] = shared:join()
      end)
    end
    local impatient = g:spawn(function()
      shared:join()
    end)
    impatient:cancel()
    impatient:join()
    t:eq(impatient:status(), "cancelled")
    gate:set()
  end)
  t:eq(seen, { "done", "done", "done" })
end)

leaves_nothing("a cancelled task raises where it waits; its group goes on", function(t)
  task.group(function(g)
    local sleeper = g:spawn(sleep, FOREVER)
    sleeper:cancel()
    sleeper:cancel()
    local result, err = sleeper:join()
    t:eq(result, nil)
    t:eq(err.code, "ECANCELED")
    t:eq(sleeper:status(), "cancelled")
    sleep(0)
    sleeper:cancel() -- it has ended: nothing happens
  end)
end)

leaves_nothing(
  "the first error cancels the siblings and the body, and is raised as it is",
  function(t)
    local boom = setmetatable({}, {
      __tostring = function()
        return "boom"
      end,
    })
    local closed = {}
    local err = fails(task.group, function(g)
      for i = 1, 3 do
        g:spawn(function()
          local _ <close> = closing(function()
            sleep(1) -- cleaning up may wait
            closed[#closed + 1] = i
          end)
          forever()
        end)
      end
      g:spawn(function()
        sleep(1)
        error(boom)
      end)
      forever()
    end)
    t:eq(err == boom, true)
    t:eq(#closed, 3)
  end
)

leaves_nothing("an error of the body cancels the tasks", function(t)
  local ended
  local err = fails(task.group, function(g)
    g:spawn(function()
      local _ <close> = closing(function(_, why)
        ended = why.reason
      end)
      forever()
    end)
    error("body", 0)
  end)
  t:eq(err, "body")
  t:eq(ended, "the body of its group failed")
end)

leaves_nothing("errors of several tasks arrive together", function(t)
  local err = fails(task.group, function(g)
    g:spawn(function()
      pcall(forever)
      error("second", 0)
    end)
    g:spawn(function()
      pcall(forever)
      error({ code = "THIRD" })
    end)
    sleep(1)
    error("first", 0)
  end)
  t:eq(task.is_failures(err), true)
  t:eq(err.code, "EGROUP")
  t:eq(#err.errors, 3)
  t:eq({ err.errors[1], err.errors[2], err.errors[3].code }, { "first", "second", "THIRD" })
  t:eq(tostring(err):match("^3 tasks failed\n  1%. first\n  2%. second\n  3%. table") ~= nil, true)
end)

leaves_nothing("an HTTP error of one task is one", function(t)
  local err = fails(task.group, function(g)
    g:spawn(function()
      sleep(0)
      error(perigee.http_error(404, "Item not found"))
    end)
    forever()
  end)
  t:eq({ err.status, err.detail }, { 404, "Item not found" })
end)

leaves_nothing("groups in groups end from the inside out", function(t)
  local trace = {}
  local function note(name)
    return closing(function()
      sleep(0)
      trace[#trace + 1] = name
    end)
  end
  local err = fails(task.group, function(outer)
    outer:spawn(function()
      local _ <close> = note("task")
      task.group(function(inner)
        inner:spawn(function()
          local _ <close> = note("grandchild")
          forever()
        end)
        local _ <close> = note("inner body")
        forever()
      end)
    end)
    outer:spawn(error, "x", 0)
  end)
  t:eq(err, "x")
  t:eq({ #trace, trace[3] }, { 3, "task" })
end)

leaves_nothing("a group that is cancelled returns", function(t)
  t:eq(
    task.group(function(g)
      g:spawn(forever)
      g:cancel()
      return "body"
    end),
    "body"
  )
  t:eq(
    select(
      "#",
      task.group(function(g)
        g:spawn(forever)
        g:spawn(function()
          sleep(1)
          g:cancel()
        end)
        forever()
      end)
    ),
    0
  )
end)

leaves_nothing("any task may spawn in a group that has not ended", function(t)
  local ran, kept = 0, nil
  task.group(function(g)
    kept = g
    g:spawn(function()
      sleep(1)
      g:spawn(function()
        sleep(1)
        ran = ran + 1
      end)
      ran = ran + 1
    end)
  end)
  t:eq(ran, 2)
  t:raises("the group has ended", kept.spawn, kept, forever)
  kept:cancel()
end)

leaves_nothing("task.spawn takes the innermost group that is open", function(t)
  t:raises("task.spawn: no group is open here", task.spawn, forever)
  local where = {}
  task.group(function()
    task.timeout(FOREVER, function()
      task.spawn(function()
        where[1] = "child"
        t:raises("no group is open", task.spawn, forever)
      end)
    end)
  end)
  t:eq(where, { "child" })
end)

leaves_nothing("deep trees of tasks neither overflow nor starve", function(t)
  local deepest = 0
  local function tree(_, depth)
    deepest = math.max(deepest, depth)
    if depth < 2000 then
      task.group(function(inner)
        inner:spawn(tree, inner, depth + 1)
      end)
    end
    if depth == 1000 then
      forever()
    end
  end
  local late, err = task.move_on(300, function()
    task.group(function(g)
      g:spawn(tree, g, 1)
    end)
  end)
  t:eq({ late, err.code }, { nil, "ETIMEDOUT" })
  t:eq(deepest, 2000)
end)

leaves_nothing("mistakes are told", function(t)
  t:raises("function expected", task.group)
  task.group(function(g)
    t:raises("function expected", g.spawn, g, 1)
    t:raises("perigee.Group expected", g.spawn, {}, forever)
    local child = g:spawn(function() end)
    t:raises("perigee.Task expected", child.join, {})
    local me
    me = g:spawn(function()
      sleep(0)
      t:raises("a task cannot wait for its own end", me.join, me)
    end)
  end)
  local closed = setmetatable({}, {
    __tostring = function()
      return task.group(function() end)
    end,
  })
  t:raises("cannot wait here", tostring, closed)
  t:raises("a function is needed at [2], not a number", task.all, { forever, 1 })
  t:raises("at least one function", task.race, {})
  t:raises("without gaps", task.all, { nil, forever })
  t:raises("not both", task.all, { forever, name = forever })
  t:raises("milliseconds", task.timeout, -1, forever)
end)

-- --- all, race -------------------------------------------------------------------------------------

local function after(ms, ...)
  local values = table.pack(...)
  return function()
    sleep(ms)
    return table.unpack(values, 1, values.n)
  end
end

leaves_nothing("all gives one result of each, in order or by name", function(t)
  t:eq({ task.all({ after(3, "a", "dropped"), after(1), after(2, "c") }) }, { "a", nil, "c" })
  t:eq(select("#", task.all({ after(0), after(0) })), 2)
  t:eq(task.all({ user = after(1, "u"), orders = after(0, 3) }), { user = "u", orders = 3 })
  t:eq(select("#", task.all({})), 0)
  t:eq(
    fails(task.all, {
      forever,
      after(0),
      function()
        error("x", 0)
      end,
    }),
    "x"
  )
end)

leaves_nothing("a race has one winner, and the others end", function(t)
  local cleaned = 0
  local function loser()
    local _ <close> = closing(function()
      sleep(1)
      cleaned = cleaned + 1
    end)
    forever()
  end
  t:eq({ task.race({ loser, after(1, "won", nil, 3), loser }) }, { "won", nil, 3 })
  t:eq(cleaned, 2)
  t:eq(task.race({ after(0, 1) }), 1)
  t:eq(
    task.race({
      function()
        return "at once"
      end,
      function()
        error("not started")
      end,
    }),
    "at once"
  )
  t:eq(
    fails(task.race, {
      loser,
      function()
        sleep(0)
        error("x", 0)
      end,
    }),
    "x"
  )
end)

-- --- values of tasks -------------------------------------------------------------------------------

leaves_nothing("values are inherited as they are when a task is spawned", function(t)
  local key = {}
  local locals = task.locals
  locals.user, locals[key] = "ada", 1
  local gate = task.event()
  task.group(function(g)
    local child = g:spawn(function()
      t:eq({ locals.user, locals[key] }, { "ada", 1 })
      locals.user = "grace"
      gate:wait()
      t:eq({ locals.user, locals[key], locals.late }, { "grace", 1 })
      t:eq(
        g:spawn(function()
          return locals.user
        end):join(),
        "grace"
      )
    end)
    t:eq(locals.user, "ada")
    locals.late = true
    gate:set()
    child:join()
  end)
  local names = {}
  for name, value in pairs(locals) do
    names[name] = value
  end
  t:eq(names, { user = "ada", [key] = 1, late = true })
  locals.user, locals[key], locals.late = nil, nil, nil
  t:eq(next(names) ~= nil, true)
  t:raises("the name is nil", function()
    locals[nil] = 1
  end)
end)

-- --- coroutines of the app --------------------------------------------------------------------------

leaves_nothing("groups and timeouts work in coroutines of the app", function(t)
  local values = {}
  local generator = coroutine.wrap(function()
    for i = 1, 3 do
      local value = task.timeout(FOREVER, function()
        return task.group(function(g)
          return g:spawn(after(0, i)):join()
        end)
      end)
      coroutine.yield(value)
    end
  end)
  for value in generator do
    values[#values + 1] = value
  end
  t:eq(values, { 1, 2, 3 })
  local err = fails(coroutine.wrap(function()
    task.timeout(1, forever)
  end))
  t:eq(err.code, "ETIMEDOUT")
end)

leaves_nothing("a coroutine does not yield out of its group", function(t)
  local co = coroutine.wrap(function()
    task.group(function()
      coroutine.yield(1)
    end)
  end)
  t:raises("coroutine.yield: this coroutine is inside a task.group", co)
end)

leaves_nothing("a coroutine that is closed while it waits in a group cancels the tasks", function(t)
  local ended = 0
  local co
  task.group(function(g)
    local waiter = g:spawn(function()
      co = coroutine.create(function()
        task.group(function(inner)
          inner:spawn(function()
            local _ <close> = closing(function()
              ended = ended + 1
            end)
            forever()
          end)
          task.timeout(FOREVER, forever)
        end)
      end)
      pcall(coroutine.resume, co)
    end)
    sleep(1)
    pcall(coroutine.close, co)
    waiter:cancel()
  end)
  t:eq(ended, 1)
  collectgarbage()
end)
