"""Handlers that compute: the others get their turn, and the deadline ends them, wherever they are."""

import contextlib
import json
import os
import re
import time

import pytest

from server import is_sanitized
from wire import eventually

WAYS = [
    "plain",
    "pcall",
    "xpcall",
    "message-handler",
    "handlers-in-handlers",
    "metamethod",
    "tostring",
    "sort",
    "gsub",
    "find",
    "pcall-match",
    "gsub-pattern",
    "shift",
    "shift-with-metatable",
    "rep",
    "long-literal",
    "coroutine",
    "coroutines-in-pcall",
    "close",
    "swallowed-waits",
    "after-waiting",
]
if is_sanitized(rb"tsan"):  # loses count of frames that errors leave; takes 0.3 s for two megabytes
    WAYS = [way for way in WAYS if way not in ("handlers-in-handlers", "long-literal")]
CANNOT_BE_LEFT = {"message-handler", "handlers-in-handlers", "tostring"}
TIMEOUT = b'{"detail":"Gateway Timeout"}'


@pytest.fixture
def spin(serve):
    return serve("spin")


# Where Lua cannot yield the loop is held until the deadline.
@pytest.mark.parametrize("way", [way for way in WAYS if way not in CANNOT_BE_LEFT])
def test_whatever_computes_lets_the_others_have_their_turn(spin, way):
    with spin.connect() as conn, spin.connect() as other:
        conn.request("GET", f"/spin-on/{way}")
        for _ in range(20):
            assert other.get("/").body == b'"alive"'
        assert not conn.readable()


@pytest.mark.parametrize("way", WAYS)
def test_the_deadline_ends_whatever_computes(spin, way):
    with spin.connect() as conn, spin.connect() as other:
        conn.request("GET", f"/spin/{way}")
        answer = conn.answer()
        assert (answer.status, answer.body) == (504, TIMEOUT)
        assert answer.header("content-type") == "application/json"
        assert conn.get("/").body == b'"alive"', "the connection goes on"
        eventually(lambda: other.get(f"/ended/{way}").body == b"1", "its variables are closed")


@pytest.mark.parametrize("target", ["/in-dependency", "/in-middleware"])
def test_the_deadline_covers_what_stands_before_the_handler(spin, target):
    with spin.connect() as conn:
        assert conn.get(target).status == 504
        assert conn.get("/").body == b'"alive"'


def test_what_ended_uses_no_more_of_the_processor(spin):
    with contextlib.ExitStack() as stack:
        for way in WAYS:
            conn = stack.enter_context(spin.connect())
            conn.request("GET", f"/spin/{way}")
        for way in WAYS:
            eventually(lambda way=way: spin.get(f"/ended/{way}").body == b"1", way)

    def rests():
        before = spin.cpu_seconds()
        time.sleep(0.3)
        return spin.cpu_seconds() - before < 0.05

    eventually(rests, "a process that uses no processor")


@pytest.mark.parametrize("what", ["calls", "waits", "coroutines"])
def test_what_cleans_up_slowly_is_not_ended_by_the_clock(spin, what):
    assert spin.get(f"/spin/megabytes-behind-{what}").status == 504
    eventually(lambda: spin.get(f"/ended/{what}").body == b"67108864", "it ran to its end")


def test_a_loop_is_not_held_for_long_where_lua_cannot_be_left(spin):
    with spin.connect() as conn:
        assert conn.get("/held").status == 500
        assert conn.get("/").body == b'"alive"'
    spin.wait_for_log("it held its loop for 2 s where it cannot be interrupted")


def test_a_finalizer_that_does_not_end_is_stopped(spin):
    assert spin.get("/finalizer").body == b'"collected"'
    # One of each kind is told; the others of its line have had their time.
    spin.wait_for_log(r"a __gc function failed: .*more than 10 ms", count=2)


def test_a_function_behind_the_answer_has_a_deadline_of_its_own(spin):
    with spin.connect() as conn:
        assert conn.get("/behind-the-answer").body == b'"answered"'
        assert conn.get("/").body == b'"alive"'
    spin.wait_for_log(
        r"a function behind an answer failed \(request [0-9a-f]{24}\): cancelled: its deadline"
    )


def test_the_log_names_route_file_and_line_once(spin):
    for _ in range(3):
        assert spin.get("/spin/plain").status == 504
    line = spin.wait_for_log(r"GET /spin/.* held its loop")
    assert "GET /spin/{way} (" in line
    assert "app.lua:8" in line.split("held its loop")[1] or "app.lua:9" in line
    assert int(spin.get("/overruns").body) >= 1
    spin.stop()
    assert len(re.findall("GET /spin/.* held its loop", spin.output)) == 1, spin.output


def test_in_development_the_log_says_how_it_came_there(serve, write_app):
    app = write_app("""
        local perigee = require("perigee")
        local app = perigee.app({ timeout_ms = 100 })
        local function deep() while true do end end
        local function middle() deep() end
        app:get("/", function() middle() end)
        return app
    """)
    server = serve(app, command="dev")
    assert server.get("/").status == 504
    server.wait_for_log(r"GET / .* held its loop")
    for name in ("deep", "middle"):
        server.wait_for_log(rf"app\.lua:\d: in (upvalue|local|function) .*{name}")


def test_many_that_compute_share_half_of_the_loop(spin):
    with contextlib.ExitStack() as stack:
        conns = [stack.enter_context(spin.connect()) for _ in range(20)]
        for conn in conns:
            conn.request("GET", "/compute-until-enough")
        with spin.connect() as other:
            for _ in range(50):
                assert other.get("/").body == b'"alive"'
            assert not any(conn.readable() for conn in conns)
            assert other.get("/enough").body == b"true"
        for conn in conns:
            assert json.loads(conn.answer().body)["rounds"] >= 0


def test_what_computes_for_long_computes_what_it_should(spin):
    with contextlib.ExitStack() as stack:
        conns = [stack.enter_context(spin.connect()) for _ in range(5)]
        for conn in conns:
            conn.request("GET", "/compute/3000000")
        for conn in conns:
            assert conn.answer().body == b"4500001500000"


def test_a_pipeline_of_slow_handlers_does_not_keep_the_others_waiting(spin, tmp_path):
    """The loop is held until all have been sent: who waits longer is not decided by the clients."""
    count, pipe = 300, tmp_path / "pipe"
    os.mkfifo(pipe)
    with spin.connect() as greedy, spin.connect() as other:
        assert other.get("/").body == b'"alive"'
        greedy.request("GET", f"/blocked?pipe={pipe}")
        greedy.send(b"GET /compute/200000 HTTP/1.1\r\nHost: perigee.test\r\n\r\n" * count)
        with open(pipe, "wb"):  # once the handler has opened it, too
            other.request("GET", "/computed")
        assert int(other.answer().body) < count, "all of them were served in one turn"
        assert greedy.answer().body == b'""'
        for _ in range(count):
            assert greedy.answer().body == b"20000100000"
