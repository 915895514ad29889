"""What has no end of its own is told when its version of the app is to stop: it does not use up the grace."""

import json
import shutil
import signal
import threading

import pytest

from server import BINARY, children_of
from wire import eventually

# No test ends by the grace, which is ten minutes.
APP = """
local perigee = require("perigee")
local shared, task, time = perigee.shared, perigee.task, perigee.time
local app = perigee.app({ limits = { shutdown_grace_ms = 600000 } })

app:get("/", function()
  return "VERSION"
end)

local vm = {}

app:get("/vm", function()
  return tostring(vm)
end)

app:get("/events", function(req)
  return perigee.events(function(events)
    local last <close> = setmetatable({}, { __close = function()
      events:send("goodbye")
    end })
    events:send("VERSION", { id = req.headers["Last-Event-ID"] or "none" })
    while true do
      perigee.sleep(60000)
    end
  end)
end)

local function until_told(events)
  events:send("first")
  while not task.stopping() do
    perigee.sleep(1)
  end
  events:send("last")
end

-- An answer of a model: it comes in pieces, and its client does not come back for the rest.
app:post("/answer", function()
  return perigee.events(until_told)
end)

app:get("/chosen", function()
  return perigee.events(until_told, { until_stop = false })
end)

app:get("/beats", function()
  return perigee.stream(function(out)
    local result, err = task.until_stop(function()
      for beat in time.interval(1) do
        out:write(beat == 1 and "beat" or "")
      end
    end)
    out:write((" %s %s %s"):format(result, err.code, err.message))
  end)
end)

app:get("/feed", function()
  return perigee.lines(function(lines)
    local news <close> = shared.subscribe("news")
    lines:send("listening")
    task.until_stop(function()
      while true do
        lines:send((news:receive()))
      end
    end)
  end)
end)

app:get("/poll", function()
  local news <close> = shared.subscribe("news")
  shared.set("polls", true)
  local value, err = task.until_stop(news.receive, news)
  return { value = value, code = err and err.code }
end)

app:get("/polls", function()
  return shared.get("polls") or false
end)

app:on_stop(function()
  shared.incr("stopped")
end)

app:get("/stopped", function()
  return shared.get("stopped") or 0
end)

return app
"""


def chunk(conn):
    data = conn.take(int(conn.take_line(), 16))
    assert conn.take(2) == b"\r\n"
    return data


class Kitchen:
    """A server with this app, and the ways in which a version of it comes to its end."""

    def __init__(self, server, folder, loops):
        self.server = server
        self.folder = folder
        self.loops = loops

    def reload(self):
        (self.folder / "app.lua").write_text(APP.replace("VERSION", "two"))
        self.server.signal(signal.SIGHUP)

    def stop(self):
        self.server.signal(signal.SIGTERM)

    def upgrade(self):
        self.server.signal(signal.SIGUSR2)

    def wait_for_all_loops(self):
        """Each loop has served somebody since: what was sent before has been read."""
        seen = set()

        def another():
            seen.add(self.server.json("/vm"))
            return len(seen) == self.loops

        eventually(another, f"{self.loops} loops")

    def expect_end(self, how):
        """The old version has gone, long before its grace."""
        if how == "stop":
            assert self.server.wait() == 0
        elif how == "upgrade":
            supervisor = self.server.process.pid
            eventually(lambda: self.server.pid not in children_of(supervisor), "the old one's end")
            assert self.server.json("/") == "one"
        else:
            assert self.server.json("/") == "two"
            eventually(lambda: self.server.json("/stopped") == self.loops, "its stop hooks")


@pytest.fixture(params=[1, 2])
def kitchen(serve, write_app, tmp_path, request):
    folder = write_app(APP.replace("VERSION", "one"))
    binary = tmp_path / "perigee"
    shutil.copy(BINARY, binary)
    server = serve(folder, "--loops", request.param, binary=binary)
    return Kitchen(server, folder, request.param)


HOW = ["reload", "stop", "upgrade"]


@pytest.mark.parametrize("how", HOW)
def test_events_end_as_they_should_so_that_clients_come_back(kitchen, how):
    with kitchen.server.connect() as conn:
        conn.request("GET", "/events", "Last-Event-ID: 41")
        conn.head()
        assert chunk(conn) == b'data: "one"\nid: 41\n\n'
        getattr(kitchen, how)()
        assert conn.rest_of_chunks() == b'data: "goodbye"\n\n'
        if how == "reload":
            conn.request("GET", "/events")
            conn.head()
            assert chunk(conn) == b'data: "two"\nid: none\n\n'
        else:
            conn.expect_end()
    kitchen.expect_end(how)


# What is asked for, the first chunk of the answer, and what follows once the version is to stop.
STREAMS = {
    "events with an end of their own": ("POST /answer", 'data: "first"\n\n', 'data: "last"\n\n'),
    "events that say so": ("GET /chosen", 'data: "first"\n\n', 'data: "last"\n\n'),
    "beats": ("GET /beats", "beat", " nil ESTOPPING this version of the app is to stop"),
    "a topic": ("GET /feed", '"listening"\n', ""),
}


@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize("stream", STREAMS)
def test_other_streams_end_by_themselves_or_are_told_and_are_complete(kitchen, how, stream):
    line, first, rest = STREAMS[stream]
    with kitchen.server.connect() as conn:
        conn.request(*line.split())
        conn.head()
        assert chunk(conn) == first.encode()
        getattr(kitchen, how)()
        assert conn.rest_of_chunks() == rest.encode()
    kitchen.expect_end(how)


@pytest.mark.parametrize("how", HOW)
def test_a_request_that_waits_for_news_may_answer_without_any(kitchen, how):
    with kitchen.server.connect() as conn:
        conn.request("GET", "/poll")
        eventually(lambda: kitchen.server.json("/polls"), "the handler")
        getattr(kitchen, how)()
        assert json.loads(conn.answer().body) == {"code": "ESTOPPING"}
    kitchen.expect_end(how)


def test_many_streams_end_at_once(kitchen):
    conns = [kitchen.server.connect() for _ in range(100)]
    for conn in conns:
        conn.request("GET", "/events")
        conn.head()
    threading.Timer(0, kitchen.reload).start()
    for conn in conns:
        assert conn.rest_of_chunks().endswith(b'data: "goodbye"\n\n')
        assert conn.get("/").body == b'"two"'
        conn.close()
    kitchen.expect_end("reload")


def test_a_stream_that_begins_while_the_server_stops_ends_as_well(kitchen):
    with kitchen.server.connect() as waits, kitchen.server.connect() as conn:
        waits.request("POST", "/answer")
        waits.head()
        conn.send("GET /events HTTP/1.1\r\nHost: x\r\n")
        kitchen.wait_for_all_loops()
        kitchen.stop()
        conn.send("\r\n")
        conn.head()
        assert conn.rest_of_chunks().endswith(b'data: "goodbye"\n\n')
        conn.expect_end()
    kitchen.expect_end("stop")
