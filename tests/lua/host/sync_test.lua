--- Channels, semaphores, locks, limiters and events.

local host = require("perigee.host")
local perigee = require("perigee")
local task = require("perigee.task")

local sleep = perigee.sleep

local function leaves_nothing(sentence, fn)
  test(sentence, function(t)
    local alive = host.task.alive()
    fn(t)
    t:eq(host.task.alive(), alive)
  end)
end

-- Lets all others run until they wait.
local function settle()
  for _ = 1, 5 do
    sleep(0)
  end
end

leaves_nothing(
  "a channel hands values on in order, and its senders wait while it is full",
  function(t)
    local trace = {}
    task.group(function(g)
      local channel = task.channel(2)
      g:spawn(function()
        for i = 1, 5 do
          channel:send(i)
          trace[#trace + 1] = "s" .. i
        end
        channel:close()
      end)
      settle()
      t:eq(trace, { "s1", "s2" })
      t:eq(#channel, 2)
      local sum = 0
      for value in channel do
        trace[#trace + 1] = "r" .. value
        sum = sum + value
      end
      t:eq(sum, 15)
      t:eq(trace[3], "r1")
      t:eq(channel:receive(), nil)
      t:eq(tostring(channel), "perigee.Channel (0 of 2, closed)")
    end)
  end
)

leaves_nothing("a channel of capacity 0 is a handshake", function(t)
  local trace = {}
  task.group(function(g)
    local channel = task.channel()
    g:spawn(function()
      channel:send(false)
      trace[#trace + 1] = "sent"
    end)
    settle()
    t:eq(trace, {})
    t:eq(channel:receive(), false)
    t:eq(channel:try_send(1), false)
    local receiver = g:spawn(channel.receive, channel)
    t:eq(channel:try_send(1), true)
    t:eq(receiver:join(), 1)
    t:eq(channel:try_receive(), nil)
  end)
  t:eq(trace, { "sent" })
end)

leaves_nothing("receivers take turns", function(t)
  local got = {}
  task.group(function(g)
    local channel = task.channel(1)
    for i = 1, 3 do
      g:spawn(function()
        for value in channel do
          got[#got + 1] = i .. value
        end
      end)
    end
    for value = 1, 6 do
      channel:send(value)
      settle()
    end
    channel:close()
  end)
  t:eq(got, { "11", "22", "33", "14", "25", "36" })
end)

leaves_nothing("closing wakes everybody; what was sent can still be received", function(t)
  local channel = task.channel(1)
  task.group(function(g)
    channel:send("kept")
    local sender = g:spawn(channel.send, channel, "too late")
    channel:close()
    channel:close()
    local sent, err = sender:join()
    t:eq({ sent, err.code, tostring(err) }, { nil, "ECLOSED", "the channel is closed" })
    t:eq({ channel:receive(), channel:receive() }, { "kept" })
    t:eq(select(2, channel:send(1)).code, "ECLOSED")
    t:eq(channel:try_send(1), false)
  end)
  local empty = task.channel()
  task.group(function(g)
    local receiver = g:spawn(empty.receive, empty)
    empty:close()
    t:eq({ receiver:join() }, {})
  end)
end)

leaves_nothing("what is cancelled has neither sent nor received", function(t)
  task.group(function(g)
    local channel = task.channel()
    local receiver = g:spawn(channel.receive, channel)
    receiver:cancel()
    receiver:join()
    local sender = g:spawn(channel.send, channel, "lost")
    sender:cancel()
    sender:join()
    t:eq(channel:try_receive(), nil)

    -- Who has been given a value keeps it, cancelled or not.
    local lucky = g:spawn(function()
      return channel:receive()
    end)
    t:eq(channel:try_send("mine"), true)
    lucky:cancel()
    t:eq(lucky:join(), "mine")
  end)
end)

leaves_nothing("channels work in coroutines of the app", function(t)
  local channel = task.channel()
  task.group(function(g)
    g:spawn(function()
      for value in
        coroutine.wrap(function()
          for i = 1, 3 do
            coroutine.yield(i)
          end
        end)
      do
        coroutine.wrap(function()
          channel:send(value)
        end)()
      end
      channel:close()
    end)
    local got = {}
    for value in
      coroutine.wrap(function()
        for value in channel do
          collectgarbage()
          coroutine.yield(value)
        end
      end)
    do
      got[#got + 1] = value
    end
    t:eq(got, { 1, 2, 3 })
  end)
end)

leaves_nothing("mistakes with channels are told", function(t)
  t:raises("a capacity (an integer, 0 or more) is needed, not -1", task.channel, -1)
  t:raises("a capacity", task.channel, 1.5)
  local channel = task.channel(1)
  t:raises("nil cannot be sent", channel.send, channel)
  t:raises("nil cannot be sent", channel.try_send, channel, nil)
end)

leaves_nothing("a semaphore lets so many in, in the order of waiting", function(t)
  local semaphore = task.semaphore(2)
  local inside, most, order = 0, 0, {}
  task.group(function(g)
    for i = 1, 6 do
      g:spawn(function()
        semaphore:with(function()
          inside = inside + 1
          most = math.max(most, inside)
          order[#order + 1] = i
          sleep(1)
          inside = inside - 1
        end)
      end)
    end
    t:eq(semaphore:waiters(), 4)
    t:eq(semaphore:try_acquire(), nil)
  end)
  t:eq(most, 2)
  t:eq(order, { 1, 2, 3, 4, 5, 6 })
  local permit = semaphore:try_acquire()
  permit:release()
  permit:release() -- counts once
  local a, b = semaphore:try_acquire(), semaphore:try_acquire()
  t:eq({ a ~= nil, b ~= nil, semaphore:try_acquire() }, { true, true })
end)

leaves_nothing("permits come back from what fails or is cancelled", function(t)
  local lock = task.lock()
  t:raises("x", lock.with, lock, error, "x")
  task.group(function(g)
    local holder = g:spawn(function()
      local held <close> = lock:acquire() -- luacheck: ignore
      sleep(86400000)
    end)
    local waiting = g:spawn(lock.acquire, lock)
    local next_one = g:spawn(function()
      return lock:with(function()
        return "got it"
      end)
    end)
    waiting:cancel()
    holder:cancel()
    t:eq(next_one:join(), "got it")
  end)
  lock:acquire():release()
end)

leaves_nothing("a lock knows its holder", function(t)
  local lock = task.lock()
  local held = lock:acquire()
  t:raises("this task holds the lock already", lock.acquire, lock)
  t:eq(lock:try_acquire(), nil)
  held:release()
  local again <close> = lock:try_acquire()
  t:raises("holds the lock already", lock.acquire, lock)
  t:eq(again ~= nil, true)
end)

leaves_nothing("the limit of a limiter may change", function(t)
  local limiter = task.limiter(1)
  local gate = task.event()
  local most, inside = 0, 0
  local function work()
    inside = inside + 1
    most = math.max(most, inside)
    gate:wait()
    inside = inside - 1
  end
  task.group(function(g)
    for _ = 1, 5 do
      g:spawn(limiter.with, limiter, work)
    end
    settle()
    t:eq({ inside, limiter:limit() }, { 1, 1, 1 })
    limiter:set_limit(3)
    settle()
    t:eq({ inside, limiter:limit() }, { 3, 3, 3 })
    limiter:set_limit(2)
    t:eq({ limiter:limit() }, { 2, 3 })
    gate:set()
  end)
  t:eq(most, 3)
  t:eq({ limiter:limit() }, { 2, 0 })
  t:raises("task.limiter: an integer of 1 or more is needed, not 0", task.limiter, 0)
  t:raises("limiter:set_limit", limiter.set_limit, limiter, 0)
end)

leaves_nothing("an event wakes all who wait, and lets pass who comes later", function(t)
  local event = task.event()
  local woken = 0
  task.group(function(g)
    for _ = 1, 3 do
      g:spawn(function()
        event:wait()
        woken = woken + 1
      end)
    end
    settle()
    t:eq({ woken, event:is_set() }, { 0, false })
    event:set()
    event:set()
  end)
  t:eq({ woken, event:is_set() }, { 3, true })
  event:wait()
  event:reset()
  t:eq(select(2, task.move_on(1, event.wait, event)).code, "ETIMEDOUT")
end)
