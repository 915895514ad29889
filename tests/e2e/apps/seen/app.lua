-- Requests that wait for all kinds of things, and say when they are cleaned up.
local perigee = require("perigee")
local net = require("perigee.net")
local task = require("perigee.task")

local app = perigee.app({ title = "Seen" })

local ended = {}

local function note(name)
  return setmetatable({}, {
    __close = function()
      ended[#ended + 1] = name
    end,
  })
end

app:get("/ended", function()
  return perigee.json(#ended > 0 and ended or { "nothing" })
end)

app:get("/sleep", { timeout_ms = 60000 }, function()
  local _ <close> = note("sleep")
  perigee.sleep(60000)
  return {}
end)

app:get("/tail", { timeout_ms = 60000 }, function()
  return perigee.sleep(60000)
end)

app:get("/channel", { timeout_ms = 60000 }, function()
  local _ <close> = note("channel")
  local channel = task.channel()
  return channel:receive()
end)

app:get("/socket/{port}", { timeout_ms = 60000 }, function(req)
  local _ <close> = note("socket")
  local stream = assert(net.connect({ host = "127.0.0.1", port = tonumber(req.params.port) }))
  local line = stream:read_line()
  return { line = line }
end)

app:get("/group", { timeout_ms = 60000 }, function()
  local _ <close> = note("group")
  task.group(function(group)
    group:spawn(function()
      local _ <close> = note("child")
      perigee.sleep(60000)
    end)
  end)
  return {}
end)

app:get("/coroutine", { timeout_ms = 60000 }, function()
  local inner = coroutine.wrap(function()
    local deeper = coroutine.create(function()
      perigee.sleep(60000) -- two coroutines down
    end)
    coroutine.resume(deeper)
  end)
  inner()
  return {}
end)

app:get("/spin", { timeout_ms = 60000 }, function()
  local _ <close> = note("spin")
  while true do
  end
end)

app:get("/stream", { timeout_ms = 60000 }, function()
  return perigee.stream(function(out)
    local _ <close> = note("stream")
    out:write("begun\n")
    perigee.sleep(60000)
  end)
end)

app:get("/after", function()
  local answer = perigee.json({})
  answer:after(function()
    perigee.sleep(60000)
  end)
  return answer
end)

app:get(
  "/worker/spin",
  { timeout_ms = 60000 },
  perigee.threaded(function()
    while true do
    end
  end)
)

app:get(
  "/worker/sleep",
  { timeout_ms = 60000 },
  perigee.threaded(function()
    perigee.sleep(60000)
    return {}
  end)
)

local blocked = perigee.threaded(function(path)
  local file = io.open(path, "r") -- a pipe that nobody writes to: C code that nobody interrupts
  file:close()
  return {}
end)

app:get(
  "/worker/blocked",
  { query = { path = perigee.types.string }, timeout_ms = 60000 },
  function(req)
    return blocked(req.query.path)
  end
)

app:get("/stuck", { query = { path = perigee.types.string }, timeout_ms = 60000 }, function(req)
  local file = io.open(req.query.path, "r") -- the same on the loop
  file:close()
  return {}
end)

app:post("/declared", { body = perigee.types.any, timeout_ms = 60000 }, function(req)
  return req.body
end)

app:post("/read", { timeout_ms = 60000 }, function(req)
  local _ <close> = note("read")
  return { bytes = #req:body() }
end)

local rest = perigee.on_loop(function()
  local _ <close> = note("on_loop")
  perigee.sleep(60000)
end)

app:get(
  "/worker/on-loop",
  { timeout_ms = 60000 },
  perigee.threaded(function()
    rest()
  end)
)

return app
