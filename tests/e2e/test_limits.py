"""Limits and deadlines: each one a flag and an option of the app, each with its own answer."""

import contextlib
import json

import pytest

from server import run
from wire import eventually

# Sizes of the head


def test_a_head_within_the_limit_is_read(probe):
    assert probe.get("/", f"X: {15000 * 'a'}").status == 200


def test_a_head_beyond_the_limit_is_431(probe):
    with probe.connect() as conn:
        conn.request("GET", "/", f"X: {17000 * 'a'}")
        assert conn.answer().status == 431
        conn.expect_end()


def test_many_small_fields_beyond_the_head_limit_are_431(serve):
    server = serve("probe", "--max-headers", 10000)
    with server.connect() as conn:
        conn.request("GET", "/", *[f"X{i}: {100 * 'a'}" for i in range(200)])
        assert conn.answer().status == 431
        conn.expect_end()


@pytest.mark.parametrize("fields, status", [(99, 200), (100, 431)])
def test_the_number_of_fields_is_limited(probe, fields, status):
    with probe.connect() as conn:
        conn.request("GET", "/", *[f"X{i}: a" for i in range(fields)])  # Host is one more
        assert conn.answer().status == status


def test_a_head_without_end_is_431_before_it_ends(probe):
    with probe.connect() as conn:
        conn.send("GET / HTTP/1.1\r\nHost: a\r\nX: " + 40000 * "a")
        assert conn.answer().status == 431
        conn.expect_end()


def test_a_field_name_without_end_is_431(probe):
    with probe.connect() as conn:
        conn.send("GET / HTTP/1.1\r\nHost: a\r\n" + 40000 * "a")
        assert conn.answer().status == 431
        conn.expect_end()


@pytest.mark.parametrize("size, status", [(8192, 200), (8193, 414)])
def test_the_length_of_the_target_is_limited(probe, size, status):
    target = "/?" + (size - 2) * "q"
    with probe.connect() as conn:
        conn.request("GET", target)
        assert conn.answer().status == status


def test_a_target_without_end_is_414_before_it_ends(probe):
    with probe.connect() as conn:
        conn.send("GET /" + 40000 * "a")
        assert conn.answer().status == 414
        conn.expect_end()


def test_a_method_without_end_is_refused_before_it_ends(probe):
    with probe.connect() as conn:
        conn.send(40000 * "G")
        assert conn.answer().status in (400, 431, 501)
        conn.expect_end()


def test_empty_lines_without_end_are_refused_or_cut_off(serve):
    server = serve("probe", "--head-timeout-ms", 2000)
    with server.connect() as conn:
        conn.send(100_000 * "\r\n")
        rest = conn.rest()
        assert rest == b"" or rest.startswith(b"HTTP/1.1 4")
    assert server.get("/").status == 200


def test_trailers_count_against_the_head_limit(probe):
    with probe.connect() as conn:
        conn.request("POST", "/body", "Transfer-Encoding: chunked")
        conn.send("0\r\n" + 400 * f"X: {100 * 'a'}\r\n")
        assert conn.answer().status in (400, 431)
        conn.expect_end()


def test_chunk_extensions_are_limited(probe):
    with probe.connect() as conn:
        conn.request("POST", "/body", "Transfer-Encoding: chunked")
        conn.send("5;" + 1_000_000 * "a")
        assert conn.answer().status in (400, 413, 431)
        conn.expect_end()


def test_a_short_chunk_extension_is_within_the_limit(probe):
    with probe.connect() as conn:
        conn.request("POST", "/body", "Transfer-Encoding: chunked")
        conn.send("5;" + 1000 * "a" + "\r\nhello\r\n0\r\n\r\n")
        assert conn.answer().body == b"hello"


# Every limit is a flag and an option

SMALL = {
    "max_head_bytes": (300, ["X: " + 400 * "a"], 431),
    "max_headers": (5, [f"X{i}: a" for i in range(5)], 431),
    "max_target_bytes": (16, [], 414),
    "max_body_bytes": (5, ["Content-Length: 6"], 413),
}


@pytest.mark.parametrize("name", SMALL)
def test_a_limit_can_be_set_by_a_flag(serve, name):
    value, fields, status = SMALL[name]
    server = serve("probe", "--" + name.replace("_", "-"), value)
    with server.connect() as conn:
        conn.request("POST", "/body/ignored?q=1234", *fields)
        assert conn.answer().status == status


@pytest.mark.parametrize("name", SMALL)
def test_a_limit_can_be_set_by_the_app(serve, write_app, name):
    value, fields, status = SMALL[name]
    server = serve(
        write_app(
            f"""
            local perigee = require("perigee")
            local app = perigee.app({{ limits = {{ {name} = {value} }} }})
            app:post("/body/ignored", function(req) return #req:body() end)
            return app
            """
        )
    )
    with server.connect() as conn:
        conn.request("POST", "/body/ignored?q=1234", *fields)
        assert conn.answer().status == status


@pytest.mark.parametrize(
    "limits, word",
    [
        ("{ max_bodybytes = 1 }", "max_bodybytes"),
        ("{ max_body_bytes = -1 }", "max_body_bytes"),
        ("{ max_body_bytes = 1.5 }", "max_body_bytes"),
        ('{ max_body_bytes = "1 MiB" }', "max_body_bytes"),
        ("{ 5 }", "limits"),
        ("5", "limits"),
    ],
)
def test_a_wrong_limit_of_the_app_is_a_mistake_at_load(write_app, limits, word):
    folder = write_app(f'return require("perigee").app({{ limits = {limits} }})')
    result = run("run", folder, "--port", 0)
    assert result.returncode == 1
    assert word in result.stderr


def test_a_flag_beats_the_limit_of_the_app(serve, write_app):
    folder = write_app(
        """
        local app = require("perigee").app({ limits = { max_body_bytes = 5 } })
        app:post("/", function(req) return #req:body() end)
        return app
        """
    )
    with serve(folder, "--max-body-bytes", 10).connect() as conn:
        conn.request("POST", "/", body=b"1234567890")
        assert conn.answer().body == b"10"


# Deadlines


def trickle(conn, data):
    """Sends one byte at a time for as long as the server has nothing to say."""
    for byte in data:
        if conn.readable(0.02):
            return
        conn.send(bytes([byte]))


def test_a_head_that_never_ends_is_408(serve):
    server = serve("probe", "--head-timeout-ms", 200)
    with server.connect() as conn:
        conn.send("GET / HTTP/1.1\r\nHost:")
        assert conn.answer().status == 408
        conn.expect_end()


def test_a_head_that_trickles_is_408_however_steadily(serve):
    server = serve("probe", "--head-timeout-ms", 300)
    with server.connect() as conn:
        trickle(conn, b"GET / HTTP/1.1\r\nHost: " + 1000 * b"a")
        assert conn.answer().status == 408
        conn.expect_end()


def test_the_second_head_of_a_connection_has_a_deadline_too(serve):
    server = serve("probe", "--head-timeout-ms", 200, "--keep-alive-timeout-ms", 600_000)
    with contextlib.ExitStack() as stack:

        def in_time():  # the first head may be late where the machine is slow
            conn = stack.enter_context(server.connect())
            with contextlib.suppress(EOFError, ConnectionError):
                return conn if conn.get("/").status == 200 else None

        conn = eventually(in_time, "a first head in time")
        conn.send("GET / HT")
        assert conn.answer().status == 408
        conn.expect_end()


def test_a_connection_that_never_sends_is_closed(serve):
    server = serve("probe", "--head-timeout-ms", 200, "--keep-alive-timeout-ms", 200)
    with server.connect() as conn:
        rest = conn.rest()
        assert rest == b"" or rest.startswith(b"HTTP/1.1 408 ")


@pytest.mark.parametrize("target", ["/body", "/body/chunks"])
@pytest.mark.parametrize("field", ["Content-Length: 10", "Transfer-Encoding: chunked"])
def test_a_body_that_stops_is_408_and_never_looks_whole(serve, target, field):
    server = serve("probe", "--body-timeout-ms", 200)
    server.get("/gate/open")
    with server.connect() as conn:
        conn.request("POST", target, field)
        conn.send("5\r\nhello" if "chunked" in field else "hello")
        assert conn.answer().status == 408
        conn.expect_end()
    assert server.json("/body/counts")["finished"] == 0


def test_a_body_below_the_minimum_rate_is_408(serve):
    server = serve("probe", "--body-min-rate", 10_000, "--body-timeout-ms", 1000)
    with server.connect() as conn:
        conn.request("POST", "/body", "Content-Length: 100000")
        trickle(conn, 100_000 * b"x")
        assert conn.answer().status == 408
        conn.expect_end()


def test_a_slow_handler_does_not_run_down_the_deadline_of_its_body(serve):
    server = serve("probe", "--body-timeout-ms", 1000, "--body-min-rate", 10_000_000)
    with server.connect() as conn:
        conn.request("POST", "/body/chunks", body=300_000 * b"x")
        with server.connect() as other:
            for _ in range(10):
                assert other.get("/sleep/150").status == 200
        server.get("/gate/open")
        assert json.loads(conn.answer().body)["bytes"] == 300_000


def test_a_client_that_reads_nothing_is_cut_off(serve):
    server = serve("streams", "--write-timeout-ms", 200)
    idle = server.sockets()
    with server.connect(receive_buffer=4096) as conn:
        conn.request("GET", "/endless")
        eventually(lambda: server.json("/endless/state")["started"] == 1, "the stream starts")
        eventually(lambda: server.json("/endless/state")["ended"] == 1, "the stream is cut off")
        server.wait_for_sockets(idle)


def test_a_client_that_reads_nothing_of_a_plain_answer_is_cut_off(serve):
    server = serve("streams", "--write-timeout-ms", 200)
    idle = server.sockets()
    with server.connect(receive_buffer=4096) as conn:
        conn.request("GET", "/large")
        assert conn.head().status == 200
        server.wait_for_sockets(idle)


def test_a_client_that_reads_slowly_is_not_cut_off(serve):
    server = serve("streams", "--write-timeout-ms", 4000)
    with server.connect(receive_buffer=65536) as conn:
        conn.request("GET", "/large")
        head = conn.head()
        left = int(head.header("content-length"))
        while left:  # every pause is shorter than the deadline, all together are longer
            left -= len(conn.take(min(left, 1024 * 1024)))
            server.get("/sleep/70")


def test_a_client_that_still_takes_its_answer_is_not_idle(serve):
    server = serve("streams", "--keep-alive-timeout-ms", 200)
    with server.connect(receive_buffer=65536) as conn:
        conn.request("GET", "/large")
        length = int(conn.head().header("content-length"))
        for _ in range(3):
            assert server.get("/sleep/200").status == 200
        assert len(conn.take(length)) == length
        conn.expect_end()  # once it has all of it, it is


# Connections


@pytest.mark.parametrize("loops", [1, 2])
def test_connections_beyond_the_limit_wait_or_get_503(serve, loops):
    server = serve("probe", "--max-connections", 10, "--loops", loops)
    conns = [server.connect() for _ in range(30)]
    for conn in conns:
        conn.request("GET", "/")

    def answered():
        return [conn for conn in conns if conn.readable()]

    eventually(lambda: len(answered()) >= 10, "ten connections are served")
    statuses = {conn: conn.answer().status for conn in answered()}
    served = [conn for conn, status in statuses.items() if status == 200]
    for _ in range(50):
        assert served[0].get("/").status == 200
    for conn in answered():
        if conn not in statuses:
            statuses[conn] = conn.answer().status
    assert sorted(set(statuses.values())) in ([200], [200, 503])
    assert list(statuses.values()).count(200) == 10

    for conn in conns:
        conn.close()
    assert eventually(lambda: server.get("/").status == 200, "room again")
