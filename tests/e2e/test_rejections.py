"""Requests that two servers could read in two ways: 400, close, and nothing of them executed."""

import json

import pytest

SMUGGLED = "GET /hit HTTP/1.1\r\nHost: a\r\n\r\n"


def expect_refused(server, data, statuses=(400,)):
    """Sends `data` whole, then byte by byte: one refusal, the end, and no execution at all."""
    data = data.encode("latin-1")
    for step in (len(data), 1):
        with server.connect() as conn:
            for at in range(0, len(data), step):
                conn.send(data[at : at + step])
            answer = conn.answer()
            assert answer.status in statuses, answer
            conn.expect_end()
    assert server.json("/hits") == 0


def head(*fields, line="POST /body HTTP/1.1", host="Host: a"):
    return "\r\n".join([line, *([host] if host else []), *fields]) + "\r\n\r\n"


@pytest.mark.parametrize(
    "fields",
    [
        ["Content-Length: 5", "Transfer-Encoding: chunked"],
        ["Transfer-Encoding: chunked", "Content-Length: 5"],
        ["Transfer-Encoding: chunked", "Content-Length: 0"],
        ["Content-Length: 5", "Transfer-Encoding: CHUNKED"],
        ["Content-Length: 5", "transfer-encoding: identity"],
        ["Content-Length: 5", "Transfer-Encoding:"],
        ["Content-Length: 5", "Transfer-Encoding: ,"],
        ["Content-Length: 5", "Transfer-Encoding: \x0bchunked"],
        ["Content-Length: 5", "Transfer-Encoding : chunked"],
        ["Content-Length: 5", " Transfer-Encoding: chunked"],
        ["Content-Length: 5", "X: y\r\n Transfer-Encoding: chunked"],
        ["Content-Length: 5", "X: y\nTransfer-Encoding: chunked"],
        ["Content-Length: 5", "X: y\rTransfer-Encoding: chunked"],
        ["Content-Length: 5", "X: y\r\rTransfer-Encoding: chunked"],
        ["Content-Length: 5", "\rTransfer-Encoding: chunked"],
        ["Content-Length: 5", "Transfer-Encoding\0: chunked"],
        ["Content-Length: 5", "Transfer-Encoding: chunked\0"],
    ],
    ids=repr,
)
def test_a_length_and_a_transfer_coding_exclude_each_other(probe, fields):
    expect_refused(probe, head(*fields) + "0\r\n\r\n" + SMUGGLED)


@pytest.mark.parametrize(
    "fields",
    [
        ["Transfer-Encoding: xchunked"],
        ["Transfer-Encoding: chunkedx"],
        ["Transfer-Encoding: chunk"],
        ["Transfer-Encoding: identity"],
        ["Transfer-Encoding: gzip"],
        ["Transfer-Encoding: chunked, gzip"],
        ["Transfer-Encoding: gzip, chunked"],
        ["Transfer-Encoding: chunked, chunked"],
        ["Transfer-Encoding: chunked,"],
        ["Transfer-Encoding: chunked;q=1"],
        ['Transfer-Encoding: "chunked"'],
        ["Transfer-Encoding: chunked", "Transfer-Encoding: chunked"],
        ["Transfer-Encoding: chunked", "Transfer-Encoding: identity"],
        ["Transfer-Encoding: identity", "Transfer-Encoding: chunked"],
        ["Transfer-Encoding: gzip", "Transfer-Encoding: chunked"],
        ["Transfer-Encoding:\r\n chunked"],
        ["Transfer-Encoding: chun\r\n ked"],
        ["Transfer-Encoding: \x00chunked"],
        ["Transfer-Encoding: chun ked"],
        ["Transfer-Encoding: c\u00adhunked"],
    ],
    ids=repr,
)
def test_a_transfer_coding_other_than_one_chunked_is_refused(probe, fields):
    expect_refused(probe, head(*fields) + "0\r\n\r\n" + SMUGGLED, statuses=(400, 501))


def test_a_transfer_coding_in_http_1_0_is_refused(probe):
    request = head("Transfer-Encoding: chunked", line="POST /body HTTP/1.0")
    expect_refused(probe, request + "0\r\n\r\n" + SMUGGLED)


@pytest.mark.parametrize(
    "value",
    [
        "5 5",
        "+5",
        "-5",
        "5, 6",
        "5,6",
        "5;",
        "0x5",
        "5.0",
        "1e1",
        "five",
        "",
        ",",
        "5,",
        "\u00b2",
        "5\t5",
    ],
    ids=repr,
)
def test_a_length_that_is_no_number_is_refused(probe, value):
    expect_refused(probe, head(f"Content-Length: {value}") + "hello" + SMUGGLED)


@pytest.mark.parametrize("value", ["18446744073709551616", "18446744073709551621", "9" * 40])
def test_a_length_that_overflows_is_refused(probe, value):
    request = head(f"Content-Length: {value}") + "hello" + SMUGGLED
    expect_refused(probe, request, statuses=(400, 413))


@pytest.mark.parametrize(
    "fields",
    [
        ["Content-Length: 5", "Content-Length: 6"],
        ["Content-Length: 6", "Content-Length: 5"],
        ["Content-Length: 5", "content-length: 05555"],
        ["Content-Length: 5", "Content-Length:"],
    ],
    ids=repr,
)
def test_differing_lengths_are_refused(probe, fields):
    expect_refused(probe, head(*fields) + "hello" + SMUGGLED)


@pytest.mark.parametrize(
    "fields", [["Content-Length: 5", "Content-Length: 5"], ["Content-Length: 5, 5"]], ids=repr
)
def test_equal_lengths_are_refused_or_count_once(probe, fields):
    with probe.connect() as conn:
        conn.send(head(*fields) + "hello")
        answer = conn.answer()
        assert answer.status == 400 or answer.body == b"hello"


@pytest.mark.parametrize("value", ["5", "  5  ", "\t5", "005"])
def test_a_length_may_have_blanks_around_and_zeros_before_it(probe, value):
    with probe.connect() as conn:
        conn.send(head(f"Content-Length:{value}") + "hello")
        assert conn.answer().body == b"hello"


# Fields


@pytest.mark.parametrize(
    "fields",
    [
        ["X: a\r\n b"],
        ["X: a\r\n\tb"],
        ["X:\r\n b"],
        [" X: leading blank"],
        ["\tX: leading tab"],
        ["X : blank before the colon"],
        ["X\t: tab before the colon"],
        ["X y: blank in the name"],
        ["no colon at all"],
        [": no name"],
        ["X(y): comment"],
        ["X[]: brackets"],
        ["X\u00e4: umlaut"],
        ["X\0: y"],
        ["X: \0"],
        ["X: a\0b"],
        ["X: a\rb"],
        ["X: a\r"],
        ["X: a\nY: b"],
        ["X: \x01"],
        ["X: \x7f"],
        ["\r"],
    ],
    ids=repr,
)
def test_a_malformed_field_is_refused(probe, fields):
    expect_refused(probe, head(*fields, line="GET / HTTP/1.1") + SMUGGLED)


@pytest.mark.parametrize(
    "request_head",
    [
        "GET / HTTP/1.1\nHost: a\n\n",
        "GET / HTTP/1.1\r\nHost: a\n\r\n",
        "GET / HTTP/1.1\nHost: a\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\n\n",
        "GET / HTTP/1.1\rHost: a\r\r",
        "GET / HTTP/1.1\r\nHost: a\r\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\n\rX: y\r\n\r\n",
    ],
    ids=repr,
)
def test_lines_end_in_cr_lf_and_nothing_else(probe, request_head):
    expect_refused(probe, request_head + SMUGGLED)


# Host


@pytest.mark.parametrize(
    "request_head",
    [
        head(line="GET / HTTP/1.1", host=None),
        head("Host: b", line="GET / HTTP/1.1"),
        head("Host: a", line="GET / HTTP/1.1"),
        head("HOST: b", line="GET / HTTP/1.1"),
        head(line="GET http://a/ HTTP/1.1", host=None),
        head("Host: a", line="GET / HTTP/1.0"),
        head(line="GET / HTTP/1.1", host="Host: a, b"),
        head(line="GET / HTTP/1.1", host="Host: a b"),
        head(line="GET / HTTP/1.1", host="Host: a/b"),
        head(line="GET / HTTP/1.1", host="Host: user@a"),
    ],
    ids=repr,
)
def test_exactly_one_host_is_needed(probe, request_head):
    expect_refused(probe, request_head + SMUGGLED)


@pytest.mark.parametrize("host", ["a", "a:80", "127.0.0.1:8000", "[::1]:8000"])
def test_every_form_of_host_is_accepted(probe, host):
    with probe.connect() as conn:
        conn.send(head(line="GET / HTTP/1.1", host=f"Host: {host}"))
        assert conn.answer().status == 200


# The request line


@pytest.mark.parametrize(
    "line",
    [
        "GET  / HTTP/1.1",
        "GET / a HTTP/1.1",
        "GET /\tHTTP/1.1",
        "GET\t/ HTTP/1.1",
        "GET /  HTTP/1.1",
        "GET / HTTP/1.1 ",
        "GET /",
        "GET",
        " GET / HTTP/1.1",
        "GET / HTTP/1.1x",
        "GET / HTTP/11",
        "GET / HTTP/1",
        "GET / HTTP/1.10",
        "GET / http/1.1",
        "GET / HTTPS/1.1",
        "GET / ICE/1.0",
        "GET / RTSP/1.0",
        "GET a HTTP/1.1",
        "GET ?a=1 HTTP/1.1",
        "GET * HTTP/1.1",
        "GET /a\0b HTTP/1.1",
        "GET /\x01 HTTP/1.1",
        "GET /\x7f HTTP/1.1",
        "GET /\r HTTP/1.1",
        "GET /#fragment HTTP/1.1",
        "G\u00c4T / HTTP/1.1",
        "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        "GET http:///x HTTP/1.1",
        "GET http://user@a/ HTTP/1.1",
        "GET ftp://a/ HTTP/1.1",
        "GET javascript:alert(1) HTTP/1.1",
    ],
    ids=repr,
)
def test_a_malformed_request_line_is_refused(probe, line):
    expect_refused(probe, head(line=line) + SMUGGLED, statuses=(400, 505))


@pytest.mark.parametrize("version", ["0.9", "1.2", "2.0", "3.0", "9.9"])
def test_other_versions_are_refused(probe, version):
    expect_refused(probe, head(line=f"GET / HTTP/{version}") + SMUGGLED, statuses=(505,))


def test_the_preface_of_http_2_is_refused(probe):
    expect_refused(probe, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", statuses=(400, 505))


@pytest.mark.parametrize(
    "method", ["FOO", "GETT", "get", "PURGE", "SOURCE", "M-SEARCH", "DESCRIBE", "QUERY"]
)
def test_methods_of_no_operation_are_not_allowed(probe, method):
    for step in (1000, 1):
        with probe.connect() as conn:
            data = head("Content-Length: 2", line=f"{method} / HTTP/1.1").encode() + b"ab"
            for at in range(0, len(data), step):
                conn.send(data[at : at + step])
            answer = conn.answer()
            assert (answer.status, answer.header("allow")) == (405, "GET, HEAD, OPTIONS")
            assert conn.get("/").status == 200
        with probe.connect() as conn:
            conn.send(head(line=f"{method} /nowhere HTTP/1.1"))
            assert conn.answer().status == 404


# Chunks


@pytest.mark.parametrize("target", ["/body", "/body/chunks", "/body/ignored"])
@pytest.mark.parametrize(
    "body",
    [
        "g\r\nhello\r\n0\r\n\r\n",
        "\r\nhello\r\n0\r\n\r\n",
        "-5\r\nhello\r\n0\r\n\r\n",
        "+5\r\nhello\r\n0\r\n\r\n",
        "0x5\r\nhello\r\n0\r\n\r\n",
        "5h\r\nhello\r\n0\r\n\r\n",
        " 5\r\nhello\r\n0\r\n\r\n",
        "5\nhello\r\n0\r\n\r\n",
        "5\r\r\nhello\r\n0\r\n\r\n",
        "5\r\nhello0\r\n\r\n",
        "5\r\nhello\n0\r\n\r\n",
        "5\r\nhello\r0\r\n\r\n",
        "5\r\nhello!\r\n0\r\n\r\n",
        "5;a\nhello\r\n0\r\n\r\n",
        "5;a\rb\r\nhello\r\n0\r\n\r\n",
        "5;a\0b\r\nhello\r\n0\r\n\r\n",
        "5;\n\r\nhello\r\n0\r\n\r\n",
        "5 a\r\nhello\r\n0\r\n\r\n",
        "10000000000000005\r\nhello\r\n0\r\n\r\n",
        "5\r\nhello\r\n0\n\r\n",
        "5\r\nhello\r\n0\r\nX: a\n\r\n",
        "5\r\nhello\r\n0\r\nX : a\r\n\r\n",
        "5\r\nhello\r\n0\r\nX: a\r\n b\r\n\r\n",
        "5\r\nhello\r\n0\r\nX: a\0\r\n\r\n",
        "5\r\nhello\r\n0\r\nno colon\r\n\r\n",
        "5\r\nhello\r\n0\r\n\n",
    ],
    ids=repr,
)
def test_malformed_chunks_are_refused(probe, target, body):
    with probe.connect() as conn:
        conn.send(head("Transfer-Encoding: chunked", line=f"POST {target} HTTP/1.1"))
        probe.get("/gate/open")
        conn.send(body + SMUGGLED)
        answer = conn.answer()
        if target == "/body/ignored":
            assert answer.status in (200, 400), "the handler may have answered before the mistake"
        else:
            assert answer.status in (400, 413), answer
        conn.expect_end()
    assert probe.json("/hits") == 0
    assert probe.json("/body/counts")["finished"] == 0, "a broken body must never look whole"


# One body, as it must not be read


def test_the_classic_cl_te_attack_fails(probe):
    body = "0\r\n\r\nGET /hit HTTP/1.1\r\nHost: a\r\nX: "
    request = head(f"Content-Length: {len(body)}", "Transfer-Encoding: chunked") + body
    expect_refused(probe, request + SMUGGLED)


def test_the_classic_te_cl_attack_fails(probe):
    inner = SMUGGLED + "x="
    body = f"{len(inner):x}\r\n{inner}\r\n0\r\n\r\n"
    expect_refused(probe, head("Content-Length: 4", "Transfer-Encoding: chunked") + body)


def test_a_refused_request_never_reaches_the_handler(probe):
    expect_refused(probe, head("Host: b", line="POST /hit HTTP/1.1"))
    expect_refused(probe, head("X: a\0b", line="POST /hit HTTP/1.1"))


def test_refusals_say_what_they_are(probe):
    with probe.connect() as conn:
        conn.send("GET / HTTP/1.1\r\n\r\n")
        answer = conn.answer()
        assert answer.status == 400
        assert answer.header("connection").lower() == "close"
        assert answer.header("content-type") == "application/json"
        assert json.loads(answer.body)["detail"]
