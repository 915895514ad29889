"""Threaded functions: as handlers, as dependencies in any mix, and called from anywhere."""

import contextlib
import json
import pathlib
import re
import signal

import pytest

from server import is_sanitized
from wire import eventually


class Threads:
    """A server of the app `threads`, with the folder that it leaves its notes in."""

    def __init__(self, serve, folder, *flags):
        self.folder = pathlib.Path(folder)
        self.server = serve("threads", *flags, env={"NOTES": str(folder)})
        for name in ("get", "json", "connect", "signal", "wait", "wait_for_log", "client"):
            setattr(self, name, getattr(self.server, name))

    def notes(self):
        path = self.folder / "notes"
        return path.read_text().splitlines() if path.exists() else []

    def wait_for(self, *notes):
        for note in notes:
            eventually(lambda: note in self.notes(), f"the note '{note}': {self.notes()}")

    def open(self, gate):
        (self.folder / gate).touch()

    def at_gate(self, stack, name):
        """A request that waits on a worker."""
        conn = stack.enter_context(self.connect())
        conn.request("GET", f"/gate/{name}")
        self.wait_for(f"at {name}")
        return conn


@pytest.fixture
def start(serve, tmp_path):
    return lambda *flags: Threads(serve, tmp_path, *flags)


@pytest.fixture
def threads(start):
    return start("--threads", 2)


# --- handlers


def test_a_threaded_handler_runs_on_a_worker(threads):
    assert threads.json("/where") == "worker"
    assert threads.json("/") == "loop"


def test_its_inputs_are_converted_and_its_result_is_filtered_there(threads):
    with threads.client() as client:
        answer = client.post(
            "/items/7?day=2026-08-01&tags=a&tags=b", json={"name": "x"}, headers={"x-token": "t"}
        )
    assert answer.status_code == 201
    assert answer.headers["x-side"] == "worker"
    assert answer.headers["set-cookie"].startswith("seen=1")
    assert answer.json() == {
        "id": 7,
        "item": {"name": "x", "price": 1.5},
        "day": "2026-08-01",
        "tags": ["a", "b"],
    }


def test_invalid_input_is_refused_as_everywhere(threads):
    with threads.client() as client:
        answer = client.post("/items/0", json={})
    assert answer.status_code == 422
    assert [error["loc"] for error in answer.json()["detail"]] == [["path", "id"], ["body", "name"]]


def test_an_undeclared_body_is_there_as_a_whole(threads):
    with threads.client(headers={"user-agent": "tester"}) as client:
        answer = client.post("/raw", content=(b"x" * 70000 for _ in range(10)))
    assert answer.json() == {
        "pieces": 700000,
        "agent": "tester",
        "client": "127.0.0.1",
        "path": "/raw",
    }


def test_an_http_error_is_the_answer(threads):
    answer = threads.get("/tea")
    assert (answer.status, answer.header("x-pot")) == (418, "1")
    assert json.loads(answer.body) == {"detail": {"short": "stout"}}


@pytest.mark.parametrize(
    "target, said",
    [
        ("/broken", "broken in the depth"),
        ("/wrong-result", "the result cannot be sent"),
        ("/stream", "a threaded handler cannot stream"),
    ],
)
def test_a_failure_is_a_500_and_a_line_in_the_log(threads, target, said):
    assert threads.get(target).status == 500
    threads.wait_for_log(f"GET {target} .*app.lua:[0-9]+.*{said}")
    assert threads.json("/where") == "worker"


def test_a_head_request_has_the_headers_of_the_answer(threads):
    with threads.connect() as conn:
        conn.request("HEAD", "/where")
        assert conn.answer("HEAD").header("content-length") == "8"
        assert conn.get("/where").body == b'"worker"'


def test_functions_behind_the_answer_run_on_the_worker_too(threads):
    assert threads.json("/after") == "ok"
    threads.wait_for("after on worker")


def test_threaded_is_for_loading_apps(threads):
    assert threads.json("/late-threaded") is False


def test_pipelined_requests_are_answered_in_order(threads):
    with threads.connect() as conn:
        for i in range(50):
            conn.request("GET", "/where" if i % 2 else "/")
        sides = [json.loads(conn.answer().body) for _ in range(50)]
    assert sides == 25 * ["loop", "worker"]


# --- calls


def test_arguments_and_results_are_copied(threads):
    assert threads.json("/call") == ["worker", 4, 1, True, {"a": [True]}, 2.5]


def test_on_a_worker_a_threaded_function_is_simply_called(threads):
    assert threads.json("/nested") == ["worker", 1, "from a worker"]


def test_the_tasks_of_a_group_may_call_too(threads):
    assert threads.json("/group") == [f"worker{i}" for i in range(1, 6)]


def test_errors_come_back_as_they_were_raised(threads):
    ok, message = threads.json("/catch")
    assert ok is False
    assert message.endswith("broken in the depth") and "\n" not in message
    assert threads.json("/raise") == [False, 7]
    assert threads.get("/raise-http").status == 409


def test_the_log_shows_both_sides_of_the_hop(threads):
    assert threads.get("/break").status == 500
    threads.wait_for_log("GET /break .*broken in the depth")
    lines = "\n".join(threads.server.log)
    near, far = lines.split("on a worker thread: ")
    assert "app.lua" in near and "upvalue 'breaks'" in near
    assert "broken in the depth" in far and "in function <" in far


def test_what_cannot_cross_is_named(threads):
    assert threads.get("/function").status == 500
    threads.wait_for_log(r"items\[3\]\.callback is a function")
    assert threads.get("/uncrossable").status == 500
    threads.wait_for_log(r"values\.db\.connection\[1\] is a function")


# --- dependencies


@pytest.mark.parametrize("bits", range(8))
def test_any_mix_of_plain_and_threaded(threads, bits):
    sides = ["worker" if bits & bit else "loop" for bit in (1, 2, 4)]
    answer = threads.get(f"/mix/{bits}?q=5")
    assert answer.status == 200
    body = json.loads(answer.body)
    assert body["dep"] == {"side": sides[1], "sub": {"side": sides[0], "q": 5}}
    assert body["side"] == sides[2]
    if bits in (0, 7):  # what stands on req.response goes with the hop that ends the request
        assert answer.all("x-way") == [f"sub {sides[0]}"]
    threads.wait_for(f"open {bits}", f"close {bits} 5 fine")
    assert threads.get(f"/mix/{bits}?q=6&fail=1").status == 400
    threads.wait_for(f"close {bits} 6 error")
    refused = threads.get(f"/mix/{bits}?q=x")
    assert refused.status == 422
    assert json.loads(refused.body)["detail"][0]["loc"] == ["query", "q"]


@pytest.mark.parametrize("bits", range(8))
def test_middleware_is_around_all_of_it(threads, bits):
    answer = threads.get(f"/around/mix/{bits}")
    body = json.loads(answer.body)
    assert answer.header("x-around") == "200"
    assert body["user"] == "middleware" and body["state"] == [1, 2]
    side = "worker" if bits & 4 else "loop"
    assert body["side"] == side
    assert body["given"] == f"in {side}"  # what the app's lifespan gave to that VM


def test_a_threaded_guard_refuses_before_inputs_are_complained_of(threads):
    assert threads.get("/guarded").status == 401
    assert threads.get("/guarded", "x-token: sesame").status == 422
    assert threads.get("/guarded?n=1", "x-token: sesame").body == b'"in"'


@pytest.mark.parametrize("target", ["/form", "/form-mixed"])
@pytest.mark.parametrize("size", [100, 3 << 20])
def test_files_travel_with_their_form(start, target, size):
    threads = start("--max-body-bytes", 8 << 20)
    with threads.client() as client:
        answer = client.post(
            target,
            data={"title": "t"},
            files={"upload": ("a.bin", b"a" * (size - 3) + b"end")},
        )
    assert answer.json() == {
        "side": "worker",
        "title": "t",
        "name": "a.bin",
        "size": size,
        "last": "end",
    }


# --- the queue


def test_what_finds_the_queue_full_is_503(start):
    threads = start("--threads", 1, "--max-queued", 1)
    with contextlib.ExitStack() as stack:
        running = threads.at_gate(stack, "gate")
        waiting = stack.enter_context(threads.connect())
        waiting.request("GET", "/where")
        eventually(lambda: threads.json("/stats")["depth"] == 1, "one that waits")
        for target in ("/where", "/call"):
            refused = threads.get(target)
            assert refused.status == 503
            assert int(refused.header("retry-after")) >= 1  # more when it has waited for long
        stats = threads.json("/stats")
        assert (stats["busy"], stats["depth"], stats["refused"]) == (1, 1, 2)
        threads.open("gate")
        assert running.answer().body == b'"passed"'
        assert waiting.answer().body == b'"worker"'
    assert threads.json("/stats")["slowest_ms"] > 0


def test_retry_after_says_how_long_those_wait_that_are_first(start):
    threads = start("--threads", 1, "--max-queued", 1)
    with contextlib.ExitStack() as stack:
        threads.at_gate(stack, "gate")
        waiting = stack.enter_context(threads.connect())
        waiting.request("GET", "/where")
        eventually(lambda: threads.json("/stats")["depth"] == 1, "one that waits")
        eventually(
            lambda: threads.get("/where").header("retry-after") == "2", "it has waited for a second"
        )
        threads.open("gate")


def test_middleware_and_error_handlers_see_a_503(serve, write_app):
    server = serve(
        write_app("""
local perigee = require("perigee")
local app = perigee.app()
app:on_error(503, function(req, err)
  return perigee.json({ sorry = err.detail, path = req.path }, { status = 503, headers = err.headers })
end)
app:get("/wait", perigee.threaded(function() perigee.sleep(100000) end))
app:get("/busy", function() return require("perigee.host").worker.stats().busy end)
return app
"""),
        "--threads",
        1,
        "--max-queued",
        0,
    )
    with server.connect() as conn:
        conn.request("GET", "/wait")
        eventually(lambda: server.json("/busy") == 1, "the thread is busy")
        refused = server.get("/wait")
        assert refused.status == 503
        assert json.loads(refused.body) == {
            "sorry": "Too many requests wait for a thread",
            "path": "/wait",
        }
        assert refused.header("retry-after") == "1"


def test_error_handlers_see_a_result_of_a_worker_that_cannot_be_sent(serve, write_app):
    server = serve(
        write_app("""
local perigee = require("perigee")
local app = perigee.app()
app:on_error(500, function(_, err)
  return perigee.json({ oops = tostring(err) }, { status = 500 })
end)
app:use(function(req, next) return next(req) end)
app:get("/wrong", { response = perigee.types.integer }, perigee.threaded(function() return "x" end))
return app
""")
    )
    answer = server.get("/wrong")
    assert answer.status == 500
    assert b"the result cannot be sent: response: Input should be a valid integer" in answer.body


def test_what_waits_too_long_is_503(start):
    threads = start("--threads", 1, "--queue-timeout-ms", 500)
    with contextlib.ExitStack() as stack:
        running = threads.at_gate(stack, "gate")
        late = threads.get("/where")
        assert late.status == 503
        assert late.header("retry-after") is not None
        threads.open("gate")
        assert running.answer().status == 200
    assert threads.json("/stats")["depth"] == 0


def test_the_loop_serves_while_every_worker_is_busy(threads):
    with contextlib.ExitStack() as stack:
        busy = [threads.at_gate(stack, name) for name in ("a", "b")]
        for _ in range(100):
            assert threads.json("/") == "loop"
        threads.open("a")
        threads.open("b")
        assert [conn.answer().status for conn in busy] == [200, 200]


@pytest.mark.parametrize("handler", ["plain", "threaded"])
def test_500_requests_share_10_resources_on_4_threads(start, handler):
    threads = start("--threads", 4, "--queue-timeout-ms", 600_000)
    for i in range(1, 11):
        threads.open(f"token{i}")
    with contextlib.ExitStack() as stack:
        conns = [stack.enter_context(threads.connect()) for _ in range(500)]
        for conn in conns:
            conn.request("GET", f"/pool/{handler}")
        for conn in conns:
            assert 1 <= json.loads(conn.answer().body) <= 10
    eventually(
        lambda: all((threads.folder / f"token{i}").exists() for i in range(1, 11)), "all given back"
    )


# --- cancellation


@pytest.mark.parametrize("target", ["/gate/g", "/spin", "/spin-in-sort"])
def test_a_client_that_leaves_ends_what_a_worker_does_for_it(start, target):
    threads = start("--threads", 1)
    conn = threads.connect()
    conn.request("GET", target)
    started = {"/gate/g": "at g", "/spin": "spins handler", "/spin-in-sort": "spins sort"}[target]
    threads.wait_for(started)
    conn.reset()
    assert threads.json("/where") == "worker"
    ended = {"/gate/g": "left g cancelled"}.get(target, "stopped " + started.split()[1])
    eventually(lambda: any(note.startswith(ended) for note in threads.notes()), f"'{ended}'")


@pytest.mark.parametrize("target", ["/runaway/spins", "/runaway/waits", "/endless-call"])
def test_a_runaway_function_is_interrupted_at_its_deadline(start, target):
    threads = start("--threads", 1)
    for _ in range(3):
        assert threads.get(target).status == 504
        assert threads.json("/where") == "worker"
    threads.wait_for_log(f"GET {target} .*not answered within 50 ms")
    assert not re.search(rf"GET {target} \(.*\) held its loop", threads.server.output)
    if target == "/runaway/spins":
        threads.wait_for_log(r"a threaded function was stopped at .*app.lua:\d+")


HELD = """
local perigee = require("perigee")
local app = perigee.app({ timeout_ms = 3000 })
local function exists(name) local f = io.open("%(folder)s/" .. name) return f and f:close() end
local function note(text)
  local f = assert(io.open("%(folder)s/notes", "a"))
  f:write(text, "\\n")
  f:close()
end

local resource = perigee.dependency({
  open = perigee.threaded(function()
    note("opening")
    while not exists("go") do
      perigee.sleep(1)
    end
    note("opened")
    return 1
  end),
  close = perigee.threaded(function() note("closed") end),
})

app:get("/use", { deps = { resource = resource } }, function() perigee.sleep(60000) end)
-- Holds the loop in C while the resource is opened and the deadline of the other request passes.
app:get("/hold", { timeout_ms = 60000 }, function()
  note("holding")
  os.execute("touch %(folder)s/go; until grep -q opened %(folder)s/notes; do sleep 0.01; done; sleep 3.1")
end)
return app
"""


def test_what_was_opened_on_a_worker_as_its_caller_was_cancelled_is_closed(
    serve, write_app, tmp_path
):
    server = serve(write_app(HELD % {"folder": tmp_path}), "--threads", 1)
    with server.connect() as using, server.connect() as holding:
        using.request("GET", "/use")
        notes = tmp_path / "notes"
        eventually(lambda: notes.exists() and "opening" in notes.read_text(), "an opening")
        holding.request("GET", "/hold")
        assert using.answer().status == 504
        assert holding.answer().status == 200
        eventually(lambda: "closed" in notes.read_text(), "the resource is closed")
    assert notes.read_text().split() == ["opening", "holding", "opened", "closed"]


UNCROSSABLE = """
local perigee = require("perigee")
local app = perigee.app()
local notes = {} -- of the worker
local function resource(value)
  return perigee.dependency({
    open = perigee.threaded(function()
      notes[#notes + 1] = "opened " .. type(value.part)
      return value
    end),
    close = perigee.threaded(function(_, err)
      notes[#notes + 1] = "closed " .. type(value.part) .. (err and " for an error" or "")
    end),
  })
end
local first, second = resource({ part = 1 }), resource({ part = print })
app:get("/use", { deps = { first = first, second = second } }, function() return "used" end)
app:get("/notes", perigee.threaded(function() return notes end))
return app
"""


def test_what_was_opened_on_a_worker_and_cannot_cross_is_closed_there(serve, write_app):
    server = serve(write_app(UNCROSSABLE), "--threads", 1)
    assert server.get("/use").status == 500
    server.wait_for_log(r"GET /use .*second\.part is a function")
    assert server.json("/notes") == [
        "opened number",
        "opened function",
        "closed function for an error",
        "closed number for an error",
    ]


def test_a_client_that_leaves_the_queue_is_forgotten(start):
    threads = start("--threads", 1)
    with contextlib.ExitStack() as stack:
        running = threads.at_gate(stack, "gate")
        waiting = threads.connect()
        waiting.request("GET", "/gate/never")
        eventually(lambda: threads.json("/stats")["depth"] == 1, "one that waits")
        waiting.reset()
        eventually(lambda: threads.json("/stats")["depth"] == 0, "none that waits")
        threads.open("gate")
        assert running.answer().status == 200
    assert threads.json("/where") == "worker"
    assert "at never" not in threads.notes()


# --- life


def test_every_worker_starts_and_stops_the_app(start):
    threads = start("--threads", 3)
    assert threads.json("/where") == "worker"
    threads.signal(signal.SIGTERM)
    assert threads.wait() == 0
    notes = threads.notes()
    assert sorted(notes) == ["start loop", *3 * ["start worker"], "stop loop", *3 * ["stop worker"]] or (
        notes.count("start worker") == notes.count("stop worker") == 4  # one is in reserve
    )


def test_a_stop_waits_for_what_a_worker_does(threads):
    with contextlib.ExitStack() as stack:
        running = threads.at_gate(stack, "gate")
        threads.signal(signal.SIGTERM)
        threads.open("gate")
        assert running.answer().body == b'"passed"'
    assert threads.wait() == 0


def test_a_stop_ends_what_does_not_end_by_itself(start):
    threads = start("--shutdown-grace-ms", 0)
    with threads.connect() as conn:
        conn.request("GET", "/spin")
        threads.wait_for("spins handler")
        threads.signal(signal.SIGTERM)
        assert threads.wait() == 0
    assert "stopped handler" in threads.notes()


def test_a_stop_cuts_short_what_cleans_up_on_a_worker(serve, write_app):
    server = serve(
        write_app("""
local perigee = require("perigee")
local app = perigee.app({ timeout_ms = 50 })
app:get("/", perigee.threaded(function()
  local _ <close> = setmetatable({}, { __close = function()
    perigee.sleep(100000)
  end })
  perigee.sleep(100000)
end))
return app
"""),
        "--shutdown-grace-ms",
        50,
    )
    assert server.get("/").status == 504
    server.stop()
    assert "does not stop" not in server.output


def test_a_new_version_brings_workers_of_its_own(start):
    threads = start("--threads", 1)
    with contextlib.ExitStack() as stack:
        running = threads.at_gate(stack, "gate")
        threads.signal(signal.SIGHUP)
        threads.wait_for_log("reloaded in")
        assert threads.json("/where") == "worker"
        threads.open("gate")
        assert running.answer().body == b'"passed"'
    eventually(lambda: "stop worker" in threads.notes(), "the old worker's end")
    assert threads.json("/where") == "worker"


UNEVEN = """
local perigee = require("perigee")
local app = perigee.app()
app:get("/", perigee.threaded(function() end))
local file = io.open("%s/loaded")
if file then
  file:close()
  app:get("/more", perigee.threaded(function() end))
end
assert(io.open("%s/loaded", "w")):close()
return app
"""


def test_an_app_that_loads_differently_in_each_thread_does_not_start(write_app, tmp_path):
    from server import run

    app = write_app(UNEVEN % (tmp_path, tmp_path))
    done = run("run", app, "--port", 0, "--loops", 1)
    assert done.returncode == 1
    assert "does not load the same way in every thread" in done.stderr + done.stdout
    assert "app.lua:8" in done.stderr + done.stdout


def threads_of(server):
    """The names of its threads."""
    names = []
    for task in pathlib.Path(f"/proc/{server.pid}/task").iterdir():
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            names.append((task / "comm").read_text().strip())
    return names


def test_an_app_without_threaded_functions_has_no_workers(serve):
    server = serve("probe", "--threads", 50)
    assert server.get("/").status == 200
    assert not [name for name in threads_of(server) if name.startswith("worker")]


# Behind answers, when the server stops or reloads

BEHIND = """
local perigee = require("perigee")
local app = perigee.app()
app:get("/note", perigee.threaded(function(req)
  req:after(function()
    perigee.sleep(300)
    perigee.fs.append(NOTES, "noted\\n")
  end)
  return "ok"
end))
app:get("/never", perigee.threaded(function(req)
  req:after(function()
    perigee.sleep(600000)
  end)
  return "ok"
end))
return app
"""


@pytest.fixture
def behind(serve, write_app, tmp_path):
    notes = tmp_path / "notes"
    app = write_app(BEHIND.replace("NOTES", f'"{notes}"'))
    return notes, lambda *flags: serve(app, *flags)


def test_functions_behind_an_answer_of_a_worker_are_finished_before_a_stop(behind):
    notes, start = behind
    server = start()
    assert server.json("/note") == "ok"
    server.signal(signal.SIGTERM)
    assert server.wait() == 0
    assert notes.read_text() == "noted\n"
    assert "failed" not in server.output


def test_functions_behind_an_answer_of_a_worker_are_finished_after_a_reload(behind):
    notes, start = behind
    server = start()
    assert server.json("/note") == "ok"
    server.signal(signal.SIGHUP)
    server.wait_for_log("reloaded in")
    eventually(lambda: notes.exists() and notes.read_text() == "noted\n", "the note")
    assert "failed" not in server.output


def test_functions_behind_an_answer_of_a_worker_are_cut_after_the_grace(behind):
    _, start = behind
    server = start("--shutdown-grace-ms", 200)
    assert server.json("/never") == "ok"
    server.signal(signal.SIGTERM)
    assert server.wait() == 0
    server.wait_for_log("cancelled: the server stops")


STARVED = """
local perigee = require("perigee")
local app = perigee.app()
local hoard = {} -- of the worker: what it holds, it keeps until the next request
local function side() return require("perigee.host").worker.stats().is_worker and "worker" or "loop" end
app:on_error(500, function(req, err)
  return perigee.json({ path = req.path, err = tostring(err), side = side() }, { status = 500 })
end)
app:get("/fill", perigee.threaded(function() while true do hoard = { hoard } end end))
app:get("/", function() return "alive" end)
return app
"""


def test_error_handlers_see_a_worker_that_is_out_of_memory(serve, write_app):
    server = serve(write_app(STARVED), "--threads", 1, "--lua-memory", "12M")
    sides = set()
    for _ in range(4):
        answer = server.get("/fill")
        assert answer.status == 500
        said = json.loads(answer.body)
        assert (said["path"], said["err"]) == ("/fill", "not enough memory")
        sides.add(said["side"])
    assert "loop" in sides  # where there is memory to answer
    server.wait_for_log("GET /fill .*out of memory: Lua holds")
    assert server.json("/") == "alive"


HOPS = """
local perigee = require("perigee")
local app = perigee.app()
local trivial = perigee.threaded(function(n) return n + 1 end)
local rests = perigee.threaded(function() perigee.sleep(0) end)
local function compute()
  local till = os.clock() + 0.0001
  while os.clock() < till do end
end
app:get("/trivial", perigee.threaded(function() return 1 end))
app:get("/computes", perigee.threaded(compute))
app:get("/rests", perigee.threaded(function() perigee.sleep(0) end))
app:get("/plain", function() return 1 end)
app:get("/calls", function()
  local n = 0
  for _ = 1, 300 do
    n = trivial(n)
    rests()
  end
  return n
end)
return app
"""


@pytest.mark.skipif(is_sanitized(), reason="a sanitizer makes what is trivial slow")
def test_in_development_what_is_not_worth_its_hop_is_named(serve, write_app):
    server = serve(write_app(HOPS), command="dev")
    with server.connect() as conn:
        for _ in range(110):
            for target in ("/computes", "/rests", "/plain"):
                assert conn.get(target).status == 200

        said = [line for line in server.log if "a plain function would cost less" in line]
        assert said == []

        def named(target, what):
            for _ in range(100):
                assert conn.get(target).status == 200
            return any(
                re.search(what + ".* a plain function would cost less", line) for line in server.log
            )

        eventually(lambda: named("/trivial", r"GET /trivial \(.*app.lua:10\)"), "the handler")
        eventually(lambda: named("/calls", r"function at .*app.lua:4:"), "the function")
        assert not named("/trivial", "another")
        said = [line for line in server.log if "a plain function would cost less" in line]
    assert len(said) == 2


def test_nothing_is_said_of_hops_in_production(serve, write_app):
    server = serve(write_app(HOPS))
    with server.connect() as conn:
        for _ in range(300):
            assert conn.get("/trivial").status == 200
    assert "a plain function" not in server.output


def test_threads_have_names_for_top(serve, tmp_path):
    server = serve("threads", "--threads", "2", "--loops", "2", env={"NOTES": str(tmp_path)})
    names = {"perigee", "loop 0", "loop 1", "worker 0", "worker 1", "log"}
    eventually(lambda: names <= set(threads_of(server)), f"the threads {names}")
