local url = require("perigee.url")

local function show(text)
  local parsed, problem = url.parse(text)
  return parsed and url.format(parsed) or problem
end

test("a URL is taken apart and normalized", function(t)
  t:eq(url.parse("HTTP://User:p%40ss@Example.COM:8080/a%20b?q=1#part"), {
    scheme = "http",
    user = "User",
    password = "p@ss",
    host = "example.com",
    port = 8080,
    path = "/a%20b",
    query = "q=1",
  })
  t:eq(show("https://h"), "https://h/")
  t:eq(show("https://h:443?x"), "https://h/?x")
  t:eq(show("http://[::1]:80/"), "http://[::1]/")
  t:eq(show("http://h:/"), "http://h/")
  t:eq(
    show('http://h/a b"<>\\^`{}|ü?ü '),
    "http://h/a%20b%22%3C%3E%5C%5E%60%7B%7D|%C3%BC?%C3%BC%20"
  )
end)

test("dot segments are resolved", function(t)
  t:eq(show("http://h/a/b/../c/./d/.."), "http://h/a/c/")
  t:eq(show("http://h/../../a"), "http://h/a")
  t:eq(show("http://h/a/%2E%2e/b/%2e"), "http://h/b/")
  t:eq(show("http://h/a//b"), "http://h/a//b")
end)

test("what is no URL to request is refused with a reason", function(t)
  for text, reason in pairs({
    ["h/a"] = "must begin",
    ["ftp://h/"] = "must begin",
    ["//h/"] = "must begin",
    ["http:///a"] = "no host",
    ["http://u@/a"] = "no host",
    ["http://h:0/"] = "not a port",
    ["http://h:65536/"] = "not a port",
    ["http://h:8a/"] = "not a port",
    ["http://a b/"] = "cannot be a host",
    ["http://a\\b/"] = "cannot be a host",
    ["http://ü/"] = "xn--",
    ["http://[1.2.3.4]/"] = "IPv6",
    ["http://[::1]x/"] = "not a port",
    ["http://h/\r\nX: y"] = "control characters",
    ["http://h\t/"] = "control characters",
    ["http://h/\0"] = "control characters",
  }) do
    local parsed, problem = url.parse(text)
    t:eq(parsed, nil)
    t:eq(problem:find(reason, 1, true) ~= nil, true)
  end
end)

test("references are resolved as RFC 3986 says (5.4)", function(t)
  local base = url.parse("http://u:p@a/b/c/d;p?q")
  for reference, expected in pairs({
    ["g"] = "http://a/b/c/g",
    ["./g"] = "http://a/b/c/g",
    ["g/"] = "http://a/b/c/g/",
    ["/g"] = "http://a/g",
    ["//g"] = "http://g/",
    ["?y"] = "http://a/b/c/d;p?y",
    ["g?y"] = "http://a/b/c/g?y",
    ["#s"] = "http://a/b/c/d;p?q",
    ["g#s"] = "http://a/b/c/g",
    [";x"] = "http://a/b/c/;x",
    [""] = "http://a/b/c/d;p?q",
    ["."] = "http://a/b/c/",
    [".."] = "http://a/b/",
    ["../g"] = "http://a/b/g",
    ["../../../g"] = "http://a/g",
    ["g?y/./x"] = "http://a/b/c/g?y/./x",
    ["https://x/y"] = "https://x/y",
  }) do
    local resolved = url.resolve(base, reference)
    t:eq(url.format(resolved), expected)
    t:eq(resolved.user, nil)
  end
  t:eq(url.resolve(base, "mailto:x"), nil)
  t:eq(url.resolve(base, "/a\r\nb"), nil)
end)

test("queries and forms", function(t)
  t:eq(url.query({ b = 2, a = { "x y", "z&" }, c = true }), "a=x%20y&a=z%26&b=2&c=true")
  t:eq(url.query({ { "b", 1 }, { "a", "ü" } }, true), "b=1&a=%C3%BC")
  t:eq(url.query({ ["a b"] = "c d" }, true), "a+b=c+d")
  t:eq(url.query({}), "")
end)
