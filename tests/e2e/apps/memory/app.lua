-- Handlers that want more memory than there is.
local perigee = require("perigee")

local app = perigee.app()
local kept = {}

local function grow()
  local list = {}
  for i = 1, math.huge do
    list[i] = ("x"):rep(1000) .. i
  end
  return list
end

app:get("/", function()
  return "alive"
end)

app:get("/grow", grow)

app:get("/string", function()
  return #("x"):rep(1 << 30)
end)

app:get("/coroutine", function()
  return coroutine.wrap(grow)()
end)

app:get("/task", function()
  perigee.sleep(1)
  grow()
end)

app:get("/many-tasks", function()
  perigee.task.group(function(group)
    for _ = 1, math.huge do
      group:spawn(perigee.sleep, 1e8) -- none ends before the memory does
    end
  end)
end)

app:get("/dependency", { deps = { value = grow } }, function()
  return "never"
end)

app:get("/middleware", {
  use = {
    function(req, next)
      return next(req)
    end,
  },
}, grow)

app:get("/close", function()
  local _ <close> = setmetatable({}, { __close = grow })
  return "closed"
end)

app:get("/finalizer", function()
  setmetatable({}, {
    __gc = function()
      return ("x"):rep(1 << 30)
    end,
  })
  collectgarbage()
  return "collected"
end)

app:get("/stream", function()
  return perigee.stream(function(out)
    out:write("first")
    grow()
  end)
end)

app:get("/json", function()
  local list = {}
  for i = 1, 100000 do
    list[i] = i
  end
  return list
end)

app:get("/behind", function(req)
  req:after(grow)
  return "answered"
end)

app:get("/caught", function()
  local ok, message = pcall(grow)
  return { ok = ok, message = message }
end)

-- Keeps what it takes, so that nothing can be collected.
app:get("/keep", function()
  for i = 1, math.huge do
    kept[#kept + 1] = ("x"):rep(100) .. i
  end
end)

app:get("/let-go", function()
  kept = {}
  return "empty"
end)

return app
