-- Handlers that take too long, clients that leave, and what each of them wrote down.
local perigee = require("perigee")

local app = perigee.app({ timeout_ms = 200 })
local slow = perigee.router({ timeout_ms = 600000, on_disconnect = "finish" })
local notes = {}

local function note(text)
  notes[#notes + 1] = text
end

local function noting(text, ms)
  return setmetatable({}, {
    __close = function(_, err)
      if ms then
        perigee.sleep(ms)
      end
      note(text .. (err and ": " .. tostring(err) or ""))
    end,
  })
end

local function wait()
  local _ <close> = noting("ended")
  perigee.sleep(100000)
end

app:get("/", function()
  return "alive"
end)

app:get("/notes", function()
  return notes
end)

app:get("/wait", wait)
app:get("/wait/short", { timeout_ms = 20 }, wait)
app:get("/wait/for-ever", { timeout_ms = false }, function()
  note("waits for ever")
  wait()
end)

app:get("/quick", { timeout_ms = 60000 }, function()
  perigee.sleep(300) -- beyond the deadline of the others
  return "quick"
end)

app:get("/catches", function()
  local ok, err = pcall(perigee.sleep, 100000)
  note(("%s %s %s"):format(ok, err.code, err))
  return "too late"
end)

app:get("/cleans-up", function()
  local _ <close> = noting("cleaned up", 50)
  perigee.sleep(100000)
end)

app:get("/in-dependency", { deps = { value = wait } }, function()
  return "never"
end)

local resource = perigee.dependency({
  open = function()
    note("opened")
    return "resource"
  end,
  close = function()
    perigee.sleep(20)
    note("closed")
  end,
})

app:get("/with-dependency", { deps = { value = resource } }, function()
  perigee.sleep(100000)
end)

app:get("/in-middleware", { use = { wait } }, function()
  return "never"
end)

app:post("/body", function(req)
  local _ <close> = noting("body ended")
  perigee.sleep(100000)
  return req:body()
end)

app:get("/stream", function()
  return perigee.stream(function(out)
    local _ <close> = noting("stream ended")
    out:write("first")
    perigee.sleep(100000)
  end)
end)

app:get("/answered-then-waits", function(req)
  req:after(function()
    perigee.sleep(300) -- beyond the deadline of the operation
    note("after")
  end)
  return "answered"
end)

-- Of clients that leave.
local may_finish = false

local function linger(text)
  return function(req)
    local name = text or req.method
    local _ <close> = noting(name .. " ended")
    note(name .. " begun")
    while not may_finish do
      perigee.sleep(1)
    end
    note(name .. " finished")
  end
end

app:get("/finish", function()
  may_finish = true
end)

slow:route({ "GET" }, "/cancel", { on_disconnect = "cancel" }, linger("cancel"))
slow:route({ "GET" }, "/finish", linger("finish"))
slow:route({ "POST" }, "/post/cancel", { on_disconnect = "cancel" }, linger("post"))
app:include(slow, { prefix = "/slow" })

app:route({ "GET", "HEAD", "POST" }, "/usual", { timeout_ms = false }, linger())
app:get("/other", { timeout_ms = false }, linger("other"))

app:get("/half/{ms}", { timeout_ms = 60000 }, function(req)
  perigee.sleep(tonumber(req.params.ms))
  return "answered"
end)

return app
