"""Streamed answers: constant memory, and never an end that is not one."""

import httpx
import pytest

from wire import eventually

MIB = 1024 * 1024


@pytest.fixture
def streams(serve):
    return serve("streams")


def test_a_stream_is_chunked_and_complete(streams):
    with streams.connect() as conn:
        answer = conn.get("/")
        assert answer.header("transfer-encoding") == "chunked"
        assert answer.header("content-type") == "text/plain; charset=utf-8"
        assert answer.body == b"line 1\nline 2\nline 3\nline 4\nline 5\n"
        assert conn.get("/").status == 200, "the connection is kept"


@pytest.mark.parametrize("target, body", [("/empty", b""), ("/empty-writes", b"ab")])
def test_writing_nothing_does_not_end_a_stream_early(streams, target, body):
    with streams.connect() as conn:
        assert conn.get(target).body == body
        assert conn.get(target).body == body


def test_a_stream_has_a_status_and_headers(streams):
    answer = streams.get("/status")
    assert (answer.status, answer.header("x-kind"), answer.body) == (201, "stream", b"made")


def test_what_is_written_leaves_at_once(streams):
    with streams.connect() as conn:
        conn.request("GET", "/gated")
        conn.head()
        assert conn.take_line() == b"6"
        assert conn.take(8) == b"before\r\n"
        streams.get("/open")
        assert conn.rest_of_chunks() == b"after"


def test_requests_behind_a_stream_wait_for_its_end(streams):
    with streams.connect() as conn:
        conn.request("GET", "/slow")
        conn.request("GET", "/empty-writes")
        assert [conn.answer().body for _ in range(2)] == [b"firstsecond", b"ab"]


def test_head_of_a_stream_has_no_body(streams):
    with streams.connect() as conn:
        conn.request("HEAD", "/")
        assert conn.answer("HEAD").status == 200
        assert conn.get("/empty-writes").body == b"ab"


def test_head_of_an_endless_stream_ends(streams):
    with streams.connect() as conn:
        conn.request("HEAD", "/endless")
        assert conn.answer("HEAD").status == 200
        assert conn.get("/empty-writes").body == b"ab"
    eventually(
        lambda: len(set(streams.json("/endless/state").values())) == 1, "no stream is left running"
    )


def test_http_1_0_gets_a_stream_without_chunks(streams):
    with streams.connect() as conn:
        conn.send("GET / HTTP/1.0\r\n\r\n")
        answer = conn.answer()
        assert answer.header("transfer-encoding") is None
        assert answer.body.startswith(b"line 1\n") and answer.body.endswith(b"line 5\n")


# Errors


def test_an_error_before_the_first_byte_is_a_500_or_a_reset(streams):
    with streams.connect() as conn:
        conn.request("GET", "/breaks/at-once")
        try:
            assert conn.answer().status == 500
        except ConnectionResetError:
            pass
    streams.wait_for_log("broken before the first byte")


@pytest.mark.parametrize("target", ["/breaks/later", "/breaks/after-much", "/bad-value"])
@pytest.mark.parametrize("version", ["1.1", "1.0"])
def test_an_error_after_the_head_resets_the_connection(streams, target, version):
    with streams.connect() as conn:
        conn.request("GET", target, version=version)
        with pytest.raises(ConnectionResetError):
            conn.rest()
        assert not conn.buffer.endswith(b"0\r\n\r\n"), "a false end"
    streams.wait_for_log("broken|expected")


def test_a_real_client_sees_the_error(streams):
    with streams.client() as client, pytest.raises(httpx.HTTPError):
        client.get("/breaks/later")


def test_a_bad_header_of_a_stream_is_a_500(streams):
    answer = streams.get("/bad-header")
    assert answer.status == 500
    assert answer.header("x-bad") is None


def test_writing_after_the_end_raises(streams):
    assert streams.get("/keeps-out").body == b"kept"
    got = streams.json("/uses-kept")
    assert got["ok"] is False
    assert streams.get("/keeps-out").body == b"kept"


# Backpressure


@pytest.mark.memory
def test_a_client_that_does_not_read_parks_the_writer_and_memory_stays_flat(streams):
    before = streams.memory_kib("VmHWM")
    with streams.connect() as conn:
        conn.request("GET", "/huge")
        eventually(lambda: streams.json("/huge/written")["written"] > 0, "the stream starts")
        last, same = 0, 0
        while same < 50:
            written = streams.json("/huge/written")["written"]
            last, same = written, same + 1 if written == last else 0
        assert last * 65536 < 32 * MIB, "nothing held the writer back"
        assert len(conn.answer().body) == 64 * MIB
    assert streams.memory_kib("VmHWM") - before < 8 * 1024


def test_a_client_that_leaves_ends_the_stream(streams):
    for leave in ("close", "reset"):
        conn = streams.connect()
        conn.request("GET", "/endless")
        conn.head()
        getattr(conn, leave)()
    eventually(lambda: streams.json("/endless/state")["ended"] == 2, "both streams ended")


def test_a_large_plain_answer_arrives_whole(streams):
    with streams.connect() as conn:
        body = conn.get("/large").body
        assert len(body) == 64 * MIB
        assert body == 4 * MIB * b"0123456789abcdef"
