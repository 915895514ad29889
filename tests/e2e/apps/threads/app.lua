-- Threaded functions in every place that may have one. Files in the folder NOTES (in the environment) tell
-- what happened and let what waits go on.
local host = require("perigee.host")
local perigee = require("perigee")
local t = perigee.types

local app = perigee.app({ title = "Threads" })
local folder = os.getenv("NOTES") or "."

local function side()
  return host.worker.stats().is_worker and "worker" or "loop"
end

local function exists(name)
  local file = io.open(folder .. "/" .. name)
  if file then
    file:close()
  end
  return file ~= nil
end

local function note(text)
  local file = assert(io.open(folder .. "/notes", "a"))
  file:write(text, "\n")
  file:close()
end

local function await(name)
  while not exists(name) do
    perigee.sleep(1)
  end
end

app:on_start(function()
  note("start " .. side())
end)
app:on_stop(function()
  note("stop " .. side())
end)

app:get("/", side)
app:get("/stats", function()
  return host.worker.stats()
end)

app:lifespan(function(_, serve)
  serve({ given = "in " .. side(), only_here = print })
end)

-- Handlers

app:get("/where", perigee.threaded(side))

local Item = t.model("Item", { name = t.string(), price = t.number({ default = 1.5 }) })

app:post(
  "/items/{id}",
  {
    params = { id = t.integer({ ge = 1 }) },
    query = { day = t.date({ optional = true }), tags = t.array(t.string, { default = {} }) },
    headers = { x_token = t.string({ optional = true }) },
    body = Item,
    response = t.model(
      "Out",
      { id = t.integer(), item = Item, day = t.any(), tags = t.array(t.string) }
    ),
    status = 201,
  },
  perigee.threaded(function(req)
    req.response:set("X-Side", side()):cookie("seen", "1")
    return {
      id = req.params.id,
      item = req.body,
      day = req.query.day or perigee.json.null,
      tags = req.query.tags,
      secret = "filtered",
    }
  end)
)

app:post(
  "/raw",
  perigee.threaded(function(req)
    local pieces = 0
    for piece in req:chunks() do
      pieces = pieces + #piece
    end
    return {
      pieces = pieces,
      agent = req.headers["User-Agent"],
      client = req.client.host,
      path = req.path,
    }
  end)
)

app:get(
  "/tea",
  perigee.threaded(function()
    error(perigee.http_error(418, { short = "stout" }, { ["X-Pot"] = "1" }))
  end)
)

local function innermost()
  error("broken in the depth")
end

app:get(
  "/broken",
  perigee.threaded(function()
    innermost()
  end)
)

app:get(
  "/wrong-result",
  { response = t.integer() },
  perigee.threaded(function()
    return "no integer"
  end)
)

app:get(
  "/stream",
  perigee.threaded(function()
    return perigee.stream(function(out)
      out:write("x")
    end)
  end)
)

app:get(
  "/after",
  perigee.threaded(function(req)
    req:after(function()
      note("after on " .. side())
    end)
    return "ok"
  end)
)

app:get("/late-threaded", function()
  return pcall(perigee.threaded, side)
end)

-- Calls

local function describe(...)
  return side(), select("#", ...), ...
end

local there = perigee.threaded(describe)
local breaks = perigee.threaded(innermost)
local nested = perigee.threaded(function()
  return there("from a worker")
end)
local raises = perigee.threaded(function(value)
  error(value, 0)
end)

app:get("/call", function()
  local where, count, one, none, table_, number = there(1, nil, { a = { true } }, 2.5)
  return { where, count, one, none == nil, table_, number }
end)
app:get("/nested", function()
  return { nested() }
end)
app:get("/break", function()
  breaks()
end)
app:get("/catch", function()
  local ok, err = pcall(breaks)
  return { ok, err }
end)
app:get("/raise", function()
  local ok, err = pcall(raises, { code = 7 })
  return { ok, err.code }
end)
app:get("/raise-http", function()
  raises(perigee.http_error(409, "taken"))
end)
app:get("/function", function()
  there({ items = { 1, 2, { callback = print } } })
end)
app:get("/group", function()
  local results = {}
  perigee.task.group(function(group)
    for i = 1, 5 do
      group:spawn(function()
        local where, _, value = there(i)
        results[i] = where .. value
      end)
    end
  end)
  return results
end)

-- Dependencies: every mix of a plain or threaded sub-dependency, dependency and handler.

local function maybe(threaded, fn)
  return threaded and perigee.threaded(fn) or fn
end

for bits = 0, 7 do
  local sub = perigee.dependency(
    { query = { q = t.integer({ default = 3 }) } },
    maybe(bits & 1 > 0, function(req)
      req.response:add("X-Way", "sub " .. side())
      return { side = side(), q = req.query.q }
    end)
  )
  local dep = perigee.dependency({
    deps = { sub = sub },
    open = maybe(bits & 2 > 0, function(req)
      note("open " .. bits)
      return { side = side(), sub = req.deps.sub }
    end),
    close = maybe(bits & 2 > 0, function(value, err)
      note(("close %d %s %s"):format(bits, value.sub.q, err and "error" or "fine"))
    end),
  })
  app:get(
    "/mix/" .. bits,
    { deps = { dep = dep } },
    maybe(bits & 4 > 0, function(req)
      if req.query.fail then
        error(perigee.http_error(400, "asked for"))
      end
      return {
        side = side(),
        dep = req.deps.dep,
        user = req.user,
        state = req.state.x,
        given = req.state.given,
      }
    end)
  )
  local around = perigee.router({ prefix = "/around" })
  around:use(function(req, following)
    req.user = "middleware"
    req.state.x = { 1, 2 }
    local answer = following(req)
    answer:set("X-Around", tostring(answer.status))
    return answer
  end)
  around:get(
    "/mix/" .. bits,
    { deps = { dep = dep } },
    maybe(bits & 4 > 0, function(req)
      return {
        side = side(),
        dep = req.deps.dep,
        user = req.user,
        state = req.state.x,
        given = req.state.given,
      }
    end)
  )
  app:include(around)
end

app:get("/uncrossable", {
  deps = {
    db = function()
      return { connection = { print } }
    end,
  },
}, perigee.threaded(side))

-- A request that is refused by a threaded dependency before its inputs are complained of.
app:get("/guarded", {
  query = { n = t.integer() },
  deps = {
    perigee.threaded(function(req)
      if req.headers.x_token ~= "sesame" then
        error(perigee.http_error(401))
      end
    end),
    function()
      return 1
    end,
  },
}, function()
  return "in"
end)

-- Forms

local File = { form = { title = t.string() }, files = { upload = t.file() } }
local function measure(req)
  local upload = req.files.upload
  local bytes = upload:read()
  return {
    side = side(),
    title = req.form.title,
    name = upload.name,
    size = #bytes,
    last = bytes:sub(-3),
  }
end
app:post("/form", { form = File.form, files = File.files }, perigee.threaded(measure))
app:post("/form-mixed", {
  form = File.form,
  files = File.files,
  deps = {
    first = function(req)
      return #req.files.upload:read(2)
    end,
  },
}, perigee.threaded(measure))

-- What waits, and what never ends

app:get(
  "/gate/{name}",
  perigee.threaded(function(req)
    note("at " .. req.params.name)
    local _ <close> = setmetatable({}, {
      __close = function(_, err)
        note("left " .. req.params.name .. " " .. tostring(err))
      end,
    })
    await(req.params.name)
    return "passed"
  end)
)

local function spin(name)
  local _ <close> = setmetatable({}, {
    __close = function()
      note("stopped " .. name)
    end,
  })
  note("spins " .. name)
  while true do
  end
end
app:get(
  "/spin",
  perigee.threaded(function()
    spin("handler")
  end)
)
app:get(
  "/runaway/{how}",
  { timeout_ms = 50 },
  perigee.threaded(function(req)
    if req.params.how == "spins" then
      spin("runaway")
    end
    await("never")
  end)
)
local endless = perigee.threaded(function()
  spin("call")
end)
app:get("/endless-call", { timeout_ms = 50 }, function()
  endless()
end)
app:get(
  "/spin-in-sort",
  perigee.threaded(function()
    table.sort({ 3, 2, 1 }, function()
      spin("sort")
    end)
  end)
)

-- A pool of ten tokens, as a database has connections: taking one waits until there is one.

local function take()
  while true do
    for i = 1, 10 do
      if os.rename(("%s/token%d"):format(folder, i), ("%s/held%d"):format(folder, i)) then
        return i
      end
    end
    perigee.sleep(1)
  end
end

local function give(i)
  assert(os.rename(("%s/held%d"):format(folder, i), ("%s/token%d"):format(folder, i)))
end

for _, name in ipairs({ "plain", "threaded" }) do
  local token =
    perigee.dependency({ open = perigee.threaded(take), close = perigee.threaded(give) })
  app:get(
    "/pool/" .. name,
    { deps = { token = token }, timeout_ms = false },
    maybe(name == "threaded", function(req)
      perigee.sleep(1)
      return req.deps.token
    end)
  )
end

local function shielded()
  perigee.task.shield(3600000, function()
    local noted <close> = setmetatable({}, {
      __close = function(_, err)
        print("closed: " .. tostring(err))
      end,
    })
    print("shielded")
    perigee.sleep(3600000)
    return noted
  end)
end

app:get("/shielded/loop", shielded)
app:get("/shielded/worker", perigee.threaded(shielded))

return app
