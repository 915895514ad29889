"""What tests/features.md lists and no other file shows; and that the tests it names exist."""

import base64
import pathlib
import re

import pytest

TESTS = pathlib.Path(__file__).resolve().parent.parent
DEFINITIONS = {".py": "def {}(", ".c": "static void {}(", ".lua": 'test("{}"'}
ROWS = {"A": 23, "B": 22, "C": 14, "D": 9, "E": 19, "F": 15}

APP = """
local perigee = require("perigee")
local security, t = perigee.security, perigee.types
local app = perigee.app({ title = "Features" })

-- B-02, B-05: every type there is.
local Cat = t.model("Cat", { kind = t.literal("cat"), lives = t.integer })
local Dog = t.model("Dog", { kind = t.literal("dog"), name = t.string })
local Everything = t.model("Everything", {
  { "string", t.string }, { "integer", t.integer }, { "number", t.number },
  { "boolean", t.boolean },
  { "null", t.null }, { "any", t.any }, { "bytes", t.bytes({ encoding = "base64" }) },
  { "uuid", t.uuid }, { "datetime", t.datetime }, { "date", t.date }, { "time", t.time },
  { "duration", t.duration }, { "decimal", t.decimal }, { "url", t.url }, { "email", t.email },
  { "ipv4", t.ipv4 }, { "ipv6", t.ipv6 }, { "enum", t.enum({ "a", "b" }) },
  { "literal", t.literal(1) },
  { "array", t.array(t.integer) }, { "set", t.set(t.string) },
  { "tuple", t.tuple({ t.integer, t.string }) },
  { "map", t.map(t.string, t.number) }, { "object", t.object({ x = t.integer }) },
  { "union", t.union({ t.integer, t.string }) },
  { "tagged", t.tagged("kind", { cat = Cat, dog = Dog }) },
})
app:post("/everything", { body = Everything, response = Everything }, function(req)
  return req.body
end)

-- B-06
local Range = t.model("Range", {
  from = t.integer({ check = function(n)
    if n % 2 == 1 then
      return nil, "must be even"
    end
  end }),
  to = t.integer({ check_before = function(raw)
    return raw == "last" and 100 or raw
  end }),
}, {
  check = function(range)
    if range.from > range.to then
      return nil, "from must not be behind to"
    end
  end,
})
app:post("/range", { body = Range }, function(req)
  return { req.body.from, req.body.to }
end)

-- B-19
local function page_of(item)
  local fields = { items = t.array(item), next = t.string({ optional = true }) }
  return t.model("Page_" .. item.name, fields)
end
local User = t.model("User", { first = t.string, last = t.string }, {
  computed = { full = { t.string, function(user) return user.first .. " " .. user.last end } },
})
app:get("/users", { response = page_of(User) }, function()
  return { items = { { first = "Ann", last = "Lee", password = "x" } }, next = "2" }
end)
app:get("/cats", { response = page_of(Cat) }, function()
  return { items = { { kind = "cat", lives = 9 } } }
end)

-- C-04, C-05
app:put("/status/{known}", {
  params = { known = t.boolean }, status = perigee.status.CREATED,
}, function(req)
  if req.params.known then
    req.response.status = perigee.status.OK
  end
  return req.params.known
end)

-- C-07
local visitor = perigee.dependency(function(req)
  req.response:set("X-Visitor", "7")
  req.response:cookie("visitor", "7", {
    http_only = true, same_site = "strict", secure = true, partitioned = true,
  })
end)
app:get("/visitor", { deps = { visitor } }, function(req)
  req.response:add("X-Handler", "1")
  return "hello"
end)

-- E-15: what FastAPI's tutorial on scopes does.
local oauth2 = security.oauth2_password({
  token_url = "token", scopes = { me = "Read about oneself.", items = "Read items." },
})
local current_user = perigee.dependency({
  deps = { token = oauth2 }, uses_scopes = true,
}, function(req)
  local wanted = table.concat(req.scopes, " ")
  local bearer = wanted ~= "" and ('Bearer scope="%s"'):format(wanted) or "Bearer"
  local challenge = { ["WWW-Authenticate"] = bearer }
  for _, scope in ipairs(req.scopes) do
    if not (" " .. req.deps.token .. " "):find(" " .. scope .. " ", 1, true) then
      error(perigee.http_error(401, "Not enough permissions", challenge))
    end
  end
  return req.deps.token
end)
local active_user = perigee.dependency(
  { deps = { user = security.scopes(current_user, { "me" }) } },
  function(req) return req.deps.user end
)
app:get("/me", { deps = { user = active_user } }, function(req)
  return req.deps.user
end)
app:get("/me/items", { deps = { user = security.scopes(active_user, { "items" }) } }, function(req)
  return req.deps.user
end)
app:get("/any", { deps = { user = current_user } }, function(req)
  return req.deps.user
end)
return app
"""

GUARDED = """
local perigee = require("perigee")
local t = perigee.types
local app = perigee.app({})
app:use(require("perigee.middleware.cors")({ allow_origins = { "https://a.example" } }))
app:use(function(req, next)
  return next(req):set("X-Seen", "yes")
end)
app:get("/error", function() error("oops") end)
app:get("/http-error", function() error(perigee.http_error(418)) end)
app:get("/bad-result", { response = t.integer }, function() return "x" end)
app:on_error(500, function(_, err)
  return { failed = tostring(err):match("response: .*") }
end)
app:get("/denied", { deps = { perigee.security.bearer({}) } }, function() end)
app:get("/limited", { rate_limit = { rate = "1/hour" } }, function() end)
app:post("/typed", { body = t.model("A", { n = t.integer }) }, function() end)
app:get("/slow", { timeout_ms = 20 }, function() perigee.sleep(60000) end)
return app
"""


@pytest.fixture
def features(serve, write_app):
    with serve(write_app(APP)).client() as client:
        yield client


def test_every_type_is_read_and_written(features):
    sent = {
        "string": "é", "integer": "7", "number": 1, "boolean": "yes", "null": None,
        "any": [1, {"a": None}],
        "bytes": base64.b64encode(b"\0\1").decode(),
        "uuid": "{12345678-1234-5678-1234-567812345678}",
        "datetime": "2026-01-02 03:04:05.5+02:00", "date": "2026-01-02", "time": "03:04",
        "duration": 90061, "decimal": 1.10, "url": "HTTP://EXAMPLE.com", "email": "Ann@EXAMPLE.com",
        "ipv4": "127.0.0.1", "ipv6": "::0:1", "enum": "b", "literal": 1, "array": ["1", 2],
        "set": ["a", "a", "b"], "tuple": [1, "x"], "map": {"k": "1.5"}, "object": {"x": 1, "y": 2},
        "union": "1", "tagged": {"kind": "dog", "name": "Rex"},
    }  # fmt: skip
    answer = features.post("/everything", json=sent)
    assert answer.status_code == 200, answer.text
    assert answer.json() == {
        **sent,
        "integer": 7, "number": 1.0, "boolean": True,
        "uuid": "12345678-1234-5678-1234-567812345678",
        "datetime": "2026-01-02T03:04:05.500000+02:00", "time": "03:04:00",
        "duration": "P1DT1H1M1S",
        "decimal": "1.1", "url": "http://example.com/", "email": "Ann@example.com", "ipv6": "::1",
        "array": [1, 2], "set": ["a", "b"], "map": {"k": 1.5}, "object": {"x": 1},
    }  # fmt: skip
    assert list(answer.json()) == list(sent)
    errors = features.post("/everything", json={name: {"no": "good"} for name in sent}).json()
    refused = {error["loc"][1] for error in errors["detail"]}
    assert refused == set(sent) - {"any", "map"} | {"map"}


def test_functions_of_the_app_decide_about_values(features):
    assert features.post("/range", json={"from": 2, "to": "last"}).json() == [2, 100]
    told = [
        (error["loc"], error["msg"])
        for body in ({"from": 3, "to": "x"}, {"from": 4, "to": 2})
        for error in features.post("/range", json=body).json()["detail"]
    ]
    assert told == [
        (["body", "from"], "Value error, must be even"),
        (["body", "to"], "Input should be a valid integer, unable to parse string as an integer"),
        (["body"], "Value error, from must not be behind to"),
    ]


def test_a_function_makes_models(features):
    user = {"first": "Ann", "last": "Lee", "full": "Ann Lee"}
    assert features.get("/users").json() == {"items": [user], "next": "2"}
    assert features.get("/cats").json()["items"] == [{"kind": "cat", "lives": 9}]
    schemas = features.get("/openapi.json").json()["components"]["schemas"]
    for name in ("User", "Cat"):
        items = schemas[f"Page_{name}"]["properties"]["items"]["items"]
        assert items == {"$ref": f"#/components/schemas/{name}"}


def test_a_status_has_a_name_and_may_change(features):
    assert features.put("/status/no").status_code == 201
    assert features.put("/status/yes").status_code == 200


def test_a_dependency_sets_headers_and_cookies(features):
    answer = features.get("/visitor")
    assert (answer.headers["x-visitor"], answer.headers["x-handler"]) == ("7", "1")
    cookie = answer.headers["set-cookie"]
    assert cookie == "visitor=7; HttpOnly; Partitioned; Path=/; SameSite=strict; Secure"


def test_scopes_are_asked_for_and_documented(features):
    def ask(path, token=None):
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        answer = features.get(path, headers=headers)
        return answer.status_code, answer.json(), answer.headers.get("www-authenticate")

    assert ask("/me") == (401, {"detail": "Not authenticated"}, "Bearer")
    assert ask("/me", "me") == (200, "me", None)
    refused = {"detail": "Not enough permissions"}
    assert ask("/me", "items") == (401, refused, 'Bearer scope="me"')
    assert ask("/me/items", "me") == (401, refused, 'Bearer scope="items me"')
    assert ask("/me/items", "me items") == (200, "me items", None)
    assert ask("/any", "x") == (200, "x", None)
    paths = features.get("/openapi.json").json()["paths"]

    def documented(path):
        (scheme,) = paths[path]["get"]["security"]
        return sorted(scheme["OAuth2PasswordBearer"])

    assert documented("/me/items") == ["items", "me"]
    assert (documented("/me"), documented("/any")) == (["me"], [])


def test_middleware_sees_every_error(serve, write_app):
    """So that a page of another origin may read what was wrong."""
    server = serve(write_app(GUARDED))
    origin = {"Origin": "https://a.example"}
    with server.client(headers=origin) as client:
        for method, path, status in (
            ("GET", "/error", 500),
            ("GET", "/http-error", 418),
            ("GET", "/bad-result", 500),
            ("GET", "/denied", 401),
            ("GET", "/limited", 200),
            ("GET", "/limited", 429),
            ("POST", "/typed", 422),
            ("GET", "/typed", 405),
            ("GET", "/nowhere", 404),
            ("GET", "/error/", 307),
        ):
            answer = client.request(method, path)
            seen = [answer.headers.get(name) for name in ("access-control-allow-origin", "x-seen")]
            assert (answer.status_code, seen) == (status, ["https://a.example", "yes"]), path
        failed = client.get("/bad-result").json()["failed"]
        assert failed.startswith("response: Input should be a valid integer")


def test_every_test_that_a_feature_names_exists():
    text = (TESTS / "features.md").read_text()
    rows = re.findall(r"^\| ([A-F]-\d\d) .*? \| (.+) \|$", text, re.MULTILINE)
    expected = [f"{c}-{n:02}" for c, last in ROWS.items() for n in range(1, last + 1)]
    assert [row for row, _ in rows] == expected
    differences = (TESTS / "compat" / "differences.md").read_text()
    for row, shown in rows:
        assert ("differences.md" in shown) == (f"| {row} " in differences), row
        places = re.findall(r"`([^`]+)`", shown)
        assert places or "differences.md" in shown, row
        for path, _, name in (place.partition("::") for place in places):
            source = (TESTS / path).read_text()
            definition = DEFINITIONS[pathlib.Path(path).suffix].format(name)
            assert not name or definition in source, f"{row}: {path}::{name}"
