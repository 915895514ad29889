"""The supervisor: what dies is replaced, connections wait meanwhile, upgrades refuse nobody."""

import contextlib
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import threading
import time

import pytest

import server as servers
from server import BINARY, START_LINE, children_of, is_sanitized
from wire import PATIENCE, eventually

APP = """
local perigee = require("perigee")
local app = perigee.app({ title = "Kitchen" })
app:get("/", function()
  return "here"
end)
app:get("/slow", function()
  perigee.sleep(60000)
end)
app:get("/exit", function()
  os.exit(7)
end)
return app
"""


@pytest.fixture
def kitchen(serve, write_app):
    return lambda *flags, **options: serve(write_app(APP), *flags, **options)


def successor(server, *known):
    """Waits for a server process other than the known ones, and returns its pid."""
    found = []

    def look():
        found[:] = [pid for pid in children_of(server.process.pid) if pid not in known]
        return bool(found)

    eventually(look, "a new server process")
    return found[-1]


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGXCPU, signal.SIGTERM])
def test_a_server_that_dies_is_replaced(kitchen, number):
    server = kitchen()
    os.kill(server.pid, number)
    eventually(lambda: server.pid not in children_of(server.process.pid), "its end")
    assert server.json("/") == "here"
    assert successor(server, server.pid) != server.pid
    assert server.process.poll() is None


def test_it_says_why_a_server_died(kitchen):
    server = kitchen()
    os.kill(server.pid, signal.SIGKILL)
    server.wait_for_log(rf"server process {server.pid} was killed by signal 9 \(Killed\)")


def test_it_says_that_a_server_ended_by_itself(kitchen):
    server = kitchen()
    with server.connect() as conn, contextlib.suppress(EOFError, ConnectionError):
        conn.get("/exit")
    server.wait_for_log(rf"server process {server.pid} ended by itself with exit code 7")
    assert server.json("/") == "here"


@pytest.mark.skipif(is_sanitized(), reason="the sanitizer has the signal")
def test_it_names_the_request_that_crashed(serve, write_app, tmp_path):
    (tmp_path / "crash.c").write_text("""
        #include <lua.h>
        static int crash(lua_State *L) { *(volatile int *) 8 = 0; return 0; }
        int luaopen_crash(lua_State *L) { lua_pushcfunction(L, crash); return 1; }
    """)
    app = write_app("""
        local perigee = require("perigee")
        local app = perigee.app()
        app:get("/crash/{n}", function()
          require("crash")()
        end)
        app:get("/", function()
          return "here"
        end)
        return app
    """)
    subprocess.run(["cc", "-shared", "-fPIC", "-I/usr/include/lua5.4", tmp_path / "crash.c", "-o",
                    app / "crash.so"], check=True)
    server = serve(app)
    with server.connect() as conn, contextlib.suppress(EOFError, ConnectionError):
        conn.get("/crash/3?x=1")
    server.wait_for_log(r"killed by signal 11 \(.*\); it was serving GET /crash/3\?x=1$")
    assert server.json("/") == "here"


def test_the_second_death_in_a_row_waits_a_second(kitchen):
    server = kitchen()
    os.kill(server.pid, signal.SIGKILL)
    second = successor(server, server.pid)
    server.wait_for_log(START_LINE, 2)
    os.kill(second, signal.SIGKILL)
    server.wait_for_log("the next try is in 1 s")
    assert server.json("/") == "here" # which waited in the backlog


def test_a_server_that_does_not_tick_is_replaced(kitchen):
    server = kitchen("--stall-timeout-ms", 4000)
    os.kill(server.pid, signal.SIGSTOP)
    stat = pathlib.Path(f"/proc/{server.pid}/stat")
    eventually(lambda: stat.read_text().rsplit(")", 1)[1].split()[0] == "T", "its stop")
    assert server.json("/") == "here"
    server.wait_for_log(r"did not tick for \d+ s")


def test_a_stall_behind_another_death_has_waited_already(kitchen):
    server = kitchen("--stall-timeout-ms", 4000)
    os.kill(server.pid, signal.SIGKILL)
    second = successor(server, server.pid)
    server.wait_for_log(START_LINE, 2)
    os.kill(second, signal.SIGSTOP)
    server.wait_for_log(rf"server process {second} did not tick for")
    server.wait_for_log(START_LINE, 3)
    assert not [line for line in server.log if "the next try is in" in line]
    assert server.json("/") == "here"


def test_a_server_that_was_frozen_with_its_supervisor_serves_on(kitchen):
    server = kitchen("--stall-timeout-ms", 5000)
    both = [server.process.pid, server.pid]
    for pid in both:
        os.kill(pid, signal.SIGSTOP)
    time.sleep(6) # it has not ticked for longer than it may
    os.kill(server.process.pid, signal.SIGCONT)
    time.sleep(0.5) # enough for it to look at the ticks that did not come
    os.kill(server.pid, signal.SIGCONT)
    assert server.json("/") == "here"
    assert children_of(server.process.pid) == both[1:]


STARTING = """
local perigee = require("perigee")
local app = perigee.app()
app:on_start(function()
  while io.open("{wait}") do
    io.open("{wait}s", "w"):close()
    perigee.sleep(5)
  end
end)
app:get("/", function()
  return "{version}"
end)
return app
"""


@pytest.fixture
def starting(serve, write_app, tmp_path):
    """A server, a file that keeps its successors from starting, and a way to write the app."""
    wait = tmp_path / "wait"
    app = write_app(STARTING.format(wait=wait, version="one"))

    def write(version):
        (pathlib.Path(app) / "app.lua").write_text(STARTING.format(wait=wait, version=version))

    return (lambda *flags: serve(app, *flags)), wait, write


def test_a_successor_that_does_not_start_is_replaced(starting):
    run, wait, _ = starting
    server = run("--load-timeout-ms", 3000)
    wait.touch()
    os.kill(server.pid, signal.SIGKILL)
    second = successor(server, server.pid)
    environ = pathlib.Path(f"/proc/{second}/environ") # of the server process, once it is one
    eventually(lambda: b"PERIGEE_SERVER=" in environ.read_bytes(), "a process of its own")
    os.kill(second, signal.SIGSTOP)
    wait.unlink()
    server.wait_for_log(rf"server process {second} did not start in \d+ s: it was killed")
    assert server.json("/") == "one"


# Loaded into the supervisor: its children stop before they become a server process, while the file
# is there.
STOPS_BEFORE_EXEC = """
    #define _GNU_SOURCE
    #include <dlfcn.h>
    #include <signal.h>
    #include <unistd.h>
    int execv(const char *path, char *const argv[])
    {
        if (access("%s", F_OK) == 0)
            raise(SIGSTOP);
        int (*real)(const char *, char *const[]) = dlsym(RTLD_NEXT, "execv");
        return real(path, argv);
    }
"""


def test_a_child_that_does_not_become_a_server_is_replaced(kitchen, tmp_path):
    wait = tmp_path / "wait"
    (tmp_path / "stops.c").write_text(STOPS_BEFORE_EXEC % wait)
    library = tmp_path / "stops.so"
    subprocess.run(["cc", "-shared", "-fPIC", tmp_path / "stops.c", "-o", library], check=True)
    env = {"LD_PRELOAD": str(library), "ASAN_OPTIONS": "verify_asan_link_order=0"}
    server = kitchen("--load-timeout-ms", 3000, env=env)
    wait.touch()
    os.kill(server.pid, signal.SIGKILL)
    second = successor(server, server.pid)
    environ = pathlib.Path(f"/proc/{second}/environ")
    stat = pathlib.Path(f"/proc/{second}/stat")
    eventually(lambda: stat.read_text().rsplit(")", 1)[1].split()[0] == "T", "its stop")
    assert b"PERIGEE_SERVER=" not in environ.read_bytes()
    wait.unlink()
    server.wait_for_log(rf"server process {second} did not start in \d+ s: it was killed")
    assert server.json("/") == "here"


def test_a_reload_that_is_asked_for_during_a_start_is_not_lost(starting):
    run, wait, write = starting
    server = run()
    wait.touch()
    os.kill(server.pid, signal.SIGKILL)
    eventually(wait.with_name("waits").exists, "a version that has loaded")
    write("two")
    server.signal(signal.SIGHUP)
    wait.unlink()
    server.wait_for_log("reloaded in")
    assert server.json("/") == "two"


def test_no_connection_is_refused_while_servers_are_killed(kitchen):
    server = kitchen()
    stop = threading.Event()
    refused, answered = [], []

    def ask():
        while not stop.is_set():
            try:
                answered.append(server.json("/"))
            except ConnectionRefusedError as error:
                refused.append(error)
            except (AssertionError, EOFError, ConnectionError):
                pass # it was being served by the one that was killed

    asking = threading.Thread(target=ask)
    asking.start()
    known = [server.pid]
    for round_ in range(2):
        os.kill(known[-1], signal.SIGKILL)
        known.append(successor(server, *known))
        server.wait_for_log(START_LINE, round_ + 2)
    stop.set()
    asking.join()
    assert refused == []
    assert answered


def test_an_app_that_does_not_load_ends_the_supervisor(write_app):
    done = servers.run("run", write_app("return 1"), "--port", 0)
    assert done.returncode == 1
    assert "it must end with `return app`" in done.stderr


def test_an_address_in_use_is_said_once(kitchen):
    server = kitchen()
    done = servers.run("run", server.app_path, "--port", server.port)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "in use by another program" in done.stderr


def test_the_end_of_the_supervisor_is_the_end_of_its_server(kitchen):
    server = kitchen()
    os.kill(server.process.pid, signal.SIGKILL)
    server.process.wait()
    server.wait_for_log("the supervisor is gone")
    eventually(lambda: not pathlib.Path(f"/proc/{server.pid}").exists(), "the end of the server")
    server.process.returncode = 0 # as intended


def test_a_stop_answers_what_has_begun(serve, write_app):
    server = serve(write_app(APP.replace("60000", "300")))
    with server.connect() as conn:
        conn.send("GET /slow HTTP/1.1\r\nHost: x\r\n\r\n")
        server.get("/")
        server.signal(signal.SIGTERM)
        assert conn.answer().status == 200
    assert server.wait() == 0


def test_without_a_supervisor_there_is_one_process(kitchen):
    server = kitchen("--supervise", "off")
    assert server.pid == server.process.pid
    assert server.json("/") == "here"


# Upgrade


@pytest.fixture
def copied(kitchen, tmp_path):
    """A server whose binary is a copy, so that the file can be replaced."""
    path = tmp_path / "perigee"
    shutil.copy(BINARY, path)
    server = kitchen(binary=path)
    server.path = path
    return server


def replace(path, content):
    new = path.with_suffix(".new")
    if isinstance(content, bytes):
        new.write_bytes(content)
    else:
        shutil.copy(content, new)
    new.chmod(0o755)
    os.replace(new, path)


def test_an_upgrade_refuses_nobody_and_keeps_the_pid(copied):
    stop = threading.Event()
    failed, answered = [], []

    def ask():
        while not stop.is_set():
            try:
                answered.append(copied.json("/"))
            except (AssertionError, EOFError, OSError) as error:
                failed.append(error)

    asking = threading.Thread(target=ask)
    asking.start()
    replace(copied.path, BINARY)
    copied.signal(signal.SIGUSR2)
    copied.wait_for_log("upgrade: done")
    eventually(lambda: copied.pid not in children_of(copied.process.pid), "the old one's end")
    stop.set()
    asking.join()
    assert failed == []
    assert answered
    assert copied.process.poll() is None
    assert os.readlink(f"/proc/{copied.process.pid}/exe") == str(copied.path)
    assert "supervisor is gone" not in copied.output


def test_a_request_of_the_old_server_is_finished(copied):
    with copied.connect() as conn:
        conn.send("GET /slow HTTP/1.1\r\nHost: x\r\n\r\n")
        copied.get("/")
        copied.signal(signal.SIGUSR2)
        copied.wait_for_log("upgrade: done")
        assert copied.json("/") == "here"
        assert copied.pid in children_of(copied.process.pid) # it drains
    copied.signal(signal.SIGTERM)
    copied.signal(signal.SIGTERM)


@pytest.mark.parametrize("content", [b"no program", b"#!/bin/sh\nexit 3\n"])
def test_an_upgrade_to_what_does_not_start_changes_nothing(copied, content):
    expect_no_upgrade(copied, content)


@pytest.mark.parametrize("hang", ["kill -STOP $$", "exec sleep 600"])
def test_an_upgrade_to_what_says_nothing_is_given_up(kitchen, tmp_path, hang):
    path = tmp_path / "perigee"
    shutil.copy(BINARY, path)
    server = kitchen("--load-timeout-ms", 3000, binary=path)
    server.path = path
    expect_no_upgrade(server, f"#!/bin/sh\n{hang}\n".encode())
    server.wait_for_log(r"did not start in \d+ s: it was killed")


def expect_no_upgrade(copied, content):
    replace(copied.path, content)
    copied.signal(signal.SIGUSR2)
    copied.wait_for_log("the new binary did not start; the old one serves on")
    assert copied.json("/") == "here"
    assert children_of(copied.process.pid) == [copied.pid]


def test_a_server_that_dies_before_an_upgrade_is_replaced_by_its_own_version(copied):
    replace(copied.path, b"no program")
    os.kill(copied.pid, signal.SIGKILL)
    eventually(lambda: copied.pid not in children_of(copied.process.pid), "its end")
    assert copied.json("/") == "here"


# Sockets


def ask_unix(path):
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(PATIENCE)
        sock.connect(str(path))
        sock.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        data = b""
        while piece := sock.recv(4096):
            data += piece
    return data


def test_a_unix_socket_serves_and_goes_with_the_server(kitchen, tmp_path):
    path = tmp_path / "perigee.sock"
    server = kitchen("--uds", path)
    assert ask_unix(path).endswith(b'"here"')
    assert server.json("/") == "here"
    server.wait_for_log(r"unix \"?GET / |unix.*GET")
    server.stop()
    assert not path.exists()


def test_a_unix_socket_is_found_while_the_server_drains(kitchen, tmp_path):
    path = tmp_path / "perigee.sock"
    server = kitchen("--uds", path, "--health", "on", "--drain-ms", 600_000)
    server.signal(signal.SIGTERM)
    eventually(lambda: server.get("/readyz").status == 503, "the drain")
    assert ask_unix(path).endswith(b'"here"')
    server.signal(signal.SIGTERM) # the second one does not wait
    server.wait()
    assert not path.exists()


def test_the_path_of_another_program_stays(kitchen, tmp_path):
    path = tmp_path / "perigee.sock"
    server = kitchen("--uds", path)
    path.unlink()
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(path))
        server.stop()
        assert path.exists()


def test_a_socket_left_behind_is_replaced_and_a_used_one_is_not(kitchen, tmp_path):
    path = tmp_path / "perigee.sock"
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(path))
    server = kitchen("--uds", path)
    assert ask_unix(path).endswith(b'"here"')
    done = servers.run("run", server.app_path, "--uds", path)
    assert done.returncode == 2
    assert "in use by another program" in done.stderr
    plain = tmp_path / "plain"
    plain.write_text("mine")
    assert servers.run("run", server.app_path, "--uds", plain).returncode == 2
    assert plain.read_text() == "mine"


def test_several_addresses_serve_at_once(kitchen):
    server = kitchen("--listen", "127.0.0.1:0", "--listen", "[::1]:0")
    line = server.wait_for_log(START_LINE)
    for host, port in re.findall(r"http://(127\.0\.0\.1|\[::1\]):(\d+)", line):
        with socket.create_connection((host.strip("[]"), int(port)), PATIENCE) as sock:
            sock.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            assert sock.recv(100).startswith(b"HTTP/1.1 200 OK\r\n")
    assert len(re.findall("http://", line.split(" (")[0])) == 3


@contextlib.contextmanager
def passed_socket(command, **environment):
    """A process that inherits a listening socket as descriptor 3, and its port."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        fd = listening.fileno()
        process = subprocess.Popen(
            ["/bin/bash", "-c", f"{'exec 3<&%d' % fd if fd != 3 else ':'}; {command}"],
            pass_fds=[fd], env=servers.environment(**environment), stdin=subprocess.DEVNULL,
            stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
        port = listening.getsockname()[1]
    try:
        yield process, port
    finally:
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, errors


def get(port):
    with socket.create_connection(("127.0.0.1", port), PATIENCE) as sock:
        sock.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        data = b""
        while piece := sock.recv(4096):
            data += piece
    return data


def test_a_descriptor_of_the_parent_serves(write_app):
    with passed_socket(f"exec {BINARY} run {write_app(APP)} --fd 3") as (_, port):
        assert get(port).endswith(b'"here"')


def test_a_service_manager_passes_sockets_and_is_told(write_app, tmp_path):
    notes = tmp_path / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(notes))
        manager.settimeout(PATIENCE)
        with passed_socket(
            f"LISTEN_PID=$$ LISTEN_FDS=1 exec {BINARY} run {write_app(APP)}",
            NOTIFY_SOCKET=str(notes), WATCHDOG_USEC="500000",
        ) as (process, port):
            assert manager.recv(100) == b"READY=1"
            assert manager.recv(100) == b"WATCHDOG=1"
            assert manager.recv(100) == b"WATCHDOG=1"
            assert get(port).endswith(b'"here"')
            process.send_signal(signal.SIGTERM)
            said = b""
            while said != b"STOPPING=1":
                said = manager.recv(100)


def test_a_service_manager_is_told_that_a_supervisor_waits(write_app, tmp_path):
    notes = tmp_path / "notify"

    def heard_before_ready():
        said = []
        while not said or said[-1] != b"READY=1":
            said.append(manager.recv(100))
        return said

    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(notes))
        manager.settimeout(PATIENCE)
        with passed_socket(
            f"LISTEN_PID=$$ LISTEN_FDS=1 exec {BINARY} run {write_app(APP)}",
            NOTIFY_SOCKET=str(notes), WATCHDOG_USEC="500000",
        ) as (process, _):
            for _ in range(2): # the second death is followed by a wait of a second
                heard_before_ready()
                os.kill(children_of(process.pid)[-1], signal.SIGKILL)
            assert heard_before_ready().count(b"WATCHDOG=1") >= 2


def test_a_descriptor_that_is_no_socket_is_said(write_app):
    done = servers.run("run", write_app(APP), "--fd", 0)
    assert done.returncode == 2
    assert "cannot use descriptor 0: Socket operation on non-socket" in done.stderr
