"""What a server weighs: time to the first answer, resident memory, idle connections, file size."""

import dataclasses
import http.client
import json
import pathlib
import resource
import shutil
import socket
import statistics
import subprocess
import tempfile
import time

import process
import servers

REQUEST = b"GET / HTTP/1.1\r\nHost: bench\r\n\r\n"
PER_SOURCE = 5000  # connections from one loopback address: its ports last for more


@dataclasses.dataclass(frozen=True)
class Footprint:
    first_answer_ms: float  # median, from exec
    resident_bytes: int  # median, after the first answer
    idle_bytes: float | None  # per idle keep-alive connection
    idle_note: str
    binary_bytes: int | None  # stripped; None for a script


def stripped_size(binary):
    with tempfile.TemporaryDirectory() as directory:
        copy = pathlib.Path(shutil.copy(binary, directory))
        strip = subprocess.run(["strip", "--strip-all", copy], check=False, capture_output=True)
        return copy.stat().st_size if strip.returncode == 0 else None


def _answered(connection):
    connection.sendall(REQUEST)
    data = b""
    while b"Hello World" not in data:
        got = connection.recv(4096)
        if not got:
            raise ConnectionError("closed instead of answered")
        data += got


def _open_connection(number, port):
    connection = socket.socket()
    connection.settimeout(servers.PATIENCE_S)
    connection.setsockopt(socket.IPPROTO_IP, 24, 1)  # IP_BIND_ADDRESS_NO_PORT: decided by connect
    connection.bind((f"127.0.0.{2 + number // PER_SOURCE}", 0))
    connection.connect(("127.0.0.1", port))
    _answered(connection)
    return connection


def idle_bytes(running, wanted):
    """Memory of each of many connections that were answered once and stay open; with a remark."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    count = min(wanted, hard - 200)
    with socket.create_connection(("127.0.0.1", running.port)) as warm:
        for _ in range(1000):
            _answered(warm)
    before, sockets_before = process.resident_bytes(running.pid), process.open_sockets(running.pid)
    connections = []
    try:
        for number in range(count):
            connections.append(_open_connection(number, running.port))
        time.sleep(0.2)
        after = process.resident_bytes(running.pid)
        held = process.open_sockets(running.pid) - sockets_before
    except OSError as error:
        return None, f"{len(connections)} of {count} connections, then: {error}"
    finally:
        for connection in connections:
            connection.close()
    if held < count - 1:  # the warm one may have been counted before
        return None, f"the server held {held} of {count} connections"
    return (after - before) / count, "" if count == wanted else f"{count} connections"


def measure(server, cores, starts, connections):
    first_answers, resident = [], []
    for _ in range(starts):
        with servers.Running(server, cores) as running:
            first_answers.append(running.first_answer_ms)
            resident.append(process.resident_bytes(running.pid))
    with servers.Running(server, cores) as running:
        per_connection, note = idle_bytes(running, connections)
    return Footprint(
        statistics.median(first_answers),
        statistics.median(resident),
        per_connection,
        note,
        stripped_size(server.binary),
    )


@dataclasses.dataclass(frozen=True)
class Loading:
    """Medians over fresh starts of apps/large, in milliseconds."""

    app_ms: float  # what its first answer takes longer than that of apps/hello
    document_ms: float  # the first GET /openapi.json


def measure_loading(binary, cores, starts):
    """What 500 operations cost at load, and their OpenAPI document when it is first asked for."""
    small, large, documents = [], [], []
    for _ in range(starts):
        with servers.Running(servers.perigee("small", binary, "hello"), cores) as running:
            small.append(running.first_answer_ms)
        with servers.Running(servers.perigee("large", binary, "large"), cores) as running:
            large.append(running.first_answer_ms)
            documents.append(_document_ms(running))
    return Loading(
        statistics.median(large) - statistics.median(small), statistics.median(documents)
    )


def _document_ms(running):
    connection = http.client.HTTPConnection("127.0.0.1", running.port, servers.PATIENCE_S)
    started = time.perf_counter()
    connection.request("GET", "/openapi.json")
    response = connection.getresponse()
    body = response.read()
    elapsed = time.perf_counter() - started
    connection.close()
    if response.status != 200:
        raise servers.Missing(f"GET /openapi.json is answered with {response.status}")
    operations = sum(len(methods) for methods in json.loads(body)["paths"].values())
    if operations != 500:
        raise servers.Missing(f"the document lists {operations} operations instead of 500")
    return elapsed * 1000


def raise_descriptor_limit():
    """For this process and the servers it starts."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
