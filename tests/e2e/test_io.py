"""Sockets, children and files against real peers: what arrives, and what is left behind when a client
leaves or the program ends. Within the binary, tests/lua/host/ says more."""

import contextlib
import json
import os
import pathlib
import signal
import socket
import subprocess
import threading

import pytest

from server import BINARY, environment, run
from wire import PATIENCE, eventually


@pytest.fixture
def io(serve):
    return serve("io")


@pytest.fixture
def script(tmp_path):
    """Runs Lua text as `perigee script.lua ARGUMENTS` and returns what it printed."""

    def start(text, *args):
        path = tmp_path / "script.lua"
        path.write_text('local perigee = require("perigee")\n' + text)
        result = run(path, *args)
        assert result.returncode == 0, result.stderr
        assert result.stderr == ""
        return result.stdout

    return start


@contextlib.contextmanager
def listening(family=socket.AF_INET, host="127.0.0.1", backlog=8):
    with socket.socket(family, socket.SOCK_STREAM) as listener:
        listener.bind((host, 0))
        listener.listen(backlog)
        listener.settimeout(PATIENCE)
        yield listener


def accept(listener):
    peer, _ = listener.accept()
    peer.settimeout(PATIENCE)
    return peer


def descriptors(pid):
    return len(list(pathlib.Path(f"/proc/{pid}/fd").iterdir()))


def children(pid):
    found = subprocess.run(["ps", "-o", "pid=", "--ppid", str(pid)], capture_output=True, text=True)
    return found.stdout.split()


def is_running(pid):
    try:
        stat = pathlib.Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return False
    return stat.rsplit(")", 1)[1].split()[0] != "Z"


# Sockets


def test_a_client_reads_what_arrives_in_pieces(script):
    """Every delimiter is cut in two; the last line has none."""
    with listening() as listener:

        def talk():
            with accept(listener) as peer:
                assert peer.recv(100) == b"hello\n"
                for byte in b"one\r\ntwo||12345\nrest":
                    peer.sendall(bytes([byte]))

        thread = threading.Thread(target=talk)
        thread.start()
        printed = script(
            """
            local port = math.tointeger(arg[1])
            local stream = assert(perigee.net.connect({ host = "127.0.0.1", port = port }))
            stream:nodelay(true)
            stream:write("hello\\n")
            print(stream:read_line())
            print(stream:read_until("||"))
            print(stream:read_exactly(5))
            for line in stream:lines() do print("[" .. line .. "]") end
            """,
            listener.getsockname()[1],
        )
        thread.join(PATIENCE)
    assert printed == "one\ntwo\n12345\n[]\n[rest]\n"


def test_failures_of_the_peer_have_codes(script):
    with listening() as listener, listening() as silent, socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))  # and does not listen
        refused_port = deaf.getsockname()[1]

        def talk():
            for linger in (b"short", b""):
                peer = accept(listener)
                assert peer.recv(10) == b"hello"
                peer.sendall(linger)
                if not linger:
                    peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
                peer.close()

        thread = threading.Thread(target=talk)
        thread.start()
        printed = script(
            """
            local function connect(port)
              return perigee.net.connect({ host = "127.0.0.1", port = math.tointeger(port) })
            end
            local function code(_, err) print(err and err.code) end
            code(connect(arg[2]))
            local stream <close> = connect(arg[1])
            stream:write("hello")
            code(stream:read_exactly(100))
            local reset <close> = connect(arg[1])
            reset:write("hello")
            code(reset:read())
            code(reset:read())
            local silent <close> = connect(arg[3])
            silent:set_timeout(20)
            code(silent:read())
            code(silent:write(("x"):rep(50000):rep(400)))
            code(silent:write("more"))
            """,
            listener.getsockname()[1],
            refused_port,
            silent.getsockname()[1],
        )
        thread.join(PATIENCE)
    assert printed.split() == [
        "ECONNREFUSED",
        "EOF",
        "ECONNRESET",
        "ECONNRESET",
        "ETIMEDOUT",
        "ETIMEDOUT",
        "EPIPE",
    ]


def test_a_name_is_tried_at_all_its_addresses(script):
    """localhost is ::1 first on most machines, and nobody listens there."""
    with listening() as listener:
        printed = script(
            """
            local port = math.tointeger(arg[1])
            local stream = assert(perigee.net.connect({ host = "localhost", port = port }))
            print(stream:remote_address().host)
            print(perigee.net.resolve("127.0.0.1")[1])
            print((select(2, perigee.net.resolve("no-such-name.invalid")).code:match("^EAI_")))
            """,
            listener.getsockname()[1],
        )
    assert printed == "127.0.0.1\n127.0.0.1\nEAI_\n"


ECHO = """
local listener = assert(perigee.net.listen({ host = "127.0.0.1", port = 0 }))
io.stdout:write(listener:address().port, "\\n"):flush()
listener:serve(function(stream)
  for bytes in stream:chunks() do
    if bytes == "raise" then error("burger") end
    if bytes == "stop" then listener:close() end
    if not stream:write(bytes) then return end
  end
  stream:shutdown()
end, { max_connections = 20 })
print("over")
"""


@contextlib.contextmanager
def echo_server(tmp_path):
    path = tmp_path / "echo.lua"
    path.write_text('local perigee = require("perigee")\n' + ECHO)
    with subprocess.Popen(
        [BINARY, path],
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        process.port = int(process.stdout.readline())
        yield process
        process.kill()


def talk_to(port):
    peer = socket.create_connection(("127.0.0.1", port), PATIENCE)
    peer.settimeout(PATIENCE)
    return peer


def receive_all(peer):
    parts = []
    while part := peer.recv(65536):
        parts.append(part)
    return b"".join(parts)


def test_a_server_of_sockets_serves_many_and_survives_each(tmp_path):
    with echo_server(tmp_path) as server:
        base = descriptors(server.pid)
        with contextlib.ExitStack() as stack:
            peers = [stack.enter_context(talk_to(server.port)) for _ in range(20)]
            for number, peer in enumerate(peers):
                peer.sendall(b"%d" % number)
            for number, peer in enumerate(peers):
                assert peer.recv(100) == b"%d" % number
            with talk_to(server.port) as late:  # one too many: it waits for its turn
                late.sendall(b"late")
                peers[0].close()
                assert late.recv(100) == b"late"
            peers[1].sendall(b"raise")
            assert peers[1].recv(100) == b""
            peers[2].setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            peers[2].close()
            peers[3].sendall(b"x" * 1000)
            assert peers[3].recv(2000)
        eventually(lambda: descriptors(server.pid) == base, "no connection is left open")
        with talk_to(server.port) as last:
            last.sendall(b"stop")
            assert last.recv(100) == b"stop"
            last.shutdown(socket.SHUT_WR)
            assert last.recv(100) == b""
        out, err = server.communicate(timeout=PATIENCE)
        assert server.returncode == 0
        assert out == "over\n"
        assert err.count("burger") == 1


def test_a_slow_reader_slows_the_writer_down(tmp_path):
    """20 MB come back whole, though nobody reads until all of it was sent or got stuck."""
    data = os.urandom(1 << 20) * 20
    with echo_server(tmp_path) as server, talk_to(server.port) as peer:

        def send():
            peer.sendall(data)
            peer.shutdown(socket.SHUT_WR)

        thread = threading.Thread(target=send)
        thread.start()
        assert receive_all(peer) == data
        thread.join(PATIENCE)


@pytest.mark.memory
def test_a_peer_that_never_reads_costs_bounded_memory(tmp_path):
    def resident(pid):
        return int(pathlib.Path(f"/proc/{pid}/statm").read_text().split()[1]) * 4096

    with echo_server(tmp_path) as server, talk_to(server.port) as peer:
        before = resident(server.pid)
        peer.settimeout(1)
        with pytest.raises(TimeoutError):
            while True:
                peer.sendall(b"x" * 65536)
        assert resident(server.pid) - before < 4 << 20


@pytest.mark.parametrize("way", ["line", "flood"])
def test_a_client_that_leaves_closes_what_its_handler_had_open(io, way):
    with listening() as listener:
        with io.connect() as conn:
            conn.request("GET", f"/{way}/{listener.getsockname()[1]}")
            with accept(listener) as peer:
                assert peer.recv(1)
                conn.reset()
                with contextlib.suppress(ConnectionResetError):
                    while peer.recv(1 << 20):
                        pass
    assert io.get("/").status == 200


def test_a_client_that_leaves_ends_a_connection_that_is_being_made(io):
    """A listener whose queue is full answers nobody."""
    with listening(backlog=0) as full, contextlib.ExitStack() as stack:
        port = full.getsockname()[1]
        for _ in range(4):
            filler = stack.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(("127.0.0.1", port))
        base = io.sockets()
        with io.connect() as conn:
            conn.request("GET", f"/connect/{port}")
            eventually(lambda: io.sockets() == base + 2, "it connects")
            conn.reset()
        io.wait_for_sockets(base)
    assert io.get("/").status == 200


def test_the_server_ends_while_handlers_wait_for_everything(io, tmp_path):
    with listening() as listener, contextlib.ExitStack() as stack:
        targets = [
            f"/line/{listener.getsockname()[1]}",
            f"/child?path={tmp_path}/child",
            f"/pipe?path={tmp_path}/pipe",
            f"/watch?path={tmp_path}",
            "/endless",
        ]
        for target in targets:
            conn = stack.enter_context(io.connect())
            conn.request("GET", target)
        stack.enter_context(accept(listener))
        pids = [wait_for_number(tmp_path / name) for name in ("child", "pipe")]
        io.signal(signal.SIGTERM)
        io.signal(signal.SIGTERM)  # at once
        io.stop()
        eventually(lambda: not any(map(is_running, pids)), "the children ended, too")


def test_threaded_functions_wait_for_the_same_things(io):
    with listening() as listener, io.connect() as conn:
        conn.request("GET", f"/threaded?port={listener.getsockname()[1]}")
        with accept(listener) as peer:
            assert peer.recv(100) == b"burger\n"
            peer.sendall(b"thanks\n")
        answer = conn.answer()
    assert answer.status == 200, answer
    got = json.loads(answer.body)
    assert got == {"said": "thanks", "entries": [{"name": "a", "type": "file"}]}


# Children


def wait_for_number(path):
    eventually(lambda: path.exists() and path.read_text().strip(), f"{path} is written")
    return int(path.read_text())


@pytest.mark.parametrize("way", ["child", "pipe"])
def test_a_client_that_leaves_kills_the_child_of_its_handler(io, tmp_path, way):
    with io.connect() as conn:
        conn.request("GET", f"/{way}?path={tmp_path}/pid")
        pid = wait_for_number(tmp_path / "pid")
        assert is_running(pid)
        assert os.getsid(pid) == pid
        conn.reset()
    eventually(lambda: not is_running(pid), "the child is gone")
    eventually(lambda: children(io.pid) == [], "no zombie is left")


def test_children_leave_no_descriptor_behind(io):
    assert io.json("/true")["ok"] is True
    base = descriptors(io.pid)
    with io.connect() as conn:
        for _ in range(50):
            assert conn.get("/true").status == 200
    eventually(lambda: descriptors(io.pid) <= base, "no descriptor is left")
    assert children(io.pid) == []


# Files


def test_a_read_that_never_ends_stops_when_its_client_leaves(io):
    with io.connect() as conn:
        conn.request("GET", "/endless")
        for _ in range(5):
            assert io.get("/").status == 200  # meanwhile the loop is free
        conn.reset()
    before = descriptors(io.pid)
    eventually(lambda: descriptors(io.pid) <= before, "/dev/zero is closed")
    for _ in range(8):  # more than the threadpool has threads
        with io.connect() as conn:
            conn.request("GET", "/endless")
            assert io.get("/").status == 200
            conn.reset()
    assert io.json("/copy?from=/nonexistent&to=/nonexistent") == "ENOENT"


def test_a_copy_that_is_cancelled_leaves_nothing(io, tmp_path):
    source = tmp_path / "source"
    with source.open("wb") as file:
        file.truncate(1 << 36)
    target = tmp_path / "target"
    with io.connect() as conn:
        conn.request("GET", f"/copy?from={source}&to={target}")
        eventually(lambda: len(list(tmp_path.iterdir())) == 2, "the copy has begun")
        conn.reset()
    eventually(lambda: list(tmp_path.iterdir()) == [source], "the half copy is removed")


def test_an_app_reads_files_while_it_loads(serve, write_app):
    app = """
        local perigee = require("perigee")
        local fs = perigee.fs
        local here = debug.getinfo(1, "S").source:match("^@(.*)/")
        local app = perigee.app()
        local menu = {}
        do
          local file <close> = assert(fs.open(here .. "/menu.txt"))
          for line in file:lines() do menu[#menu + 1] = line end
        end
        menu[#menu + 1] = #assert(fs.list(here))
        menu[#menu + 1] = select(2, fs.read(here .. "/none")).code
        app:get("/", function() return menu end)
        return app
    """
    folder = write_app({"app.lua": app, "menu.txt": "burger\nfries\n"})
    assert serve(folder).json("/") == ["burger", "fries", 2, "ENOENT"]


def test_temporary_things_go_when_the_program_ends(script, tmp_path):
    script(
        """
        local folder = assert(perigee.fs.temp_folder({ folder = arg[1] }))
        assert(perigee.fs.write(folder.path .. "/a", "x"))
        local file = assert(perigee.fs.temp_file({ folder = arg[1] }))
        file.file:write("x")
        """,
        tmp_path / ".",
    )
    assert [path.name for path in tmp_path.iterdir()] == ["script.lua"]


def test_a_script_may_leave_everything_open(script):
    """The end closes it: the loop is empty, or the program says that it is not."""
    script(
        """
        local fs, net, process = perigee.fs, perigee.net, perigee.process
        local listener = net.listen({ host = "127.0.0.1", port = 0 })
        Client = net.connect({ host = "127.0.0.1", port = listener:address().port })
        Client:write(("x"):rep(100))
        Server = listener:accept()
        File = fs.open(arg[0])
        Watch = fs.watch("/tmp")
        Child = process.pipe({ "sleep", "1000" })
        Listener = listener
        """
    )
