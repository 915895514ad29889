-- Coroutines: many that wait, some that misbehave.
local perigee = require("perigee")

local app = perigee.app()

local inside, crowd = 0, 100
local sleeping, cleaned = 0, 0

app:get("/", function()
  return "alive"
end)

-- Answers once a hundred requests are in it at the same time.
app:get("/barrier", function()
  inside = inside + 1
  while inside < crowd do
    perigee.sleep(1)
  end
  return inside
end)

app:get("/sleep/{ms}", function(req)
  local ms = tonumber(req.params.ms) or req.params.ms
  perigee.sleep(ms)
  return "slept"
end)

app:get("/long", function()
  sleeping = sleeping + 1
  local _ <close> = setmetatable({}, {
    __close = function()
      cleaned = cleaned + 1
    end,
  })
  perigee.sleep(300)
  return "done"
end)

app:get("/long/state", function()
  return { sleeping = sleeping, cleaned = cleaned }
end)

app:get("/yield", function()
  return { coroutine.yield("by hand") }
end)

app:get("/yield/nothing", function()
  coroutine.yield()
end)

app:get("/yield/table", function()
  coroutine.yield(setmetatable({}, {
    __index = function()
      error("looked into")
    end,
  }))
end)

app:get("/yield/in-pcall", function()
  return { pcall(coroutine.yield, 1) }
end)

app:get("/own-coroutine", function()
  local values = {}
  for value in
    coroutine.wrap(function()
      for i = 1, 3 do
        coroutine.yield(i)
      end
    end)
  do
    values[#values + 1] = value
  end
  return values
end)

app:get("/sleep-in-own-coroutine", function()
  local co = coroutine.create(function()
    perigee.sleep(1)
    return "slept"
  end)
  local ok, value = coroutine.resume(co)
  return { ok, tostring(value) }
end)

app:get("/sleep-in-pcall", function()
  local ok, value = pcall(function()
    perigee.sleep(1)
    return "slept"
  end)
  return { ok, value }
end)

app:get("/sleep-in-metamethod", function()
  local lazy = setmetatable({}, {
    __index = function(_, key)
      perigee.sleep(1)
      return key
    end,
  })
  return lazy.name
end)

app:get("/sleep-in-iterator", function()
  local function slowly(limit, i)
    perigee.sleep(1)
    if i < limit then
      return i + 1
    end
  end
  local sum = 0
  for i in slowly, 5, 0 do
    sum = sum + i
  end
  return sum
end)

app:get("/sleep-in-sort", function()
  local list = { 3, 1, 2 }
  local ok, message = pcall(table.sort, list, function(a, b)
    perigee.sleep(1)
    return a < b
  end)
  return { ok = ok, message = tostring(message), list = list }
end)

app:get("/sleep-in-tostring", function()
  local value = setmetatable({}, {
    __tostring = function()
      perigee.sleep(1)
      return "late"
    end,
  })
  local ok, message = pcall(tostring, value)
  return { ok = ok, message = tostring(message) }
end)

app:get("/collect", function()
  for _ = 1, 3 do
    collectgarbage()
  end
  return math.floor(collectgarbage("count"))
end)

app:get("/who-runs", function()
  local thread, is_main = coroutine.running()
  return { main = is_main, yieldable = coroutine.isyieldable(), kind = type(thread) }
end)

return app
