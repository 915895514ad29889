"""Seeing inside: perigee ps, stack, cancel and top, and the socket they ask."""

import contextlib
import fcntl
import json
import os
import pathlib
import pty
import re
import select
import shutil
import signal
import socket
import stat
import struct
import tempfile
import termios

import pytest

from server import APPS, BINARY, Server, environment, run
from wire import PATIENCE, eventually

APP = APPS / "seen" / "app.lua"


@pytest.fixture
def runtime():
    """A folder for sockets; pytest's own are too long for some of them."""
    folder = pathlib.Path(tempfile.mkdtemp(prefix="perigee-"))
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def seen(serve, runtime):
    """The app of these tests, which ends at once when told to."""

    def start(*flags, **options):
        env = {"XDG_RUNTIME_DIR": str(runtime)}
        return serve("seen", "--shutdown-grace-ms", 0, *flags, env=env, **options)

    return start


@pytest.fixture
def requests(seen):
    """A server, and a function that begins requests of it: begin("/sleep")."""
    server = seen("--threads", 2)
    with contextlib.ExitStack() as ends:

        def begin(target, method="GET", *fields, body=b""):
            conn = ends.enter_context(server.connect())
            conn.request(method, target, *fields, body=body)
            return conn

        yield server, begin


class Asker:
    """A client of the control socket."""

    def __init__(self, path):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(PATIENCE)
        self.sock.connect(str(path))
        self.file = self.sock.makefile("rb")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.file.close()
        self.sock.close()

    def answer(self):
        lines = []
        while True:
            raw = self.file.readline()
            assert raw.endswith(b"\n"), "the server has closed the control socket"
            line = json.loads(raw)
            if line["kind"] == "end":
                return lines
            lines.append(line)

    def ask(self, question):
        self.sock.sendall(question.encode() + b"\n")
        return self.answer()


def socket_of(runtime, server):
    return runtime / "perigee" / f"{server.pid}.sock"


def ask(runtime, server, question):
    with Asker(socket_of(runtime, server)) as asker:
        return asker.ask(question)


def line_of(lines, **wanted):
    """The one line that has these values; None when there is none."""
    found = [line for line in lines if wanted.items() <= line.items()]
    assert len(found) <= 1, found
    return found[0] if found else None


def wait_for(runtime, server, **wanted):
    """Asks until a line has these values, and returns all lines and that one."""
    kept = []

    def is_there():
        kept[:] = ask(runtime, server, "ps")
        return line_of(kept, **wanted) is not None

    eventually(is_there, f"a line with {wanted}")
    return kept, line_of(kept, **wanted)


def line_with(text):
    """Where a text stands in the app: "app.lua:12"."""
    for number, line in enumerate(APP.read_text().splitlines(), 1):
        if text in line:
            return f"app.lua:{number}"
    raise AssertionError(text)


def place_in(target):
    """The first line in the handler of a target that waits or computes."""
    lines = APP.read_text().splitlines()
    start = next(i for i, line in enumerate(lines) if f'"{target}"' in line)
    for number in range(start, len(lines)):
        if re.search(r"sleep\(60000\)|:receive\(|read_line\(|task.group\(", lines[number]):
            return f"app.lua:{number + 1}"
    raise AssertionError(target)


# What waits for what


@pytest.mark.parametrize(
    "target, waits", [("/sleep", "sleep"), ("/channel", "receive"), ("/group", "group")]
)
def test_a_request_that_waits_is_shown_with_its_place(requests, runtime, target, waits):
    server, begin = requests
    conn = begin(target, "GET", "X-Test: 1")
    _, line = wait_for(runtime, server, kind="request", target=target, waits=waits)
    assert line["method"] == "GET" and line["route"] == target and line["state"] == "waits"
    assert line["place"].endswith("/" + place_in(target))
    assert re.search(r"/app\.lua:\d+$", line["source"])
    assert line["client"] == f"127.0.0.1:{conn.port}"
    assert line["age_ms"] >= 0 and re.fullmatch("[0-9a-f]{24}", line["request"])


def test_a_wait_behind_a_tail_call_has_its_name(requests, runtime):
    server, begin = requests
    begin("/tail")
    _, line = wait_for(runtime, server, kind="request", target="/tail")
    assert line["waits"] == "sleep"


def test_a_request_that_reads_from_a_server_is_shown(requests, runtime):
    server, begin = requests
    with socket.create_server(("127.0.0.1", 0)) as database:
        begin(f"/socket/{database.getsockname()[1]}")
        _, line = wait_for(runtime, server, kind="request", waits="read_line")
        assert line["place"].endswith(place_in("/socket/{port}"))
        assert line["route"] == "/socket/{port}"


def test_the_coroutines_of_the_app_are_followed(requests, runtime):
    server, begin = requests
    begin("/coroutine")
    _, line = wait_for(runtime, server, kind="request", target="/coroutine")
    deep = line_with("two coroutines down")
    assert line["place"].endswith(deep) and line["waits"] == "sleep"
    stack = line_of(ask(runtime, server, f"stack {line['id']}"), id=line["id"])["stack"]
    places = [at for at in (re.search(r"app\.lua:\d+(?=:)", frame) for frame in stack) if at]
    assert [at[0] for at in places] == [
        deep,
        line_with("coroutine.resume(deeper)"),
        line_with("  inner()"),
    ]


def test_tasks_of_a_group_are_shown_below_their_request(requests, runtime):
    server, begin = requests
    begin("/group")
    lines, request = wait_for(runtime, server, kind="request", target="/group")
    child = line_of(lines, kind="task", of=request["id"])
    assert child["waits"] == "sleep"
    both = ask(runtime, server, f"stack {request['id']}")
    assert {line["id"] for line in both if "stack" in line} == {request["id"], child["id"]}
    text = run("ps", server.pid, env={"XDG_RUNTIME_DIR": str(runtime)}).stdout
    assert re.search(rf"GET /group .*\n{child['id']} .*  task of {request['id']} ", text)


def test_a_request_that_computes_is_shown_while_it_does(requests, runtime):
    server, begin = requests
    begin("/spin")
    _, line = wait_for(runtime, server, kind="request", target="/spin", state="computes")
    assert line["slow"] is True
    stack = line_of(ask(runtime, server, f"stack {line['id']}"), id=line["id"])["stack"]
    assert re.search(r"app\.lua:\d+: in ", stack[0])


def test_a_stream_is_shown_with_its_status(requests, runtime):
    server, begin = requests
    begin("/stream")
    _, line = wait_for(runtime, server, kind="request", target="/stream", waits="sleep")
    assert line["status"] == 200


def test_functions_behind_an_answer_are_shown_with_its_request(requests, runtime):
    server, begin = requests
    assert begin("/after").answer().status == 200
    _, line = wait_for(runtime, server, kind="after", waits="sleep")
    stacks = ask(runtime, server, f"stack {line['request']}")
    assert line_of(stacks, kind="after")["stack"]
    cancelled = ask(runtime, server, f"cancel {line['request']}")
    assert line_of(cancelled, kind="cancelled", id=line["id"])
    eventually(
        lambda: line_of(ask(runtime, server, "ps"), kind="after") is None, "the end of the function"
    )


@pytest.mark.parametrize("target", ["/declared", "/read"])
def test_a_request_whose_body_is_awaited_is_shown_and_can_be_cancelled(requests, runtime, target):
    server, _ = requests
    conn = server.connect()
    head = f"POST {target} HTTP/1.1\r\nHost: here\r\nContent-Type: application/json\r\n"
    conn.send(head + "Content-Length: 100\r\n\r\n{")
    _, line = wait_for(runtime, server, kind="request", target=target, waits="request body")
    ask(runtime, server, f"cancel {line['id']}")
    assert conn.answer("POST").status == 503
    conn.close()


# Workers


@pytest.mark.parametrize("target, state", [("/worker/spin", "computes"), ("/worker/sleep", "waits")])
def test_a_worker_shows_what_it_does(requests, runtime, target, state):
    server, begin = requests
    begin(target)
    _, request = wait_for(runtime, server, kind="request", target=target, waits="worker")
    _, worker = wait_for(runtime, server, kind="worker", state=state)
    assert request["on_worker"] == worker["worker"]
    assert request["generation"] == worker["generation"]

    def has_its_stack():  # a worker that gets no processor for long has not answered
        stacks = ask(runtime, server, f"stack {request['id']}")
        stack = line_of(stacks, kind="worker", worker=worker["worker"]).get("stack", [])
        return any("/app.lua:" in frame for frame in stack)

    def has_its_text():
        text = run("stack", request["id"], env={"XDG_RUNTIME_DIR": str(runtime)}).stdout
        return f"on worker {worker['worker']}\n" in text and "/app.lua:" in text

    eventually(has_its_stack, "the worker's stack")
    eventually(has_its_text, "the worker's stack as text")
    complaint = rf"GET {target} \(.*\) held its loop"
    assert not re.search(complaint, server.output), "looking is no reason to complain"


def test_a_cancelled_request_ends_on_its_worker_too(requests, runtime):
    server, begin = requests
    conn = begin("/worker/spin")
    _, line = wait_for(runtime, server, kind="request", waits="worker")
    ask(runtime, server, f"cancel {line['id']}")
    assert conn.answer().status == 503

    def is_free():
        process = line_of(ask(runtime, server, "ps"), kind="process")
        return process["workers"]["busy"] == 0

    eventually(is_free, "a worker without work")


def test_what_a_worker_calls_back_is_shown_below_its_request(requests, runtime):
    server, begin = requests
    conn = begin("/worker/on-loop")
    lines, task = wait_for(runtime, server, kind="task", waits="sleep")
    request = line_of(lines, kind="request", target="/worker/on-loop")
    assert request["waits"] == "worker" and task["of"] == request["id"]
    stacks = ask(runtime, server, f"stack {request['id']}")
    assert line_of(stacks, kind="task", id=task["id"])["stack"]
    ask(runtime, server, f"cancel {request['id']}")
    assert conn.answer().status == 503
    eventually(lambda: server.json("/ended") == ["on_loop"], "the end of the function")


def test_a_worker_in_c_code_does_not_answer_and_holds_up_nobody(requests, runtime):
    server, begin = requests
    pipe = runtime / "pipe"
    os.mkfifo(pipe)
    conn = begin(f"/worker/blocked?path={pipe}")
    lines, worker = wait_for(runtime, server, kind="worker", answers=False)
    request = line_of(lines, kind="request", route="/worker/blocked")
    assert request["on_worker"] == worker["worker"]
    text = run("ps", env={"XDG_RUNTIME_DIR": str(runtime)}).stdout
    assert f"worker {worker['worker']}: in C code" in text
    with open(pipe, "w"):
        assert conn.answer().status == 200
    eventually(
        lambda: line_of(ask(runtime, server, "ps"), kind="worker", answers=False) is None,
        "no worker that is silent",
    )


def test_a_stuck_loop_is_said_to_be_stuck(seen, runtime):
    server = seen("--supervise", "off")
    pipe = runtime / "pipe"
    os.mkfifo(pipe)
    with server.connect() as conn:
        conn.request("GET", f"/stuck?path={pipe}")
        _, line = wait_for(runtime, server, kind="loop", answers=False)
        assert line["loop"] == 0
        text = run("ps", env={"XDG_RUNTIME_DIR": str(runtime)}).stdout
        assert "loop 0 does not answer: something holds it in C code" in text
        with open(pipe, "w"):
            assert conn.answer().status == 200
    wait_for(runtime, server, kind="loop", answers=True)


# Cancelling


@pytest.mark.parametrize(
    "target, cleanups",
    [("/sleep", ["sleep"]), ("/channel", ["channel"]), ("/group", ["child", "group"]), ("/spin", ["spin"])],
)
def test_a_cancelled_request_is_answered_and_cleans_up(requests, runtime, target, cleanups):
    server, begin = requests
    conn = begin(target)
    state = "computes" if target == "/spin" else "waits"
    _, line = wait_for(runtime, server, kind="request", target=target, state=state)
    result = run("cancel", line["id"], env={"XDG_RUNTIME_DIR": str(runtime)})
    assert (result.returncode, result.stdout) == (0, f"cancelled {line['id']}\n")
    assert conn.answer().status == 503
    eventually(lambda: server.json("/ended") == cleanups, f"the cleanups {cleanups}")
    server.wait_for_log(rf"GET {target} \(request {line['request']}.*cancelled by the operator")
    assert line_of(ask(runtime, server, "ps"), target=target) is None
    again = run("cancel", line["id"], env={"XDG_RUNTIME_DIR": str(runtime)})
    assert again.returncode == 1 and "nothing that runs has the id" in again.stderr


def test_the_answer_to_a_cancelled_request_passes_the_app(serve, runtime, write_app):
    folder = write_app("""
        local perigee = require("perigee")
        local app = perigee.app({ title = "Cancelled" })
        app:use(function(req, next)
          local res = next(req)
          res:set("X-Seen", tostring(res.status))
          return res
        end)
        app:on_error(503, function(req, err)
          return perigee.json({ sorry = err.detail or "none", path = req.path }, { status = 503 })
        end)
        app:get("/sleep", function() perigee.sleep(60000) end)
        return app
    """)
    server = serve(folder, "--shutdown-grace-ms", 0, env={"XDG_RUNTIME_DIR": str(runtime)})
    with server.connect() as conn:
        conn.request("GET", "/sleep")
        _, line = wait_for(runtime, server, kind="request", target="/sleep", waits="sleep")
        ask(runtime, server, f"cancel {line['id']}")
        answer = conn.answer()
    assert answer.status == 503
    assert answer.header("x-seen") == "503"
    assert json.loads(answer.body) == {"sorry": "Service Unavailable", "path": "/sleep"}


def test_a_request_can_be_named_by_its_id_in_the_log(requests, runtime):
    server, begin = requests
    conn = begin("/sleep")
    _, line = wait_for(runtime, server, kind="request", target="/sleep", waits="sleep")
    ask(runtime, server, f"cancel {line['request']}")
    assert conn.answer().status == 503


def test_a_cancelled_stream_is_cut(requests, runtime):
    server, begin = requests
    conn = begin("/stream")
    assert conn.head().status == 200
    _, line = wait_for(runtime, server, kind="request", target="/stream", waits="sleep")
    ask(runtime, server, f"cancel {line['id']}")
    with pytest.raises((AssertionError, ConnectionResetError)):
        conn.rest_of_chunks()
    eventually(lambda: server.json("/ended") == ["stream"], "the stream's cleanup")


def test_a_task_of_a_group_can_be_cancelled_alone(requests, runtime):
    server, begin = requests
    begin("/group")
    lines, request = wait_for(runtime, server, kind="request", target="/group")
    child = line_of(lines, kind="task", of=request["id"])
    ask(runtime, server, f"cancel {child['id']}")
    eventually(lambda: "child" in server.json("/ended"), "the cleanup of the child")


# The commands


class Terminal:
    """A program in a terminal of this size, and what it shows there."""

    def __init__(self, *args, rows, columns, **environ):
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
            signal.signal(signal.SIGINT, signal.SIG_DFL)  # ignored by what runs in a background
            os.execve(args[0], list(map(str, args)), environment(**environ))
        self.output = ""

    def pictures(self, count):
        """The lines of the first pictures, each of which begins at the upper left corner."""
        while self.output.count("\x1b[J") < count:
            assert select.select([self.fd], [], [], PATIENCE)[0], self.output
            self.output += os.read(self.fd, 65536).decode()
        texts = self.output.split("\x1b[H")[1 : count + 1]
        return [re.split(r"\r*\n", re.sub(r"\x1b\[[JK]", "", text)) for text in texts]

    def interrupt(self):
        """Ctrl-C. Returns the signal that ended the program."""
        os.write(self.fd, b"\x03")
        ended = []

        def has_ended():
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            ended[:] = [status] if pid else []
            return pid

        eventually(has_ended, "the end of the program")
        os.close(self.fd)
        return os.WTERMSIG(ended[0])


def test_top_fills_a_terminal_again_and_again(requests, runtime):
    server, begin = requests
    for _ in range(20):
        begin("/sleep")
    eventually(
        lambda: sum(line["kind"] == "request" for line in ask(runtime, server, "ps")) == 20,
        "20 requests",
    )
    terminal = Terminal(
        BINARY, "top", "--interval-ms", 100, rows=12, columns=50,
        XDG_RUNTIME_DIR=str(runtime), TERM="xterm",
    )
    first, second, third = terminal.pictures(3)
    for lines in (first, second, third):
        assert len(lines) == 11  # the last row is left free
        assert max(map(len, lines)) <= 50
        assert f"pid {server.pid}" in lines[0]
        assert re.match(r" +ID +AGE +WHAT", lines[4])
        assert all("GET /sleep" in line for line in lines[5:])
    assert first[1].startswith("requests -") and re.match(r"requests \d+\.\d/s", second[1])
    assert terminal.interrupt() == signal.SIGINT


def test_top_shows_the_process_its_threads_and_what_runs(requests, runtime):
    server, begin = requests
    begin("/sleep")
    wait_for(runtime, server, kind="request", target="/sleep", waits="sleep")
    text = run("top", "--once", env={"XDG_RUNTIME_DIR": str(runtime)}).stdout
    assert text.startswith(f"Seen (pid {server.pid}, supervisor {server.process.pid}) on http://")
    assert re.search(r"loop lag \d+\.\d ms", text) and "workers 0 of 2 busy, 0 queued" in text
    assert re.search(r"GET /sleep +\S+app\.lua:\d+ +sleep\n", text)


def test_a_server_that_does_nothing_says_so(seen, runtime):
    server = seen()
    result = run("ps", env={"XDG_RUNTIME_DIR": str(runtime)})
    assert result.returncode == 0 and result.stdout.endswith("\nnothing runs\n")
    loop = line_of(ask(runtime, server, "ps"), kind="loop", loop=0)
    assert loop["answers"] and loop["lua_bytes"] > 0 and loop["versions"] == 1


def test_among_several_servers_one_must_be_named(seen, runtime):
    first, second = seen(), seen("--supervise", "off")
    env = {"XDG_RUNTIME_DIR": str(runtime)}
    both = run("ps", env=env)
    assert both.returncode == 2 and "which one?" in both.stderr
    assert f"pid {first.pid}" in both.stderr and f"pid {second.pid}" in both.stderr
    for name in (first.pid, first.process.pid, socket_of(runtime, first)):
        assert f"pid {first.pid}," in run("ps", name, env=env).stdout
    assert f"pid {second.pid})" in run("ps", second.pid, env=env).stdout
    assert run("stack", 1, "--server", second.pid, env=env).returncode == 1


def test_without_a_server_ps_says_so(runtime):
    result = run("ps", env={"XDG_RUNTIME_DIR": str(runtime)})
    assert (result.returncode, result.stderr) == (2, "perigee: no server of yours runs\n")
    missing = run("ps", runtime / "no.sock")
    assert missing.returncode == 2 and "no.sock" in missing.stderr


def test_json_output_is_one_object_a_line(requests, runtime):
    server, begin = requests
    begin("/sleep")
    wait_for(runtime, server, kind="request", target="/sleep", waits="sleep")
    for command in (("ps",), ("top",), ("stack", 1)):
        text = run(*command, "--json", env={"XDG_RUNTIME_DIR": str(runtime)}).stdout
        kinds = {json.loads(line)["kind"] for line in text.splitlines()}
        assert "process" in kinds


def test_development_mode_is_seen_as_well(runtime):
    env = {"XDG_RUNTIME_DIR": str(runtime)}
    server = Server(APPS / "seen", "--port", 0, env=env, command="dev")
    try:
        process = line_of(ask(runtime, server, "ps"), kind="process")
        assert process["dev"] is True and process["pid"] == server.pid
    finally:
        server.stop()


# The socket


def test_only_its_user_can_reach_the_socket(seen, runtime):
    server = seen()
    path = socket_of(runtime, server)
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    server.stop()
    assert list(path.parent.iterdir()) == []


@pytest.mark.parametrize("spoil", ["open", "link", "file"])
def test_a_folder_that_others_could_use_is_not_used(seen, runtime, spoil):
    folder = runtime / "perigee"
    if spoil == "open":
        folder.mkdir()
        folder.chmod(0o777)
    elif spoil == "link":
        (runtime / "elsewhere").mkdir(mode=0o700)
        folder.symlink_to(runtime / "elsewhere")
    else:
        folder.write_text("")
    server = seen()
    server.wait_for_log("warning|perigee ps will not find this server")
    assert server.json("/ended") == ["nothing"]
    assert spoil == "file" or list(folder.iterdir()) == []


def test_control_names_the_path_or_turns_it_off(seen, runtime):
    path = runtime / "here.sock"
    server = seen("--control", path)
    with Asker(path) as asker:
        assert line_of(asker.ask("ps"), kind="process")["pid"] == server.pid
    server.stop()
    assert not path.exists()
    seen("--control", "off")
    assert not (runtime / "perigee").exists()


def test_a_file_in_the_place_of_the_socket_is_left_alone(seen, runtime):
    path = runtime / "here"
    path.write_text("mine")
    seen("--control", path).wait_for_log("perigee ps will not find this server: .*File exists")
    assert path.read_text() == "mine"


def test_what_a_killed_process_left_is_removed(seen, runtime):
    env = {"XDG_RUNTIME_DIR": str(runtime)}
    first = Server(APPS / "seen", "--port", 0, "--supervise", "off", env=env)
    left = socket_of(runtime, first)
    first.signal(signal.SIGKILL)
    first.wait()
    assert left.exists()
    again = run("ps", env=env)
    assert again.stderr == "perigee: no server of yours runs\n"
    other = seen()
    assert [path.name for path in left.parent.iterdir()] == [f"{other.pid}.sock"]


def test_the_successor_of_a_killed_process_can_be_asked(seen, runtime):
    server = seen()
    os.kill(server.pid, signal.SIGKILL)
    server.wait_for_log("Seen on http", 2)
    text = run("ps", server.process.pid, env={"XDG_RUNTIME_DIR": str(runtime)}).stdout
    assert f"supervisor {server.process.pid})" in text and f"pid {server.pid}," not in text


@pytest.mark.parametrize(
    "line", ["", "help", "stack", "stack ", "cancel a b", "cancel \x01", "ps\0", "PS", "stack " + "9" * 200]
)
def test_what_is_not_understood_is_refused(seen, runtime, line):
    server = seen()
    with Asker(socket_of(runtime, server)) as asker:
        assert [answer["kind"] for answer in asker.ask(line)] == ["error"]
        assert line_of(asker.ask("ps"), kind="process"), "and the next question is answered"


def test_questions_may_follow_each_other_at_once(seen, runtime):
    server = seen()
    with Asker(socket_of(runtime, server)) as asker:
        asker.sock.sendall(b"ps\nnonsense\nps\n")
        kinds = [{line["kind"] for line in asker.answer()} for _ in range(3)]
        assert kinds == [{"process", "loop"}, {"error"}, {"process", "loop"}]


def test_a_line_without_an_end_is_cut(seen, runtime):
    server = seen()
    with Asker(socket_of(runtime, server)) as asker:
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            asker.sock.sendall(os.urandom(100_000).replace(b"\n", b"x"))
        with contextlib.suppress(ConnectionResetError):
            assert asker.file.readline() == b""
    assert line_of(ask(runtime, server, "ps"), kind="process")


def test_clients_that_say_nothing_leave_room_for_one_that_asks(seen, runtime):
    server = seen()
    with contextlib.ExitStack() as ends:
        idle = [ends.enter_context(Asker(socket_of(runtime, server))) for _ in range(40)]
        assert line_of(ask(runtime, server, "ps"), kind="process")
        assert idle[0].file.readline() == b"", "the one that has been silent longest has to go"


def test_a_client_that_does_not_read_holds_up_nobody(seen, runtime):
    server = seen()
    with Asker(socket_of(runtime, server)) as deaf:
        deaf.sock.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            while True:
                deaf.sock.sendall(b"ps\n" * 1000)
        assert line_of(ask(runtime, server, "ps"), kind="process")
        assert server.json("/ended") == ["nothing"]


def test_a_client_that_leaves_in_the_middle_is_no_harm(seen, runtime):
    server = seen("--supervise", "off")
    for _ in range(50):
        with Asker(socket_of(runtime, server)) as asker, contextlib.suppress(BrokenPipeError):
            asker.sock.sendall(b"ps\n")  # cut when as many as there may be are being answered

    def answers():
        with contextlib.suppress(AssertionError, BrokenPipeError, ConnectionResetError):
            return line_of(ask(runtime, server, "ps"), kind="process")

    eventually(answers, "an answer")


def test_an_answer_is_bounded_and_says_what_it_leaves_out(seen, runtime, tmp_path):
    app = tmp_path / "many"
    app.mkdir()
    (app / "app.lua").write_text(
        """
        local perigee = require("perigee")
        local app = perigee.app({})
        app:get("/", { timeout_ms = 60000 }, function()
          perigee.task.group(function(group)
            for _ = 1, 3000 do
              group:spawn(perigee.sleep, 60000)
            end
          end)
          return {}
        end)
        return app
        """
    )
    env = {"XDG_RUNTIME_DIR": str(runtime)}
    server = Server(app, "--port", 0, "--loops", 1, "--shutdown-grace-ms", 0, env=env)
    try:
        with server.connect() as conn:
            conn.request("GET", "/")
            lines, loop = wait_for(runtime, server, kind="loop", tasks=3001)
            assert loop["omitted"] == 2001
            assert sum(line["kind"] in ("task", "request") for line in lines) == 1000
    finally:
        server.stop()


def test_the_help_knows_the_commands():
    overview = run("help").stdout
    for command in ("ps", "top", "stack", "cancel"):
        assert re.search(rf"perigee {command}\b", overview)
        assert run(command, "--help").stdout.startswith(f"usage: perigee {command}")
