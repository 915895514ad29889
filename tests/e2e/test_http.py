"""HTTP/1.1 as every client expects it: connections, framing, targets."""

import contextlib
import json
import re
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import pytest

from wire import eventually


def ask(server, target, *fields):
    return json.loads(server.get(target, *fields).body)


# Connections


def test_a_connection_serves_many_requests(probe):
    with probe.connect() as conn:
        for _ in range(50):
            assert json.loads(conn.get("/").body) == {"message": "Hello World"}


def test_connection_close_is_answered_and_obeyed(probe):
    with probe.connect() as conn:
        answer = conn.get("/", "Connection: close")
        assert answer.status == 200
        assert answer.header("connection").lower() == "close"
        conn.expect_end()


@pytest.mark.parametrize("value", ["Close", "keep-alive, close", "close , x"])
def test_connection_close_is_found_in_any_case_and_in_lists(probe, value):
    with probe.connect() as conn:
        assert conn.get("/", f"Connection: {value}").status == 200
        conn.expect_end()


def test_requests_behind_connection_close_are_not_executed(probe):
    with probe.connect() as conn:
        conn.request("GET", "/", "Connection: close")
        conn.request("GET", "/hit")
        assert conn.answer().status == 200
        conn.expect_end()
    assert probe.json("/hits") == 0


def test_http_1_0_closes_after_the_answer(probe):
    with probe.connect() as conn:
        conn.send("GET / HTTP/1.0\r\n\r\n")
        assert json.loads(conn.answer().body) == {"message": "Hello World"}
        conn.expect_end()


def test_http_1_0_may_ask_to_keep_the_connection(probe):
    with probe.connect() as conn:
        for _ in range(3):
            conn.send("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
            answer = conn.answer()
            assert answer.status == 200
            assert answer.header("connection").lower() == "keep-alive"


def test_a_keep_alive_connection_closes_after_its_idle_time(serve):
    server = serve("probe", "--keep-alive-timeout-ms", 100)
    with server.connect() as conn:
        assert conn.get("/").status == 200
        conn.expect_end()


def test_a_waiting_handler_is_not_an_idle_connection(serve):
    server = serve("probe", "--keep-alive-timeout-ms", 100, "--head-timeout-ms", 100)

    def is_answered():  # unless the head was late, because the machine is slow
        with server.connect() as conn, contextlib.suppress(EOFError, ConnectionError):
            return conn.get("/sleep/500").body == b'"slept"'

    eventually(is_answered, "an answer after more than both times")


# Pipelining


def test_twenty_pipelined_requests_are_answered_in_order_though_the_first_one_sleeps(probe):
    with probe.connect() as conn:
        head = "GET /order{} HTTP/1.1\r\nHost: a\r\n\r\n"
        conn.send(head.format("/after/100") + 19 * head.format(""))
        assert [json.loads(conn.answer().body) for _ in range(20)] == list(range(1, 21))


def test_pipelined_requests_may_arrive_one_byte_at_a_time(probe):
    with probe.connect() as conn:
        for (
            byte
        ) in b"POST /body HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhiGET / HTTP/1.1\r\n":
            conn.send(bytes([byte]))
        assert conn.answer().body == b"hi"
        conn.send("Host: a\r\n\r\n")
        assert conn.answer().status == 200


def test_pipelined_posts_get_their_own_bodies(probe):
    with probe.connect() as conn:
        for text in ("one", "two", "three"):
            conn.request("POST", "/body", body=text.encode())
        assert [conn.answer().body for _ in range(3)] == [b"one", b"two", b"three"]


def test_a_bad_request_behind_good_ones_is_answered_after_them(probe):
    with probe.connect() as conn:
        conn.request("GET", "/order/after/50")
        conn.send("GET / HTTP/1.1\r\nBad Field: x\r\n\r\n")
        assert conn.answer().body == b"1"
        assert conn.answer().status == 400
        conn.expect_end()


# Heads of answers


def test_an_answer_has_a_date_a_type_and_a_length(probe):
    answer = probe.get("/")
    assert answer.body == b'{"message":"Hello World"}'
    assert answer.header("content-type") == "application/json"
    assert answer.header("content-length") == str(len(answer.body))
    assert answer.header("transfer-encoding") is None
    date = r"(Mon|Tue|Wed|Thu|Fri|Sat|Sun), \d\d [A-Z][a-z][a-z] \d{4} \d\d:\d\d:\d\d GMT"
    assert re.fullmatch(date, answer.header("date"))


def test_the_date_is_right_and_does_not_stand_still(probe):
    def date():
        return parsedate_to_datetime(probe.get("/").header("date"))

    first = date()
    assert abs((first - datetime.now(UTC)).total_seconds()) < 60
    eventually(lambda: date() > first, "the next second")


def test_head_and_body_leave_in_one_write(probe):
    with probe.connect() as conn:
        for _ in range(20):
            conn.request("GET", "/")
            assert conn.sock.recv(65536).endswith(b'\r\n\r\n{"message":"Hello World"}')


def test_head_has_the_fields_of_get_and_no_body(probe):
    with probe.connect() as conn:
        get = conn.get("/")
        conn.request("HEAD", "/")
        head = conn.answer("HEAD")
        assert head.status == 200
        for name in ("content-type", "content-length"):
            assert head.header(name) == get.header(name)
        assert conn.get("/").status == 200, "the connection is still in step"


def test_head_of_a_missing_page_has_no_body(probe):
    with probe.connect() as conn:
        conn.request("HEAD", "/nowhere")
        assert conn.answer("HEAD").status == 404
        assert conn.get("/").status == 200


# Targets


def test_an_absolute_target_is_the_same_request(probe):
    got = ask(probe, "http://other.test/request?a=1")
    assert got["path"] == "/request"


def test_an_absolute_target_without_a_path_means_the_root(probe):
    assert probe.get("http://other.test").body == b'{"message":"Hello World"}'


def test_the_target_stays_as_sent_and_the_path_is_decoded(probe):
    got = ask(probe, "/re%71uest?a=%41")
    assert got["target"] == "/re%71uest?a=%41"
    assert got["path"] == "/request"


@pytest.mark.parametrize(
    "sent, seen",
    [
        ("%2541", "%41"),
        ("%E2%82%AC", "\u20ac"),
        ("a+b", "a+b"),
        ("%61%62", "ab"),
    ],
)
def test_a_path_parameter_is_decoded_exactly_once(probe, sent, seen):
    assert ask(probe, f"/params/{sent}/x")["one"] == seen


def test_an_encoded_slash_separates_like_a_plain_one(probe):
    got = ask(probe, "/params/a%2Fb/c")
    assert (got["one"], got["rest"]) == ("a", "b/c")


def test_a_rest_parameter_keeps_its_slashes(probe):
    assert ask(probe, "/params/a/b/c/d.txt")["rest"] == "b/c/d.txt"


@pytest.mark.parametrize("sent", ["%", "%4", "%zz", "%%zz"])
def test_a_broken_percent_sequence_is_either_literal_or_refused(probe, sent):
    answer = probe.get(f"/params/{sent}/x")
    if answer.status == 200:
        assert json.loads(answer.body)["one"] == sent
    else:
        assert answer.status == 400


# Query, headers, cookies


@pytest.mark.parametrize(
    "query, last, every",
    [
        ("q=1", "1", ["1"]),
        ("q=1&q=2&q=3", "3", ["1", "2", "3"]),
        ("q=a+b%2B", "a b+", ["a b+"]),
        ("q=%2541", "%41", ["%41"]),
        ("q", "", [""]),
        ("q=a=b=c", "a=b=c", ["a=b=c"]),
        ("%71=x", "x", ["x"]),
        ("other=1&&q=%E2%82%AC", "\u20ac", ["\u20ac"]),
    ],
)
def test_query_values_are_decoded_strings_and_repeated_ones_are_reachable(
    probe, query, last, every
):
    got = ask(probe, f"/query?{query}")
    assert (got["last"], got["all"]) == (last, every)


def test_an_absent_query_value_is_nil_and_an_empty_list(probe):
    got = ask(probe, "/query?other=1")
    assert got.get("last") is None
    assert not got["all"]


def test_headers_are_found_in_any_case_and_repeated_ones_are_reachable(probe):
    got = ask(probe, "/headers", "x-TEST: 1", "X-Test:  two words \t", "x-test:")
    assert (got["joined"], got["all"]) == ("1, two words, ", ["1", "two words", ""])


def test_header_bytes_beyond_ascii_do_no_harm(probe):
    answer = probe.get("/headers", "X-Test: gr\u00fc\u00df")
    assert answer.status in (200, 500), "latin-1 bytes are no UTF-8 and cannot stand in JSON"
    assert probe.get("/").status == 200


def test_cookies_are_read_from_the_header(probe):
    got = ask(probe, "/cookies", "Cookie: a=1; b=two; a=3")
    assert (got["last"], got["all"], got["b"]) == ("3", ["1", "3"], "two")


def test_the_client_address_is_that_of_the_peer(probe):
    with probe.connect() as conn:
        client = json.loads(conn.get("/request").body)["client"]
        assert client == {"host": "127.0.0.1", "port": conn.port}


def test_request_ids_differ(probe):
    assert len({probe.json("/id") for _ in range(20)}) == 20


def test_a_request_has_a_state_of_its_own(probe):
    assert probe.json("/state") == "ada"


# Methods and upgrades


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"])
def test_a_route_for_any_method_serves_it(probe, method):
    with probe.connect() as conn:
        conn.request(method, "/request")
        assert json.loads(conn.answer().body)["method"] == method


def test_an_upgrade_nobody_wants_is_answered_as_a_plain_request(probe):
    with probe.connect() as conn:
        for _ in range(2):
            conn.request("GET", "/", "Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c")
        conn.request("GET", "/order")
        assert [conn.answer().status for _ in range(3)] == [200, 200, 200]


def test_the_body_of_a_request_with_an_upgrade_is_a_body(probe):
    with probe.connect() as conn:
        smuggled = b"GET /hit HTTP/1.1\r\nHost: a\r\n\r\n"
        conn.request("POST", "/body", "Connection: Upgrade", "Upgrade: h2c", body=smuggled)
        assert conn.answer().body == smuggled
        assert conn.get("/hits").body == b"0"


def test_connect_is_no_tunnel(probe):
    with probe.connect() as conn:
        conn.send("CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\nGET /hit HTTP/1.1\r\nHost: a\r\n\r\n")
        assert conn.answer().status in (400, 404, 405, 501)


def test_options_asterisk_does_no_harm(probe):
    with probe.connect() as conn:
        conn.request("OPTIONS", "*")
        assert conn.answer().status in (200, 204, 400, 404)


def test_empty_lines_before_a_request_are_skipped(probe):
    with probe.connect() as conn:
        conn.send("\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n")
        assert conn.answer().status == 200
