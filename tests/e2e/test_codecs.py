"""Formats other than JSON: bodies that a decoder reads, results that an encoder writes."""

import gzip

import pytest

from server import run

# "name=lamp;price=2;tags=a,b": enough of a format to be right or wrong.
APP = """
local perigee = require("perigee")
local json, t = perigee.json, perigee.types
local app = perigee.app({ limits = { max_body_bytes = 10000 } })

app:decoder("application/x-pairs", function(bytes)
  if bytes == "raise" then
    error("a bug of the decoder")
  elseif bytes == "loop" then
    while true do end
  elseif bytes == "name=late;price=1" then
    perigee.time.sleep(0.01)
  end
  local value = json.object({})
  for pair in bytes:gmatch("[^;]+") do
    local name, text = pair:match("^(%w+)=(.*)$")
    if not name then
      return nil, "no pair"
    end
    if text == "null" then
      value[name] = json.null
    elseif text:find(",") then
      value[name] = json.array({})
      for item in text:gmatch("[^,]+") do
        table.insert(value[name], item)
      end
    else
      value[name] = tonumber(text) or text
    end
  end
  return value
end)
app:encoder("application/x-pairs", function(value)
  local names, parts = {}, {}
  for name in pairs(value) do
    names[#names + 1] = name
  end
  table.sort(names)
  for i, name in ipairs(names) do
    parts[i] = name .. "=" .. (value[name] == json.null and "null" or tostring(value[name]))
  end
  return table.concat(parts, ";")
end)
app:encoder("text/x-nothing", function()
  return nil
end)

local Item = t.model("Item", {
  name = t.string({ min_length = 2 }), price = t.number, tags = t.array(t.string, { default = {} }),
  note = t.string({ nullable = true, optional = true }),
})
local Out = t.model("Out", {
  name = t.string, price = t.number, note = t.string({ optional = true }),
})
local options = {
  query = { n = t.integer({ default = 1 }) }, body = Item, response = Out, status = 201,
}
local function take(req)
  return { name = req.body.name, price = req.body.price * req.query.n, secret = #req.body.tags }
end
app:post("/items", options, take)
app:post("/there", options, perigee.threaded(take))
local user = perigee.dependency(perigee.threaded(function() return "ann" end))
app:post("/partly", { body = Item, deps = { user = user } }, function(req)
  return { user = req.deps.user, name = req.body.name }
end)
app:post("/hurry", { body = Item, timeout_ms = 100 }, take)
app:post("/hurry-there", { body = Item, timeout_ms = 100 }, perigee.threaded(take))
app:post("/undeclared", function(req)
  return { bytes = req:body() }
end)
app:patch("/items", {
  body = Item:partial("Patch"), consumes = "application/merge-patch+json",
}, take)
app:get("/kept", { cache = { ttl_ms = 60000 }, etag = true }, function()
  return { made = perigee.shared.incr("made") }
end)
app:get("/text", { produces = "text/plain" }, function() return "text" end)
app:get("/bad", function() return { 1 } end)
app:get("/none", { status = 204 }, function() end)
app:get("/missing", function() error(perigee.http_error(404)) end)
return app
"""
PAIRS = {"content-type": "application/X-Pairs; charset=utf-8"}


@pytest.fixture
def client(serve, write_app):
    server = serve(write_app(APP), "--threads", 1)
    with server.client() as client:
        client.log = server
        yield client


@pytest.mark.parametrize("path", ["/items", "/there"])
def test_a_decoded_body_is_validated_as_json_would_be(client, path):
    sent = "name=lamp;price=2.5;tags=a,b;note=null"
    answer = client.post(path + "?n=2", content=sent, headers=PAIRS)
    assert answer.status_code == 201
    assert answer.json() == {"name": "lamp", "price": 5.0, "note": None}
    told = []
    json = {"content-type": "application/json"}
    for body, headers in (("name=x", PAIRS), ('{"name":"x"}', json)):
        answer = client.post(path + "?n=no", content=body, headers=headers)
        assert answer.status_code == 422
        told.append(answer.json())
    assert told[0] == told[1]
    assert [error["loc"] for error in told[0]["detail"]] == [
        ["query", "n"],
        ["body", "name"],
        ["body", "price"],
    ]


def test_a_decoded_body_travels_to_workers_and_back(client):
    answer = client.post("/partly", content="name=lamp;price=1", headers=PAIRS)
    assert answer.json() == {"user": "ann", "name": "lamp"}
    assert client.post("/partly", content="name=lamp", headers=PAIRS).status_code == 422


@pytest.mark.parametrize("path", ["/items", "/there"])
def test_what_a_decoder_cannot_read_is_400(client, path):
    for body in ("no pair", "raise", b"name=\xff\xff;price=1"):
        answer = client.post(path, content=body, headers=PAIRS)
        assert (answer.status_code, answer.json()) == (
            400,
            {"detail": "There was an error parsing the body"},
        )
    client.log.wait_for_log("the decoder failed: .*a bug of the decoder")


@pytest.mark.parametrize("path", ["/hurry", "/hurry-there"])
def test_a_decoder_that_does_not_end_is_interrupted(client, path):
    assert client.post(path, content="loop", headers=PAIRS).status_code == 504
    for other in ("/items", "/there"):
        answer = client.post(other, content="name=late;price=1", headers=PAIRS)
        assert answer.status_code == 201


def test_compressed_long_and_missing_bodies_are_those_of_json(client):
    body = gzip.compress(b"name=lamp;price=1;tags=" + b"a," * 3000)
    answer = client.post("/items", content=body, headers={**PAIRS, "content-encoding": "gzip"})
    assert answer.status_code == 201
    assert client.post("/items", content="name=" + "x" * 20000, headers=PAIRS).status_code == 413
    answer = client.post("/items", content="", headers=PAIRS)
    assert [(e["type"], e["loc"]) for e in answer.json()["detail"]] == [("missing", ["body"])]
    answer = client.post("/items", content="name=lamp", headers={"content-type": "text/other"})
    assert answer.json()["detail"][0]["type"] == "model_attributes_type"
    assert client.post("/undeclared", content="a=b", headers=PAIRS).json() == {"bytes": "a=b"}


def test_clients_get_the_format_that_they_want_most(client):
    body = {"name": "lamp", "price": 2}
    for accept, is_pairs in (
        ("application/x-pairs", True),
        ("application/json;q=0.5, application/x-pairs;q=0.9", True),
        ("text/html, application/*;q=0.8, application/json;q=0.1", True),
        ("*/*", False),
        ("application/*", False),
        ("application/x-pairs;q=0.4, */*", False),
        ("application/x-pairs;q=0", False),
        ("image/png", False),
    ):
        answer = client.post("/items", json=body, headers={"accept": accept})
        assert (answer.status_code, answer.headers["vary"]) == (201, "Accept")
        if is_pairs:
            assert answer.headers["content-type"] == "application/x-pairs", accept
            assert answer.text == "name=lamp;note=null;price=2.0"
        else:
            assert answer.json() == {"name": "lamp", "price": 2.0, "note": None}, accept


def test_only_json_results_are_written_in_other_formats(client):
    accept = {"accept": "application/x-pairs"}
    assert client.get("/text", headers=accept).text == "text"
    assert client.get("/none", headers=accept).status_code == 204
    assert client.get("/missing", headers=accept).json() == {"detail": "Not Found"}
    assert client.get("/bad", headers={"accept": "text/x-nothing"}).status_code == 500
    client.log.wait_for_log("the encoder of text/x-nothing must return a string, not a nil")


def test_each_format_is_kept_and_tagged_by_itself(client):
    pairs = {"accept": "application/x-pairs"}
    for _ in range(2):
        first, second = client.get("/kept"), client.get("/kept", headers=pairs)
        assert (first.json(), second.text) == ({"made": 1}, "made=2")
        assert second.headers["content-type"] == "application/x-pairs"
        assert first.headers["etag"] != second.headers["etag"]
        assert first.headers.get_list("vary") == ["Accept"]


def test_formats_are_documented(client):
    document = client.get("/openapi.json").json()
    post = document["paths"]["/items"]["post"]
    both = ["application/json", "application/x-pairs"]
    assert list(post["requestBody"]["content"]) == both
    assert post["requestBody"]["content"][both[0]] == post["requestBody"]["content"][both[1]]
    assert list(post["responses"]["201"]["content"]) == [*both, "text/x-nothing"]
    assert list(post["responses"]["422"]["content"]) == ["application/json"]
    patch = document["paths"]["/items"]["patch"]["requestBody"]["content"]
    assert list(patch) == ["application/merge-patch+json", "application/x-pairs"]
    assert list(document["paths"]["/text"]["get"]["responses"]["200"]["content"]) == ["text/plain"]


@pytest.mark.parametrize(
    "declared, message",
    [
        ("app:decoder('msgpack', f)", "a media type such as"),
        ("app:decoder('application/json', f)", "is JSON, which needs none"),
        ("app:encoder('a/b', 1)", "a function is needed, not number"),
        ("app:encoder('a/b', f) app:encoder('A/B', f)", "there is one for a/b already"),
        ("app:post('/', { body = t.any, consumes = 'text/csv' }, f)", "consumes must be JSON"),
        ("app:get('/', { consumes = 'application/json' }, f)", "none is declared"),
    ],
)
def test_mistakes_are_told_at_load(write_app, declared, message):
    text = "local perigee = require('perigee')\n"
    text += "local app, t, f = perigee.app(), perigee.types, print\n"
    result = run("routes", write_app(f"{text}{declared}\nreturn app\n"))
    assert result.returncode == 1
    assert "app.lua:3: " in result.stderr and message in result.stderr
