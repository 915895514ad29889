local cookies = require("perigee.http.cookies")
local proxy = require("perigee.http.proxy")
local url = require("perigee.url")

test("NO_PROXY excludes names, what is below them, addresses and networks", function(t)
  local list = "localhost, .internal,*.corp.example  example.org:8080,10.0.0.0/8,[::1],192.168.1.1"
  for place, expected in pairs({
    ["localhost:80"] = true,
    ["my.localhost:80"] = true,
    ["internal:80"] = true,
    ["a.b.internal:80"] = true,
    ["xinternal:80"] = false,
    ["x.corp.example:443"] = true,
    ["example.org:8080"] = true,
    ["example.org:80"] = false,
    ["10.255.0.1:80"] = true,
    ["11.0.0.1:80"] = false,
    ["192.168.1.1:80"] = true,
    ["192.168.1.11:80"] = false,
  }) do
    local host, port = place:match("^(.*):(%d+)$")
    t:eq(proxy.is_excluded(list, host, tonumber(port)), expected)
  end
  t:eq(proxy.is_excluded(list, "::1", 80), true)
  t:eq(proxy.is_excluded("*", "anything", 1), true)
end)

local function jar_with(from, ...)
  local jar = cookies.new()
  for _, text in ipairs({ ... }) do
    jar:take(url.parse(from), text, 1000)
  end
  return jar
end

local function given(jar, to, now)
  return jar:give(url.parse(to), now or 1000)
end

test("a cookie goes back to its host, below its path, the longer path first", function(t)
  local jar =
    jar_with("http://a.example/x/y", "a=1", "b=2; Path=/x/y/z", "c=3; path=/", "d=; Path=/")
  t:eq(given(jar, "http://a.example/x/y/z"), "b=2; a=1; c=3; d=")
  t:eq(given(jar, "http://a.example/x"), "a=1; c=3; d=")
  t:eq(given(jar, "http://a.example/xy"), "c=3; d=")
  t:eq(given(jar, "http://b.a.example/"), nil)
  t:eq(given(jar, "http://example/"), nil)
end)

test("a domain attribute widens, but never to others", function(t)
  local jar =
    jar_with("http://a.example.org/", "wide=1; Domain=.Example.org", "own=1; Domain=a.example.org")
  t:eq(given(jar, "http://example.org/"), "wide=1")
  t:eq(given(jar, "http://b.a.example.org/"), "own=1; wide=1")
  t:eq(given(jar_with("http://a.org/", "x=1; Domain=b.org"), "http://b.org/"), nil)
  t:eq(given(jar_with("http://a.org/", "x=1; Domain=org"), "http://b.org/"), nil)
  t:eq(given(jar_with("http://1.2.3.4/", "x=1; Domain=2.3.4"), "http://2.3.4/"), nil)
  t:eq(given(jar_with("http://1.2.3.4/", "x=1; Domain=1.2.3.4"), "http://1.2.3.4/"), "x=1")
end)

test("cookies end, are replaced and removed", function(t)
  local jar = jar_with(
    "https://h/",
    "a=1; Max-Age=10; Expires=Thu, 01 Jan 1970 00:00:00 GMT",
    "b=1; Expires=Thu, 01 Jan 1970 00:20:00 GMT",
    "c=1; Expires=Thursday, 01-Jan-70 00:20:00 GMT",
    "d=1; Expires=Thu Jan  1 00:20:00 1970",
    "e=1; Expires=nonsense",
    "f=1",
    "f=2",
    "g=1",
    "g=1; Max-Age=0"
  )
  t:eq(given(jar, "https://h/", 1009), "a=1; b=1; c=1; d=1; e=1; f=2")
  t:eq(given(jar, "https://h/", 1199), "b=1; c=1; d=1; e=1; f=2")
  t:eq(given(jar, "https://h/", 1200), "e=1; f=2")
end)

test("secure cookies come from and go to https only", function(t)
  t:eq(given(jar_with("https://h/", "a=1; Secure"), "http://h/"), nil)
  t:eq(given(jar_with("https://h/", "a=1; Secure"), "https://h/"), "a=1")
  t:eq(given(jar_with("http://h/", "a=1; Secure"), "https://h/"), nil)
end)

test("what is no cookie is ignored", function(t)
  t:eq(
    given(jar_with("http://h/", "", "a", "=1", ";", "a=b\nc", ("x"):rep(5000) .. "=1"), "http://h/"),
    nil
  )
end)
