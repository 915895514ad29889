"""Apps for host names, beside the one that is served."""

import pytest

APP = """
local perigee = require("perigee")
local t = perigee.types
local app = perigee.app({ title = "Main" })
app:get("/", function() return "main" end)
app:get("/only-main", function() return "main" end)

local api = perigee.app({ title = "Api" })
api:get("/", function() return "api" end)
app:host("api.Example.com", api)

local tenants = perigee.app({ title = "Tenants" })
tenants:get("/", function(req) return req.params end)
tenants:get("/items/{name}", {
  params = { name = t.string, tenant = t.string({ min_length = 3 }) },
}, function(req)
  perigee.sleep(1)
  return { req.params.tenant, req.params.name }
end)
local nested = perigee.app({})
nested:get("/x", function(req) return req.params.tenant end)
tenants:mount("/nested", nested)
app:host("{tenant}.example.com", tenants)
return app
"""


@pytest.fixture
def client(serve, write_app):
    with serve(write_app(APP)).client() as client:
        yield client


def ask(client, host, path="/"):
    return client.get(path, headers={"host": host})


def test_each_host_has_its_app(client):
    assert ask(client, "api.example.com").json() == "api"
    assert ask(client, "API.example.com:8080").json() == "api"
    for host in ("example.com", "localhost", "a.b.example.com", "evil-api.example.com.org", "[::1]:1"):
        assert ask(client, host).json() == "main", host
    assert ask(client, "api.example.com", "/only-main").status_code == 404
    assert ask(client, "api.example.com", "/lost").json() == {"detail": "Not Found"}


def test_a_label_may_be_a_parameter(client):
    assert ask(client, "acme.example.com").json() == {"tenant": "acme"}
    assert ask(client, "Acme.example.com:80", "/items/a%20b").json() == ["Acme", "a b"]
    assert ask(client, "acme.example.com", "/nested/x").json() == "acme"
    error = ask(client, "ab.example.com", "/items/x").json()["detail"][0]
    assert error["loc"] == ["path", "tenant"]


def test_each_host_has_its_document(client):
    for host, title in (("api.example.com", "Api"), ("a.example.com", "Tenants"), ("x", "Main")):
        document = ask(client, host, "/openapi.json").json()
        assert document["info"]["title"] == title
    document = ask(client, "a.example.com", "/openapi.json").json()
    names = [p["name"] for p in document["paths"]["/items/{name}"]["get"]["parameters"]]
    assert names == ["name"]


@pytest.mark.parametrize(
    "declared, why",
    [
        ('app:host("a b", other)', "'a b' is no host such as"),
        ('app:host("{x}", other)', "'{x}' is no host such as"),
        ('app:host("a.com", {})', "an app is needed"),
        ('other:host("a.com", third) app:mount("/x", other)', "only the app that is served"),
    ],
)
def test_mistakes_are_told_at_load(write_app, declared, why):
    from server import run

    text = f"""
local perigee = require("perigee")
local app, other, third = perigee.app(), perigee.app(), perigee.app()
{declared}
return app"""
    result = run("routes", write_app(text))
    assert result.returncode == 1
    assert why in result.stderr
