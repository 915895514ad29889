"""Metrics, health and readiness."""

import re
import signal

import pytest

from wire import eventually

APP = """
local perigee = require("perigee")
local app = perigee.app({ title = "Kitchen" })
app:get("/items/{item_id}", { params = { item_id = perigee.types.integer } }, function(req)
  return req.params.item_id
end)
app:post("/items/{item_id}", function()
  error("burnt")
end)
app:get("/slow", function()
  perigee.sleep(60000)
end)
app:get("/spin", function()
  local stop = os.clock() + 0.05
  while os.clock() < stop do end
end)
app:get("/threaded", perigee.threaded(function()
  return true
end))
return app
"""


def read(server):
    """Metrics as {name with labels: value}; every line must be one."""
    text = server.get("/metrics").body.decode()
    values = {}
    for line in text.splitlines():
        if line.startswith("#"):
            assert re.match(r"# (HELP|TYPE) [a-z_]+ \S", line), line
            continue
        name, value = re.fullmatch(r"([a-z_]+(?:\{[^}]*(?:\{[a-z_]+\}[^}]*)*\})?) (\S+)", line).groups()
        assert name not in values, f"{name} stands there twice"
        values[name] = float(value)
    return values


def total(method, path, status):
    return f'http_requests_total{{method="{method}",path="{path}",status="{status}"}}'


@pytest.fixture
def kitchen(serve, write_app):
    return lambda *flags: serve(write_app(APP), "--metrics", "/metrics", *flags)


def test_requests_are_counted_by_route_exactly(kitchen):
    server = kitchen("--loops", 4)
    for _ in range(5):
        clients = [server.client() for _ in range(8)]
        for client in clients:
            client.get("/items/7")
            client.get("/items/x")
            client.post("/items/1")
            client.get("/nowhere")
            client.put("/items/1")
        for client in clients:
            client.close()
    values = read(server)
    assert values[total("GET", "/items/{item_id}", 200)] == 40
    assert values[total("GET", "/items/{item_id}", 422)] == 40
    assert values[total("POST", "/items/{item_id}", 500)] == 40
    assert values[total("GET", "", 404)] == 40
    assert values[total("PUT", "", 405)] == 40
    label = 'method="GET",path="/items/{item_id}"'
    assert values[f"http_request_duration_seconds_count{{{label}}}"] == 80
    assert values[f'http_request_duration_seconds_bucket{{{label},le="+Inf"}}'] == 80
    assert values[f"http_request_duration_seconds_sum{{{label}}}"] > 0


def test_methods_that_nobody_knows_are_one(kitchen):
    server = kitchen()
    with server.connect() as conn:
        for method in ("BREW", "WHEN"):
            conn.send(f"{method} /items/1 HTTP/1.1\r\nHost: x\r\n\r\n")
            assert conn.answer().status == 405
    assert read(server)[total("OTHER", "", 405)] == 2


def test_buckets_only_grow(kitchen):
    server = kitchen()
    server.get("/items/1")
    counts = [value for name, value in read(server).items()
              if name.startswith('http_request_duration_seconds_bucket{method="GET",path="/items')]
    assert counts == sorted(counts)
    assert counts[-1] == 1


def test_what_goes_on_is_a_gauge(kitchen):
    server = kitchen()
    assert read(server)["http_requests_in_flight"] == 1 # the question itself
    with server.connect() as conn:
        conn.send("GET /slow HTTP/1.1\r\nHost: x\r\n\r\n")
        eventually(lambda: read(server)["http_requests_in_flight"] == 2, "a request in flight")
        assert read(server)["perigee_connections"] == 2
    eventually(lambda: read(server)["http_requests_in_flight"] == 1, "its end")
    assert read(server)[total("GET", "/slow", 499)] == 1


def test_loops_workers_and_the_process_are_seen(kitchen):
    server = kitchen()
    server.get("/spin")
    server.json("/threaded")
    values = read(server)
    assert values['perigee_slow_slices_total{loop="0"}'] >= 1
    assert values['perigee_lua_memory_bytes{loop="0"}'] > 100_000
    assert values["perigee_worker_calls_total"] == 1
    assert values["perigee_worker_queue_depth"] == 0
    assert values["process_cpu_seconds_total"] > 0
    assert values["process_resident_memory_bytes"] > 1_000_000
    assert values["process_open_fds"] > 5
    assert values["process_start_time_seconds"] > 1.7e9


def test_counters_survive_a_reload(kitchen):
    server = kitchen()
    server.get("/items/1")
    server.signal(signal.SIGHUP)
    server.wait_for_log("reloaded in")
    server.get("/items/1")
    assert read(server)[total("GET", "/items/{item_id}", 200)] == 2


def test_they_have_the_type_of_prometheus_and_are_not_in_the_document(kitchen):
    server = kitchen("--health", "on")
    answer = server.get("/metrics")
    assert answer.header("content-type") == "text/plain; version=0.0.4; charset=utf-8"
    assert set(server.json("/openapi.json")["paths"]) == {
        "/items/{item_id}", "/slow", "/spin", "/threaded"}


def test_without_being_asked_for_there_is_none_of_it(serve, write_app):
    server = serve(write_app(APP))
    for path in ("/metrics", "/healthz", "/readyz"):
        assert server.get(path).status == 404


def test_an_app_may_ask_for_them(serve, write_app):
    server = serve(write_app(APP.replace(
        '"Kitchen"', '"Kitchen", metrics = "/internal/metrics", health = true')))
    assert b"http_requests_total" in server.get("/internal/metrics").body
    assert server.get("/healthz").body == b"ok\n"
    assert server.get("/readyz").status == 200


def test_readiness_ends_before_connections_are_refused(kitchen):
    server = kitchen("--health", "on", "--drain-ms", 600_000)
    with server.client() as client:
        assert client.get("/readyz").status_code == 200
        server.signal(signal.SIGTERM)
        eventually(lambda: client.get("/readyz").status_code == 503, "not ready")
        assert client.get("/healthz").status_code == 200
        assert server.json("/items/1") == 1 # new connections are still served
    server.signal(signal.SIGTERM) # the second one does not wait
    assert server.wait() == 0
