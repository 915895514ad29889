"""Every operation has a deadline, and a handler does not outlive its client for nothing."""

import json
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
    conn = server.connect()
    conn.request(method, target)
    eventually(lambda: server.sockets() > 0, "the connection is there")
    getattr(conn, leave)()
    noted(server, note)
    notes = server.json("/notes")
    assert len(notes) == (2 if note.endswith("finished") else 1), notes


def test_a_client_that_ended_its_side_may_wait_a_moment_for_its_answer(server):
    with server.connect() as conn:
        conn.request("GET", "/half/20")
        conn.half_close()
        assert conn.answer().body == b'"answered"'
        conn.expect_end()
    with server.connect() as conn:
        conn.request("GET", "/half/50000")
        conn.half_close()
        conn.expect_end()


# Shutdown


def test_a_stopping_server_waits_for_functions_behind_answers(serve):
    server = serve("deadlines")
    assert server.get("/answered-then-waits").body == b'"answered"'
    server.stop()


def test_a_stopping_server_cancels_what_outlasts_its_grace(serve):
    server = serve("deadlines", "--shutdown-grace-ms", 50)
    with server.connect() as conn:
        conn.request("GET", "/wait/for-ever")
        json.loads(server.get("/notes").body)
        began = time.monotonic()
        server.stop()
    assert time.monotonic() - began < 5
