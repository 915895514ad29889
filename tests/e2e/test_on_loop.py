"""perigee.on_loop: what a threaded function calls back on the loop that its request came from."""

import contextlib
import json
import signal

import pytest

from wire import eventually

APP = """
local host = require("perigee.host")
local perigee = require("perigee")
local task = perigee.task
local app = perigee.app({ timeout_ms = 20000 })

local function side() return host.worker.stats().is_worker and "worker" or "loop" end
local vm = side() .. " " .. tostring({}):match("0x%x+")
local notes = {} -- of this VM

local note = perigee.on_loop(function(text)
  notes[#notes + 1] = text
  return #notes
end)
local where = perigee.on_loop(function(...) return vm, select("#", ...), ... end)
local innermost = function(value) error(value) end
local break_it = perigee.on_loop(function() innermost("broken over there") end)
local refuse = perigee.on_loop(function() error(perigee.http_error(409, { held = true })) end)
local wrong = perigee.on_loop(function() return { deep = { print } } end)
local there = perigee.threaded(side)
local goes_back = perigee.on_loop(function() return there() end)
local group_goes_back = perigee.on_loop(function()
  return task.all({ function() return there() end, side })
end)
local nap = perigee.on_loop(function(i)
  perigee.sleep(1)
  return i
end)
local hang = perigee.on_loop(function(how)
  local _ <close> = setmetatable({}, { __close = function(_, err)
    perigee.sleep(1)
    notes[#notes + 1] = how .. " ended: " .. tostring(err)
  end })
  notes[#notes + 1] = how
  while how == "spins" do end
  perigee.sleep(600000)
end)

local started = "nothing"
app:on_start(function()
  if side() == "worker" then started = select(2, pcall(where)) end
end)

app:get("/notes", function() return notes end)
app:get("/plain", function() return { where(1) } end)
app:get("/started", perigee.threaded(function() return started end))
local asks = perigee.threaded(function() return where("a", nil, { 1.5 }) end)
app:get("/asks", function()
  local at, count, text, none, list = asks()
  return { at == vm, side(), count, text, none == nil, list }
end)
app:get("/whole", perigee.threaded(function() return { (where()) , vm } end))
app:get("/break", perigee.threaded(function() break_it() end))
app:get("/caught", perigee.threaded(function() return select(2, pcall(break_it)) end))
app:get("/refuse", perigee.threaded(function() refuse() end))
app:get("/wrong", perigee.threaded(function() wrong() end))
app:get("/argument", perigee.threaded(function() where({ fn = print }) end))
app:get("/back", perigee.threaded(function() return select(2, pcall(goes_back)) end))
app:get("/group-back", perigee.threaded(function() return select(2, pcall(group_goes_back)) end))
app:get("/group", perigee.threaded(function()
  return { task.all({ function() return nap(1) end, function() return nap(2) end }) }
end))
app:get("/nap/{i}", { params = { i = perigee.types.integer() } }, perigee.threaded(function(req)
  return nap(req.params.i)
end))
app:get("/hang/{how}", perigee.threaded(function(req) hang(req.params.how) end))
app:get("/late/{how}", { timeout_ms = 1500 }, perigee.threaded(function(req) hang(req.params.how) end))
app:get("/cleans", perigee.threaded(function()
  local _ <close> = setmetatable({}, { __close = function() note("cleaned up") end })
  note("at it")
  perigee.sleep(600000)
end))
app:get("/after", perigee.threaded(function(req)
  req:after(function() note("after") end)
  return "ok"
end))
local limited = perigee.threaded(function()
  local _, err = task.move_on(1500, hang, "limited")
  return err.code
end)
local function who()
  local list = {}
  for name, value in pairs(task.locals) do
    list[#list + 1] = tostring(name) .. "=" .. tostring(value)
  end
  table.sort(list)
  return table.concat(list, " ")
end
local who_there = perigee.on_loop(function()
  local said = who()
  task.locals.user = "nobody"
  return said .. task.all({ function() return " " .. task.locals.user end })
end)
local who_on_worker = perigee.threaded(function()
  local before = who()
  task.locals.depth, task.locals.out = 2, print
  local there = who_there()
  return { before, there, task.locals.user, task.all({ function() return who_there() end }) }
end)
app:get("/who", function()
  task.locals.user, task.locals.depth = "ada", 1
  local said = who_on_worker()
  said[#said + 1] = who()
  return said
end)
app:get("/nobody", perigee.threaded(function() return { who(), who_there() } end))
local await = perigee.on_loop(function(path)
  note("waits for the gate")
  while not perigee.fs.stat(path) do perigee.sleep(1) end
  return notes
end)
app:get("/gate", { query = { path = perigee.types.string } }, perigee.threaded(function(req)
  return await(req.query.path)
end))
app:get("/limited", function() return { limited(), notes } end)
return app
"""


@pytest.fixture
def start(serve, write_app):
    return lambda *flags: serve(write_app(APP), "--loops", 1, *flags)


@pytest.fixture
def server(start):
    return start("--threads", 2)


def wait_for_note(server, text):
    eventually(
        lambda: any(note.startswith(text) for note in server.json("/notes")), f"the note '{text}'"
    )


def test_it_runs_on_the_loop_and_values_are_copied(server):
    assert server.json("/asks") == [True, "loop", 3, "a", True, [1.5]]
    at, worker = server.json("/whole")
    assert at.startswith("loop") and worker.startswith("worker")


def test_on_a_loop_it_is_simply_called(server):
    at, count, one = server.json("/plain")
    assert (at.split()[0], count, one) == ("loop", 1, 1)


def test_each_request_gets_back_to_its_own_loop(serve, write_app):
    server = serve(write_app(APP), "--loops", 2, "--threads", 2)
    with contextlib.ExitStack() as stack:
        conns = [stack.enter_context(server.connect()) for _ in range(8)]
        loops = set()
        for conn in conns:
            loops.add(json.loads(conn.get("/plain").body)[0])
            for _ in range(10):
                assert json.loads(conn.get("/asks").body)[0] is True
    assert len(loops) == 2


def test_errors_come_back_as_they_were_raised(server):
    assert server.json("/caught").endswith("broken over there")
    assert server.get("/refuse").status == 409
    assert json.loads(server.get("/refuse").body) == {"detail": {"held": True}}


def test_the_log_shows_both_sides(server):
    assert server.get("/break").status == 500
    server.wait_for_log("GET /break .*broken over there")
    near, far = "\n".join(server.log).split("on its loop: ")
    assert "upvalue 'break_it'" in near
    assert "broken over there" in far and "upvalue 'innermost'" in far


@pytest.mark.parametrize(
    "target, said",
    [("/wrong", r"deep\[1\] is a function"), ("/argument", "argument 1 .*fn is a function")],
)
def test_what_cannot_cross_is_named(server, target, said):
    assert server.get(target).status == 500
    server.wait_for_log(said)


@pytest.mark.parametrize("target", ["/back", "/group-back"])
def test_it_cannot_call_a_threaded_function(server, target):
    assert "a threaded function cannot be called from a function of" in server.json(target)


def test_the_tasks_of_a_worker_may_call_it_at_the_same_time(server):
    assert server.json("/group") == [1, 2]


def test_a_worker_that_serves_no_loop_has_none_to_call(server):
    assert "runs nothing for a loop" in server.json("/started")


def test_all_workers_may_wait_for_their_loops(server):
    with contextlib.ExitStack() as stack:
        conns = [stack.enter_context(server.connect()) for _ in range(100)]
        for i, conn in enumerate(conns):
            conn.request("GET", f"/nap/{i}")
        assert [json.loads(conn.answer().body) for conn in conns] == list(range(100))


@pytest.mark.parametrize("how", ["waits", "spins"])
def test_a_client_that_leaves_ends_it(start, how):
    server = start("--threads", 1)
    conn = server.connect()
    conn.request("GET", f"/hang/{how}")
    wait_for_note(server, how)
    conn.reset()
    wait_for_note(server, f"{how} ended: cancelled")
    assert server.json("/nap/7") == 7


@pytest.mark.parametrize("how", ["waits", "spins"])
def test_the_deadline_of_the_request_ends_it(start, how):
    server = start("--threads", 1)
    assert server.get(f"/late/{how}").status == 504
    wait_for_note(server, f"{how} ended: cancelled")
    assert server.json("/nap/7") == 7


def test_who_gives_up_on_it_goes_on_when_it_has_ended(server):
    code, notes = server.json("/limited")
    assert code == "ETIMEDOUT"
    assert notes[0] == "limited" and notes[1].startswith("limited ended: cancelled")


def test_what_cleans_up_may_call_it(start):
    server = start("--threads", 1)
    conn = server.connect()
    conn.request("GET", "/cleans")
    wait_for_note(server, "at it")
    conn.reset()
    wait_for_note(server, "cleaned up")


def test_functions_behind_the_answer_may_call_it(server):
    assert server.json("/after") == "ok"
    wait_for_note(server, "after")


def test_a_server_that_stops_ends_it(start):
    server = start("--threads", 1, "--shutdown-grace-ms", 100)
    with server.connect() as conn:
        conn.request("GET", "/hang/waits")
        wait_for_note(server, "waits")
        server.stop()
        assert conn.answer().status == 503


def test_what_the_task_knows_goes_along_as_far_as_it_can_cross(server):
    for _ in range(2):  # the coroutines are used again
        assert server.json("/who") == [
            "depth=1 user=ada",
            "depth=2 user=ada nobody",
            "ada",
            "depth=2 user=ada nobody",
            "depth=1 user=ada",
        ]
    assert server.json("/nobody") == ["", " nobody"]


def test_a_reload_in_the_middle_of_a_call_lets_it_end_in_its_version(start, tmp_path):
    server = start("--threads", 1)
    gate = tmp_path / "gate"
    with server.connect() as conn:
        conn.request("GET", f"/gate?path={gate}")
        wait_for_note(server, "waits for the gate")
        server.signal(signal.SIGHUP)
        server.wait_for_log("reloaded in")
        assert not server.json("/notes")  # another VM
        assert server.json("/nap/7") == 7
        gate.touch()
        assert conn.answer().body == b'["waits for the gate"]'
    assert server.json("/nap/7") == 7
