"""One line a request, in the asked format, that nobody outside can forge or hold up."""

import json
import os
import pty
import re
import subprocess

import pytest

from server import APPS, BINARY, START_LINE, environment
from wire import PATIENCE, Conn

CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f\x80-\x9f]")


def finish(server):
    """Ends the server, so that everything it logs has been collected."""
    server.stop()
    return server.log


def test_text_has_a_line_for_every_request(serve):
    server = serve("probe", "--log", "text")
    server.get("/query?q=1")
    server.get("/nowhere")
    with server.connect() as conn:
        conn.request("POST", "/body", body=b"hello")
        conn.answer()
    log = finish(server)
    for request in ('"GET /query?q=1" 200', '"GET /nowhere" 404', '"POST /body" 200 5'):
        assert len([line for line in log if request in line]) == 1


def test_json_lines_have_status_bytes_and_milliseconds(serve):
    server = serve("probe", "--log", "json")
    server.get("/hits")
    server.get("/nowhere")
    log = [json.loads(line) for line in finish(server) if line.startswith("{")]
    requests = [line for line in log if "status" in line]
    assert [line["status"] for line in requests] == [200, 404]
    assert requests[0]["method"] == "GET"
    assert requests[0]["bytes"] == 1
    assert requests[0]["ms"] >= 0
    assert any(value == "/hits" for value in requests[0].values())


def test_off_logs_no_requests_but_still_logs_errors(serve):
    server = serve("answers", "--log", "off")
    server.get("/text")
    server.get("/error")
    log = finish(server)
    assert not [line for line in log if "/text" in line]
    assert [line for line in log if "the secret reason" in line]


def test_refused_requests_are_logged_too(serve):
    server = serve("probe", "--log", "json")
    with server.connect() as conn:
        conn.send("GET / HTTP/1.1\r\n\r\n")
        conn.rest()
    log = [json.loads(line) for line in finish(server) if line.startswith("{")]
    assert [line["status"] for line in log if "status" in line] == [400]


HOSTILE = [
    "/%0aGET%20/forged%20200",
    "/%0d%0a%7b%22status%22:299%7d",
    "/%1b[2J",
    "/\x1b[2J",
    "/\u00e4\u00ff",
    '/"},{"status":299',
    "/%00",
    "/%e2%80%a8",
    "/a\x85b",
]


@pytest.mark.parametrize("target", HOSTILE, ids=repr)
@pytest.mark.parametrize("form", ["text", "json"])
def test_no_target_can_forge_a_line_or_speak_to_the_terminal(serve, target, form):
    server = serve("probe", "--log", form)
    before = len(server.log)
    with server.connect() as conn:
        conn.request("GET", target)
        assert conn.answer().status in (400, 404)
    lines = finish(server)[before:]
    about = [line for line in lines if re.search(r"\b40[04]\b", line)]
    assert len(about) == 1
    for line in lines:
        assert not CONTROL.search(line), repr(line)
        assert not line.startswith("GET /forged")
        if form == "json" and line.startswith("{"):
            assert json.loads(line).get("status") != 299


@pytest.mark.parametrize("form", ["text", "json"])
def test_a_log_nobody_reads_holds_up_nobody(form):
    """The pipe of the log is full after 64 KiB; a thousand lines are more than that."""
    process = subprocess.Popen(
        [BINARY, "run", APPS / "probe", "--port", "0", "--loops", "1", "--log", form],
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    try:
        output = b""
        while not (start := START_LINE.search(output.decode())):
            data = os.read(process.stdout.fileno(), 65536)
            assert data, output
            output += data
        with Conn(int(start[1])) as conn:
            for _ in range(1500):
                assert conn.get("/query?q=" + 100 * "a").status == 200
        process.terminate()
        process.communicate(timeout=PATIENCE)
        assert process.returncode == 0
    finally:
        process.kill()
        process.wait()


def test_a_closed_log_is_no_reason_to_end():
    process = subprocess.Popen(
        [BINARY, "run", APPS / "probe", "--port", "0", "--loops", "1", "--log", "text"],
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    try:
        output = b""
        while not (start := START_LINE.search(output.decode())):
            data = os.read(process.stdout.fileno(), 65536)
            assert data, output
            output += data
        process.stdout.close()
        with Conn(int(start[1])) as conn:
            for _ in range(100):
                assert conn.get("/").status == 200
        process.terminate()
        assert process.wait(PATIENCE) == 0
    finally:
        process.kill()
        process.wait()


def test_a_terminal_gets_text_without_being_asked():
    leader, follower = pty.openpty()
    process = subprocess.Popen(
        [BINARY, "run", APPS / "probe", "--port", "0", "--loops", "1"],
        env=environment(),
        stdin=follower,
        stdout=follower,
        stderr=follower,
    )
    os.close(follower)
    try:
        output = b""

        def read_until(pattern):
            nonlocal output
            while not (found := re.search(pattern, output.decode("utf-8", "replace"))):
                output += os.read(leader, 65536)
            return found

        with Conn(int(read_until(START_LINE)[1])) as conn:
            assert conn.get("/").status == 200
        read_until(r"GET\S* .*/.*200")
        process.terminate()
        assert process.wait(PATIENCE) == 0
    finally:
        process.kill()
        process.wait()
        os.close(leader)
