local cookie = require("perigee.cookie")

test("a cookie has path and same-site by default", function(t)
  t:eq(
    cookie.format("fakesession", "fake-cookie-session-value"),
    "fakesession=fake-cookie-session-value; Path=/; SameSite=lax"
  )
end)

test("attributes are written in the order of http.cookies", function(t)
  local line = cookie.format("a", "1", {
    max_age = 60,
    expires = 784111777,
    path = "/x",
    domain = "example.com",
    secure = true,
    http_only = true,
    same_site = "None",
    partitioned = true,
  })
  t:eq(
    line,
    "a=1; Domain=example.com; expires=Sun, 06 Nov 1994 08:49:37 GMT; HttpOnly; Max-Age=60; "
      .. "Partitioned; Path=/x; SameSite=none; Secure"
  )
end)

test("a value with blanks, quotes, separators or umlauts is quoted", function(t)
  t:eq(cookie.format("a", 'x "y"; ä', {}):match("^[^P]+"), [[a="x \"y\"\073 \303\244"; ]])
end)

test("a bad name and a splitting attribute are refused", function(t)
  t:raises("cannot be a name", cookie.format, "a b", "1")
  t:raises("cannot be a name", cookie.format, "", "1")
  t:raises("Path has a character", cookie.format, "a", "1", { path = "/;x" })
  t:raises("Domain has a character", cookie.format, "a", "1", { domain = "x\r\nSet-Cookie: b" })
  t:raises("same_site must be", cookie.format, "a", "1", { same_site = "maybe" })
end)
