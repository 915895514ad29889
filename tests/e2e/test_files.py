"""Files as answers: bytes, headers, ranges, conditions, slow clients and files that change."""

import email.utils
import os
import re
import socket

import pytest

from wire import eventually

APP = """
local perigee = require("perigee")
local app = perigee.app({ %s })
app:get("/file", function()
  return perigee.file("data.txt")
end)
app:get("/big", function()
  return perigee.file("big.bin", { filename = "großes ding.bin" })
end)
app:get("/empty", function()
  return perigee.file("empty.html", { disposition = "inline" })
end)
app:get("/save", function()
  return perigee.file("data.txt", {
    filename = "a.txt",
    status = 203,
    headers = { ETag = '"own"', ["Cache-Control"] = "max-age=60" },
    content_type = "text/css",
  })
end)
app:get("/below/{name:path}", function(req)
  return perigee.file(req.params.name, { root = "public" })
end)
app:get("/nul", function()
  return perigee.file("a\\0b")
end)
app:post("/posted", function()
  return perigee.file("data.txt")
end)
app:get("/short", function()
  return perigee.stream(function(out)
    out:write("abc")
  end, { length = 5 })
end)
app:get("/sized", function()
  return perigee.stream(function(out)
    out:write("abc")
    out:write("de")
  end, { length = 5, content_type = "text/plain" })
end)
app:get("/long", function()
  return perigee.stream(function(out)
    out:write("abc")
    out:write("def")
  end, { length = 5 })
end)
return app
"""

TEXT = b"0123456789abcdefghij"
BIG = os.urandom(1 << 20) * 5 + b"end"


@pytest.fixture
def start(serve, write_app, tmp_path):
    def begin(options=""):
        folder = tmp_path / "files"
        (folder / "public").mkdir(parents=True)
        (folder / "data.txt").write_bytes(TEXT)
        (folder / "big.bin").write_bytes(BIG)
        (folder / "empty.html").write_bytes(b"")
        (folder / "public" / "a.json").write_bytes(b"{}")
        os.mkfifo(folder / "public" / "pipe")
        return serve(write_app(APP % options), cwd=folder), folder

    return begin


@pytest.fixture
def files(start):
    return start()[0]


@pytest.fixture
def client(files):
    with files.client() as client:
        yield client


def test_a_file_comes_with_what_caches_need(start):
    server, folder = start()
    with server.client() as client:
        answer = client.get("/file")
        assert (answer.status_code, answer.content) == (200, TEXT)
        assert answer.headers["content-type"] == "text/plain; charset=utf-8"
        assert answer.headers["content-length"] == "20"
        assert answer.headers["accept-ranges"] == "bytes"
        modified = int(os.stat(folder / "data.txt").st_mtime)
        assert answer.headers["last-modified"] == email.utils.formatdate(modified, usegmt=True)
        assert re.fullmatch(r'"[0-9a-f]+-14"', answer.headers["etag"])
        assert "content-disposition" not in answer.headers
        head = client.head("/file")
        assert (head.status_code, head.content) == (200, b"")
        for name in ("content-length", "etag", "content-type", "last-modified"):
            assert head.headers[name] == answer.headers[name]


def test_a_file_may_have_another_name_type_and_status(client):
    answer = client.get("/save")
    assert answer.status_code == 203
    assert answer.headers["content-disposition"] == 'attachment; filename="a.txt"'
    assert answer.headers["content-type"] == "text/css; charset=utf-8"
    assert answer.headers["etag"] == '"own"'
    assert answer.headers["cache-control"] == "max-age=60"
    answer = client.get("/big")
    assert (
        answer.headers["content-disposition"]
        == "attachment; filename*=utf-8''gro%C3%9Fes%20ding.bin"
    )
    assert answer.content == BIG
    answer = client.get("/empty")
    assert (answer.content, answer.headers["content-length"]) == (b"", "0")
    assert answer.headers["content-disposition"] == "inline"


@pytest.mark.parametrize(
    "path", ["missing.txt", "", ".", "pipe", "a.json/x", "x" * 300, "../data.txt", "%2e%2e/data.txt"]
)
def test_what_is_no_file_is_not_found(files, path):
    answer = files.get(f"/below/{path}")
    assert (answer.status, answer.body) == (404, b'{"detail":"Not Found"}')


def test_no_path_leads_out_of_its_root(files):
    for path in ("..%2fdata.txt", "/../data.txt", "a/../../data.txt", "%00", "..%5cdata.txt"):
        assert files.get(f"/below/{path}").status == 404
    assert files.get("/below/a.json").body == b"{}"
    assert files.get("/below//a.json").body == b"{}"
    assert files.get("/nul").status == 404


def test_what_is_not_found_is_told_in_the_app_s_own_way(start):
    server, _ = start('errors = "problem"')
    answer = server.get("/below/x")
    assert answer.header("content-type") == "application/problem+json"


@pytest.mark.parametrize(
    "wanted, content, part",
    [
        ("bytes=0-4", b"01234", "0-4/20"),
        ("bytes=5-", TEXT[5:], "5-19/20"),
        ("bytes=-3", b"hij", "17-19/20"),
        ("bytes=-100", TEXT, "0-19/20"),
        ("bytes=19-19", b"j", "19-19/20"),
        ("bytes=18-99999999999999999999", b"ij", "18-19/20"),
        ("BYTES = 0-0, x, -", b"0", "0-0/20"),
        ("bytes=0-4,3-9", b"0123456789", "0-9/20"),
    ],
)
def test_one_range(client, wanted, content, part):
    for method in ("GET", "HEAD"):
        answer = client.request(method, "/file", headers={"range": wanted})
        assert answer.status_code == 206
        assert answer.content == (content if method == "GET" else b"")
        assert answer.headers["content-range"] == f"bytes {part}"
        assert answer.headers["content-length"] == str(len(content))
        assert answer.headers["content-type"] == "text/plain; charset=utf-8"


def test_several_ranges(client):
    answer = client.get("/file", headers={"range": "bytes=15-, 0-1,1-2"})
    assert answer.status_code == 206
    boundary = re.fullmatch(
        "multipart/byteranges; boundary=([0-9a-f]{26})", answer.headers["content-type"]
    )[1]
    kind = "Content-Type: text/plain; charset=utf-8\r\n"
    assert answer.text == (
        f"--{boundary}\r\n{kind}Content-Range: bytes 0-2/20\r\n\r\n012\r\n"
        f"--{boundary}\r\n{kind}Content-Range: bytes 15-19/20\r\n\r\nfghij\r\n"
        f"--{boundary}--"
    )
    assert "content-range" not in answer.headers
    head = client.head("/file", headers={"range": "bytes=15-, 0-1,1-2"})
    assert head.headers["content-length"] == answer.headers["content-length"]


@pytest.mark.parametrize(
    "wanted, status, text",
    [
        ("bytes=20-", 416, ""),
        ("bytes=0-1,30-40", 416, ""),
        ("bytes=-0", 416, ""),
        ("bytes", 400, "Malformed range header."),
        ("items=0-1", 400, "Only support bytes range"),
        ("bytes=a-b", 400, "Range header: range must be requested"),
        ("bytes=5-4", 400, "Range header: start must be less than end"),
    ],
)
def test_ranges_that_are_refused(client, wanted, status, text):
    answer = client.get("/file", headers={"range": wanted})
    assert (answer.status_code, answer.text) == (status, text)
    assert answer.headers.get("content-range") == ("bytes */20" if status == 416 else None)
    assert "etag" not in answer.headers


def test_ranges_of_which_none_is_meant(client):
    many = "bytes=" + ",".join(f"{i}-{i}" for i in range(0, 200, 2))
    assert client.get("/file", headers={"range": many + ",1-2"}).status_code == 200
    answer = client.get("/empty", headers={"range": "bytes=0-1"})
    assert answer.status_code == 416
    assert client.post("/posted", headers={"range": "bytes=0-1"}).content == TEXT
    assert client.get("/save", headers={"range": "bytes=0-1"}).status_code == 203


def test_those_who_have_it_are_told_so(client):
    answer = client.get("/file")
    etag, modified = answer.headers["etag"], answer.headers["last-modified"]
    later = email.utils.formatdate(4102444800, usegmt=True)
    long_ago = "Sun, 06 Nov 1994 08:49:37 GMT"
    for status, headers in (
        (304, {"if-none-match": etag}),
        (304, {"if-none-match": f'"x", W/{etag}'}),
        (304, {"if-none-match": "*"}),
        (200, {"if-none-match": '"x"'}),
        (304, {"if-modified-since": modified}),
        (304, {"if-modified-since": later}),
        (304, {"if-modified-since": "Friday, 01-Jan-60 00:00:00 GMT"}),
        (200, {"if-modified-since": "Sun Nov  6 08:49:37 1994"}),
        (200, {"if-modified-since": long_ago}),
        (200, {"if-modified-since": "tomorrow"}),
        (200, {"if-none-match": '"x"', "if-modified-since": later}),
        (200, {"if-match": etag}),
        (200, {"if-match": "*"}),
        (412, {"if-match": '"x"'}),
        (412, {"if-match": f"W/{etag}"}),
        (412, {"if-unmodified-since": long_ago}),
        (200, {"if-unmodified-since": modified}),
        (304, {"if-none-match": etag, "range": "bytes=0-1"}),
        (206, {"if-range": etag, "range": "bytes=0-1"}),
        (206, {"if-range": modified, "range": "bytes=0-1"}),
        (200, {"if-range": '"x"', "range": "bytes=0-1"}),
        (200, {"if-range": f"W/{etag}", "range": "bytes=0-1"}),
    ):
        answer = client.get("/file", headers=headers)
        assert answer.status_code == status, headers
        if status == 304:
            assert (answer.content, answer.headers["etag"]) == (b"", etag)
            assert "content-type" not in answer.headers
            assert "content-length" not in answer.headers
        if status == 412:
            assert answer.text == '{"detail":"Precondition Failed"}'


def open_files(server, name):
    count = 0
    for link in os.scandir(f"/proc/{server.pid}/fd"):
        try:
            count += os.readlink(link.path).endswith(name)
        except FileNotFoundError:
            pass
    return count


def test_a_slow_client_holds_neither_memory_nor_others_up(start):
    server, folder = start()
    with open(folder / "huge.bin", "wb") as file:
        file.truncate(1 << 30)
    os.replace(folder / "huge.bin", folder / "big.bin")
    before = server.memory_kib()
    with server.connect() as slow:
        slow.send("GET /big HTTP/1.1\r\nHost: a\r\n\r\n")
        eventually(lambda: open_files(server, "big.bin") == 1, "the file is being sent")
        for _ in range(50):
            assert server.get("/file").body == TEXT
        assert server.memory_kib() - before < 20000
    eventually(lambda: open_files(server, "big.bin") == 0, "the file is closed")


def test_a_file_that_shrinks_cuts_the_connection(start):
    server, folder = start()
    with open(folder / "big.bin", "wb") as file:
        file.truncate(64 << 20)
    with server.connect() as conn:
        conn.send("GET /big HTTP/1.1\r\nHost: a\r\n\r\n")
        conn.sock.recv(1, socket.MSG_PEEK)  # the length is promised
        os.truncate(folder / "big.bin", 1000)
        with pytest.raises((EOFError, ConnectionResetError, AssertionError)):
            conn.answer()
    server.wait_for_log("the file cannot be sent to its end")
    assert server.get("/file").body == TEXT


def test_a_stream_may_declare_its_length(files):
    with files.connect() as conn:
        answer = conn.get("/sized")
        assert (answer.body, answer.header("content-length")) == (b"abcde", "5")
        assert conn.get("/sized").body == b"abcde"
        conn.request("HEAD", "/sized")
        assert conn.answer("HEAD").header("content-length") == "5"
    for path, why in (("/short", "ended 2 bytes short"), ("/long", "more than the length")):
        with files.connect() as conn:
            conn.request("GET", path)
            with pytest.raises((EOFError, ConnectionResetError, AssertionError)):
                conn.answer()
        files.wait_for_log(why)
