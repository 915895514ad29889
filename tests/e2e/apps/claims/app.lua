-- What the page about concurrency claims, each claim as small as it can be. Files in the folder NOTES (in the
-- environment) tell what happened and let what computes go on.
local host = require("perigee.host")
local perigee = require("perigee")
local fs, http, net, process, task =
  perigee.fs, perigee.http, perigee.net, perigee.process, perigee.task
local t = perigee.types

local app = perigee.app({ title = "Claims" })
local folder = os.getenv("NOTES") or "."

local function note(text)
  local file = assert(io.open(folder .. "/notes", "a"))
  file:write(text, "\n")
  file:close()
end

local function exists(name)
  local file = io.open(folder .. "/" .. name)
  return file ~= nil and file:close()
end

app:get("/", function()
  return "here"
end)
app:get("/jobs", function()
  return host.worker.stats().jobs
end)

-- Each wait of the page: the request is listed as long as it waits.

local waiting = {}

local waits = {
  body = function(req)
    return req:body()
  end,
  disk = function()
    repeat
      assert(fs.write(folder .. "/disk", ("x"):rep(100000)))
      local written = assert(fs.read(folder .. "/disk"))
    until written == "" -- never
  end,
  remote = function(req)
    return assert(http.get(req.query.url)).body
  end,
  socket = function(req)
    local stream <close> = assert(net.connect({ host = "127.0.0.1", port = req.query.port }))
    return stream:read()
  end,
  child = function()
    return process.run({ "sleep", "1000" })
  end,
  thread = perigee.threaded(function()
    perigee.sleep(1000000)
  end),
  channel = function()
    return task.channel():receive()
  end,
}

local function wait(req)
  local what = req.params.what
  waiting[what] = true
  local gone <close> = setmetatable({}, { -- luacheck: ignore
    __close = function()
      waiting[what] = nil
    end,
  })
  return waits[what](what == "thread" and 1 or req)
end

for _, method in ipairs({ "get", "post" }) do
  app[method](app, "/wait/{what}", {
    query = { url = t.string({ optional = true }), port = t.integer({ optional = true }) },
    on_disconnect = "cancel",
    timeout_ms = false,
  }, wait)
end

app:get("/flood", { timeout_ms = false }, function()
  return perigee.stream(function(out)
    waiting.reader = true
    local gone <close> = setmetatable({}, { -- luacheck: ignore
      __close = function()
        waiting.reader = nil
      end,
    })
    while true do
      out:write(("x"):rep(1 << 20))
    end
  end)
end)
app:get("/waiting", function()
  return waiting
end)

-- The same waits, wherever the app runs.

local function wait_in(place)
  perigee.sleep(1)
  local got, value = task.channel(1), nil
  task.group(function(group)
    group:spawn(function()
      value = got:receive()
    end)
    got:send(assert(fs.stat(folder)).type)
  end)
  note(place .. " " .. value .. (host.worker.stats().is_worker and " on a worker" or ""))
end

app:on_start(function()
  wait_in("start")
end)
app:on_stop(function()
  wait_in("stop")
end)
app:lifespan(function(_, serve)
  wait_in("lifespan")
  serve()
  wait_in("lifespan's end")
end)
app:every(10, function()
  if exists("tick") then
    wait_in("schedule")
  end
end)

local places = perigee.router({ prefix = "/places" })
places:use(function(req, next)
  wait_in("middleware")
  return next(req)
end)
local resource = perigee.dependency({
  open = function()
    wait_in("open")
  end,
  close = function()
    wait_in("close")
  end,
})
places:get("/all", { deps = { resource } }, function(req)
  wait_in("handler")
  coroutine.wrap(wait_in)("coroutine")
  req:after(wait_in, "after")
  return true
end)
places:get(
  "/threaded",
  perigee.threaded(function()
    wait_in("threaded")
    return true
  end)
)
app:include(places)

-- Hops.

local function dependency_of(needs)
  return perigee.dependency(
    { deps = needs },
    perigee.threaded(function()
      return 1
    end)
  )
end
local a = dependency_of()
local b = dependency_of({ a = a })
local c = dependency_of({ a = a, b = b })

app:get("/hops/plain", function()
  return 1
end)
app:get(
  "/hops/whole",
  { deps = { a = a, b = b, c = c } },
  perigee.threaded(function()
    return 1
  end)
)
app:get("/hops/needs", { deps = { c = c } }, function()
  return 1
end)

-- A helper is a function like any other: what it is given is what it gets.

local function helper(value)
  return value
end

local function uses_helper()
  local value = { call = function() end }
  return helper(value) == value and helper(value).call == value.call
end

app:get("/helper/plain", uses_helper)
app:get("/helper/threaded", perigee.threaded(uses_helper))

-- Each computes until the other one has begun: they end only if both run at the same time.

app:get(
  "/meet/{me}/{other}",
  perigee.threaded(function(req)
    note("begun " .. req.params.me)
    io.open(folder .. "/" .. req.params.me, "w"):close()
    while not exists(req.params.other) do
      for _ = 1, 1000 do
        helper()
      end
    end
    return req.params.me
  end)
)

-- One description for both kinds.

local Item = t.model("Item", { name = t.string({ min_length = 1 }) })
local declared =
  { params = { id = t.integer({ ge = 1 }) }, body = Item, response = Item, status = 201 }

local function show(req)
  return req.body
end

app:put("/same/plain/{id}", declared, show)
app:put("/same/threaded/{id}", declared, perigee.threaded(show))

return app
