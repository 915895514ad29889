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
