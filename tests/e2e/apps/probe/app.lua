-- Says what the host made of a request, and counts what it executed.
local perigee = require("perigee")

local app = perigee.app({ title = "Probe" })

local hits = 0 -- requests that no test may ever get executed by accident
local started, finished = 0, 0 -- uploads
local open = false -- the gate
local waiting = 0

app:get("/", function()
  return { message = "Hello World" }
end)

app:any("/hit", function()
  hits = hits + 1
  return hits
end)

app:get("/hits", function()
  return hits
end)

app:any("/request", function(req)
  return {
    method = req.method,
    path = req.path,
    target = req.target,
    host = req.headers.host,
    client = { host = req.client.host, port = req.client.port },
    body = req:body(),
  }
end)

app:get("/query", function(req)
  return { last = req.query.q, all = req:all("query", "q"), other = req.query.other }
end)

app:get("/headers", function(req)
  return { joined = req.headers["x-test"], all = req:all("headers", "X-Test") }
end)

app:get("/cookies", function(req)
  return { last = req.cookies.a, all = req:all("cookies", "a"), b = req.cookies.b }
end)

app:get("/params/{one}/{rest:path}", function(req)
  return { one = req.params.one, rest = req.params.rest }
end)

app:get("/id", function(req)
  return req.id
end)

app:get("/state", function(req)
  req.state.user = "ada"
  return req.state.user
end)

-- The body, in all the ways it can be read.

app:post("/body", function(req)
  started = started + 1
  local body = req:body()
  finished = finished + 1
  return perigee.bytes(body)
end)

app:post("/body/twice", function(req)
  return { req:body(), req:body() }
end)

app:post("/body/size", function(req)
  return #req:body()
end)

app:post("/body/chunks", function(req)
  started = started + 1
  local bytes, pieces, sum = 0, 0, 0
  for chunk in req:chunks() do
    while not open do
      perigee.sleep(1)
    end
    bytes, pieces = bytes + #chunk, pieces + 1
    sum = (sum + string.byte(chunk, 1) + string.byte(chunk, -1)) % 65521
  end
  finished = finished + 1
  return { bytes = bytes, pieces = pieces, sum = sum }
end)

app:post("/body/ignored", function()
  return "not read"
end)

app:get("/body/counts", function()
  return { started = started, finished = finished }
end)

-- A gate: requests that wait for another request.

app:get("/gate/open", function()
  open = true
  return "open"
end)

app:get("/gate/wait", function()
  waiting = waiting + 1
  while not open do
    perigee.sleep(1)
  end
  return "passed"
end)

app:get("/gate/waiting", function()
  return waiting
end)

local order = 0
local sleeping = 0 -- how many ever did

app:get("/sleep/{ms}", function(req)
  sleeping = sleeping + 1
  perigee.sleep(tonumber(req.params.ms))
  return "slept"
end)

app:get("/sleeping", function()
  return sleeping
end)

app:get("/order", function()
  order = order + 1
  return order
end)

app:get("/order/after/{ms}", function(req)
  perigee.sleep(tonumber(req.params.ms))
  order = order + 1
  return order
end)

local vm = {}

app:get("/vm", function()
  return tostring(vm)
end)

return app
