"""What a second loop thread adds, in CPU time, so that wrk may share the cores.

One loop can serve 1 / c requests a second where a request costs it c seconds of CPU. Two loops end
when the busier one is full, so they can serve 1 / b where b is the CPU time of the busier thread
divided by all requests. Uneven accepting and lost cycles both show in b; contention for cores by
wrk does not, because a thread that waits for its core uses no CPU time."""

import dataclasses
import statistics

import load
import process
import servers


@dataclasses.dataclass(frozen=True)
class Scaling:
    rows: list  # (loops, CPU us per request, CPU us of the busiest loop per request, requests/s)
    times: float
    how: str


def _sample(server, count, server_cores, client_cores, options):
    endpoint = load.ENDPOINTS["root"]
    wrk = (options.seconds, options.connections, client_cores)
    with servers.Running(server, server_cores, loops=count) as running:
        load.verify(running, endpoint)
        before = process.thread_cpu_seconds(running.pid)
        report = load.run_wrk(running.port, endpoint, *wrk)
        after = process.thread_cpu_seconds(running.pid)
    used = [seconds - before.get(thread, 0) for thread, seconds in after.items()]
    per_request = 1e6 / report["requests"]
    rate = report["requests"] * 1e6 / report["duration_us"]
    return sum(used) * per_request, max(used) * per_request, rate


def measure(server, cores, options):
    server_cores = set(cores[:2])
    client_cores = {cores[-1]} if len(cores) > 2 else server_cores
    taken = {1: [], 2: []}
    for _ in range(options.rounds):
        for count, samples in taken.items():
            samples.append(_sample(server, count, server_cores, client_cores, options))
    rows = [
        (count, *(statistics.median(column) for column in zip(*samples)))
        for count, samples in taken.items()
    ]
    times = statistics.median(one[1] / two[1] for one, two in zip(taken[1], taken[2]))
    shared = "wrk on a core of its own" if len(cores) > 2 else "wrk on the same two cores"
    return Scaling(rows, times, f"by the CPU time of the busiest loop; {shared}")
