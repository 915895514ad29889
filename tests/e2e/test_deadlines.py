"""Every operation has a deadline, and a handler does not outlive its client for nothing."""

import contextlib
import json
import re
import signal
import time

import pytest

from wire import eventually

TIMEOUT = b'{"detail":"Gateway Timeout"}'
EXPIRED = "cancelled: its deadline has passed"
LEFT = "cancelled: the client closed the connection"


@pytest.fixture
def server(serve):
    return serve("deadlines")


def noted(server, text):
    eventually(lambda: text in server.json("/notes"), f"{text!r} is noted")


@pytest.mark.parametrize(
    "target, note",
    [
        ("/wait", f"ended: {EXPIRED}"),
        ("/wait/short", f"ended: {EXPIRED}"),
        ("/catches", f"false ECANCELED {EXPIRED}"),
        ("/in-dependency", f"ended: {EXPIRED}"),
        ("/in-middleware", f"ended: {EXPIRED}"),
        ("/with-dependency", "closed"),
        ("/cleans-up", f"cleaned up: {EXPIRED}"),
    ],
)
def test_what_takes_too_long_is_stopped_and_answered_504(server, target, note):
    with server.connect() as conn:
        answer = conn.get(target)
        assert (answer.status, answer.body) == (504, TIMEOUT)
        assert answer.header("content-type") == "application/json"
        assert conn.get("/").body == b'"alive"', "the connection goes on at once"
    noted(server, note)
    server.wait_for_log(r"GET .*not answered within \d+ ms")


def test_the_deadline_is_that_of_the_operation(server):
    assert server.get("/quick").body == b'"quick"'
    with server.connect() as conn:
        conn.request("GET", "/wait/for-ever")
        noted(server, "waits for ever")
        assert server.get("/wait").status == 504
        assert not conn.readable()


def test_the_deadline_of_all_operations_is_a_flag(serve, write_app):
    app = write_app("""
        local perigee = require("perigee")
        local app = perigee.app()
        app:get("/", function() perigee.sleep(100000) end)
        return app
    """)
    assert serve(app, "--timeout-ms", 50).get("/").status == 504


def test_pipelined_requests_behind_a_slow_one_are_answered_in_order(server):
    with server.connect() as conn:
        for target in ("/wait/short", "/", "/wait/short", "/"):
            conn.request("GET", target)
        assert [conn.answer().status for _ in range(4)] == [504, 200, 504, 200]


def test_a_body_that_is_still_coming_ends_with_the_connection(server):
    with server.connect() as conn:
        conn.request("POST", "/body", "Content-Length: 100")
        conn.send(b"{")
        answer = conn.answer()
        assert answer.status == 504
        assert answer.header("connection") == "close"
        conn.expect_end()
    noted(server, f"body ended: {EXPIRED}")


def test_a_stream_that_has_begun_is_cut(server):
    with server.connect() as conn:
        conn.request("GET", "/stream")
        assert conn.head().status == 200
        assert conn.take(len(b"5\r\nfirst\r\n")) == b"5\r\nfirst\r\n"
        with pytest.raises((ConnectionResetError, EOFError)):
            conn.take(1)
    noted(server, f"stream ended: {EXPIRED}")


def test_functions_behind_the_answer_have_their_own_deadline(server):
    assert server.get("/answered-then-waits").body == b'"answered"'
    noted(server, "after")


# Clients that leave


@pytest.mark.parametrize("leave", ["close", "reset"])
@pytest.mark.parametrize(
    "method, target, note",
    [
        ("GET", "/usual", f"GET ended: {LEFT}"),
        ("HEAD", "/usual", f"HEAD ended: {LEFT}"),
        ("POST", "/usual", "POST finished"),
        ("GET", "/slow/cancel", f"cancel ended: {LEFT}"),
        ("GET", "/slow/finish", "finish finished"),
        ("POST", "/slow/post/cancel", f"post ended: {LEFT}"),
    ],
)
def test_a_handler_whose_client_has_gone(server, leave, method, target, note):
    name = note.split()[0]
    finishes = note.endswith("finished")
    conn = server.connect()
    conn.request(method, target)
    noted(server, f"{name} begun")
    getattr(conn, leave)()
    if finishes:  # what another client's leaving does, its own would have done by then
        other = server.connect()
        other.request("GET", "/other")
        noted(server, "other begun")
        getattr(other, leave)()
        noted(server, f"other ended: {LEFT}")
        assert server.get("/finish").status == 200
        noted(server, f"{name} ended")
    noted(server, note)
    assert (f"{name} finished" in server.json("/notes")) is finishes


def test_a_client_that_ended_its_side_may_wait_a_moment_for_its_answer(server):
    def is_answered():  # unless the moment passes while the machine does something else
        with server.connect() as conn:
            conn.request("GET", "/half/20")
            conn.half_close()
            try:
                assert conn.answer().body == b'"answered"'
            except EOFError:
                return False
            conn.expect_end()
            return True

    eventually(is_answered, "an answer behind the end")
    with server.connect() as conn:
        conn.request("GET", "/half/50000")
        conn.half_close()
        conn.expect_end()


# What the answer of a deadline looks like


MIDDLEWARE = """
local perigee = require("perigee")
local app = perigee.app({ timeout_ms = 50 })
local notes = {}
app:use(function(req, next)
  local answer = next(req)
  if answer.status == 504 and req.headers["x-token"] == "slow" then
    perigee.sleep(100000)
  end
  answer:set("X-Middleware", req.method .. " " .. req.path .. " " .. req.headers["x-token"])
  return answer
end)
app:on_error(504, function(req, err)
  return perigee.json({ error = err.detail, id = req.id }, { status = 504 })
end)
local function wait()
  local _ <close> = setmetatable({}, { __close = function()
    perigee.sleep(400)
    notes[#notes + 1] = "cleaned up"
  end })
  perigee.sleep(100000)
end
local released = false
local on_time = { timeout_ms = false }
app:get("/", on_time, function() return "alive" end)
app:get("/notes", on_time, function() return notes end)
app:get("/release", on_time, function() released = true end)
app:get("/wait", wait)
app:get("/held", function()
  local _ <close> = setmetatable({}, { __close = function()
    while not released do
      perigee.sleep(1)
    end
    notes[#notes + 1] = "cleaned up"
  end })
  perigee.sleep(100000)
end)
app:post("/body", function(req) req:body() end)
app:get("/spin", function() while true do end end)
app:get("/threaded", perigee.threaded(wait))
return app
"""


@pytest.fixture
def wrapped(serve, write_app):
    return serve(write_app(MIDDLEWARE), "--log", "json")


@pytest.mark.parametrize("target", ["/wait", "/spin", "/threaded"])
def test_middleware_and_error_handlers_see_a_504(wrapped, target):
    with wrapped.connect() as conn:
        for _ in range(3):
            answer = conn.get(target, "X-Token: t")
            assert answer.status == 504
            assert answer.header("x-middleware") == f"GET {target} t"
            body = json.loads(answer.body)
            assert body["error"] == "Gateway Timeout"
            assert conn.get("/", "X-Token: t").body == b'"alive"'
    wrapped.wait_for_log(f"request {body['id']}.*not answered within 50 ms")


def test_middleware_that_is_too_slow_for_a_504_leaves_it_to_the_server(wrapped):
    with wrapped.connect() as conn:
        for _ in range(2):
            answer = conn.get("/wait", "X-Token: slow")
            assert (answer.status, answer.body) == (504, TIMEOUT)
            assert answer.header("x-middleware") is None
            assert conn.get("/", "X-Token: t").body == b'"alive"'
    wrapped.wait_for_log("not answered within 50 ms", count=4)


def test_a_504_is_logged_once_with_the_time_the_client_waited(wrapped):
    with wrapped.connect() as conn:
        began = time.monotonic()
        assert conn.get("/held", "X-Token: t").status == 504
        wrapped.wait_for_log('"status": ?504')
        waited_ms = (time.monotonic() - began) * 1000
        assert b"cleaned up" not in conn.get("/notes", "X-Token: t").body
        assert conn.get("/release", "X-Token: t").status == 200
        eventually(lambda: conn.get("/notes", "X-Token: t").body == b'["cleaned up"]', "it ended")
    wrapped.stop()
    lines = [json.loads(line) for line in wrapped.output.splitlines() if line.startswith("{")]
    times = [line["ms"] for line in lines if line.get("status") == 504]
    assert len(times) == 1, wrapped.output
    assert 0 < times[0] <= waited_ms + 1


def test_a_504_before_the_body_has_come_ends_the_connection(wrapped):
    with wrapped.connect() as conn:
        conn.send(b"POST /body HTTP/1.1\r\nHost: x\r\nX-Token: t\r\nContent-Length: 9\r\n\r\n123")
        answer = conn.answer()
        assert (answer.status, answer.header("x-middleware")) == (504, "POST /body t")
        assert answer.header("connection") == "close"
        conn.send(b"456789")
        conn.expect_end()


def test_a_client_that_leaves_at_its_deadline_disturbs_nobody(wrapped):
    for _ in range(20):
        with wrapped.connect() as conn:
            conn.request("GET", "/spin", "X-Token: t")
            time.sleep(0.05)  # about when the answer is made; either order is fine
    assert wrapped.get("/", "X-Token: t").body == b'"alive"'


# Shutdown


def test_a_stopping_server_waits_for_functions_behind_answers(serve):
    server = serve("deadlines")
    assert server.get("/answered-then-waits").body == b'"answered"'
    server.stop()


def test_what_outlasts_the_grace_is_answered_503_and_logged(serve):
    server = serve("deadlines", "--shutdown-grace-ms", 50)
    with server.connect() as conn:
        conn.request("GET", "/wait/for-ever")
        noted(server, "waits for ever")
        server.signal(signal.SIGTERM)
        answer = conn.answer()
        assert (answer.status, answer.header("connection")) == (503, "close")
        conn.expect_end()
    assert server.wait() == 0
    assert re.search(r"\"GET /wait/for-ever\" 503", server.output), server.output


def test_a_cleanup_that_began_before_is_cut_short_with_the_others(serve, write_app):
    server = serve(
        write_app("""
local perigee = require("perigee")
local app = perigee.app({ timeout_ms = 50 })
app:get("/", function()
  local _ <close> = setmetatable({}, { __close = function()
    local ok, err = pcall(perigee.sleep, 100000)
    require("perigee.host").log.warn("cleanup: " .. tostring(err))
  end })
  perigee.sleep(100000)
end)
return app
"""),
        "--shutdown-grace-ms",
        50,
    )
    assert server.get("/").status == 504
    server.stop()
    assert "cleanup: cancelled" in server.output
    assert "did not end in time" not in server.output


def test_a_stopping_server_ends_many_that_catch_their_cancellation_and_compute(serve, write_app):
    server = serve(
        write_app("""
local perigee = require("perigee")
local app = perigee.app()
local count = 0
app:get("/", function() return count end)
app:get("/spin", function()
  count = count + 1
  perigee.sleep(1)
  while true do
    pcall(function() while true do end end)
  end
end)
return app
"""),
        "--loops",
        1,
        "--shutdown-grace-ms",
        50,
    )
    with contextlib.ExitStack() as stack:
        for _ in range(50):
            stack.enter_context(server.connect()).request("GET", "/spin")
        eventually(lambda: server.get("/").body == b"50", "all compute")
        server.stop()
    assert "did not end in time" not in server.output


def test_a_stopping_server_cancels_what_outlasts_its_grace(serve):
    server = serve("deadlines", "--shutdown-grace-ms", 50)
    with server.connect() as conn:
        conn.request("GET", "/wait/for-ever")
        noted(server, "waits for ever")
        server.stop()
