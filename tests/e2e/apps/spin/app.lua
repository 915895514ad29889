-- Handlers that compute without end, each out of reach in its own way, and what they did about it.
local perigee = require("perigee")
local host = require("perigee.host")

local app = perigee.app({ timeout_ms = 300, limits = { after_timeout_ms = 300 } })
local seen = {}

local function spin()
  while true do
  end
end

local function with(name)
  return function()
    return setmetatable({}, { [name] = spin })
  end
end

-- Takes longer than a slice, in one instruction, and then notes how much it was.
local function slow_cleanup(name)
  return setmetatable({}, {
    __close = function()
      local text = ("x"):rep(1 << 26)
      seen[name] = #text
    end,
  })
end

local ways = {
  plain = spin,
  pcall = function()
    while true do
      pcall(spin)
    end
  end,
  xpcall = function()
    while true do
      xpcall(spin, spin)
    end
  end,
  ["message-handler"] = function()
    xpcall(error, spin)
    spin()
  end,
  ["handlers-in-handlers"] = function()
    local function again()
      return (select(2, xpcall(again, again)))
    end
    while true do
      pcall(again)
    end
  end,
  metamethod = function()
    return with("__index")().x
  end,
  tostring = function()
    return tostring(with("__tostring")())
  end,
  sort = function()
    table.sort({ 3, 1, 2 }, spin)
  end,
  gsub = function()
    return (("abc"):gsub(".", spin))
  end,
  find = function()
    return (("a"):rep(30000):find(".-.-.-.-b"))
  end,
  ["pcall-match"] = function()
    while true do
      pcall(string.match, ("a"):rep(30000), ".-.-.-.-b")
    end
  end,
  ["gsub-pattern"] = function()
    return (("a"):rep(30000):gsub(".-.-.-.-b", ""))
  end,
  shift = function()
    table.move({}, 1, 1 << 60, 2)
  end,
  ["shift-with-metatable"] = function()
    local endless = setmetatable({}, {
      __len = function()
        return 1 << 60
      end,
    })
    pcall(table.insert, endless, 1, "x")
    table.remove(endless, 1)
  end,
  rep = function()
    while true do
      (""):rep(1 << 60, "")
    end
  end,
  ["long-literal"] = function()
    return (("a"):rep(4000000):gsub(("a"):rep(2000000) .. "b", ""))
  end,
  coroutine = function()
    return coroutine.wrap(spin)()
  end,
  ["coroutines-in-pcall"] = function()
    while true do
      coroutine.resume(coroutine.create(spin))
    end
  end,
  close = function()
    local _ <close> = with("__close")()
    perigee.sleep(100000)
  end,
  ["megabytes-behind-calls"] = function()
    local _ <close> = slow_cleanup("calls")
    while true do
      pcall(spin)
    end
  end,
  ["megabytes-behind-waits"] = function()
    local _ <close> = slow_cleanup("waits")
    while true do
      pcall(perigee.sleep, 100000)
    end
  end,
  ["megabytes-behind-coroutines"] = function()
    local _ <close> = slow_cleanup("coroutines")
    while true do
      coroutine.wrap(spin)()
    end
  end,
  ["swallowed-waits"] = function()
    while true do
      pcall(perigee.sleep, 100000)
    end
  end,
  ["after-waiting"] = function()
    perigee.sleep(20)
    spin()
  end,
}

app:get("/", function()
  return "alive"
end)

app:get("/spin/{way}", function(req)
  local over <close> = setmetatable({}, {
    __close = function()
      seen[req.params.way] = (seen[req.params.way] or 0) + 1
    end,
  })
  return ways[req.params.way](), over
end)

-- The same, for tests in which the deadline plays no part.
app:get("/spin-on/{way}", { timeout_ms = false }, function(req)
  return ways[req.params.way]()
end)

app:get("/ended/{way}", function(req)
  return seen[req.params.way] or 0
end)

app:get("/held", { timeout_ms = 60000 }, function()
  return tostring(setmetatable({}, { __tostring = spin }))
end)

app:get("/finalizer", { timeout_ms = 20000 }, function()
  for _ = 1, 2 do
    setmetatable({}, { __gc = spin })
    setmetatable({}, {
      __gc = function()
        while true do
          pcall(spin)
        end
      end,
    })
  end
  collectgarbage()
  collectgarbage()
  return "collected"
end)

app:get("/in-dependency", {
  deps = { value = spin },
}, function()
  return "never"
end)

app:get("/in-middleware", {
  use = {
    function()
      spin()
    end,
  },
}, function()
  return "never"
end)

app:get("/behind-the-answer", function(req)
  req:after(spin)
  return "answered"
end)

local computed = 0

app:get("/compute/{n}", { timeout_ms = false }, function(req)
  local sum = 0
  for i = 1, tonumber(req.params.n) do
    sum = sum + i
  end
  computed = computed + 1
  return sum
end)

app:get("/computed", function()
  return computed
end)

-- Computes until somebody else says that it is enough.
local enough = false

app:get("/compute-until-enough", { timeout_ms = false }, function()
  local rounds = 0
  while not enough do
    rounds = rounds + 1
  end
  return { rounds = rounds }
end)

app:get("/enough", function()
  enough = true
  return enough
end)

-- Holds the loop, in C, until the other end of the pipe is closed.
app:get("/blocked", { timeout_ms = false }, function(req)
  local pipe <close> = assert(io.open(req.query.pipe))
  return pipe:read("a")
end)

app:get("/overruns", function()
  return host.task.overruns()
end)

return app
