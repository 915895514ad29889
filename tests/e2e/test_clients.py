"""Real clients agree with each other, on one loop and on two, and the apps of the project work."""

import concurrent.futures
import json
import re
import shutil
import subprocess

import httpx
import pytest

from server import PROJECT, environment
from wire import PATIENCE


def curl(*args):
    command = ["curl", "-sS", "--max-time", str(int(PATIENCE)), *map(str, args)]
    return subprocess.run(command, env=environment(), capture_output=True, check=True).stdout


def test_httpx_and_curl_get_the_same(probe):
    with probe.client() as client:
        answer = client.get("/")
        assert answer.json() == {"message": "Hello World"}
        assert curl(f"{probe.url}/") == answer.content


def test_httpx_keeps_its_connection(probe):
    with probe.client() as client:
        ports = {client.get("/request").json()["client"]["port"] for _ in range(10)}
        assert len(ports) == 1


def test_curl_reuses_its_connection(probe):
    url = f"{probe.url}/request"
    answers = re.findall(rb'"port":(\d+)', curl(url, url, url))
    assert len(answers) == 3 and len(set(answers)) == 1


def test_httpx_uploads_a_body_of_unknown_length(probe):
    with probe.client() as client:
        answer = client.post("/body", content=(bytes([65 + i]) * 1000 for i in range(20)))
        assert answer.content == b"".join(bytes([65 + i]) * 1000 for i in range(20))


def test_curl_uploads_with_and_without_continue(probe, tmp_path):
    upload = tmp_path / "upload"
    upload.write_bytes(900_000 * b"x")
    for fields in (
        ["-H", "Expect:"],
        ["-H", "Expect: 100-continue"],
        ["-H", "Transfer-Encoding: chunked"],
    ):
        assert curl(*fields, "--data-binary", f"@{upload}", f"{probe.url}/body/size") == b"900000"


def test_curl_sees_the_refusal_of_a_body_that_is_too_large(probe, tmp_path):
    upload = tmp_path / "upload"
    upload.write_bytes(30_000_000 * b"x")
    for expect in ("Expect:", "Expect: 100-continue"):
        out = curl(
            "-H",
            expect,
            "-w",
            "%{http_code}",
            "-o",
            tmp_path / "out",
            "-T",
            upload,
            "-X",
            "POST",
            f"{probe.url}/body",
        )
        assert out == b"413"


def test_curl_follows_a_slash_redirect_with_its_method(serve):
    server = serve("routes")
    assert json.loads(curl("-L", "-d", "x=1", f"{server.url}/posts"))["route"] == "posts"


def test_curl_speaks_http_1_0(probe):
    assert json.loads(curl("--http1.0", f"{probe.url}/")) == {"message": "Hello World"}


def test_httpx_reads_a_stream_as_it_comes(serve):
    server = serve("streams")
    with server.client() as client, client.stream("GET", "/gated") as answer:
        pieces = answer.iter_raw()
        assert next(pieces) == b"before"
        server.get("/open")
        assert b"".join(pieces) == b"after"


@pytest.mark.skipif(not shutil.which("wrk"), reason="wrk is not installed")
@pytest.mark.parametrize("loops", [1, 2])
def test_wrk_sees_neither_errors_nor_refusals(serve, loops):
    server = serve("probe", "--log", "off", "--loops", loops)
    command = ["wrk", "-t1", "-c32", "-d1s", f"{server.url}/"]
    out = subprocess.run(
        command, capture_output=True, text=True, check=True, timeout=PATIENCE
    ).stdout
    assert int(re.search(r"(\d+) requests in", out)[1]) > 0
    assert "Non-2xx" not in out and "Socket errors" not in out, out


# Loops


def test_two_loops_both_serve(serve):
    server = serve("probe", "--loops", 2)
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        machines = list(pool.map(lambda _: server.json("/vm"), range(64)))
    counts = [machines.count(machine) for machine in set(machines)]
    assert len(counts) == 2
    assert min(counts) >= 8, "connections are balanced"


def test_a_connection_stays_on_its_loop(serve):
    server = serve("probe", "--loops", 2)
    with server.connect() as conn:
        assert len({conn.get("/vm").body for _ in range(20)}) == 1


def test_every_core_has_a_loop_unless_told_otherwise(write_app):
    """`run` without --loops serves; how many loops it has is said where it starts."""
    from server import APPS, Server

    server = Server(APPS / "probe", "--port", 0)
    try:
        assert server.get("/").status == 200
    finally:
        server.stop()


# The apps of the project


def test_hello_is_the_first_example_of_the_readme(serve):
    server = serve(PROJECT / "apps" / "hello")
    assert server.json("/") == {"message": "Hello World"}
    assert server.json("/hello/Ada") == {"message": "Hello Ada"}
    assert server.json("/hello/A%20B?greeting=Good+day") == {"message": "Good day A B"}


def test_a_hundred_burgers_are_ordered_at_once(serve):
    server = serve(PROJECT / "apps" / "burgers")
    limits = httpx.Limits(max_connections=100)
    with server.client(limits=limits) as client:
        with concurrent.futures.ThreadPoolExecutor(100) as pool:
            orders = list(pool.map(lambda _: client.post("/orders"), range(100)))
    assert {order.status_code for order in orders} == {201}
