-- Handlers that wait for sockets, children and files; what becomes of these when the client leaves.
local perigee = require("perigee")
local fs, net, process = perigee.fs, perigee.net, perigee.process

local app = perigee.app()

app:get("/", function()
  return "alive"
end)

-- Waits for a line of a peer that may never send one.
app:get("/line/{port}", function(req)
  local port = math.tointeger(req.params.port)
  local stream <close> = assert(net.connect({ host = "127.0.0.1", port = port }))
  stream:write("hello\n")
  return stream:read_line()
end)

-- Writes to a peer that may never read.
app:get("/flood/{port}", function(req)
  local port = math.tointeger(req.params.port)
  local stream <close> = assert(net.connect({ host = "127.0.0.1", port = port }))
  return stream:write(("x"):rep(50000):rep(400))
end)

app:get("/connect/{port}", function(req)
  local stream, err =
    net.connect({ host = "127.0.0.1", port = math.tointeger(req.params.port), timeout_ms = 600000 })
  if stream then
    stream:close()
  end
  return err and err.code or "connected"
end)

-- Runs a child that writes down its number and stays.
app:get("/child", function(req)
  return process.run({ "sh", "-c", 'echo $$ > "$1"; sleep 1000 & wait', "sh", req.query.path })
end)

app:get("/pipe", function(req)
  local child <close> =
    assert(process.pipe({ "sh", "-c", 'echo $$ > "$1"; exec sleep 1000', "sh", req.query.path }))
  return child.stdout:read()
end)

app:get("/true", function()
  return process.run({ "true" })
end)

-- Reads what never ends.
app:get("/endless", function()
  local _, err = fs.read("/dev/zero", { max_bytes = 1 << 28 })
  return err.code
end)

app:get("/copy", function(req)
  local done, err = fs.copy(req.query.from, req.query.to)
  return done or err.code
end)

app:get("/watch", function(req)
  local watch <close> = assert(fs.watch(req.query.path, { recursive = true }))
  return watch:next()
end)

-- Everything once, where waiting blocks a thread and nobody else.
app:get(
  "/threaded",
  perigee.threaded(function(req)
    local temp <close> = assert(fs.temp_folder())
    assert(fs.write(temp.path .. "/a", "burger"))
    local port = math.tointeger(req.query.port)
    local stream <close> = assert(net.connect({ host = "localhost", port = port }))
    assert(stream:write(fs.read(temp.path .. "/a") .. "\n"))
    perigee.time.sleep(1)
    local child = assert(process.run({ "cat" }, { stdin = stream:read_line() }))
    return { said = child.stdout, entries = fs.list(temp.path) }
  end)
)

return app
