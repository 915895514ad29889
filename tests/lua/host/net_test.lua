--- Sockets. Both ends stand in one task: the kernel accepts before anybody calls accept().

local net = require("perigee.net")

local function pair()
  local listener <close> = assert(net.listen({ host = "127.0.0.1", port = 0 }))
  local client = assert(net.connect({ host = "127.0.0.1", port = listener:address().port }))
  local server = assert(listener:accept())
  return client, server
end

test("bytes go both ways and the addresses are each other's", function(t)
  local client <close>, server = pair()
  local server_end <close> = server
  t:eq(client:write("two burgers"), true)
  t:eq(server_end:read(), "two burgers")
  t:eq(server:write("coming"), true)
  t:eq(client:read(3), "com")
  t:eq(client:read(), "ing")
  t:eq(client:local_address(), server:remote_address())
  t:eq(client:remote_address().host, "127.0.0.1")
end)

test("reading by lines, by delimiters, by counts and up to the end", function(t)
  local client <close>, server = pair()
  local server_end <close> = server
  client:write("GET /\r\n\nhost|port||12345rest without end")
  client:shutdown()
  t:eq(server_end:read_line(), "GET /")
  t:eq(server:read_line(), "")
  t:eq(server:read_until("|"), "host")
  t:eq(server:read_until("||"), "port")
  t:eq(server:read_exactly(5), "12345")
  t:eq(server:read_exactly(0), "")
  t:eq(server:read_all(100), "rest without end")
  t:eq(server:read_all(100), "")
  t:eq({ server:read() }, {})
  t:eq({ server:read_line() }, {})
  t:eq({ server:read_exactly(1) }, {})
  t:eq(server:write("still open"), true)
  t:eq(client:read(), "still open")
end)

local host = require("perigee.host")
local BIG = ("x"):rep(50000):rep(400)

local function fails(t, code, result, err)
  t:eq(result, nil)
  t:eq(err.code, code)
  return tostring(err)
end

-- Runs `fn` in a task, ends it where it waits, and runs `after` beside it.
local function cancelled(t, fn)
  host.task.group(function(group)
    local child = group:spawn(fn)
    t:eq(child:status(), "running")
    child:cancel()
    local _, err = child:join()
    t:eq(err.code, "ECANCELED")
  end)
end

test("what is too long is refused before it fills the memory", function(t)
  local client <close>, server = pair()
  local server_end <close> = server
  client:write(("x"):rep(101) .. "\n")
  fails(t, "EMSGSIZE", server_end:read_line(100))
  t:eq(#server:read_line(101), 101)
  client:write(("x"):rep(101))
  fails(t, "EMSGSIZE", server:read_until("||", 98))
  fails(t, "EMSGSIZE", server:read_all(100))
  t:eq(#server:read_exactly(101), 101)
end)

test("a timeout ends one wait and loses nothing", function(t)
  local client <close>, server = pair()
  local server_end <close> = server
  server_end:set_timeout(5)
  client:write("bur")
  fails(t, "ETIMEDOUT", server:read_line())
  client:write("ger\n")
  server:set_timeout()
  t:eq(server:read_line(), "burger")
end)

test("a cancelled reader loses nothing, a cancelled writer ends the writing", function(t)
  local client <close>, server = pair()
  local server_end <close> = server
  client:write("bur")
  cancelled(t, function()
    return server_end:read_line()
  end)
  client:write("ger\n")
  t:eq(server:read_line(), "burger")
  cancelled(t, function()
    return client:write(BIG)
  end)
  fails(t, "EPIPE", client:write("x"))
end)

test("accepting, connecting and resolving end at once when they are cancelled", function(t)
  local listener <close> = assert(net.listen({ host = "127.0.0.1", port = 0, backlog = 1 }))
  local port = listener:address().port
  cancelled(t, function()
    return listener:accept()
  end)
  cancelled(t, function()
    return net.resolve("no-such-name.invalid")
  end)
  local waiting, unanswered, err = {}, 0
  repeat -- until the kernel's queue is full: once unanswered, it could be the machine that is slow
    waiting[#waiting + 1], err = net.connect({ host = "127.0.0.1", port = port, timeout_ms = 50 })
    unanswered = err and unanswered + 1 or 0
  until unanswered == 5
  t:eq(err.code, "ETIMEDOUT")
  t:eq(tostring(err), ("connect to 127.0.0.1:%d: connection timed out"):format(port))
  cancelled(t, function()
    return net.connect({ host = "127.0.0.1", port = port })
  end)
  for _, stream in ipairs(waiting) do
    stream:close()
  end
end)

test("one task reads at a time, and closing wakes everybody", function(t)
  local client, server = pair()
  local listener = assert(net.listen({ host = "127.0.0.1", port = 0 }))
  host.task.group(function(group)
    local reader = group:spawn(function()
      return select(2, server:read()).code
    end)
    local writer = group:spawn(function()
      return select(2, client:write(BIG)).code
    end)
    local acceptor = group:spawn(function()
      return select(2, listener:accept()).code
    end)
    t:raises("another task reads", server.read_line, server)
    -- What arrives meanwhile wakes the reader with bytes: closed before the loop has turned.
    client:close()
    server:close()
    listener:close()
    t:eq({ reader:join(), writer:join(), acceptor:join() }, { "ECLOSED", "ECLOSED", "ECLOSED" })
  end)
  t:raises("the stream is closed", server.read, server)
  t:raises("the listener is closed", listener.accept, listener)
  client:close()
  t:eq({ client:is_closed(), listener:is_closed() }, { true, true })
end)

test("several tasks may write: each string arrives in one piece", function(t)
  local client <close>, server = pair()
  local server_end <close> = server
  local letters = { "a", "b", "c", "d" }
  host.task.group(function(group)
    for _, letter in ipairs(letters) do
      group:spawn(function()
        assert(client:write(letter:rep(3000000)))
      end)
    end
    local came = {} -- in any order: who computes for long is interrupted before it writes
    for i in ipairs(letters) do
      local text = assert(server_end:read_exactly(3000000))
      came[i] = text:sub(1, 1)
      t:eq(text == came[i]:rep(3000000), true)
    end
    table.sort(came)
    t:eq(came, letters)
  end)
end)

test("connections are iterated until the listener closes", function(t)
  local listener = assert(net.listen({ host = "127.0.0.1", port = 0 }))
  local port = listener:address().port
  host.task.group(function(group)
    local server = group:spawn(function()
      local lines = {}
      for stream in listener:connections() do
        local open <close> = stream
        lines[#lines + 1] = open:read_line()
      end
      return lines
    end)
    for _, line in ipairs({ "one", "two" }) do
      local stream <close> = assert(net.connect({ host = "127.0.0.1", port = port }))
      stream:write(line .. "\n")
      t:eq({ stream:read() }, {})
    end
    listener:close()
    t:eq(server:join(), { "one", "two" })
  end)
end)

test("Unix sockets have a path, which goes when the listener closes", function(t)
  local fs = require("perigee.fs")
  local temp <close> = fs.temp_folder()
  local path = temp.path .. "/socket"
  local listener <close> = assert(net.listen({ path = path }))
  t:eq(listener:address(), { path = path })
  fails(t, "EADDRINUSE", net.listen({ path = path }))
  local client <close> = assert(net.connect({ path = path }))
  local server <close> = assert(listener:accept())
  t:eq(client:remote_address().path, path)
  t:eq(client:write("burger\n"), true)
  t:eq(server:read_line(), "burger")
  t:raises("only a TCP connection", client.nodelay, client, true)
  listener:close()
  t:eq(fs.exists(path), false)
  t:eq(
    fails(t, "ENOENT", net.connect({ path = path })),
    "connect to " .. path .. ": no such file or directory"
  )
  fails(t, "ENAMETOOLONG", net.connect({ path = "/" .. ("x"):rep(200) }))
  fails(t, "ENAMETOOLONG", net.listen({ path = "/" .. ("x"):rep(200) }))
end)

test("a port is taken once, unless it is shared by both", function(t)
  local one <close> = assert(net.listen({ host = "localhost", port = 0, reuse_port = true }))
  local address = one:address()
  local two <close> =
    assert(net.listen({ host = address.host, port = address.port, reuse_port = true }))
  t:eq(two:address(), address)
  local message = fails(t, "EADDRINUSE", net.listen({ host = address.host, port = address.port }))
  t:eq(message:find("listen on " .. address.host, 1, true), 1)
end)

test("mistakes are the caller's", function(t)
  t:raises("did you mean 'timeout_ms'", net.connect, { host = "a", port = 1, timeout = 1 })
  t:raises("either host and port or path", net.connect, { port = 1 })
  t:raises("a port is needed", net.listen, { host = "a" })
  t:raises("0 to 65535", net.connect, { host = "127.0.0.1", port = 70000 })
  local client <close>, server = pair()
  server:close()
  t:raises("1 byte to 1 GiB", client.read, client, 0)
  t:raises("1 to 256 bytes", client.read_until, client, "")
end)
