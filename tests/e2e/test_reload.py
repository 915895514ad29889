"""A new version of the app takes over while the server runs: SIGHUP in `perigee run`."""

import contextlib
import json
import os
import re
import signal
import threading

import pytest

from server import is_sanitized, run
from wire import PATIENCE, eventually

# Answers with its version; /wait answers once the file `gate` is there; /stream goes on for ever.
APP = """
local perigee = require("perigee")
local app = perigee.app({ limits = { %(limits)s } })
local folder = "%(folder)s"

local function exists(name)
  local file = io.open(folder .. "/" .. name)
  if file then
    file:close()
  end
  return file ~= nil
end

local function note(text)
  local file = assert(io.open(folder .. "/notes", "a"))
  file:write(text, "\\n")
  file:close()
end

app:get("/", function() return %(version)d end)

app:get("/wait", function()
  note("waits")
  while not exists("gate") do
    perigee.sleep(1)
  end
  return %(version)d
end)

app:get("/stream", function()
  return perigee.stream(function(out)
    local _ <close> = setmetatable({}, { __close = function() note("stream closed") end })
    while true do
      out:write("version %(version)d\\n")
      perigee.sleep(1)
    end
  end)
end)

app:on_start(function() note("start %(version)d") %(start)s end)
app:on_stop(function() note("stop %(version)d") end)
%(more)s
return app
"""


class Versions:
    """The folder of an app of which new versions are written."""

    def __init__(self, folder):
        self.folder = folder
        self.folder.mkdir()
        self.number = 0

    def write(self, more="", start="", limits=""):
        self.number += 1
        text = APP % {
            "folder": self.folder,
            "version": self.number,
            "more": more,
            "start": start,
            "limits": limits,
        }
        self.write_text(text)
        return self.number

    def write_text(self, text):
        fresh = self.folder / ".app.lua.new"
        fresh.write_text(text)
        fresh.rename(self.folder / "app.lua")

    def notes(self):
        notes = self.folder / "notes"
        return notes.read_text().splitlines() if notes.exists() else []

    def open_gate(self):
        (self.folder / "gate").touch()


@pytest.fixture
def versions(tmp_path):
    versions = Versions(tmp_path / "app")
    versions.write()
    return versions


def reload(server):
    count = len([line for line in server.log if "reloaded in" in line])
    server.signal(signal.SIGHUP)
    server.wait_for_log("reloaded in", count + 1)


@pytest.mark.parametrize("loops", [1, 3])
def test_sighup_brings_the_new_version_at_once(serve, versions, loops):
    server = serve(versions.folder, "--loops", loops)
    for _ in range(5):
        version = versions.write()
        reload(server)
        for _ in range(2 * loops):
            assert server.json("/") == version


def test_a_connection_that_stays_open_meets_the_new_version(serve, versions):
    server = serve(versions.folder)
    with server.connect() as conn:
        assert conn.get("/").body == b"1"
        versions.write()
        reload(server)
        assert conn.get("/").body == b"2"


def test_a_request_in_flight_is_finished_by_the_version_it_began_in(serve, versions):
    server = serve(versions.folder)
    with server.connect() as conn:
        conn.request("GET", "/wait")
        eventually(lambda: "waits" in versions.notes(), "the handler waits")
        versions.write()
        reload(server)
        assert server.json("/") == 2
        assert "stop 1" not in versions.notes()
        versions.open_gate()
        assert conn.answer().body == b"1"
        assert conn.get("/").body == b"2"
    eventually(lambda: "stop 1" in versions.notes(), "the old version stops")


def test_the_hooks_of_the_versions_run_in_order(serve, versions):
    server = serve(versions.folder)
    for _ in range(3):
        versions.write()
        reload(server)
    eventually(lambda: "stop 3" in versions.notes(), "the old versions stop")
    server.stop()
    notes = versions.notes()
    assert sorted(notes) == [f"{what} {n}" for what in ("start", "stop") for n in range(1, 5)]
    for n in range(1, 4):
        assert notes.index(f"start {n + 1}") < notes.index(f"stop {n}")


def test_a_stream_of_the_old_version_is_ended_after_the_grace(serve, versions):
    versions.write(limits="shutdown_grace_ms = 100")
    server = serve(versions.folder)
    with server.connect() as conn:
        conn.request("GET", "/stream")
        conn.head()
        versions.write()
        reload(server)
        with pytest.raises((EOFError, ConnectionResetError)):
            while True:
                conn._more()
    eventually(lambda: "stop 2" in versions.notes(), "the old version stops")
    assert versions.notes().index("stream closed") < versions.notes().index("stop 2")


BROKEN = {
    "syntax": ("local x = = 1", ["app.lua:1", "> +1 | local x = = 1"]),
    "error": ("local t\n\nt.x = 1", ["app.lua:3", "> +3 | t.x = 1"]),
    "no app": ("return 5", ["app.lua", "return app"]),
    "missing module": ("require('nowhere')", ["app.lua:1", "nowhere"]),
    "endless": ("\nwhile true do end", ["too long to load", "app.lua:2"]),
    "endless in pcall": ("while true do\npcall(error)\nend", ["too long to load", "app.lua"]),
    "endless in a coroutine": (
        "local f = coroutine.wrap(function() while true do end end)\nf()",
        ["too long to load", "app.lua:1"],
    ),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_a_version_that_does_not_load_changes_nothing(serve, versions, kind):
    text, patterns = BROKEN[kind]
    server = serve(versions.folder, "--loops", 2, "--load-timeout-ms", 3000)
    versions.write_text(text)
    server.signal(signal.SIGHUP)
    server.wait_for_log("the version before it keeps serving")
    for pattern in patterns:
        server.wait_for_log(pattern)
    assert server.json("/") == 1
    version = versions.write()
    reload(server)
    assert server.json("/") == version


@pytest.mark.parametrize(
    "start, reason",
    [
        ("error('no database')", "app.lua:.*no database"),
        ("perigee.sleep(1) error('no database')", "app.lua:.*no database"),
        ("perigee.sleep(600000)", "too long to start"),
        ("pcall(perigee.sleep, 600000)", "too long to start"),
    ],
)
def test_a_version_that_does_not_start_changes_nothing(serve, versions, start, reason):
    server = serve(versions.folder, "--loops", 2, "--load-timeout-ms", 3000)
    versions.write(start=start)
    server.signal(signal.SIGHUP)
    server.wait_for_log("the version before it keeps serving")
    server.wait_for_log(reason)
    assert server.json("/") == 1
    versions.write()
    reload(server)
    assert server.json("/") == 3
    assert "stop 3" not in versions.notes()


@pytest.mark.skipif(is_sanitized(), reason="what is left behind is a leak by intention")
def test_a_load_that_is_stuck_in_c_is_left_behind(serve, versions):
    server = serve(versions.folder, "--load-timeout-ms", 3000)
    versions.write("local s = ('a'):rep(3000) s:find(('a-'):rep(12) .. 'b')")
    server.signal(signal.SIGHUP)
    server.wait_for_log("inside a C function")
    assert server.json("/") == 1
    versions.write()
    reload(server)
    assert server.json("/") == 3


def test_a_load_that_takes_long_stops_nobody(serve, versions):
    server = serve(versions.folder)
    versions.write("local f repeat f = io.open(folder .. '/gate') until f f:close()")
    server.signal(signal.SIGHUP)
    with server.connect() as conn:
        for _ in range(100):
            assert conn.get("/").body == b"1"
    versions.open_gate()
    server.wait_for_log("reloaded in")
    assert server.json("/") == 2


def test_a_start_hook_may_wait_while_the_old_version_serves(serve, versions):
    server = serve(versions.folder)
    versions.write(start="while not exists('gate') do perigee.sleep(1) end")
    server.signal(signal.SIGHUP)
    eventually(lambda: "start 2" in versions.notes(), "the new version starts")
    with server.connect() as conn:
        for _ in range(100):
            assert conn.get("/").body == b"1"
    versions.open_gate()
    server.wait_for_log("reloaded in")
    assert server.json("/") == 2


def test_a_server_that_starts_a_version_may_be_stopped(serve, versions):
    server = serve(versions.folder)
    versions.write(start="perigee.sleep(600000)")
    server.signal(signal.SIGHUP)
    eventually(lambda: "start 2" in versions.notes(), "the new version starts")
    server.signal(signal.SIGTERM)
    assert server.wait() == 0


@pytest.mark.parametrize("more", ["", "while true do end"])
def test_a_server_that_loads_may_be_stopped(serve, versions, more):
    server = serve(versions.folder, "--loops", 2)
    versions.write(more)
    server.signal(signal.SIGHUP)
    server.signal(signal.SIGTERM)
    assert server.wait() == 0


def test_a_server_with_two_versions_alive_may_be_stopped(serve, versions):
    server = serve(versions.folder, "--loops", 2)
    with server.connect() as conn:
        conn.request("GET", "/wait")
        eventually(lambda: "waits" in versions.notes(), "the handler waits")
        versions.write()
        reload(server)
        server.signal(signal.SIGTERM)
        versions.open_gate()
        assert conn.answer().body == b"1"
    assert server.wait() == 0
    assert {"stop 1", "stop 2"} <= set(versions.notes())


def test_limits_are_those_of_the_version(serve, versions):
    server = serve(versions.folder)
    many = [f"X-{n}: 1" for n in range(300)]
    assert server.get("/", *many).status == 431
    versions.write(limits="max_headers = 400, max_body_bytes = 5")
    reload(server)
    for _ in range(3):
        assert server.get("/", *many).status == 200
    with server.connect() as conn:
        conn.request("GET", "/", body=b"123456")
        assert conn.answer().status == 413
    versions.write(limits="max_headers = 5")
    reload(server)
    assert server.get("/", *many[:10]).status == 431


def test_an_unknown_limit_is_refused_by_a_reload(serve, versions):
    server = serve(versions.folder)
    versions.write(limits="max_heads = 1")
    server.signal(signal.SIGHUP)
    server.wait_for_log(r"app.lua:3: perigee.app: limits: unknown option 'max_heads' \(did you mean 'max_headers'")
    assert server.json("/") == 1


def test_many_signals_end_in_the_last_version(serve, versions):
    server = serve(versions.folder, "--loops", 2)
    for _ in range(50):
        version = versions.write()
        server.signal(signal.SIGHUP)
    eventually(lambda: server.json("/") == version, "the last version serves")


class Load:
    """Clients that ask over and over, and hold the server to its promise: once anybody has got an
    answer of a version, nobody who asks later gets an older one."""

    def __init__(self, server, clients, targets=("/",)):
        self.server = server
        self.asked = 0
        self.newest = 0
        self.failures = []
        self._stop = threading.Event()
        self._threads = [
            threading.Thread(target=self._run, args=(targets[n % len(targets)],))
            for n in range(clients)
        ]

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self._stop.set()
        for thread in self._threads:
            thread.join(PATIENCE)

    def _run(self, target):
        try:
            with self.server.connect() as conn:
                while not self._stop.is_set():
                    floor = self.newest
                    answer = conn.get(target)
                    version = int(answer.body)
                    assert answer.status == 200 and version >= floor, (answer, floor)
                    self.newest = max(self.newest, version)
                    self.asked += 1
        except Exception as error:  # handed to the test's own thread
            self.failures.append(error)


def test_sighup_under_load_loses_nothing_and_never_goes_back(serve, versions):
    server = serve(versions.folder, "--loops", 4, "--log", "off")
    requests = 1_000 if is_sanitized() else 5_000
    with Load(server, clients=8) as load:
        while load.asked < requests and not load.failures:
            versions.write()
            reload(server)
    assert load.failures == []
    assert load.newest >= versions.number - 1


THREADED = """
local VERSION = %d
app:get("/threaded", perigee.threaded(function() return VERSION end))
local echo = perigee.threaded(function(number) return number == VERSION and VERSION or -1 end)
app:get("/calls", function() return echo(VERSION) end)
"""


def test_worker_threads_change_with_the_loops(serve, versions):
    versions.write(THREADED % 2)
    server = serve(versions.folder, "--loops", 2, "--threads", 2, "--log", "off")
    requests = 300 if is_sanitized() else 1_500
    with Load(server, clients=6, targets=("/", "/threaded", "/calls")) as load:
        while load.asked < requests and not load.failures:
            versions.write(THREADED % (versions.number + 1))
            reload(server)
    assert load.failures == []
    assert server.json("/threaded") == server.json("/calls") == versions.number


# Each VM that loads this app changes a file that it has just loaded.
RESTLESS = """
local perigee = require("perigee")
local number = require("number")
local app = perigee.app()
local on_worker = perigee.threaded(function()
  return number
end)
app:get("/", function()
  return { number, on_worker() }
end)
local file <close> = assert(io.open(package.searchpath("number", package.path), "w"))
file:write("return " .. number + 1)
return app
"""


def test_files_that_change_while_they_are_loaded_are_no_second_version(serve, write_app):
    folder = write_app({"app.lua": RESTLESS, "number.lua": "return 1"})
    server = serve(folder, "--loops", 3, "--threads", 2)
    for expected in (1, 2, 3):
        with contextlib.ExitStack() as together:
            for _ in range(6): # two on each loop
                conn = together.enter_context(server.connect())
                assert json.loads(conn.get("/").body) == [expected, expected]
        reload(server)


# Each VM tells all that it has read, and then waits for the editor to write again.
READER = """
local perigee = require("perigee")
local shared = perigee.shared
local t = perigee.types
local folder = "%s/"
local settings = perigee.settings({ number = t.integer })

local function read(name)
  local file <close> = io.open(folder .. name)
  return file and file:read("a") or "missing"
end

local lines = {}
for line in io.lines(folder .. "data.txt") do
  lines[#lines + 1] = line
end
local found, optional = pcall(require, "optional")
shared.push("seen", table.concat({
  settings.number,
  require("number"),
  dofile(folder .. "number.lua"),
  found and optional or "missing",
  (loadfile(folder .. "optional.lua") or function() return "missing" end)(),
  read("data.txt"),
  read("optional.txt"),
  table.concat(lines, ","),
}, " "))
assert(io.open(folder .. "pipe")):read("a") -- no file: not kept
local app = perigee.app()
local on_worker = perigee.threaded(function() return settings.number end)
app:get("/", function()
  local seen = {}
  for i = 1, shared.length("seen") do
    seen[i] = shared.pop("seen")
  end
  return { loop = settings.number, worker = on_worker(), seen = seen }
end)
return app
"""


class Editor:
    """Writes all files of an app again and again, in place and by rename, and lets its VMs go on."""

    def __init__(self, folder):
        self.folder = folder
        self.number = 0
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._write_until_stopped)
        os.mkfifo(folder / "pipe")
        self.write()

    def write(self):
        self.number += 1
        files = {
            ".env": f"NUMBER={self.number}",
            "number.lua": f"return {self.number}",
            "data.txt": f"{self.number}\n{self.number}",
        }
        for name in ("optional.lua", "optional.txt"):
            if self.number % 2 == 0:
                files[name] = f"return {self.number}"
            else:
                (self.folder / name).unlink(missing_ok=True)
        for name, text in files.items():
            fresh = self.folder / f".{name}.new"
            fresh.write_text(text)
            fresh.rename(self.folder / name)

    def _write_until_stopped(self):
        while not self._stopped.wait(0.001):
            self.write()
            with contextlib.suppress(OSError): # nobody reads
                os.close(os.open(self.folder / "pipe", os.O_WRONLY | os.O_NONBLOCK))

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._stopped.set()
        self._thread.join()


def test_all_threads_serve_the_version_that_the_first_one_read(serve, tmp_path):
    folder = tmp_path / "app"
    folder.mkdir()
    (folder / "app.lua").write_text(READER % folder)
    with Editor(folder):
        server = serve(folder, "--loops", 4, "--threads", 2)
        for _ in range(3):
            answer = server.json("/")
            seen = answer["seen"]
            assert len(seen) == 6 and len(set(seen)) == 1
            assert answer["loop"] == answer["worker"] == int(seen[0].split()[0])
            reload(server)


# Writes while it loads, under other names as well, and reads what it has written.
WRITER = """
local perigee = require("perigee")
local folder = "%s/"

local function read(name)
  local file <close> = io.open(folder .. name)
  return file and file:read("a") or "missing"
end

local function write(name, text)
  local file <close> = assert(io.open(folder .. name, "w"))
  file:write(text)
end

local notes = { read("made"), tostring(loadfile(folder .. "made.lua")), tostring(pcall(require, "made")) }
write("made", "1")
notes[#notes + 1] = read("made")
write("made", "2")
notes[#notes + 1] = read("made")
notes[#notes + 1] = read("link")
write("made.lua", "return 3")
notes[#notes + 1] = dofile(folder .. "made.lua")
notes[#notes + 1] = require("made")
write("fresh", "4")
assert(os.rename(folder .. "fresh", folder .. "made"))
notes[#notes + 1] = read("made")
assert(os.remove(folder .. "made"))
assert(os.remove(folder .. "made.lua"))
notes[#notes + 1] = read("made")

local app = perigee.app()
app:get("/", function() return notes end)
return app
"""


def test_an_app_that_writes_while_it_loads_reads_what_it_has_written(serve, tmp_path):
    folder = tmp_path / "app"
    folder.mkdir()
    (folder / "app.lua").write_text(WRITER % folder)
    (folder / "link").symlink_to("made")
    server = serve(folder, "--loops", 1)
    missing = ["missing", "nil", "false"]
    assert server.json("/") == [*missing, "1", "2", "2", 3, 3, "4", "missing"]


# More files than texts.c has buckets, and none of them twice.
COLLECTOR = """
local perigee = require("perigee")
local folder = "%s/data/"
local app = perigee.app()
local sum, missing = 0, 0
for i = 1, 5000 do
  local file <close> = assert(io.open(folder .. i))
  sum = sum + file:read("n")
  missing = missing + (io.open(folder .. i .. "-") and 0 or 1)
end
perigee.shared.incr("sum", sum)
app:get("/", function()
  return { sum = sum, missing = missing, all = perigee.shared.get("sum") }
end)
return app
"""


def test_an_app_may_read_thousands_of_files(serve, tmp_path):
    data = tmp_path / "data"
    data.mkdir()
    for i in range(1, 5001):
        (data / str(i)).write_text(str(i))
    (tmp_path / "app.lua").write_text(COLLECTOR % tmp_path)
    server = serve(tmp_path, "--loops", 2)
    total = 5000 * 5001 // 2
    assert server.json("/") == {"sum": total, "missing": 5000, "all": 2 * total}


# Another route in each VM, and all others in an order that chance decides.
BY_CHANCE = """
local perigee = require("perigee")
local app = perigee.app()
local paths = {}
for i = 1, 100 do
  paths["/" .. i] = true
end
for path in pairs(paths) do
  app:get(path, function() return path end)
end
%s
return app
"""


def test_threads_that_declare_different_operations_are_a_mistake(serve, write_app):
    different = BY_CHANCE % 'app:get("/only/" .. perigee.shared.incr("count"), function() end)'
    folder = write_app(different)
    result = run("run", folder, "--loops", 2, "--port", 0)
    assert result.returncode == 1
    assert re.search(r"only some have GET /only/[12] \(.*app\.lua:11\)", result.stderr)
    (folder / "app.lua").write_text(BY_CHANCE % "")
    server = serve(folder, "--loops", 4)
    assert server.json("/77") == "/77"
    (folder / "app.lua").write_text(different)
    server.signal(signal.SIGHUP)
    server.wait_for_log("only some have GET /only/")
    assert server.json("/77") == "/77"


@pytest.mark.memory
def test_reloads_leave_no_memory_behind(serve, versions):
    server = serve(versions.folder, "--loops", 2, "--log", "off")

    def reloads(count):
        for _ in range(count):
            versions.write()
            reload(server)
            assert server.json("/") == versions.number
        eventually(lambda: f"stop {versions.number - 1}" in versions.notes(), "the old one stops")
        return server.memory_kib()

    before = reloads(50)
    reloads(100)
    # The old version has stopped when it says so, and is freed a moment later.
    eventually(lambda: server.memory_kib() < before + 6144, f"not much more than {before} KiB")
