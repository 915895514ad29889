local cors = require("perigee.middleware.cors")
local response = require("perigee.response")
local trusted_host = require("perigee.middleware.trusted_host")

local function request(sent, method)
  return {
    method = method or "GET",
    target = "/x?y=1",
    all = function(_, _, name)
      return { sent[name] }
    end,
  }
end

local function answer_of()
  return response.text("inner")
end

local function run(middleware, sent, method)
  return middleware(request(sent, method), answer_of)
end

test("trusted hosts and their subdomains pass, others do not", function(t)
  local middleware = trusted_host({ allowed_hosts = { "Example.com", "*.sub.org", "[::1]" } })
  local function status(host)
    return run(middleware, { host = host }).status
  end
  t:eq({ status("example.com"), status("EXAMPLE.com:8000"), status("[::1]:80") }, { 200, 200, 200 })
  t:eq({ status("a.sub.org"), status("b.a.sub.org") }, { 200, 200 })
  t:eq(
    { status("sub.org"), status("evilsub.org"), status("example.com.evil"), status("") },
    { 400, 400, 400, 400 }
  )
  t:eq(run(middleware, { host = "x" }).body, "Invalid host header")
  t:eq(run(trusted_host({}), { host = "any" }).status, 200)
end)

test("a host that lacks its www is sent there", function(t)
  local middleware = trusted_host({ allowed_hosts = { "www.example.com" } })
  t:eq(run(middleware, { host = "example.com" }):get("Location"), "//www.example.com/x?y=1")
  t:eq(
    run(trusted_host({ allowed_hosts = { "www.a.com" }, www_redirect = false }), { host = "a.com" }).status,
    400
  )
  t:raises("a star stands only for subdomains", trusted_host, { allowed_hosts = { "a*.com" } })
end)

test("a preflight is answered with what is allowed", function(t)
  local middleware = cors({
    allow_origins = { "https://a.com" },
    allow_methods = { "GET", "POST" },
    allow_headers = { "X-Token" },
    max_age = 60,
  })
  local sent = {
    origin = "https://a.com",
    ["access-control-request-method"] = "POST",
    ["access-control-request-headers"] = "x-token, content-type",
  }
  local answer = run(middleware, sent, "OPTIONS")
  t:eq({ answer.status, answer.body }, { 200, "OK" })
  t:eq(answer.headers, {
    { "Vary", answer:get("Vary") },
    { "Access-Control-Allow-Origin", "https://a.com" },
    { "Access-Control-Allow-Methods", "GET, POST" },
    { "Access-Control-Max-Age", "60" },
    {
      "Access-Control-Allow-Headers",
      "Accept, Accept-Language, Content-Language, Content-Type, X-Token",
    },
  })
end)

test("a preflight that asks for more is told what", function(t)
  local answer = run(cors({ allow_origins = { "https://a.com" } }), {
    origin = "https://b.com",
    ["access-control-request-method"] = "PUT",
    ["access-control-request-headers"] = "x-nope",
    ["access-control-request-private-network"] = "true",
  }, "OPTIONS")
  t:eq(
    { answer.status, answer.body },
    { 400, "Disallowed CORS origin, method, headers, private-network" }
  )
  t:eq(answer:get("Access-Control-Allow-Origin"), nil)
end)

test("everything may be allowed, by name where credentials come along", function(t)
  local sent = {
    origin = "https://a.com",
    ["access-control-request-method"] = "PATCH",
    ["access-control-request-headers"] = "x-any",
  }
  local all = { allow_origins = { "*" }, allow_methods = { "*" }, allow_headers = { "*" } }
  local open = run(cors(all), sent, "OPTIONS")
  t:eq({ open.status, open:get("Access-Control-Allow-Origin") }, { 200, "*" })
  t:eq(open:get("Access-Control-Allow-Headers"), "x-any")
  all.allow_credentials = true
  local named = run(cors(all), sent, "OPTIONS")
  t:eq(named:get("Access-Control-Allow-Origin"), "https://a.com")
  t:eq(named:get("Access-Control-Allow-Credentials"), "true")
end)

test("answers are marked for the origins that may read them", function(t)
  local middleware =
    cors({ allow_origins = { "https://a.com" }, expose_headers = { "X-A", "X-B" } })
  local known = run(middleware, { origin = "https://a.com" })
  t:eq(known:get("Access-Control-Allow-Origin"), "https://a.com")
  t:eq(known:get("Access-Control-Expose-Headers"), "X-A, X-B")
  t:eq(known:get("Vary"), "Origin")
  t:eq(run(middleware, { origin = "https://b.com" }):get("Access-Control-Allow-Origin"), nil)
  t:eq(run(middleware, {}).headers, { { "Vary", "Origin" } })
  t:eq(
    run(cors({ allow_origins = { "*" } }), { origin = "x" }):get("Access-Control-Allow-Origin"),
    "*"
  )
  local by_function = cors({
    allow_origin = function(origin)
      return origin:find("%.a%.com$") ~= nil
    end,
  })
  t:eq(
    run(by_function, { origin = "https://x.a.com" }):get("Access-Control-Allow-Origin"),
    "https://x.a.com"
  )
end)

test("OPTIONS without a preflight is an ordinary request", function(t)
  t:eq(run(cors({ allow_origins = { "*" } }), { origin = "x" }, "OPTIONS").body, "inner")
end)
