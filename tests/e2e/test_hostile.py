"""Clients that mean harm, and unlucky ones: they cost little, and the others are served."""

import contextlib
import json
import socket

import pytest

from wire import eventually

FOREVER = ("--head-timeout-ms", 600_000, "--keep-alive-timeout-ms", 600_000)


def connect_many(server, count):
    """Opens connections; those that the server refuses or cuts are part of the test."""
    stack = contextlib.ExitStack()
    return stack, [stack.enter_context(server.connect()) for _ in range(count)]


# Descriptors


@pytest.mark.parametrize("loops", [1, 2])
def test_out_of_descriptors_the_server_neither_exits_nor_spins_and_serves_again_at_once(
    serve, loops
):
    server = serve("probe", *FOREVER, "--loops", loops, descriptors=64)
    first = server.connect()
    assert first.get("/").status == 200
    stack, conns = connect_many(server, 200)
    with stack:
        for conn in conns[:100]:
            with contextlib.suppress(ConnectionError):  # the server may cut those it cannot hold
                conn.send("GET / HTT")

        before = server.cpu_seconds()
        for _ in range(20):  # 20 * 50 ms: a loop that spins would use most of this second
            assert first.get("/sleep/50").status == 200, "those inside are still served"
        assert server.cpu_seconds() - before < 0.3, "the server spins"

    first.close()
    for _ in range(5):
        assert server.get("/").status == 200
    stack, conns = connect_many(server, 30)
    with stack:
        for conn in conns:
            assert conn.get("/").status == 200


def test_those_who_waited_for_a_descriptor_are_served_when_one_is_free(serve):
    server = serve("probe", *FOREVER, descriptors=64)
    stack, conns = connect_many(server, 100)
    with stack:
        for conn in conns:
            conn.request("GET", "/", "Connection: close")
        answered = 0
        for conn in conns:
            with contextlib.suppress(ConnectionError, EOFError):
                answered += conn.answer().status in (200, 503)
            conn.close()
        assert answered >= 50
    assert server.get("/").status == 200


# Many who do little


@pytest.mark.memory
def test_a_thousand_connections_that_never_send_cost_little_and_hold_up_nobody(serve):
    server = serve("probe", *FOREVER)
    server.get("/")
    before = server.memory_kib()
    stack, conns = connect_many(server, 1000)
    with stack:
        for _ in range(20):
            assert server.get("/").status == 200
        assert server.memory_kib() - before < 4 * 1024
        server.stop()
        assert all(conn.rest() == b"" for conn in conns[::100])


@pytest.mark.memory
def test_heads_that_never_end_cost_no_more_than_their_limit(serve):
    server = serve("probe", *FOREVER)
    server.get("/")
    before = server.memory_kib()
    stack, conns = connect_many(server, 200)
    with stack:
        for conn in conns:
            conn.send("GET / HTTP/1.1\r\nHost: a\r\nX: " + 15000 * "a")
        for _ in range(20):
            assert server.get("/").status == 200
        assert server.memory_kib() - before < 200 * 2 * 16 + 2048


@pytest.mark.memory
def test_a_client_that_asks_and_never_reads_costs_bounded_memory(serve):
    server = serve("probe", *FOREVER)
    server.get("/")
    before = server.memory_kib()
    request = b"GET /order HTTP/1.1\r\nHost: a\r\n\r\n"
    with server.connect(receive_buffer=65536) as conn:
        sent = conn.send_until_full(request, 64 * 1024 * 1024, lambda: server.get("/"))
        assert sent < 64 * 1024 * 1024, "nothing held the client back"
        assert server.memory_kib("VmHWM") - before < 8 * 1024
        for number in range(1, sent // len(request) + 1):
            assert json.loads(conn.answer().body) == number, "answers in order, none lost"


def test_requests_that_arrive_one_byte_at_a_time_are_understood(probe):
    request = (
        b"POST /body HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"
    )
    with probe.connect() as conn:
        for byte in request:
            conn.send(bytes([byte]))
        assert conn.answer().body == b"abc"


# Those who leave


@pytest.mark.parametrize("leave", ["close", "reset", "half_close"])
@pytest.mark.parametrize("target", ["/body", "/body/chunks", "/body/ignored", "/nowhere"])
def test_a_client_that_leaves_in_the_middle_of_a_body_is_forgotten(probe, target, leave):
    probe.get("/gate/open")
    idle = probe.sockets()
    for field in ("Content-Length: 100", "Transfer-Encoding: chunked"):
        conn = probe.connect()
        conn.request("POST", target, field)
        conn.send("5\r\nhello" if "chunked" in field else "hello")
        getattr(conn, leave)()
        if leave == "half_close":
            conn.rest()
            conn.close()
    probe.wait_for_sockets(idle)
    assert probe.json("/body/counts")["finished"] == 0, "half a body must never look whole"
    assert probe.get("/").status == 200


@pytest.mark.parametrize("leave", ["close", "reset", "half_close"])
@pytest.mark.parametrize("sent", ["", "GET", "GET / HTTP/1.1\r\nHost: a\r\n"])
def test_a_client_that_leaves_in_the_middle_of_a_head_is_forgotten(probe, sent, leave):
    idle = probe.sockets()
    conn = probe.connect()
    conn.send(sent)
    getattr(conn, leave)()
    if leave == "half_close":
        conn.rest()
        conn.close()
    probe.wait_for_sockets(idle)
    assert probe.get("/").status == 200


def test_a_half_closed_client_gets_all_of_its_pipelined_answers(probe):
    with probe.connect() as conn:
        conn.request("GET", "/order/after/50")
        for _ in range(4):
            conn.request("GET", "/order")
        conn.half_close()
        assert [conn.answer().body for _ in range(5)] == [b"1", b"2", b"3", b"4", b"5"]
        conn.expect_end()


def test_a_client_that_leaves_before_its_pipelined_answers_harms_nobody(probe):
    for leave in ("close", "reset"):
        conn = probe.connect()
        conn.request("GET", "/sleep/20")
        for _ in range(100):
            conn.request("GET", "/")
        getattr(conn, leave)()
    assert probe.get("/sleep/50").status == 200
    assert probe.get("/").status == 200


def test_resets_while_connecting_are_survived(probe):
    for _ in range(200):
        probe.connect().reset()
    assert probe.get("/").status == 200


# Nonsense


@pytest.mark.parametrize(
    "data",
    [
        b"\0" * 1000,
        b"\xff" * 1000,
        bytes(range(256)),
        b"\x16\x03\x01\x00\xa5\x01\x00\x00\xa1\x03\x03" + bytes(160),
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"\r\n" * 10 + b"nonsense\r\n\r\n",
    ],
    ids=["nul", "ff", "all", "tls", "ssh", "words"],
)
def test_what_is_no_http_is_refused_and_closed(probe, data):
    with probe.connect() as conn:
        conn.send(data)
        assert conn.answer().status == 400
        conn.expect_end()
    assert probe.get("/").status == 200


def test_urgent_data_does_no_harm(probe):
    with probe.connect() as conn:
        conn.sock.send(b"G", socket.MSG_OOB)
        conn.half_close()
        conn.rest()
    assert probe.get("/").status == 200


def test_a_query_of_many_parameters_is_read_once_and_quickly(probe):
    query = "&".join(f"q={i}" for i in range(1000))
    got = json.loads(probe.get(f"/query?{query}").body)
    assert got["last"] == "999"
    assert len(got["all"]) == 1000


@pytest.mark.memory
def test_connections_come_and_go_without_leaving_memory_behind(probe):
    def burst():
        for _ in range(300):
            probe.get("/", "Connection: close")
        return probe.memory_kib()

    burst()
    first = burst()
    burst()
    assert burst() - first < 1024


def test_every_socket_of_a_closed_connection_is_given_back(probe):
    idle = probe.sockets()
    for _ in range(50):
        with probe.connect() as conn:
            conn.get("/")
        with probe.connect() as conn:
            conn.send("nonsense\r\n\r\n")
            conn.rest()
    eventually(lambda: probe.sockets() <= idle, "the sockets are closed")
