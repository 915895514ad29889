"""Request bodies: sized and chunked, whole and streamed, within limits."""

import json
import threading
import zlib

import pytest

MIB = 1024 * 1024


def chunked(*chunks, trailers=""):
    parts = [b"%x\r\n%s\r\n" % (len(chunk), chunk) for chunk in chunks]
    return b"".join(parts) + b"0\r\n" + trailers.encode() + b"\r\n"


def post_chunked(conn, target, *chunks, trailers=""):
    conn.request("POST", target, "Transfer-Encoding: chunked")
    conn.send(chunked(*chunks, trailers=trailers))


def test_a_sized_body_arrives_whole(probe):
    body = bytes(range(256)) * 2000
    with probe.connect() as conn:
        conn.request("POST", "/body", body=body)
        assert conn.answer().body == body
        assert conn.get("/").status == 200


def test_a_chunked_body_arrives_whole(probe):
    chunks = [bytes([i]) * (i + 1) * 7 for i in range(200)]
    with probe.connect() as conn:
        post_chunked(conn, "/body", *chunks)
        assert conn.answer().body == b"".join(chunks)
        assert conn.get("/").status == 200


def test_chunk_sizes_may_have_leading_zeros_and_either_case(probe):
    with probe.connect() as conn:
        conn.request("POST", "/body", "Transfer-Encoding: chunked")
        conn.send("000A\r\n0123456789\r\na\r\nabcdefghij\r\n000\r\n\r\n")
        assert conn.answer().body == b"0123456789abcdefghij"


@pytest.mark.parametrize("coding", ["chunked", "Chunked", "CHUNKED", "\tchunked  "])
def test_chunked_counts_in_any_case(probe, coding):
    with probe.connect() as conn:
        conn.request("POST", "/body", f"Transfer-Encoding:{coding}")
        conn.send(chunked(b"GET /hit HTTP/1.1\r\nHost: a\r\n\r\n"))
        assert conn.answer().body.startswith(b"GET /hit")
        assert conn.get("/hits").body == b"0"


def test_chunk_extensions_are_ignored(probe):
    with probe.connect() as conn:
        conn.request("POST", "/body", "Transfer-Encoding: chunked")
        conn.send('5;a="b c"\r\nhello\r\n0;last\r\n\r\n')
        assert conn.answer().body == b"hello"


@pytest.mark.parametrize(
    "trailers",
    [
        "X-Sum: 1\r\n",
        "Content-Length: 40\r\n",
        "Host: evil\r\n",
        "Connection: close\r\n",
        "X-A: 1\r\nX-B: 2\r\n",
    ],
)
def test_trailers_change_nothing(probe, trailers):
    with probe.connect() as conn:
        post_chunked(conn, "/request", b"hello", trailers=trailers)
        got = json.loads(conn.answer().body)
        assert (got["body"], got["host"]) == ("hello", "perigee.test")
        assert conn.get("/hits").body == b"0", "the connection is still in step"


def test_a_transfer_coding_in_a_trailer_is_refused_or_ignored(probe):
    with probe.connect() as conn:
        post_chunked(conn, "/body", b"hello", trailers="Transfer-Encoding: chunked\r\n")
        conn.request("GET", "/hits")
        answer = conn.answer()
        if answer.status == 200:
            assert (answer.body, conn.answer().body) == (b"hello", b"0")
        else:
            assert answer.status == 400
            conn.expect_end()


def test_a_request_without_a_body_has_an_empty_one(probe):
    with probe.connect() as conn:
        conn.request("POST", "/body")
        assert conn.answer().body == b""
        conn.request("POST", "/body", "Content-Length: 0")
        assert conn.answer().body == b""


def test_a_body_can_be_read_twice(probe):
    with probe.connect() as conn:
        conn.request("POST", "/body/twice", body=b"abc")
        assert json.loads(conn.answer().body) == ["abc", "abc"]


def test_a_body_nobody_reads_is_skipped(probe):
    smuggled = b"GET /hit HTTP/1.1\r\nHost: a\r\n\r\n"
    with probe.connect() as conn:
        conn.request("POST", "/body/ignored", body=smuggled * 10)
        assert conn.answer().body == b'"not read"'
    assert probe.json("/hits") == 0


@pytest.mark.parametrize("method", ["GET", "HEAD", "DELETE"])
@pytest.mark.parametrize("target", ["/request", "/nowhere", "/hits"])
def test_a_request_in_the_body_of_a_request_is_never_executed(probe, method, target):
    with probe.connect() as conn:
        conn.request(method, target, body=b"GET /hit HTTP/1.1\r\nHost: a\r\n\r\n")
        answer = conn.answer(method)
        if "close" in (answer.header("connection") or ""):
            conn.expect_end()
        else:
            assert conn.get("/hits").body == b"0"
    assert probe.json("/hits") == 0


# Expect: 100-continue


def test_continue_is_sent_once_the_head_was_accepted(probe):
    with probe.connect() as conn:
        conn.request("POST", "/body", "Content-Length: 5", "Expect: 100-continue")
        interim = conn.head()
        assert (interim.status, interim.fields) == (100, [])
        conn.send("hello")
        assert conn.answer().body == b"hello"
        assert conn.get("/").status == 200


@pytest.mark.parametrize("expect", ["100-Continue", "100-CONTINUE"])
def test_the_expectation_is_read_in_any_case(probe, expect):
    with probe.connect() as conn:
        conn.request("POST", "/body", "Content-Length: 2", f"Expect: {expect}")
        assert conn.head().status == 100
        conn.send("ok")
        assert conn.answer().body == b"ok"


def test_continue_precedes_a_chunked_body_too(probe):
    with probe.connect() as conn:
        conn.request("POST", "/body", "Transfer-Encoding: chunked", "Expect: 100-continue")
        assert conn.head().status == 100
        conn.send(chunked(b"hello"))
        assert conn.answer().body == b"hello"


@pytest.mark.parametrize(
    "method, target, length, status",
    [
        ("POST", "/nowhere", 5, 404),
        ("POST", "/hits", 5, 405),
        ("POST", "/body", 2 * MIB, 413),
    ],
)
def test_a_refused_head_gets_its_answer_instead_of_continue(probe, method, target, length, status):
    with probe.connect() as conn:
        conn.request(method, target, f"Content-Length: {length}", "Expect: 100-continue")
        assert conn.head().status == status


def test_http_1_0_never_gets_an_interim_answer(probe):
    with probe.connect() as conn:
        conn.send("POST /body HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\nok")
        assert conn.answer().body == b"ok"


# Limits


@pytest.fixture
def small(serve):
    return serve("probe", "--max-body-bytes", 1000)


def test_a_body_of_exactly_the_limit_is_accepted(small):
    with small.connect() as conn:
        conn.request("POST", "/body/size", body=1000 * b"x")
        assert conn.answer().body == b"1000"
        post_chunked(conn, "/body/size", 400 * b"x", 600 * b"y")
        assert conn.answer().body == b"1000"


@pytest.mark.parametrize("target", ["/body", "/body/chunks", "/body/ignored", "/nowhere"])
def test_a_length_beyond_the_limit_is_refused_before_the_body(small, target):
    with small.connect() as conn:
        conn.request("POST", target, "Content-Length: 1001")
        answer = conn.answer()
        assert answer.status == 413
        conn.expect_end()
    assert small.json("/body/counts") == {"started": 0, "finished": 0}


def test_the_default_limit_of_a_body_is_one_mebibyte(probe):
    with probe.connect() as conn:
        conn.request("POST", "/body/size", body=MIB * b"x")
        assert conn.answer().body == str(MIB).encode()
        conn.request("POST", "/body/size", f"Content-Length: {MIB + 1}")
        assert conn.answer().status == 413


@pytest.mark.parametrize("target", ["/body", "/body/chunks"])
def test_a_chunked_body_is_refused_once_it_passes_the_limit(small, target):
    small.get("/gate/open")
    with small.connect() as conn:
        conn.request("POST", target, "Transfer-Encoding: chunked")
        conn.send(b"258\r\n" + 600 * b"x" + b"\r\n")
        conn.send(b"191\r\n" + 401 * b"y")
        assert conn.answer().status == 413
        conn.expect_end()
    assert small.json("/body/counts")["finished"] == 0


def test_a_huge_chunk_is_refused_by_its_size_alone(small):
    with small.connect() as conn:
        conn.request("POST", "/body", "Transfer-Encoding: chunked")
        conn.send(b"7fffffff\r\n")
        conn.send(2000 * b"x")
        assert conn.answer().status == 413


def test_the_refusal_is_readable_while_the_client_is_still_sending(probe):
    with probe.connect() as conn:
        conn.request("POST", "/body", f"Content-Length: {64 * MIB}")
        conn.send(MIB * b"x")
        conn.send(MIB * b"x")
        assert conn.answer().status == 413
        conn.expect_end()


def test_a_client_that_never_stops_sending_is_cut_off_in_the_end(probe):
    with probe.connect() as conn:
        conn.request("POST", "/body", f"Content-Length: {1 << 40}")
        with pytest.raises((ConnectionResetError, BrokenPipeError, TimeoutError)) as cut:
            while True:
                conn.send(65536 * b"x")
        assert cut.type is not TimeoutError, "the server neither reads on nor cuts the connection"


# Streamed reading


def test_chunks_deliver_the_body_in_order(serve):
    server = serve("probe", "--max-body-bytes", 64 * MIB)
    server.get("/gate/open")
    with server.connect() as conn:
        conn.request("POST", "/body/chunks", body=8 * MIB * b"z")
        got = json.loads(conn.answer().body)
        assert got["bytes"] == 8 * MIB
        assert got["pieces"] > 1, "one piece would be no stream"


@pytest.mark.memory
def test_a_reader_that_waits_holds_the_sender_back_and_costs_no_memory(serve):
    server = serve("probe", "--max-body-bytes", 256 * MIB)
    before = server.memory_kib()
    with server.connect() as conn:
        conn.request("POST", "/body/chunks", f"Content-Length: {64 * MIB}")
        sent = conn.send_until_full(65536 * b"x", 64 * MIB, lambda: server.get("/"))
        assert sent < 32 * MIB, "the sender was never held back"
        server.get("/gate/open")
        conn.send((64 * MIB - sent) * b"x")
        assert json.loads(conn.answer().body)["bytes"] == 64 * MIB
    assert server.memory_kib("VmHWM") - before < 8 * 1024


def test_an_echo_streams_both_ways_at_once_and_undamaged(serve, write_app):
    server = serve(
        write_app(
            """
            local perigee = require("perigee")
            local app = perigee.app({ limits = { max_body_bytes = 100 * 1024 * 1024 } })
            app:post("/", function(req)
              return perigee.stream(function(out)
                for chunk in req:chunks() do
                  out:write(chunk)
                end
              end)
            end)
            return app
            """
        )
    )
    body = b"".join(zlib.crc32(i.to_bytes(4, "big")).to_bytes(4, "big") for i in range(MIB))
    with server.connect() as conn:
        sender = threading.Thread(target=conn.request, args=("POST", "/"), kwargs={"body": body})
        sender.start()
        assert conn.answer().body == body
        sender.join()


# A hundred thousand chunks


@pytest.mark.parametrize("target", ["/body/size", "/body/chunks"])
def test_a_hundred_thousand_chunks_of_one_byte_are_one_body(probe, target):
    probe.get("/gate/open")
    with probe.connect() as conn:
        conn.request("POST", target, "Transfer-Encoding: chunked")
        conn.send(100_000 * b"1\r\nx\r\n" + b"0\r\n\r\n")
        got = json.loads(conn.answer().body)
        assert (got if target == "/body/size" else got["bytes"]) == 100_000
