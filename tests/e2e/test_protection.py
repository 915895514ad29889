"""Rate limits, and middleware that protects: security headers, other sites, addresses."""

import pytest

APP = """
local perigee = require("perigee")
local t = perigee.types
local app = perigee.app({})
app:get("/few", { query = { n = t.integer({ default = 1 }) }, rate_limit = { rate = "3/hour" } }, function()
  return "in"
end)
app:get("/keyed", {
  rate_limit = { rate = "1/day", burst = 2, key = function(req) return req.headers["x-key"] end },
}, function()
  return "in"
end)
local shared = perigee.router({ prefix = "/shared", rate_limit = { rate = "2/hour", name = "shared" } })
shared:get("/a", function() return "a" end)
shared:get("/b", function() return "b" end)
shared:get("/free", { rate_limit = false }, function() return "free" end)
app:include(shared)

local secure = perigee.app({ use = { require("perigee.middleware.secure_headers")({
  content_security_policy = "default-src 'self'",
  frame_options = false,
}) } })
secure:get("/", function() return 1 end)
secure:get("/own", function(req)
  req.response:set("referrer-policy", "origin")
  return 1
end)
app:mount("/secure", secure)

local csrf = perigee.app({ use = { require("perigee.middleware.csrf")({
  trusted_origins = { "https://admin.example.com" },
  exempt = function(req) return req.path == "/csrf/hook" end,
}) } })
csrf:get("/", function() return "read" end)
csrf:post("/", function() return "changed" end)
csrf:post("/hook", function() return "hook" end)
app:mount("/csrf", csrf)

for name, networks in pairs({ here = { "10.0.0.0/8", "127.0.0.1" }, elsewhere = { "10.0.0.0/8" } }) do
  local inside = perigee.app({ use = { require("perigee.middleware.ip_allow")(networks) } })
  inside:get("/", function() return name end)
  app:mount("/" .. name, inside)
end
return app
"""


@pytest.fixture
def client(serve, write_app):
    # Two loops: limits count for all of them.
    with serve(write_app(APP), "--loops", 2).client() as client:
        yield client


def told(answer):
    names = ("ratelimit-limit", "ratelimit-remaining", "ratelimit-reset", "retry-after")
    return [answer.headers.get(name) for name in names]


def test_what_comes_too_often_is_refused(client):
    assert told(client.get("/few")) == ["3", "2", "1200", None]
    assert client.get("/few?n=x").status_code == 422  # counts, too
    assert client.get("/few", headers={"connection": "close"}).status_code == 200
    answer = client.get("/few")
    assert (answer.status_code, answer.json()) == (429, {"detail": "Too Many Requests"})
    limit, left, reset, wait = told(answer)
    assert (limit, left) == ("3", "0")
    assert 3500 < int(reset) <= 3600
    assert 1100 < int(wait) <= 1200


def test_requests_are_counted_by_their_key(client):
    assert [client.get("/keyed", headers={"x-key": "a"}).status_code for _ in range(3)] == [
        200,
        200,
        429,
    ]
    assert client.get("/keyed", headers={"x-key": "b"}).status_code == 200
    assert [client.get("/keyed").status_code for _ in range(4)] == [200] * 4


def test_operations_may_share_their_counts(client):
    assert client.get("/shared/a").status_code == 200
    assert client.get("/shared/b").status_code == 200
    assert client.get("/shared/a").status_code == 429
    assert client.get("/shared/free").status_code == 200


def test_limits_are_documented(client):
    paths = client.get("/openapi.json").json()["paths"]
    assert paths["/few"]["get"]["responses"]["429"] == {"description": "Too Many Requests"}
    assert "429" not in paths["/shared/free"]["get"]["responses"]


def test_security_headers(client):
    for path in ("/secure/", "/secure/own", "/secure/docs"):
        headers = client.get(path).headers
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["content-security-policy"] == "default-src 'self'"
        assert headers["strict-transport-security"].startswith("max-age=")
        assert "x-frame-options" not in headers
        expected = "origin" if path.endswith("own") else "no-referrer"
        assert headers.get_list("referrer-policy") == [expected]


@pytest.mark.parametrize(
    "status, headers",
    [
        (200, {}),
        (200, {"sec-fetch-site": "same-origin"}),
        (200, {"sec-fetch-site": "none"}),
        (403, {"sec-fetch-site": "cross-site"}),
        (403, {"sec-fetch-site": "same-site"}),
        (200, {"origin": "http://a.test:80", "host": "A.test:80"}),
        (403, {"origin": "http://a.test.evil", "host": "a.test"}),
        (403, {"origin": "null"}),
        (200, {"origin": "https://ADMIN.example.com", "sec-fetch-site": "cross-site"}),
        (403, {"origin": "https://admin.example.com.evil", "sec-fetch-site": "cross-site"}),
    ],
)
def test_other_sites_change_nothing(client, status, headers):
    assert client.post("/csrf/", headers=headers).status_code == status
    assert client.get("/csrf/", headers=headers).status_code == 200
    assert client.post("/csrf/hook", headers=headers).status_code == 200


def test_only_clients_of_these_addresses_come_in(client):
    assert client.get("/here/").json() == "here"
    answer = client.get("/elsewhere/")
    assert (answer.status_code, answer.json()) == (403, {"detail": "Forbidden"})


@pytest.mark.parametrize(
    "declared, why",
    [
        ('app:get("/", { rate_limit = { rate = "lots" } }, f)', "rate must be such as"),
        ('app:get("/", { rate_limit = { rate = "0/min" } }, f)', "rate must be such as"),
        ('app:get("/", { rate_limit = { rate = "1/min", key = "user" } }, f)', "key must be 'ip'"),
        ('app:get("/", { rate_limit = { rat = "1/min" } }, f)', "did you mean 'rate'"),
        ('app:get("/", { rate_limit = true }, f)', "rate_limit must be a table, or false"),
        ('app:use(require("perigee.middleware.ip_allow")({ "x" }))', "addresses or networks"),
        (
            'app:use(require("perigee.middleware.csrf")({ trusted_origins = { "a.com" } }))',
            "'a.com' is no origin",
        ),
        (
            'app:use(require("perigee.middleware.secure_headers")({ xss_protection = true }))',
            "xss_protection must be a string",
        ),
    ],
)
def test_mistakes_are_told_at_load(write_app, declared, why):
    from server import run

    text = f'local app = require("perigee").app()\nlocal function f() end\n{declared}\nreturn app'
    result = run("routes", write_app(text))
    assert result.returncode == 1
    assert why in result.stderr
