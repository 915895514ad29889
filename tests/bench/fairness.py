"""What `GET /` notices of handlers that compute on the same loop: 32 connections alone, then beside
4 connections that ask for 20 ms of computing again and again, then beside one handler that never
ends. The server is on one core and its clients on another, as everywhere."""

import contextlib
import dataclasses
import http.client
import statistics
import threading
import time

import load
import servers

CONNECTIONS = 32
COMPUTE_MS = 20
HAMMERERS = 4
TRIAL = 1_000_000  # steps of a computation whose time is taken


@dataclasses.dataclass(frozen=True)
class Fairness:
    rows: list  # (what disturbs, requests/s, p50 ms, p99 ms), medians of the rounds


def _get(connection, path):
    connection.request("GET", path)
    response = connection.getresponse()
    body = response.read()
    if response.status != 200:
        raise load.WrongAnswer(f"{path}: {response.status} {body[:200]!r}")


def _steps(port):
    """How many steps take COMPUTE_MS when nobody disturbs."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=servers.PATIENCE_S)
    seconds = []
    for _ in range(5):
        started = time.perf_counter()
        _get(connection, f"/compute/{TRIAL}")
        seconds.append(time.perf_counter() - started)
    connection.close()
    return int(TRIAL * COMPUTE_MS / 1000 / min(seconds))


@contextlib.contextmanager
def _asking(port, path, count):
    """`count` clients ask for `path`, one time after the other, until the end of the block."""
    over = threading.Event()

    def ask():
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=servers.PATIENCE_S)
        with contextlib.suppress(OSError, http.client.HTTPException):
            while not over.is_set():
                try:
                    _get(connection, path)
                except load.WrongAnswer:
                    if not over.is_set():  # else the server ends, and says so
                        raise
        connection.close()

    threads = [threading.Thread(target=ask, daemon=True) for _ in range(count)]
    for thread in threads:
        thread.start()
    time.sleep(0.3)  # they are at it
    try:
        yield
    finally:
        over.set()


def _sample(server, path, count, server_cores, client_cores, options):
    with servers.Running(server, server_cores) as running:
        if "{n}" in path:
            path = path.format(n=_steps(running.port))
        with _asking(running.port, path, count):
            root = load.ENDPOINTS["root"]
            report = load.run_wrk(running.port, root, options.seconds, CONNECTIONS, client_cores)
    rate = report["requests"] * 1e6 / report["duration_us"]
    return rate, report["p50_us"] / 1000, report["p99_us"] / 1000


def measure(binary, server_cores, client_cores, options):
    server = servers.perigee("perigee-fairness", binary, app="fairness")
    kinds = {
        "nothing": ("", 0),
        f"{HAMMERERS} x {COMPUTE_MS} ms": ("/compute/{n}", HAMMERERS),
        "one without end": ("/spin", 1),
    }
    taken = {name: [] for name in kinds}
    for _ in range(options.rounds):
        for name, (path, count) in kinds.items():
            taken[name].append(_sample(server, path, count, server_cores, client_cores, options))
    return Fairness(
        [
            (name, *(statistics.median(column) for column in zip(*samples)))
            for name, samples in taken.items()
        ]
    )
