"""The endpoints: how each is checked, put under load by wrk, and what that cost the server."""

import dataclasses
import http.client
import json
import os
import pathlib
import socket
import subprocess
import time

import process
import servers

SCRIPT = pathlib.Path(__file__).resolve().parent / "wrk.lua"
PIPELINE_DEPTH = 16
REFUSALS = (400, 422)  # of input that breaks its declaration; a 404 would not have looked at it

ITEM = {
    "name": "Foo",
    "price": 35.4,
    "tax": 3.2,
    "description": "A very nice Item",
    "tags": ["red", "green", "blue"],
}
READ = {"item_id": 42, "q": "hello", "limit": 5}


def _item(**changes):
    return json.dumps({**ITEM, **changes}, separators=(",", ":"))


@dataclasses.dataclass(frozen=True)
class Endpoint:
    title: str
    path: str
    answers: object  # the JSON that must come back; None: a refusal
    body: str = ""
    depth: int = 1
    refuses: tuple = ()  # (path, body) that must be refused, so that like is held against like

    @property
    def method(self):
        return "POST" if self.body else "GET"


_ROOT = {"message": "Hello World"}
_ITEM_PATH = "/items/42?q=hello&limit=5"
_BAD_PATHS = ("/items/0", "/items/x", "/items/42?limit=101", "/items/42?limit=x")
_BAD_ITEMS = (
    "{",
    "[]",
    _item(name=""),
    _item(name="x" * 51),
    _item(price=0),
    _item(price="much"),
    _item(tax=[]),
    _item(description={}),
    _item(tags=[{}]),
)

ENDPOINTS = {
    "root": Endpoint("GET /", "/", _ROOT),
    "pipelined": Endpoint(
        f"GET /, pipelined {PIPELINE_DEPTH} deep", "/", _ROOT, depth=PIPELINE_DEPTH
    ),
    "item": Endpoint(
        f"GET {_ITEM_PATH}", _ITEM_PATH, READ, refuses=tuple((path, "") for path in _BAD_PATHS)
    ),
    "post": Endpoint(
        "POST /items",
        "/items",
        ITEM,
        _item(),
        refuses=tuple(("/items", body) for body in _BAD_ITEMS),
    ),
    "item-invalid": Endpoint("GET /items/0?q=hello&limit=5", "/items/0?q=hello&limit=5", None),
    "post-invalid": Endpoint("POST /items, price 0", "/items", None, _item(price=0)),
}
DEFAULT_ENDPOINTS = ("root", "pipelined", "item", "post")


@dataclasses.dataclass(frozen=True)
class Sample:
    cpu_us: float  # server CPU time per request
    requests_per_s: float
    busy: float  # share of its core that the server used
    p50_ms: float  # without meaning where requests are pipelined: wrk times whole batches there
    p99_ms: float


class WrongAnswer(Exception):
    pass


def _ask(connection, path, body):
    headers = {"Content-Type": "application/json"} if body else {}
    connection.request("POST" if body else "GET", path, body or None, headers)
    response = connection.getresponse()
    return response.status, response.getheader("Content-Type", ""), response.read()


def verify(running, endpoint):
    """Raises WrongAnswer unless the server answers what all do, and refuses what all refuse."""
    connection = http.client.HTTPConnection("127.0.0.1", running.port, timeout=servers.PATIENCE_S)
    status, content_type, body = _ask(connection, endpoint.path, endpoint.body)
    what = f"{endpoint.method} {endpoint.path}: {status} {body[:200]!r}"
    if endpoint.answers is None:
        if status not in REFUSALS:
            raise WrongAnswer(f"{what}, expected a refusal")
    elif status != 200 or not content_type.startswith("application/json"):
        raise WrongAnswer(f"{what} as {content_type!r}")
    elif json.loads(body) != endpoint.answers:
        raise WrongAnswer(f"{what}, expected {json.dumps(endpoint.answers)}")
    if running.server.name != "bare":
        for path, bad_body in endpoint.refuses:
            status, _, _ = _ask(connection, path, bad_body)
            if status not in REFUSALS:
                raise WrongAnswer(f"{path} {bad_body}: {status}, expected a refusal")
    connection.close()


def ask_repeatedly(running, endpoint, times):
    """One connection, one turn after the other, so that the server's steps are the same each time.
    A pipelined endpoint sends as many requests, `depth` of them together."""
    lines = [f"{endpoint.method} {endpoint.path} HTTP/1.1", "Host: bench"]
    if endpoint.body:
        lines += ["Content-Type: application/json", f"Content-Length: {len(endpoint.body)}"]
    request = "\r\n".join([*lines, "", endpoint.body]).encode()
    with socket.create_connection(("127.0.0.1", running.port), servers.PATIENCE_S) as connection:
        for _ in range(times // endpoint.depth):
            connection.sendall(request * endpoint.depth)
            answers = b""
            while answers.count(b"HTTP/1.1 ") < endpoint.depth:
                got = connection.recv(65536)
                if not got:
                    raise WrongAnswer("closed instead of answered")
                answers += got


def run_wrk(port, endpoint, seconds, connections, cores):
    """Loads one endpoint from one thread of wrk; its own report, checked."""
    command = ["wrk", "--threads", "1", "--connections", connections, "--duration", f"{seconds}s"]
    command += ["--timeout", "10s", "--script", SCRIPT, f"http://127.0.0.1:{port}{endpoint.path}"]
    env = os.environ | {
        "BENCH_METHOD": endpoint.method,
        "BENCH_BODY": endpoint.body,
        "BENCH_DEPTH": str(endpoint.depth),
    }
    with servers.pinned(cores):
        wrk = subprocess.run(
            [str(word) for word in command], env=env, capture_output=True, text=True, check=False
        )
    reports = [line for line in wrk.stdout.splitlines() if line.startswith("BENCH ")]
    if wrk.returncode != 0 or not reports:
        raise RuntimeError(f"wrk failed: {wrk.stdout} {wrk.stderr}")
    report = json.loads(reports[0].removeprefix("BENCH "))
    wrong = (
        report["requests"] - report["refused"] if endpoint.answers is None else report["refused"]
    )
    if report["requests"] == 0 or report["broken"] or wrong:
        raise WrongAnswer(f"under load: {report}")
    return report


def measure(running, endpoint, seconds, connections, cores):
    started, before = time.perf_counter(), process.cpu_seconds(running.pid)
    report = run_wrk(running.port, endpoint, seconds, connections, cores)
    elapsed = time.perf_counter() - started
    cpu = process.cpu_seconds(running.pid) - before
    return Sample(
        cpu_us=cpu * 1e6 / report["requests"],
        requests_per_s=report["requests"] * 1e6 / report["duration_us"],
        busy=cpu / elapsed,
        p50_ms=report["p50_us"] / 1000,
        p99_ms=report["p99_us"] / 1000,
    )
