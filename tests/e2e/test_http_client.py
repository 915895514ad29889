"""perigee.http: what it sends, how it reads what comes, what it does with servers that misbehave.

Each test runs a Lua script in the real binary against servers of its own (peers.py)."""

import base64
import contextlib
import gzip
import itertools
import json
import os
import re
import socket
import ssl
import subprocess
import threading
import zlib

import pytest

from peers import Authority, HttpServer, RawServer, answering, read_head
from server import BINARY, environment
from wire import PATIENCE, eventually

PREAMBLE = """
local http = require("perigee").http
local json = require("perigee.json")
local out = {}
local function show(...)
  out[#out + 1] = json.array({ ... })
end
local function failed(...)
  local value, err = ...
  assert(value == nil, "expected a failure")
  show(err.code, tostring(err))
end
local function run()
%s
end
run()
print(json.encode(json.array(out)))
"""
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
PROXIES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")


@pytest.fixture
def lua(tmp_path):
    """Runs a script; returns what it showed, one list for each call of show()."""

    def run(code, *args, env=None, fails=False):
        script = tmp_path / "script.lua"
        script.write_text(PREAMBLE % code)
        clean = {k: v for k, v in environment().items() if k.lower() not in PROXIES}
        done = subprocess.run(
            [BINARY, script, *map(str, args)],
            env={**clean, **(env or {})},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=2 * PATIENCE,
        )
        if fails:
            assert done.returncode != 0, done.stdout
            return done.stderr
        assert done.returncode == 0, done.stderr
        assert done.stderr == ""
        return json.loads(done.stdout.splitlines()[-1])

    return run


@pytest.fixture
def peers():
    """Starts servers: peers(route), peers.raw(serve)."""
    with contextlib.ExitStack() as ends:

        def start(route, **options):
            server = HttpServer(route, **options)
            ends.callback(server.close)
            return server

        def raw(serve, **options):
            server = RawServer(serve, **options)
            ends.callback(server.close)
            return server

        start.raw = raw
        yield start


@pytest.fixture
def when(tmp_path):
    """when(event): the path of a file that appears when the event is set."""

    def appears(event):
        path = tmp_path / "now"

        def touch():
            if event.wait(PATIENCE):
                path.touch()

        threading.Thread(target=touch, daemon=True).start()
        return path

    return appears


@pytest.fixture(scope="session")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("authority"))


def echo(handler):
    """Answers with what was asked, as JSON."""
    request = handler.server.requests[-1]
    shown = {**request, "body": request["body"].decode("latin-1")}
    handler.answer(200, json.dumps(shown).encode(), Content_Type="application/json")


# --- requests ------------------------------------------------------------------------------------


def test_a_get_returns_status_headers_and_body(lua, peers):
    server = peers(lambda h: h.answer(200, b"hello", X_One="1", Set_Cookie=["a=1", "b=2"]))
    shown = lua(
        """
  local res = assert(http.get(arg[1] .. "/path?x=1"))
  show(res.status, res.reason, res.ok, res.body, res.headers["x-one"], res:text())
  show(res.url, #res.redirects, res:all("Set-Cookie"))
        """,
        server.url,
    )
    assert shown[0] == [200, "OK", True, "hello", "1", "hello"]
    assert shown[1] == [server.url + "/path?x=1", 0, ["a=1", "b=2"]]
    request = server.requests[0]
    assert (request["method"], request["target"]) == ("GET", "/path?x=1")
    assert request["headers"]["host"] == f"127.0.0.1:{server.port}"
    assert request["headers"]["user-agent"].startswith("Perigee/")
    assert request["headers"]["accept-encoding"] == "gzip, deflate, br"
    assert "content-length" not in request["headers"]


@pytest.mark.parametrize("method", ["get", "post", "put", "patch", "delete", "head", "options"])
def test_every_method_has_a_function(lua, peers, method):
    server = peers(lambda h: h.answer(200, b"x"))
    shown = lua("local r = http[arg[2]](arg[1]) show(r.status, r.body)", server.url, method)
    assert shown == [[200, "" if method == "head" else "x"]]
    assert server.requests[0]["method"] == method.upper()


@pytest.mark.parametrize(
    "options, content_type, body",
    [
        ('body = "bytes\\0"', None, b"bytes\0"),
        ("json = { a = { 1, 2 } }", "application/json", b'{"a":[1,2]}'),
        ("json = false", "application/json", b"false"),
        (
            'form = { b = "x y&", a = { 1, 2 } }',
            "application/x-www-form-urlencoded",
            b"a=1&a=2&b=x+y%26",
        ),
        (
            'form = { { "z", 1 }, { "a", true } }',
            "application/x-www-form-urlencoded",
            b"z=1&a=true",
        ),
        ('body = "x", headers = { ["content-type"] = "a/b" }', "a/b", b"x"),
        ('json = 1, headers = { ["Content-Type"] = "a/b" }', "a/b", b"1"),
    ],
)
def test_bodies(lua, peers, options, content_type, body):
    server = peers(echo)
    lua("assert(http.post(arg[1], { %s }))" % options, server.url)
    request = server.requests[0]
    assert request["body"] == body
    assert request["headers"].get("content-type") == content_type
    assert request["headers"]["content-length"] == str(len(body))


def test_a_post_without_a_body_says_so(lua, peers):
    server = peers(echo)
    lua("assert(http.post(arg[1]))", server.url)
    assert server.requests[0]["headers"]["content-length"] == "0"


def test_an_iterator_is_sent_in_chunks_or_with_its_length(lua, peers):
    server = peers(echo)
    lua(
        """
  local function pieces(list)
    local i = 0
    return function() i = i + 1 return list[i] end
  end
  assert(http.post(arg[1], { body = pieces({ "one ", "", "two " }) }))
  assert(http.put(arg[1], {
    body = pieces({ "12", "345" }), headers = { ["Content-Length"] = "5" } }))
        """,
        server.url,
    )
    chunked, sized = server.requests
    assert chunked["body"] == b"one two " and chunked["headers"]["transfer-encoding"] == "chunked"
    assert sized["body"] == b"12345" and sized["headers"]["content-length"] == "5"


@pytest.mark.parametrize(
    "body, message",
    [
        ('function() return "too long" end', "more bytes than its Content-Length"),
        ("function() return nil end", "fewer bytes than its Content-Length"),
        ("function() return 1 end", "returns strings"),
        ('function() error("mine") end', "mine"),
    ],
)
def test_an_iterator_that_misbehaves_ends_the_request_and_its_connection(
    lua, peers, body, message
):
    server = peers(echo)
    shown = lua(
        """
  local ok, err = pcall(http.post, arg[1], {
    body = %s, headers = { ["content-length"] = "5" } })
  show(ok, tostring(err))
  show(http.get(arg[1]).status)
        """
        % body,
        server.url,
    )
    assert shown[0][0] is False and message in shown[0][1]
    assert shown[1] == [200]


def test_an_open_file_is_a_body_with_a_length(lua, peers, tmp_path):
    server = peers(echo)
    (tmp_path / "file").write_bytes(b"x" * 300000)
    lua(
        """
  local file <close> = assert(require("perigee").fs.open(arg[2]))
  file:read(1)
  assert(http.put(arg[1], { body = file }))
        """,
        server.url,
        tmp_path / "file",
    )
    assert server.requests[0]["headers"]["content-length"] == "299999"
    assert server.requests[0]["body"] == b"x" * 299999


def test_a_multipart_body_has_fields_and_files(lua, peers):
    server = peers(echo)
    lua(
        """
  local i = 0
  assert(http.post(arg[1], { multipart = {
    { name = "na\\"me", value = 7 },
    { name = "file", filename = "a.txt", content_type = "text/plain", data = "line\\r\\n" },
    { name = "slow", filename = "b", data = function()
      i = i + 1
      if i < 3 then return "piece" .. i end
    end },
  } }))
  assert(http.post(arg[1], { multipart = { a = "1", b = false } }))
        """,
        server.url,
    )
    streamed, fields = server.requests
    boundary = re.fullmatch(
        r"multipart/form-data; boundary=(\S+)", streamed["headers"]["content-type"]
    )[1].encode()
    assert streamed["headers"]["transfer-encoding"] == "chunked"
    assert streamed["body"] == (
        b"--%b\r\nContent-Disposition: form-data; name=\"na%%22me\"\r\n\r\n7\r\n"
        b"--%b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.txt\"\r\n"
        b"Content-Type: text/plain\r\n\r\nline\r\n\r\n"
        b"--%b\r\nContent-Disposition: form-data; name=\"slow\"; filename=\"b\"\r\n"
        b"Content-Type: application/octet-stream\r\n\r\npiece1piece2\r\n--%b--\r\n"
    ) % (boundary, boundary, boundary, boundary)
    assert b'name="a"\r\n\r\n1\r\n' in fields["body"]
    assert b'name="b"\r\n\r\nfalse\r\n' in fields["body"]
    assert fields["headers"]["content-length"] == str(len(fields["body"]))


def test_queries_and_credentials(lua, peers):
    server = peers(echo)
    lua(
        """
  http.get(arg[1] .. "/p?a=1", { query = { q = "x y", n = { 1, 2 } } })
  http.get(arg[1], { auth = { "user", "pa:ss" } })
  http.get(arg[1], { bearer = "to.ken" })
  http.get((arg[1]:gsub("//", "//us%%40er:p%%20w@")))
  http.get(arg[1], { bearer = "x", headers = { Authorization = "Mine 1" } })
        """,
        server.url,
    )
    assert server.requests[0]["target"] == "/p?a=1&n=1&n=2&q=x%20y"
    sent = [request["headers"]["authorization"] for request in server.requests[1:]]
    assert sent == [
        "Basic " + base64.b64encode(b"user:pa:ss").decode(),
        "Bearer to.ken",
        "Basic " + base64.b64encode(b"us@er:p w").decode(),
        "Mine 1",
    ]


@pytest.mark.parametrize(
    "call, message",
    [
        ('http.get("http://h/", { headers = { X = "a\\r\\nB: c" } })', "control character"),
        ('http.get("http://h/", { headers = { ["X\\n"] = "a" } })', "name of a header"),
        ('http.get("http://h/\\r\\nX: y")', "control characters"),
        ('http.request({ url = "http://h/", method = "GET /x\\r\\n" })', "method"),
        ('http.request({ url = "http://h/", method = "CONNECT" })', "method"),
        ('http.get("http://h/", { headers = { ["Transfer-Encoding"] = "chunked" } })', "manages"),
        ('http.get("http://h/", { bearer = "a\\r\\nb" })', "bearer"),
        ('http.get("ftp://h/")', "http:// or https://"),
        ('http.get("http:///x")', "no host"),
        ('http.get("http://h:99999/")', "not a port"),
        ('http.get("http://[zz]/")', "IPv6"),
        ('http.get("http://a b/")', "cannot be a host"),
        ("http.get()", "needs a URL"),
        ('http.get("http://h/", { timeout = 1 })', "did you mean 'timeout_ms'"),
        ('http.post("http://h/", { json = 1, body = "x" })', "one body"),
        ('http.client({ base_url = "/x" })', "not a URL"),
        ('http.get("http://h/", { proxy = "socks5://h" })', "http://"),
    ],
)
def test_mistakes_of_the_caller_raise(lua, call, message):
    [[ok, text]] = lua("local ok, err = pcall(function() return %s end) show(ok, err)" % call)
    assert ok is False and message in text, text


# --- answers -------------------------------------------------------------------------------------


def test_json_in(lua, peers):
    server = peers(lambda h: h.answer(200, b'{"a":[1,2.5,null]}' if h.path == "/" else b"{"))
    shown = lua(
        """
  local value = http.get(arg[1]):json()
  show(value.a[1], value.a[2], value.a[3] == json.null)
  failed(http.get(arg[1] .. "/bad"):json())
        """,
        server.url,
    )
    assert shown[0] == [1, 2.5, True]
    assert shown[1][0] == "EJSON"


BROTLI_HELLO = "G28XACRAapDH6vCcTvIAAA=="  # 1,000 times "hello "


def test_compressed_answers_are_unpacked(lua, peers):
    text = b"hello " * 1000
    packed = {
        "gzip": gzip.compress(text),
        "deflate": zlib.compress(text),
        "bare": zlib.compress(text, wbits=-15),
        "br": base64.b64decode(BROTLI_HELLO),
        "unknown": b"\x00\x01",
    }

    def route(h):
        kind = h.path[1:]
        h.answer(200, packed[kind], Content_Encoding={"bare": "deflate"}.get(kind, kind))

    server = peers(route)
    shown = lua(
        """
  for _, kind in ipairs({ "gzip", "deflate", "bare", "br" }) do
    show(http.get(arg[1] .. "/" .. kind).body == ("hello "):rep(1000))
  end
  show(#http.get(arg[1] .. "/gzip", { decompress = false }).body)
  show(#http.get(arg[1] .. "/unknown").body)
        """,
        server.url,
    )
    assert shown == [[True], [True], [True], [True], [len(packed["gzip"])], [2]]
    assert "accept-encoding" not in server.requests[4]["headers"]


def test_a_bomb_and_a_broken_coding_are_errors(lua, peers):
    bodies = {"/bomb": gzip.compress(bytes(50 << 20)), "/cut": gzip.compress(b"x" * 1000)[:-9]}
    server = peers(lambda h: h.answer(200, bodies[h.path], Content_Encoding="gzip"))
    shown = lua(
        'failed(http.get(arg[1] .. "/bomb")) failed(http.get(arg[1] .. "/cut"))', server.url
    )
    assert [code for code, _ in shown] == ["EMSGSIZE", "EPROTO"]


@pytest.mark.parametrize("declared", [True, False])
def test_an_answer_has_at_most_so_many_bytes(lua, peers, declared):
    def serve(sock):
        read_head(sock)
        length = b"Content-Length: 100000\r\n" if declared else b""
        sock.sendall(b"HTTP/1.1 200 OK\r\n" + length + b"\r\n" + b"x" * 100000)

    server = peers.raw(serve)
    shown = lua(
        """
  failed(http.get(arg[1], { max_response_bytes = 99999 }))
  show(#http.get(arg[1], { max_response_bytes = 100000 }).body)
        """,
        server.url,
    )
    assert shown[0][0] == "EMSGSIZE" and "99999" in shown[0][1]
    assert shown[1] == [100000]


def test_a_stream_holds_the_server_up_and_gives_all_of_it(lua, peers):
    total, sent = 40 << 20, []

    def serve(sock):
        read_head(sock)
        sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % total)
        for _ in range(total >> 16):
            sock.sendall(bytes(65536))
            sent.append(65536)

    server = peers.raw(serve)
    shown = lua(
        """
  local res <close> = assert(http.get(arg[1], { stream = true, timeout_ms = 120000 }))
  show(res.body == nil)
  local count, least = 0, math.huge
  for piece in res:chunks() do
    count = count + #piece
    least = math.min(least, #piece)
  end
  show(count, least > 0, res:read() == nil)
        """,
        server.url,
    )
    assert shown == [[True], [total, True, True]]


def test_a_stream_that_nobody_reads_is_not_taken_in(lua, peers, when):
    stuck = threading.Event()

    def serve(sock):
        read_head(sock)
        sock.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        sock.settimeout(1)
        try:
            while True:
                sock.sendall(bytes(1 << 20))
        except TimeoutError:
            stuck.set()
        read_head(sock)  # until the client goes

    server = peers.raw(serve)
    lua(
        """
  local res <close> = assert(http.get(arg[1], { stream = true }))
  res:read()
  local file = io.open(arg[2])
  while not file do
    require("perigee").sleep(20)
    file = io.open(arg[2])
  end
        """,
        server.url,
        when(stuck),
    )
    assert stuck.is_set()


def test_a_stream_may_be_left_early_and_its_connection_is_not_used_again(lua, peers):
    def serve(sock):
        if read_head(sock):
            sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nabc")
            read_head(sock)

    server = peers.raw(serve)
    shown = lua(
        """
  for _ = 1, 3 do
    local res <close> = assert(http.get(arg[1], { stream = true }))
    show(res:read())
  end
        """,
        server.url,
    )
    assert shown == [["abc"]] * 3
    assert server.accepted == 3


def test_a_stream_that_is_dropped_gives_its_place_back(lua, peers):
    def serve(sock):
        if read_head(sock):
            sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nabc")
            read_head(sock)

    server = peers.raw(serve)
    shown = lua(
        """
  local client = http.client({ max_connections = 2 })
  for _ = 1, 10 do
    assert(client:get(arg[1], { stream = true }))
    collectgarbage()
  end
  show("done")
        """,
        server.url,
    )
    assert shown == [["done"]]


# --- servers that misbehave ----------------------------------------------------------------------


@pytest.mark.parametrize(
    "answer, message",
    [
        (b"", "without an answer"),
        (b"HTTP/1.1 200 OK\r\nContent-Le", "middle of a head"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nabc", "middle of a body"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n", "chunked body"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "does not speak HTTP/1.1"),
        (b"HTTP/2 200\r\n\r\n", "HTTP/1.1"),
        (b"HTTP/1.1 20 OK\r\n\r\n", "status line"),
        (b"HTTP/1.1 200 OK\nA: b\n\n", "bare line feed"),
        (b"HTTP/1.1 200 OK\r\nA: b\r\n c\r\n\r\n", "header line"),
        (b"HTTP/1.1 200 OK\r\nA : b\r\n\r\n", "header line"),
        (b"HTTP/1.1 200 OK\r\nA: b\x00\r\n\r\n", "control character"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\nx", "two lengths"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 1, 1\r\n\r\nx", "not a number"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", "not a number"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\n", "not a number"),
        (
            b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            "both a length and a transfer coding",
        ),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", "chunked alone"),
        (b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "HTTP/1.0"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", "chunks are malformed"),
        (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1;" + b"a" * 20000,
            "chunks are malformed",
        ),
        (b"HTTP/1.1 101 Switching\r\nUpgrade: x\r\n\r\n", "unasked"),
        (b"HTTP/1.1 100 Continue\r\n\r\n" * 20 + OK, "too many interim answers"),
        (b"HTTP/1.1 200 OK\r\nA: " + b"a" * 70000, "head is too long"),
        (b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 300 + b"\r\n", "too many headers"),
    ],
)
def test_an_answer_that_can_be_read_in_two_ways_is_refused(lua, peers, answer, message):
    server = peers.raw(answering(answer))
    [[code, text]] = lua("failed(http.post(arg[1]))", server.url)
    assert code == ("ECONNRESET" if answer == b"" else "EPROTO")
    assert message in text and server.url in text


def test_interim_answers_are_skipped(lua, peers):
    interim = b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"
    server = peers.raw(answering(b"HTTP/1.1 100 Continue\r\n\r\n" + interim + OK))
    assert lua("show(http.get(arg[1]).body)", server.url) == [["ok"]]


def test_a_body_without_a_length_ends_with_the_connection(lua, peers):
    server = peers.raw(answering(b"HTTP/1.1 200 OK\r\n\r\nall of it"))
    assert lua("show(http.get(arg[1]).body)", server.url) == [["all of it"]]


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n",
        b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n",
    ],
)
def test_answers_that_have_no_body(lua, peers, answer):
    server = peers.raw(answering(answer))
    assert lua("local r = http.get(arg[1]) show(r.body)", server.url) == [[""]]


def test_what_a_server_says_unasked_is_no_answer(lua, peers):
    """Response smuggling: bytes behind an answer never become the next one."""
    server = peers.raw(answering(OK + b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil", OK))
    shown = lua("for _ = 1, 3 do show(http.get(arg[1]).body) end", server.url)
    assert shown == [["ok"]] * 3
    assert server.accepted == 3


def test_a_server_that_drips_is_cut_off_at_the_deadline(lua, peers):
    gone = threading.Event()

    def serve(sock):
        read_head(sock)
        sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
        try:
            while True:
                sock.sendall(b"x")
                if gone.wait(0.02):
                    return
        except OSError:
            gone.set()

    server = peers.raw(serve)
    [[code, text]] = lua("failed(http.get(arg[1], { timeout_ms = 300 }))", server.url)
    assert code == "ETIMEDOUT" and "timeout_ms" in text
    assert gone.wait(PATIENCE)


@pytest.mark.parametrize("after", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc"])
def test_a_silent_server_is_cut_off(lua, peers, after):
    def serve(sock):
        read_head(sock)
        sock.sendall(after)
        assert read_head(sock) == b""

    server = peers.raw(serve)
    [[code, text]] = lua("failed(http.get(arg[1], { idle_timeout_ms = 150 }))", server.url)
    assert code == "ETIMEDOUT" and "idle_timeout_ms" in text


def test_a_server_that_does_not_read_is_cut_off(lua, peers):
    gone = threading.Event()

    def serve(sock):
        gone.wait(PATIENCE)

    server = peers.raw(serve)
    [[code, _]] = lua(
        'failed(http.post(arg[1], { body = ("x"):rep(1 << 25), idle_timeout_ms = 200 }))',
        server.url,
    )
    gone.set()
    assert code == "ETIMEDOUT"


def test_an_early_refusal_ends_the_upload(lua, peers):
    def serve(sock):
        read_head(sock)
        sock.sendall(b"HTTP/1.1 413 Too Large\r\nContent-Length: 3\r\n\r\nbig")
        while sock.recv(65536):
            pass

    server = peers.raw(serve)
    shown = lua(
        """
  local pieces = 0
  local res = assert(http.post(arg[1], { body = function()
    pieces = pieces + 1
    require("perigee").sleep(1)
    return ("x"):rep(65536)
  end }))
  show(res.status, res.body)
        """,
        server.url,
    )
    assert shown == [[413, "big"]]


def test_an_answer_may_overtake_its_request(lua, peers):
    def serve(sock):
        read_head(sock)
        sock.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n")
        body = b""
        while not body.endswith(b"0\r\n\r\n"):
            body += sock.recv(65536)
        sock.sendall(b"%x\r\n%d\r\n0\r\n\r\n" % (len(str(len(body))), len(body)))

    server = peers.raw(serve)
    shown = lua(
        """
  local i = 0
  local res = assert(http.post(arg[1], { body = function()
    i = i + 1
    require("perigee").sleep(5)
    return i <= 20 and ("x"):rep(1000) or nil
  end }))
  show(res.body)
        """,
        server.url,
    )
    assert shown == [["ok" + str(20 * (1000 + 7) + 5)]]


def test_nobody_there(lua):
    with socket.socket() as silent:  # bound, so that nobody else listens there meanwhile
        silent.bind(("127.0.0.1", 0))
        port = silent.getsockname()[1]
        shown = lua(
            """
  failed(http.get("http://127.0.0.1:" .. arg[1]))
  failed(http.get("http://does-not-exist.invalid/"))
            """,
            port,
            env={"RES_OPTIONS": "timeout:1 attempts:1"},
        )
    assert shown[0][0] == "ECONNREFUSED" and str(port) in shown[0][1]
    assert shown[1][0].startswith("EAI_") and "does-not-exist.invalid" in shown[1][1]


def test_connecting_has_a_limit(lua):
    with socket.socket() as full, contextlib.ExitStack() as stack:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        for _ in range(4):  # fills the backlog: further connections get no answer
            sock = stack.enter_context(socket.socket())
            sock.setblocking(False)
            sock.connect_ex(full.getsockname())
        [[code, _]] = lua(
            "failed(http.get(arg[1], { connect_timeout_ms = 200 }))",
            f"http://127.0.0.1:{full.getsockname()[1]}",
        )
    assert code == "ETIMEDOUT"


# --- connections ---------------------------------------------------------------------------------


def test_connections_are_kept(lua, peers):
    server = peers(echo)
    lua("for _ = 1, 5 do http.get(arg[1]) end", server.url)
    assert len({request["port"] for request in server.requests}) == 1


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok",
        b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok",
    ],
)
def test_connections_that_the_server_closes_are_not_kept(lua, peers, answer):
    server = peers.raw(answering(answer, answer))
    lua("for _ = 1, 3 do show(http.get(arg[1]).body) end", server.url)
    assert server.accepted == 3


def test_a_stale_connection_is_noticed_before_it_is_used(lua, peers, when):
    closed = threading.Event()

    def serve(sock):
        answering(OK)(sock)
        sock.close()
        closed.set()

    server = peers.raw(serve)
    shown = lua(
        """
  show(http.post(arg[1]).body)
  while not io.open(arg[2]) do end -- the loop has no chance to see that the server has closed it
  show(http.post(arg[1]).body)
        """,
        server.url,
        when(closed),
    )
    assert shown == [["ok"]] * 2
    assert server.accepted == 2


def test_what_may_be_sent_twice_is_sent_again_when_a_kept_connection_turns_out_dead(lua, peers):
    def serve(sock):  # reads a second request, and hangs up instead of an answer
        read_head(sock)
        sock.sendall(OK)
        read_head(sock)

    server = peers.raw(serve)
    shown = lua(
        """
  show(http.get(arg[1]).body)
  show(http.get(arg[1]).body)
  failed(http.post(arg[1], { body = "pay" }))
        """,
        server.url,
    )
    assert shown[:2] == [["ok"]] * 2
    assert shown[2][0] == "ECONNRESET"
    assert server.accepted == 2


def test_idle_connections_are_closed_in_time(lua, peers, when):
    closed = threading.Event()

    def serve(sock):
        read_head(sock)
        sock.sendall(OK)
        if read_head(sock) == b"":
            closed.set()

    server = peers.raw(serve)
    shown = lua(
        """
  local client = http.client({ keep_alive_ms = 50 })
  show(client:get(arg[1]).body)
  local file
  repeat
    require("perigee").sleep(20)
    file = io.open(arg[2])
  until file
        """,
        server.url,
        when(closed),
    )
    assert shown == [["ok"]]


@pytest.mark.parametrize("total, per_host, hosts", [(3, 10, 2), (10, 2, 1)])
def test_no_more_connections_than_the_limits_and_everybody_gets_a_turn(
    lua, peers, total, per_host, hosts
):
    limit, heads, all_here = min(total, per_host), itertools.count(1), threading.Event()

    def serve(sock):
        while read_head(sock):
            if next(heads) == limit:
                all_here.set()
            all_here.wait(PATIENCE)
            sock.sendall(OK)

    servers = [peers.raw(serve) for _ in range(hosts)]
    shown = lua(
        """
  local total, per_host, ports = tonumber(arg[1]), tonumber(arg[2]), {}
  for i = 3, #arg do
    ports[("%04X"):format(arg[i]:match(":(%d+)$"))] = true
  end
  -- What the kernel holds open or is opening. The loop stands still meanwhile, but other processes do
  -- not: the kernel may then list a socket twice.
  local function sockets()
    local count, seen = 0, {}
    for line in io.lines("/proc/self/net/tcp") do
      local own, port, state = line:match("^%s*%d+: %x+:(%x+) %x+:(%x+) (%x+)")
      if ports[port] and (state == "01" or state == "02") and not seen[own .. port] then
        seen[own .. port], count = true, count + 1
      end
    end
    return count
  end
  local client = http.client({ max_connections = total, max_connections_per_host = per_host })
  local most, answered = 0, 0
  require("perigee.task").group(function(group)
    for i = 1, 20 do
      group:spawn(function()
        local res = assert(client:get(arg[3 + i % (#arg - 2)] .. "/" .. i))
        answered = answered + (res.ok and 1 or 0)
        most = math.max(most, sockets())
      end)
    end
  end)
  show(answered, most)
        """,
        total,
        per_host,
        *[server.url for server in servers],
    )
    [[answered, most]] = shown
    assert answered == 20
    assert most <= limit and all_here.is_set()


def test_waiting_for_a_turn_ends_with_the_request_s_time(lua, peers):
    def serve(sock):
        read_head(sock)
        sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n")
        read_head(sock)

    server = peers.raw(serve)
    shown = lua(
        """
  local client = http.client({ max_connections = 1 })
  local _held <close> = assert(client:get(arg[1], { stream = true }))
  failed(client:get(arg[1], { timeout_ms = 150 }))
        """,
        server.url,
    )
    [[code, message]] = shown
    assert code == "ETIMEDOUT"
    assert "no connection became free" in message
    assert server.accepted == 1


@pytest.mark.parametrize("where", ["connect", "head", "body", "upload", "queue"])
def test_a_cancelled_request_is_cut_off_and_its_place_is_free_again(lua, peers, when, where):
    here, gone = threading.Event(), threading.Event()

    def serve(sock):
        head = read_head(sock)
        if b" /then " in head:
            sock.sendall(OK)
            return
        if where == "body":
            sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nabc")
        here.set()
        while True:
            try:
                if not sock.recv(65536):
                    break
            except ConnectionResetError:
                break
        gone.set()

    server = peers.raw(serve)
    ready = "false" if where == "connect" else "true"
    shown = lua(
        """
  local where, ready = arg[2], arg[3]
  local client = http.client({ max_connections = 1 })
  local task = require("perigee.task")
  local sleep = require("perigee").sleep
  local function long()
    local body
    if where == "upload" then
      body = function() sleep(1) return "xxxx" end
    end
    return client:post(arg[1] .. "/", { body = body or "x" })
  end
  task.group(function(group)
    local first = group:spawn(long)
    local second = where == "queue" and group:spawn(long)
    if %s then
      while not io.open(ready) do sleep(10) end
    else
      sleep(0)
    end
    if second then second:cancel() end
    first:cancel()
  end)
  show(client:get(arg[1] .. "/then").body)
        """
        % ready,
        server.url,
        where,
        when(here),
    )
    assert shown == [["ok"]]
    if where != "connect":
        assert gone.wait(PATIENCE)


# --- redirects -----------------------------------------------------------------------------------


def redirecting(h):
    """/301/x redirects to /x; everything else is echoed."""
    match = re.fullmatch(r"/(30\d)(/.*)", h.path)
    if match:
        h.answer(int(match[1]), b"moved", Location=match[2])
    else:
        echo(h)


@pytest.mark.parametrize(
    "status, method, then",
    [
        (301, "GET", "GET"),
        (301, "POST", "GET"),
        (302, "POST", "GET"),
        (302, "PUT", "PUT"),
        (303, "POST", "GET"),
        (303, "PUT", "GET"),
        (303, "HEAD", "HEAD"),
        (307, "POST", "POST"),
        (308, "POST", "POST"),
    ],
)
def test_redirects_change_the_method_as_the_fetch_standard_says(lua, peers, status, method, then):
    server = peers(redirecting)
    body = "nil" if method in ("GET", "HEAD") else '"text"'
    shown = lua(
        """
  local res = assert(http.request({ method = arg[2], url = arg[1] .. arg[3], body = %s,
    headers = { ["Content-Type"] = "a/b", ["X-Kept"] = "1" } }))
  show(res.status, res.url, res.redirects)
        """
        % body,
        server.url,
        method,
        f"/{status}/end",
    )
    assert shown == [[200, server.url + "/end", [f"{server.url}/{status}/end"]]]
    last = server.requests[-1]
    assert (last["method"], last["target"]) == (then, "/end")
    assert last["headers"]["x-kept"] == "1"
    keeps_body = then == method and method not in ("GET", "HEAD")
    assert last["body"] == (b"text" if keeps_body else b"")
    if then != method:
        assert "content-type" not in last["headers"] and "content-length" not in last["headers"]
    assert len({request["port"] for request in server.requests}) == 1


def test_redirects_have_a_limit_and_can_be_left_alone(lua, peers):
    server = peers(lambda h: h.answer(302, b"", Location="/again"))
    shown = lua(
        """
  failed(http.get(arg[1]))
  failed(http.get(arg[1], { max_redirects = 3 }))
  local res = http.get(arg[1], { max_redirects = 0 })
  show(res.status, res.headers.location)
        """,
        server.url,
    )
    assert [shown[0][0], shown[1][0]] == ["ELOOP", "ELOOP"]
    assert shown[2] == [302, "/again"]
    assert len(server.requests) == 21 + 4 + 1


@pytest.mark.parametrize("location", ["ftp://x/", "http://", "http://a b/", "//h:0/"])
def test_redirects_to_nowhere(lua, peers, location):
    server = peers(lambda h: h.answer(302, b"", Location=location))
    [[code, text]] = lua("failed(http.get(arg[1]))", server.url)
    assert code == "EPROTO" and "leads nowhere" in text


def test_credentials_stay_with_their_origin(lua, peers):
    there = peers(echo)

    def route(h):
        if h.path == "/away":
            h.answer(307, b"", Location=there.url + "/there")
        elif h.path == "/home":
            h.answer(307, b"", Location="/end")
        else:
            echo(h)

    here = peers(route)
    lua(
        """
  for _, path in ipairs({ "/home", "/away" }) do
    http.get(arg[1] .. path, { bearer = "secret", headers = { Cookie = "s=1", ["X-Other"] = "1" } })
    http.get(arg[1] .. path, { headers = { Authorization = "secret", Cookie = "s=1" } })
  end
        """,
        here.url,
    )
    at_home = [r["headers"] for r in here.requests if r["target"] == "/end"]
    assert all("authorization" in headers and "cookie" in headers for headers in at_home)
    assert len(at_home) == len(there.requests) == 2
    for request in there.requests:
        assert "authorization" not in request["headers"] and "cookie" not in request["headers"]
        assert request["headers"]["host"] == f"127.0.0.1:{there.port}"
    assert there.requests[0]["headers"]["x-other"] == "1"


def test_a_redirect_that_wants_an_iterator_again_is_an_error(lua, peers):
    server = peers(lambda h: h.answer(307, b"", Location="/end"))
    [[code, text]] = lua(
        """
  local given
  failed(http.post(arg[1], { body = function()
    if not given then given = true return "once" end
  end }))
        """,
        server.url,
    )
    assert code == "EPROTO" and "iterator" in text


# --- TLS -----------------------------------------------------------------------------------------


def test_a_verified_connection_by_address_and_by_name(lua, peers, authority):
    context = authority.context("both", "DNS:localhost,IP:127.0.0.1")
    names = []
    context.sni_callback = lambda sock, name, ctx: names.append(name)
    server = peers(echo, context=context)
    shown = lua(
        """
  show(http.get(arg[1], { ca = arg[2] }).status)
  show(http.get((arg[1]:gsub("127.0.0.1", "localhost")), { ca = arg[2] }).status)
  show(http.get(arg[1], { ca = io.open(arg[2]):read("a") }).status)
        """,
        server.url,
        authority.ca,
    )
    assert shown == [[200]] * 3
    assert names[:2] == [None, "localhost"]


@pytest.mark.parametrize("variable", ["SSL_CERT_FILE", "SSL_CERT_DIR"])
def test_the_environment_names_the_authorities(lua, peers, authority, tmp_path, variable):
    server = peers(echo, context=authority.context("env", "IP:127.0.0.1"))
    place = authority.ca
    if variable == "SSL_CERT_DIR":
        place = tmp_path / "hashed"
        place.mkdir()
        (place / "ca.pem").write_bytes(authority.ca.read_bytes())
        subprocess.run(["openssl", "rehash", place], check=True)
    shown = lua("show(http.get(arg[1]).status)", server.url, env={variable: str(place)})
    assert shown == [[200]]


@pytest.mark.parametrize(
    "name, options, code",
    [
        ("DNS:other.example", {}, "ECERT_NAME"),
        ("IP:127.0.0.2", {}, "ECERT_NAME"),
        ("IP:127.0.0.1", {"days": -1}, "ECERT_EXPIRED"),
    ],
)
def test_a_certificate_for_others_or_of_yesterday_is_refused(
    lua, peers, authority, name, options, code
):
    context = authority.context(f"bad-{code}-{name.replace(':', '-')}", name, **options)
    server = peers(echo, context=context)
    shown = lua(
        """
  failed(http.get(arg[1], { ca = arg[2] }))
  show(http.get(arg[1], { verify = false }).status)
        """,
        server.url,
        authority.ca,
    )
    assert shown[0][0] == code and server.url in shown[0][1]
    assert shown[1] == [200]
    assert len(server.requests) == 1


def test_an_authority_that_nobody_knows_is_refused(lua, peers, authority):
    server = peers(echo, context=authority.context("unknown", "IP:127.0.0.1"))
    [[code, _]] = lua("failed(http.get(arg[1]))", server.url)
    assert code == "ECERT_UNTRUSTED"


def test_verified_and_unverified_connections_are_not_mixed(lua, peers, authority):
    server = peers(echo, context=authority.context("mixed", "IP:127.0.0.1"))
    shown = lua(
        """
  show(http.get(arg[1], { verify = false }).status)
  failed(http.get(arg[1]))
        """,
        server.url,
    )
    assert shown[0] == [200] and shown[1][0] == "ECERT_UNTRUSTED"


def test_a_client_certificate(lua, peers, authority):
    context = authority.context("mutual", "IP:127.0.0.1")
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(authority.ca)
    server = peers(echo, context=context)
    cert, key = authority.sign("me", "DNS:me")
    shown = lua(
        """
  show(http.get(arg[1], { ca = arg[2], cert = arg[3], key = arg[4] }).status)
  failed(http.get(arg[1], { ca = arg[2] }))
  failed(http.get(arg[1], { ca = arg[2], cert = arg[3], key = arg[2] }))
  failed(http.get(arg[1], { ca = "/does/not/exist" }))
        """,
        server.url,
        authority.ca,
        cert,
        key,
    )
    assert shown[0] == [200]
    assert shown[1][0] == "EPROTO"
    assert shown[2][0] == "EINVAL" and "key" in shown[2][1]
    assert shown[3][0] == "EINVAL" and "ca" in shown[3][1]


def test_old_versions_of_tls_are_refused(lua, peers, authority):
    context = authority.context("old", "IP:127.0.0.1")
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.minimum_version = ssl.TLSVersion.TLSv1
    context.maximum_version = ssl.TLSVersion.TLSv1_1
    server = peers.raw(answering(OK), context=context)
    [[code, _]] = lua("failed(http.get(arg[1], { ca = arg[2] }))", server.url, authority.ca)
    assert code == "EPROTO"


def test_tls_where_none_is_spoken(lua, peers):
    server = peers(echo)
    [[code, text]] = lua(
        'failed(http.get((arg[1]:gsub("http:", "https:"))))', server.url
    )
    assert code == "EPROTO" and "does not speak TLS" in text


def test_a_body_that_ends_without_tls_saying_so_may_be_cut_off(lua, peers, authority):
    def serve(sock):
        read_head(sock)
        sock.sendall(b"HTTP/1.1 200 OK\r\n\r\npay 100")
        os.close(sock.detach())  # no close_notify

    server = peers.raw(serve, context=authority.context("cut", "IP:127.0.0.1"))
    [[code, _]] = lua("failed(http.get(arg[1], { ca = arg[2] }))", server.url, authority.ca)
    assert code == "ECONNRESET"


def test_much_over_tls_both_ways_on_one_connection(lua, peers, authority):
    server = peers(
        lambda h: h.answer(200, h.body), context=authority.context("much", "IP:127.0.0.1")
    )
    shown = lua(
        """
  local text = ("0123456789abcdef"):rep(1 << 18)
  for _ = 1, 2 do
    local res = assert(http.post(arg[1], { body = text, ca = arg[2] }))
    show(res.body == text)
  end
        """,
        server.url,
        authority.ca,
    )
    assert shown == [[True]] * 2
    assert len({request["port"] for request in server.requests}) == 1


def test_sessions_are_resumed(lua, peers, authority):
    resumed = []

    def serve(sock):
        resumed.append(sock.session_reused)
        read_head(sock)
        sock.sendall(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok")
        sock.unwrap()

    server = peers.raw(serve, context=authority.context("again", "IP:127.0.0.1"))
    lua(
        "for _ = 1, 3 do assert(http.get(arg[1], { ca = arg[2] })) end", server.url, authority.ca
    )
    assert resumed == [False, True, True]


def test_a_handshake_has_a_limit(lua, peers):
    server = peers.raw(lambda sock: sock.recv(65536) and sock.recv(1))
    [[code, _]] = lua(
        'failed(http.get((arg[1]:gsub("http:", "https:")), { connect_timeout_ms = 200 }))',
        server.url,
    )
    assert code == "ETIMEDOUT"


def test_a_plain_stream_may_be_secured_too(lua, peers, authority):
    def serve(sock):
        sock.sendall(b"hello " + sock.recv(100))
        sock.unwrap()

    server = peers.raw(serve, context=authority.context("net", "DNS:me.example"))
    shown = lua(
        """
  local net = require("perigee").net
  local place = { host = "127.0.0.1", port = tonumber(arg[1]) }
  local function connect(tls)
    place.tls = tls
    return net.connect(place)
  end
  local stream <close> = assert(connect({ ca = arg[2], name = "me.example" }))
  stream:write("you")
  show(stream:read_exactly(9), select("#", stream:read()))
  failed(connect({ ca = arg[2] }))
  failed(connect(true))
  show(pcall(connect, { nam = "x" }))
        """,
        server.port,
        authority.ca,
    )
    assert shown[0] == ["hello you", 1]  # an end, and no error
    assert shown[1][0] == "ECERT_NAME" and shown[2][0] == "ECERT_UNTRUSTED"
    assert shown[3][0] is False and "did you mean 'name'" in shown[3][1]


# --- proxies and Unix sockets --------------------------------------------------------------------


def tunnelling(seen):
    """A proxy that serves CONNECT."""

    def serve(sock):
        head = read_head(sock)
        seen.append(head)
        host, port = re.match(rb"CONNECT (\S+):(\d+) HTTP/1.1\r\n", head).groups()
        with socket.create_connection((host, int(port))) as out:
            sock.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")

            def back():
                with contextlib.suppress(OSError):
                    while data := out.recv(65536):
                        sock.sendall(data)

            thread = threading.Thread(target=back, daemon=True)
            thread.start()
            with contextlib.suppress(OSError):
                while data := sock.recv(65536):
                    out.sendall(data)

    return serve


def test_http_goes_through_the_proxy_of_the_environment(lua, peers):
    proxy = peers(echo)
    lua(
        """
  http.get("http://example.test:81/a?b=1")
  http.get("http://other.test/")
  show((http.get("http://127.0.0.1:1/")))
        """,
        env={
            "HTTP_PROXY": f"http://me:secret@127.0.0.1:{proxy.port}",
            "NO_PROXY": "127.0.0.0/8, .internal",
        },
    )
    assert [r["target"] for r in proxy.requests] == [
        "http://example.test:81/a?b=1",
        "http://other.test/",
    ]
    first = proxy.requests[0]["headers"]
    assert first["host"] == "example.test:81"
    assert first["proxy-authorization"] == "Basic " + base64.b64encode(b"me:secret").decode()
    assert len({request["port"] for request in proxy.requests}) == 1


def test_https_goes_through_a_tunnel(lua, peers, authority):
    server = peers(echo, context=authority.context("tunnel", "DNS:localhost"))
    seen = []
    proxy = peers.raw(tunnelling(seen))
    shown = lua(
        """
  for _ = 1, 2 do
    show(http.get(arg[1], { ca = arg[2] }).status)
  end
  show(http.get(arg[1], { ca = arg[2], proxy = false }).status)
        """,
        f"https://localhost:{server.port}/",
        authority.ca,
        env={"https_proxy": f"u:p@127.0.0.1:{proxy.port}"},
    )
    assert shown == [[200]] * 3
    assert len(seen) == 1  # the tunnel is kept
    assert b"Proxy-Authorization: Basic dTpw\r\n" in seen[0]
    for request in server.requests:
        assert "proxy-authorization" not in request["headers"]


def test_a_proxy_that_refuses(lua, peers):
    proxy = peers.raw(answering(b"HTTP/1.1 407 Who are you\r\nContent-Length: 0\r\n\r\n"))
    [[code, text]] = lua(
        'failed(http.get("https://example.test/", { proxy = arg[1] }))', proxy.url
    )
    assert code == "EPROXY" and "407" in text


def test_a_proxy_that_says_too_much_before_the_tunnel_is_not_trusted(lua, peers):
    proxy = peers.raw(answering(b"HTTP/1.1 200 OK\r\n\r\nHTTP/1.1 200 OK\r\n\r\n"))
    [[code, _]] = lua('failed(http.get("https://example.test/", { proxy = arg[1] }))', proxy.url)
    assert code == "EPROTO"


def test_a_unix_socket(lua, peers, tmp_path):
    path = tmp_path / "s"
    heads = []

    def serve(sock):
        heads.append(read_head(sock))
        sock.sendall(OK)
        heads.append(read_head(sock))
        sock.sendall(OK)

    peers.raw(serve, path=path)
    shown = lua(
        """
  for _ = 1, 2 do
    show(http.get("http://docker/v1/info", { socket_path = arg[1] }).body)
  end
        """,
        path,
        env={"HTTP_PROXY": "http://127.0.0.1:1"},
    )
    assert shown == [["ok"]] * 2
    assert heads[0].startswith(b"GET /v1/info HTTP/1.1\r\nHost: docker\r\n")


# --- clients -------------------------------------------------------------------------------------


def test_a_client_has_defaults_of_its_own(lua, peers):
    server = peers(echo)
    lua(
        """
  local client = http.client({ base_url = arg[1] .. "/api", bearer = "t",
    headers = { ["X-One"] = "1", ["X-Two"] = "2" } })
  client:get("/users?a=1")
  client:get("users/1", { headers = { ["x-two"] = "other" } })
  client:get(arg[1] .. "/elsewhere", { query = { b = 2 } })
        """,
        server.url,
    )
    assert [r["target"] for r in server.requests] == [
        "/api/users?a=1",
        "/api/users/1",
        "/elsewhere?b=2",
    ]
    assert [r["headers"]["x-two"] for r in server.requests] == ["2", "other", "2"]
    assert {r["headers"]["authorization"] for r in server.requests} == {"Bearer t"}


def test_a_jar_keeps_cookies(lua, peers):
    def route(h):
        if h.path == "/set":
            cookies = ["a=1; Path=/", "b=2; Path=/sub; HttpOnly", "c=3; Secure"]
            h.answer(200, b"", Set_Cookie=cookies)
        elif h.path == "/unset":
            h.answer(302, b"", Set_Cookie="a=; Max-Age=0; Path=/", Location="/sub/x")
        else:
            echo(h)

    server = peers(route)
    lua(
        """
  local client = http.client({ cookies = true })
  for _, path in ipairs({ "/set", "/", "/sub/x", "/unset" }) do
    client:get(arg[1] .. path)
  end
  http.get(arg[1] .. "/other-client")
        """,
        server.url,
    )
    sent = [(r["target"], r["headers"].get("cookie")) for r in server.requests]
    assert sent == [
        ("/set", None),
        ("/", "a=1"),
        ("/sub/x", "b=2; a=1"),
        ("/unset", "a=1"),
        ("/sub/x", "b=2"),
        ("/other-client", None),
    ]


def test_no_descriptor_is_left_open(lua, peers):
    server = peers(echo)
    bad = peers.raw(answering(b"nonsense"))
    shown = lua(
        """
  local function descriptors()
    return #require("perigee").fs.list("/proc/self/fd")
  end
  http.get(arg[1])
  local before = descriptors()
  for _ = 1, 50 do
    http.get(arg[2])
    http.get(arg[1])
    http.get("http://127.0.0.1:1/")
  end
  require("perigee").sleep(0)
  show(descriptors() - before)
        """,
        server.url,
        bad.url,
    )
    assert shown == [[0]]


# --- Perigee calls Perigee -----------------------------------------------------------------------


def test_perigee_calls_itself(serve, write_app):
    app = write_app(
        """
        local perigee = require("perigee")
        local app = perigee.app()
        app:get("/hello", function() return { hello = "world" } end)
        app:get("/ask", function(req)
          return perigee.http.get(req.query.at .. "/hello"):json()
        end)
        app:get("/pass", function(req)
          local res = perigee.http.get(req.query.at .. "/many", { stream = true })
          return perigee.stream(function(out)
            for piece in res:chunks() do out:write(piece) end
          end)
        end)
        app:get("/many", function()
          return perigee.stream(function(out)
            for i = 1, 1000 do out:write(("%d\\n"):format(i)) end
          end)
        end)
        return app
        """
    )
    server = serve(app, env={"no_proxy": "*"})
    assert server.json(f"/ask?at={server.url}") == {"hello": "world"}
    with server.client() as client:
        answer = client.get("/pass", params={"at": server.url})
        assert answer.text == "".join(f"{i}\n" for i in range(1, 1001))


def test_a_threaded_function_calls_others(serve, write_app, peers, authority):
    context = authority.context("threaded", "IP:127.0.0.1")
    peer = peers(lambda h: h.answer(200, b"over TLS"), context=context)
    app = write_app(
        """
        local perigee = require("perigee")
        local app = perigee.app()
        app:get("/ask", perigee.threaded(function(req)
          return assert(perigee.http.get(req.query.at, { ca = req.query.ca })).body
        end))
        return app
        """
    )
    server = serve(app, "--threads", 2, env={"no_proxy": "*"})
    with server.client() as client:
        for _ in range(6):
            answer = client.get("/ask", params={"at": peer.url, "ca": str(authority.ca)})
            assert answer.json() == "over TLS"
    assert len({request["port"] for request in peer.requests}) <= 2  # a pool for each worker


def test_when_the_client_goes_the_request_behind_it_goes_too(serve, write_app, peers):
    gone = threading.Event()

    def behind(sock):
        read_head(sock)
        read_head(sock)
        gone.set()

    peer = peers.raw(behind)
    app = write_app(
        """
        local perigee = require("perigee")
        local app = perigee.app()
        app:get("/ask", function(req) return perigee.http.get("%s").body end)
        return app
        """
        % peer.url
    )
    server = serve(app, env={"no_proxy": "*"})
    conn = server.connect()
    conn.request("GET", "/ask")
    eventually(lambda: peer.accepted == 1, "the request behind it")
    conn.reset()
    assert gone.wait(PATIENCE)
