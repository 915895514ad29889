--- What tasks cost: `perigee tests/bench/tasks.lua` prints one line of JSON. Times are CPU time of this
--- process in microseconds, the median of five rounds; memory is what 100,000 sleeping tasks add to the
--- resident set.

local perigee = require("perigee")
local task = perigee.task

local COUNT = 100000
local SLEEPERS = 100000
local ROUNDS = 5

local function resident_bytes()
  for line in io.lines("/proc/self/status") do
    local kib = line:match("^VmRSS:%s+(%d+)")
    if kib then
      return tonumber(kib) * 1024
    end
  end
end

local function nothing() end

local function wait_once()
  perigee.sleep(0)
end

local function forever()
  perigee.sleep(3600000)
end

local MEASURED = {
  spawn_join = function()
    task.group(function(g)
      for _ = 1, COUNT do
        g:spawn(nothing):join()
      end
    end)
  end,
  spawn_wait_join = function()
    task.group(function(g)
      local children = {}
      for _ = 1, COUNT // 100 do
        for i = 1, 100 do
          children[i] = g:spawn(wait_once)
        end
        for i = 1, 100 do
          children[i]:join()
        end
      end
    end)
  end,
  group = function()
    for _ = 1, COUNT do
      task.group(nothing)
    end
  end,
  timeout = function()
    for _ = 1, COUNT do
      task.timeout(1000, nothing)
    end
  end,
  channel = function()
    local channel = task.channel(64)
    task.group(function(g)
      g:spawn(function()
        for i = 1, COUNT do
          channel:send(i)
        end
        channel:close()
      end)
      for _ in channel do
      end
    end)
  end,
}

local function median_us(fn)
  local rounds = {}
  for i = 1, ROUNDS do
    local before = os.clock()
    fn()
    rounds[i] = (os.clock() - before) / COUNT * 1e6
  end
  table.sort(rounds)
  return rounds[ROUNDS // 2 + 1]
end

local function sleeper_bytes()
  collectgarbage()
  collectgarbage()
  local before, bytes = resident_bytes(), nil
  task.group(function(g)
    for _ = 1, SLEEPERS do
      g:spawn(forever)
    end
    bytes = (resident_bytes() - before) / SLEEPERS
    g:cancel()
  end)
  return bytes
end

local result = { sleeper_bytes = sleeper_bytes() } -- first: nothing has been pooled yet
for name, fn in pairs(MEASURED) do
  result[name .. "_us"] = median_us(fn)
end
print(perigee.json.encode(result))
