"""Server-sent events, JSON lines and streamed arrays: on the wire, typed, kept alive, cancelled."""

import json

import pytest

from wire import eventually

APP = """
local perigee = require("perigee")
local t = perigee.types
local app = perigee.app({})
local seen = {}
local Item = t.model("Item", { n = t.integer, name = t.string({ default = "x" }) })

app:get("/events", { produces = "text/event-stream", item = Item }, function()
  return perigee.events(function(events)
    events:send({ n = 1, secret = true })
    events:send({ n = 2 }, { event = "late", id = 7, retry = 10, comment = "two\\r\\nlines" })
    events:send("a\\nb\\rc\\n", { raw = true, id = "x" })
    events:send(nil, { event = "bare" })
    events:comment("done")
  end)
end)
app:get("/bad", { produces = "text/event-stream", item = Item }, function()
  return perigee.events(function(events)
    events:send({ n = 1 })
    events:send({ n = "many" })
  end)
end)
app:get("/mistake/{what}", function(req)
  local mistakes = {
    line = function(events)
      events:send(1, { event = "a\\nb" })
    end,
    id = function(events)
      events:send(1, { id = "a\\0b" })
    end,
    raw = function(events)
      events:send(1, { raw = true })
    end,
    option = function(events)
      events:send(1, { evnt = "x" })
    end,
    retry = function(events)
      events:send(1, { retry = -1 })
    end,
  }
  return perigee.events(mistakes[req.params.what])
end)
app:get("/slow", function(req)
  return perigee.events(function(events)
    local last <close> = setmetatable({}, { __close = function(_, err)
      seen[#seen + 1] = tostring(err)
    end })
    events:send(req.headers["Last-Event-ID"] or "none")
    perigee.sleep(60000)
  end, { ping_ms = 10, headers = { ["Cache-Control"] = "no-store" } })
end)
app:get("/silent", function()
  return perigee.events(function()
    local last <close> = setmetatable({}, { __close = function(_, err)
      seen[#seen + 1] = tostring(err)
    end })
    perigee.sleep(60000)
  end)
end)
app:get("/seen", function()
  return perigee.json.array(seen)
end)
app:post("/lines", { body = t.integer, produces = "application/jsonl", item = t.integer }, function(req)
  return perigee.lines(function(lines)
    for i = 1, req.body do
      lines:send(i)
    end
  end)
end)
app:get("/array", { produces = "application/json", item = Item }, function()
  return perigee.json_array(function(items)
    for i = 1, 3 do
      items:send({ n = i, name = "n" .. i })
    end
  end)
end)
app:get("/none", function()
  return perigee.json_array(function() end)
end)
return app
"""


@pytest.fixture
def server(serve, write_app):
    return serve(write_app(APP))


@pytest.fixture
def client(server):
    with server.client() as client:
        yield client


def test_events_are_written_as_browsers_read_them(client):
    answer = client.get("/events")
    assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert answer.headers["cache-control"] == "no-cache"
    assert answer.headers["x-accel-buffering"] == "no"
    assert answer.text == (
        'data: {"n":1,"name":"x"}\n\n'
        ': two\n: lines\nevent: late\ndata: {"n":2,"name":"x"}\nid: 7\nretry: 10\n\n'
        "data: a\ndata: b\ndata: c\ndata: \nid: x\n\n"
        "event: bare\n\n"
        ": done\n\n"
    )
    assert client.head("/events").headers["content-type"] == "text/event-stream; charset=utf-8"


def test_an_item_of_another_type_cuts_the_stream(server):
    with server.connect() as conn:
        conn.request("GET", "/bad")
        with pytest.raises((EOFError, ConnectionResetError)):
            conn.answer()
    server.wait_for_log("the item does not fit the declared type: .*n")


@pytest.mark.parametrize(
    "what, why",
    [
        ("line", "'event' must be one line"),
        ("id", "'id' must be one line"),
        ("raw", "raw data must be a string, not number"),
        ("option", "did you mean 'event'"),
        ("retry", "retry must be milliseconds, 0 or more"),
    ],
)
def test_mistakes_are_told(server, what, why):
    with server.connect() as conn:
        conn.request("GET", f"/mistake/{what}")
        with pytest.raises((EOFError, ConnectionResetError)):
            conn.answer()
    server.wait_for_log(why)


def test_a_silent_stream_is_kept_alive_and_ends_with_its_client(server):
    with server.connect() as conn:
        conn.request("GET", "/slow", "Last-Event-ID: 41")
        head = conn.head()
        assert (head.status, head.header("cache-control")) == (200, "no-store")

        def chunk():
            size = int(conn.take_line(), 16)
            data = conn.take(size)
            assert conn.take(2) == b"\r\n"
            return data

        assert chunk() == b'data: "41"\n\n'
        for _ in range(3):
            assert chunk() == b": ping\n\n"
        assert server.json("/seen") == []
    seen = eventually(lambda: server.json("/seen"), "the handler is cancelled")
    assert "the client closed the connection" in seen[0]


def test_the_head_of_events_does_not_wait_for_the_first_one(server):
    with server.connect() as conn:
        conn.request("GET", "/silent")
        assert conn.head().status == 200
    eventually(lambda: server.json("/seen"), "a client that went without a sound is missed")


def test_json_lines(client):
    answer = client.post("/lines", json=3)
    assert answer.headers["content-type"] == "application/jsonl"
    assert answer.text == "1\n2\n3\n"
    assert client.post("/lines", json=0).text == ""


def test_a_streamed_array_is_the_array(client):
    answer = client.get("/array")
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["transfer-encoding"] == "chunked"
    assert answer.json() == [{"n": i, "name": f"n{i}"} for i in (1, 2, 3)]
    assert client.get("/none").text == "[]"


def test_streams_are_documented_by_their_items(client):
    document = client.get("/openapi.json").json()
    assert document["openapi"] == "3.2.0"

    def content(path, method="get"):
        return document["paths"][path][method]["responses"]["200"]["content"]

    reference = {"$ref": "#/components/schemas/Item"}
    event = content("/events")["text/event-stream"]["itemSchema"]
    assert event["required"] == ["data"]
    assert event["properties"]["data"]["contentSchema"] == reference
    assert content("/lines", "post")["application/jsonl"]["itemSchema"]["type"] == "integer"
    assert content("/array")["application/json"]["schema"]["type"] == "array"
    assert content("/array")["application/json"]["schema"]["items"] == reference
    assert json.dumps(document).count('"itemSchema"') == 3
