"""Threaded functions: what a hop to a worker costs, what two cores do for two that compute, and what
those who do not compute notice of it.

A round trip is the CPU time of a request to a threaded handler that does nothing, less that of the
same handler on the loop. Two that compute are timed from the client, alone and together. Latency is
wrk's, of GET / at 32 connections, while 4 connections keep asking for 20 ms of work; and, to hold
against, beside one process of the kernel's idle class that computes, without threaded work."""

import contextlib
import dataclasses
import http.client
import os
import statistics
import subprocess
import sys
import threading
import time

import load
import servers

HAMMERS = 4
LATENCY_CONNECTIONS = 32

_ROOT = load.ENDPOINTS["root"]
_THREADED = dataclasses.replace(_ROOT, path="/threaded")
_CALL = dataclasses.replace(_ROOT, path="/call")


@dataclasses.dataclass(frozen=True)
class Threads:
    plain_us: float  # CPU of a request
    threaded_us: float  # ... whose handler is threaded
    call_us: float  # ... whose handler calls a threaded function
    one_ms: float  # of a request that computes
    two_ms: float  # until both of two are answered
    quiet: tuple  # p50 and p99 of GET /, in ms
    beside_idle: tuple  # the same beside a process of the idle class that computes
    hammered: tuple  # the same while others compute

    @property
    def hammered_ratio(self):
        """The p99 beside threaded work, as a multiple of what the scheduler does by itself."""
        return self.hammered[1] / self.beside_idle[1]


def _ask(port, path):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=servers.PATIENCE_S)
    connection.request("GET", path)
    connection.getresponse().read()
    connection.close()


def _together_ms(port, path, count):
    askers = [threading.Thread(target=_ask, args=(port, path)) for _ in range(count)]
    began = time.perf_counter()
    for asker in askers:
        asker.start()
    for asker in askers:
        asker.join()
    return (time.perf_counter() - began) * 1000


def _hammer(port, path, over):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=servers.PATIENCE_S)
    while not over.is_set():
        connection.request("GET", path)
        connection.getresponse().read()
    connection.close()


def _latency(port, seconds, cores):
    report = load.run_wrk(port, _ROOT, seconds, LATENCY_CONNECTIONS, cores)
    return report["p50_us"] / 1000, report["p99_us"] / 1000


def _be_idle(cores):
    os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    os.sched_setaffinity(0, cores)


@contextlib.contextmanager
def _idle_process(cores):
    """A process that computes, and gets what nobody else wants of these cores."""
    program = "print(flush=True)\nwhile True: pass"
    process = subprocess.Popen(
        [sys.executable, "-c", program],
        stdout=subprocess.PIPE,
        preexec_fn=lambda: _be_idle(cores),
    )
    try:
        process.stdout.readline()
        yield
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def _latency_beside_idle(port, seconds, cores, server_cores):
    with _idle_process(server_cores):
        return _latency(port, seconds, cores)


def _latency_while_hammered(port, seconds, cores):
    over = threading.Event()
    hammers = [threading.Thread(target=_hammer, args=(port, "/work", over)) for _ in range(HAMMERS)]
    for hammer in hammers:
        hammer.start()
    try:
        return _latency(port, seconds, cores)
    finally:
        over.set()
        for hammer in hammers:
            hammer.join()


def _cpu_us(running, endpoint, options, cores):
    load.verify(running, endpoint)
    wrk = (endpoint, options.seconds, options.connections, cores)
    return load.measure(running, *wrk).cpu_us


def measure(binary, cores, options):
    server = servers.perigee("perigee-threads", binary, app="threads")
    server_cores = set(cores[:2])
    client_cores = {cores[-1]} if len(cores) > 2 else server_cores
    rounds = {field.name: [] for field in dataclasses.fields(Threads)}
    for _ in range(options.rounds):
        with servers.Running(server, server_cores) as running:
            port, seconds = running.port, options.seconds
            rounds["plain_us"].append(_cpu_us(running, _ROOT, options, client_cores))
            rounds["threaded_us"].append(_cpu_us(running, _THREADED, options, client_cores))
            rounds["call_us"].append(_cpu_us(running, _CALL, options, client_cores))
            rounds["one_ms"].append(_together_ms(port, "/work-10", 1))
            rounds["two_ms"].append(_together_ms(port, "/work-10", 2))
            rounds["quiet"].append(_latency(port, seconds, client_cores))
            beside = (port, seconds, client_cores, server_cores)
            rounds["beside_idle"].append(_latency_beside_idle(*beside))
            rounds["hammered"].append(_latency_while_hammered(port, seconds, client_cores))
    middle = {
        name: tuple(statistics.median(column) for column in zip(*taken))
        if isinstance(taken[0], tuple)
        else statistics.median(taken)
        for name, taken in rounds.items()
    }
    return Threads(**middle)
