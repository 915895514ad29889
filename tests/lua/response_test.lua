local json = require("perigee.json")
local response = require("perigee.response")

test("each kind has its content type and status 200", function(t)
  for kind, content_type in pairs({
    text = "text/plain; charset=utf-8",
    html = "text/html; charset=utf-8",
    bytes = "application/octet-stream",
  }) do
    local made = response[kind]("x")
    t:eq({ made.status, made.content_type, made.body }, { 200, content_type, "x" })
    t:eq(response.is_response(made), true)
  end
end)

test("options set status, headers and content type", function(t)
  local made =
    response.text("x", { status = 201, headers = { A = "1" }, content_type = "text/css" })
  t:eq({ made.status, made.headers, made.content_type }, { 201, { { "A", "1" } }, "text/css" })
  t:raises(
    "perigee.text: unknown option 'stauts' (did you mean 'status'?)",
    response.text,
    "x",
    { stauts = 1 }
  )
end)

test("nil as JSON is null", function(t)
  t:eq(response.json(nil).json, json.null)
  t:eq(response.of(nil, 201).json, json.null)
end)

test("false as JSON is false", function(t)
  t:eq(response.json(false).json, false)
  t:eq(response.of(false).json, false)
end)

test("what is no string is refused where bytes are needed", function(t)
  t:raises("perigee.html: a string is needed, not number", response.html, 1)
  t:raises("perigee.stream: a function is needed", response.stream, "x")
end)

test("a redirect is 307 and its target has no blank and no byte beyond ASCII", function(t)
  local made = response.redirect("/ä b?q=1&r=%20#top")
  t:eq({ made.status, made:get("location") }, { 307, "/%C3%A4%20b?q=1&r=%20#top" })
  t:eq(response.redirect("/x", { status = 303 }).status, 303)
end)

test("a response is a plain result when it is one already", function(t)
  local made = response.text("x")
  t:eq(rawequal(response.of(made, 500), made), true)
  t:eq(response.of({ a = 1 }, 201).json, { a = 1 })
end)

test("headers and cookies are set on the response", function(t)
  local made = response
    .empty()
    :set("X-A", 1)
    :add("X-A", 2)
    :cookie("k", "v")
    :delete_cookie("old", { path = "/p" })
  t:eq(made.status, 204)
  t:eq(made.headers, {
    { "X-A", "1" },
    { "X-A", "2" },
    { "Set-Cookie", "k=v; Path=/; SameSite=lax" },
    {
      "Set-Cookie",
      "old=; expires=Thu, 01 Jan 1970 00:00:00 GMT; Max-Age=0; Path=/p; SameSite=lax",
    },
  })
end)
