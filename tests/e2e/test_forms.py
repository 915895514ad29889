"""Forms and uploaded files: in memory and in the spool, through Lua, and what is refused."""

import gzip
import json
import os
import zlib

import pytest

from wire import eventually

MIB = 1024 * 1024
SMALL = b"line\r\n--b\r\n\0\xff"
BIG = bytes(range(256)) * 20000  # beyond what stays in memory
FILES = pytest.mark.parametrize("content", [b"", SMALL, BIG], ids=["empty", "small", "big"])


@pytest.fixture
def forms(serve, tmp_path):
    """The server, whose temporary files are in tmp_path/spool."""
    spool = tmp_path / "spool"
    spool.mkdir()
    return serve("forms", env={"TMPDIR": str(spool)})


@pytest.fixture
def client(forms):
    with forms.client() as client:
        yield client


def upload(client, target, content, name="a b.bin", kind="text/x"):
    return client.post(target, files={"file": (name, content, kind)})


def part(head, data=b""):
    return b"--b\r\nContent-Disposition: form-data; " + head + b"\r\n\r\n" + data + b"\r\n"


def post_parts(client, target, *parts, kind="multipart/form-data; boundary=b"):
    body = b"".join(parts) + b"--b--\r\n"
    return client.post(target, content=body, headers={"content-type": kind})


# Fields


def test_a_urlencoded_form_is_read(client):
    answer = client.post("/form", data={"name": "Zoë & Co", "tags": ["a+b", "", "é"]})
    assert answer.json() == {"name": "Zoë & Co", "tags": ["a+b", "", "é"]}


def test_a_multipart_form_is_read(client):
    answer = post_parts(
        client,
        "/form",
        part(b'name="tags"', b"1"),
        part(b'name="name"', "Zoë\r\n".encode()),
        part(b'name="tags"', b"2"),
    )
    assert answer.json() == {"name": "Zoë\r\n", "tags": ["1", "2"]}


def test_fields_and_files_come_together(client):
    answer = client.post("/both", data={"token": "t"}, files={"file": ("x.txt", b"12345")})
    assert answer.json()["token"] == "t"
    assert answer.json()["file"]["size"] == 5


def test_a_form_may_arrive_byte_by_byte(forms):
    body = part(b'name="name"', b"x") + part(b'name="tags"', b"y") + b"--b--"
    with forms.connect() as conn:
        conn.send(
            "POST /form HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n"
            "Content-Type: multipart/form-data; boundary=b\r\n\r\n"
        )
        for byte in body:
            conn.send(b"1\r\n%c\r\n" % byte)
        conn.send("0\r\n\r\n")
        assert json.loads(conn.answer().body) == {"name": "x", "tags": ["y"]}


@pytest.mark.parametrize("kind", ["application/json", "text/plain", None])
def test_a_body_that_is_no_form_is_an_empty_form(client, kind):
    headers = {"content-type": kind} if kind else {}
    answer = client.post("/form", content=b"name=x", headers=headers)
    assert answer.status_code == 422
    assert answer.json()["detail"][0]["type"] == "missing"


# Files


@FILES
def test_a_file_says_what_it_is(client, content):
    about = upload(client, "/file", content).json()
    assert about == {
        "name": "a b.bin",
        "type": "text/x",
        "size": len(content),
        "headers": {
            "content-disposition": 'form-data; name="file"; filename="a b.bin"',
            "content-type": "text/x",
        },
    }


@FILES
@pytest.mark.parametrize("target", ["/read", "/bytes", "/streamed"])
def test_the_bytes_of_a_file_are_those_sent(client, target, content):
    answer = upload(client, target, content)
    assert answer.status_code == 200
    assert answer.content == content


@pytest.mark.parametrize("size", [1000, 3 * MIB])
def test_a_file_is_read_in_pieces(client, size):
    content = b"12345" + bytes(size - 8) + b"\0\0\0"
    middle = size // 2
    content = content[:middle] + b"abc" + content[middle + 3 :]
    answer = upload(client, "/pieces", content).json()
    rest = size - 5
    sizes = [1000000] * (rest // 1000000) + [rest % 1000000]
    assert answer == {
        "first": "12345",
        "sizes": sizes,
        "total": rest,
        "ends": [True, True, True],
        "at": middle,
        "middle": "abc",
        "behind": size,
    }


@FILES
def test_a_file_is_saved(client, tmp_path, content):
    path = tmp_path / "saved"
    path.write_bytes(b"what was there before")
    answer = client.post(f"/save?path={path}", files={"file": ("x", content)})
    assert answer.json() == {"ok": True}
    assert path.read_bytes() == content
    assert sorted(os.listdir(tmp_path)) == ["saved", "spool"]


def test_a_save_that_fails_says_why(client, tmp_path):
    answer = client.post(f"/save?path={tmp_path}/no/such", files={"file": ("x", b"1")})
    assert answer.json() == {"code": "ENOENT"}
    answer = client.post("/save?path=a%00b", files={"file": ("x", b"1")})
    assert answer.status_code == 500


@FILES
def test_a_closed_file_is_closed(client, content):
    answer = upload(client, "/closed", content).json()
    assert answer["ok"] is False
    assert "the file is closed" in answer["message"]
    assert (answer["name"], answer["size"]) == ("a b.bin", len(content))


@FILES
def test_a_file_ends_with_its_request(client, content):
    assert upload(client, "/keep", content).json() is True
    kept = client.get("/kept").json()
    assert kept["ok"] is False
    assert "the file is closed" in kept["message"]
    assert kept["name"] == "a b.bin"


@FILES
def test_a_file_is_there_behind_the_answer(client, content):
    assert upload(client, "/behind", content).json() is True
    eventually(
        lambda: client.get("/read-behind").json() == {"size": len(content)},
        "the function behind the answer has not read the file",
    )


def test_a_spooled_file_has_no_name_and_goes_with_its_request(forms, client, tmp_path):
    def spools():
        fds = f"/proc/{forms.pid}/fd"
        targets = [os.readlink(f"{fds}/{fd}") for fd in os.listdir(fds)]
        return [target for target in targets if target.startswith(str(tmp_path))]

    with forms.connect() as conn:
        conn.send(
            "POST /file HTTP/1.1\r\nHost: a\r\nContent-Length: 9000000\r\n"
            "Content-Type: multipart/form-data; boundary=b\r\n\r\n"
        )
        for _ in range(4):  # four big files, one descriptor
            conn.send(part(b'name="file"; filename="x"', bytes(2 * MIB)))
        eventually(lambda: len(spools()) == 1, "the form is not in a spool")
        assert os.listdir(tmp_path / "spool") == []
    eventually(lambda: spools() == [], "the spool of a client that went is still open")
    assert client.get("/kept").status_code == 500  # and the server goes on


def test_an_empty_file_name_is_a_file(client):
    head = b'name="file"; filename=""'
    assert post_parts(client, "/optional", part(head)).json() == {"sent": True}
    assert post_parts(client, "/optional").json() == {"sent": False}
    answer = post_parts(client, "/file", part(head))
    assert answer.json()["name"] == ""
    assert "type" not in answer.json()


def test_a_field_is_no_file(client):
    answer = post_parts(client, "/file", part(b'name="file"', b"x"))
    assert answer.status_code == 422
    error = answer.json()["detail"][0]
    assert error["msg"] == "Value error, Expected UploadFile, received: <class 'str'>"


# Refusals


@pytest.mark.parametrize(
    "kind, body, detail",
    [
        ("multipart/form-data", b"", "Missing boundary in multipart."),
        ("multipart/form-data; boundary=b", b"garbage", "Invalid multipart data."),
        (
            "multipart/form-data; boundary=b",
            b"--b\r\n\r\nx\r\n--b--",
            'The Content-Disposition header field "name" must be provided.',
        ),
        (
            "multipart/form-data; boundary=b",
            part(b"name=a") * 1001,
            "Too many fields. Maximum number of fields is 1000.",
        ),
        (
            "multipart/form-data; boundary=b",
            part(b"name=a; filename=b") * 1001,
            "Too many files. Maximum number of files is 1000.",
        ),
        (
            "multipart/form-data; boundary=b",
            part(b"name=a", bytes(MIB + 1)),
            "Part exceeded maximum size of 1024KB.",
        ),
        (
            "application/x-www-form-urlencoded",
            b"a=" + bytes(MIB),
            "Field exceeded maximum size of 1024KB.",
        ),
    ],
    ids=["no boundary", "garbage", "no name", "fields", "files", "part", "field"],
)
def test_a_form_is_refused_in_starlettes_words(client, kind, body, detail):
    answer = client.post("/form", content=body, headers={"content-type": kind})
    assert (answer.status_code, answer.json()) == (400, {"detail": detail})


def test_a_form_beyond_the_limit_of_bodies_is_a_413(client):
    answer = upload(client, "/file", bytes(64 * MIB + 1))
    assert answer.status_code == 413


def test_a_full_disk_is_a_507(serve):
    server = serve("forms", env={"TMPDIR": "/dev/null/no/folder"})
    with server.client() as client:
        assert upload(client, "/file", BIG).status_code == 507
        assert upload(client, "/file", SMALL).status_code == 200


# Compressed bodies


@pytest.mark.parametrize(
    "coding, compress",
    [
        ("gzip", gzip.compress),
        ("x-gzip", gzip.compress),
        ("deflate", zlib.compress),
        ("deflate", lambda data: zlib.compress(data)[2:-4]),
        ("identity", lambda data: data),
    ],
    ids=["gzip", "x-gzip", "zlib", "bare deflate", "identity"],
)
def test_a_compressed_body_is_read(client, coding, compress):
    for kind, target, body, expected in [
        ("application/json", "/json", b'{"a":[1,2,3]}', {"a": [1, 2, 3]}),
        ("application/x-www-form-urlencoded", "/form", b"name=x", {"name": "x", "tags": []}),
    ]:
        headers = {"content-type": kind, "content-encoding": coding}
        answer = client.post(target, content=compress(body), headers=headers)
        assert answer.json() == expected


def post_compressed(client, content):
    body = part(b'name="file"; filename="x"', content) + b"--b--"
    headers = {"content-type": "multipart/form-data; boundary=b", "content-encoding": "gzip"}
    return client.post("/read", content=gzip.compress(body, 1), headers=headers)


def test_a_compressed_upload_is_read(client):
    noise = os.urandom(3 * MIB)
    assert post_compressed(client, noise).content == noise


def test_a_compressed_upload_of_nothing_but_zeros_is_a_bomb(client):
    assert post_compressed(client, bytes(3 * MIB)).status_code == 413


@pytest.mark.parametrize(
    "coding, body, status",
    [
        ("br", b"{}", 415),
        ("gzip, gzip", b"{}", 415),
        ("gzip", b"{}", 400),
        ("gzip", gzip.compress(b"{}")[:-1], 400),
        ("gzip", gzip.compress(b"{}") + b"x", 400),
        ("gzip", gzip.compress(bytes(32 * MIB)), 413),
    ],
    ids=["unknown", "twice", "plain", "cut", "more", "bomb"],
)
def test_a_compressed_body_is_refused(client, coding, body, status):
    headers = {"content-type": "application/json", "content-encoding": coding}
    assert client.post("/json", content=body, headers=headers).status_code == status


@pytest.mark.memory
def test_memory_stays_bounded_whatever_is_uploaded(forms, client):
    before = forms.memory_kib("VmHWM")
    for _ in range(3):
        answer = client.post("/file", files={"file": ("x", bytes(60 * MIB))})
        assert answer.status_code == 200
    assert forms.memory_kib("VmHWM") - before < 16 * 1024
