"""The servers of the benchmark: how each is started, what it needs, and a running one.

All are told to keep idle connections for 75 s, as nginx does by itself, and to log nothing."""

import contextlib
import dataclasses
import os
import pathlib
import signal
import socket
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Callable

HERE = pathlib.Path(__file__).resolve().parent
PROJECT = HERE.parent.parent
OUT = pathlib.Path(os.environ.get("PERIGEE_BENCH_DIR", PROJECT / "build" / "bench"))
PERIGEE = PROJECT / "build" / "perigee"

PATIENCE_S = 20
MANY_CONNECTIONS = 20000


class Missing(Exception):
    """A server that cannot be measured here; the text says why."""


@dataclasses.dataclass(frozen=True)
class Server:
    name: str
    label: str
    command: Callable[[int, int], list]  # (port, loops) -> arguments
    binary: pathlib.Path  # what must be there
    part: str | None = None  # the part of `setup` that installs it
    only: tuple = ()  # the endpoints it has; none named: all
    version: tuple = ()  # the command that prints its version
    env: tuple = ()

    def offers(self, endpoint):
        return not self.only or endpoint in self.only


def perigee(name, binary, app="bench", only=()):
    def command(port, loops):
        address = ("--host", "127.0.0.1", "--port", port, "--loops", loops)
        quiet = ("--log", "off", "--keep-alive-timeout-ms", 75000)
        return [binary, "run", HERE / "apps" / app, *address, *quiet]

    label = "Perigee" if name == "perigee" else f"Perigee, {name.removeprefix('perigee-')}"
    return Server(name, label, command, binary, only=only, version=(binary, "--version"),
                  env=(("PERIGEE_SUPERVISE", "off"),))  # what is measured is the server process


def _javascript(name, label, runtime):
    directory = OUT / "javascript"
    versions = [f"'{runtime}', process.versions.{runtime}"]
    if name != runtime:
        package = directory / "node_modules" / name / "package.json"
        versions.append(f"'{name}', require('{package}').version")
    return Server(
        name,
        label,
        lambda port, loops: [directory / runtime, directory / f"{name}.js", port],
        directory / runtime,
        part="javascript",
        version=(directory / runtime, "-e", f"console.log({', '.join(versions)})"),
        env=(("NODE_ENV", "production"),),
    )


def _nginx():
    root = OUT / "nginx" / "root"
    binary = root / "usr" / "sbin" / "nginx"
    triplet = sysconfig.get_config_var("MULTIARCH")
    libraries = (f"{root}/usr/lib/{triplet}", f"{root}/lib/{triplet}")

    def command(port, loops):
        prefix = OUT / "nginx" / "run"
        (prefix / "tmp").mkdir(parents=True, exist_ok=True)
        values = {
            "USER": "user root;" if os.getuid() == 0 else "",
            "ROOT": root,
            "HERE": HERE / "peers" / "nginx",
            "TRIPLET": triplet,
            "CONNECTIONS": MANY_CONNECTIONS,
            "PORT": port,
        }
        text = (HERE / "peers" / "nginx" / "nginx.conf").read_text()
        for key, value in values.items():
            text = text.replace(f"@{key}@", str(value))
        (prefix / "nginx.conf").write_text(text)
        return [binary, "-p", prefix, "-c", "nginx.conf", "-e", "stderr", "-g", "daemon off;"]

    return Server(
        "nginx",
        "nginx with Lua",
        command,
        binary,
        part="nginx",
        version=(binary, "-v"),
        env=(("LD_LIBRARY_PATH", ":".join(libraries)),),
    )


def _fastapi():
    bin_dir = OUT / "fastapi" / "venv" / "bin"
    uvicorn = ("--loop", "uvloop", "--http", "httptools", "--no-access-log")
    quiet = ("--log-level", "warning", "--timeout-keep-alive", "75", "--backlog", "4096")

    def command(port, loops):
        where = ("--app-dir", HERE / "peers" / "fastapi", "--port", port)
        return [bin_dir / "uvicorn", "app:app", *where, *uvicorn, *quiet]

    versions = (
        "import fastapi, uvicorn;"
        "print('fastapi', fastapi.__version__, 'uvicorn', uvicorn.__version__)"
    )
    return Server(
        "fastapi",
        "FastAPI on uvicorn",
        command,
        bin_dir / "uvicorn",
        part="fastapi",
        version=(bin_dir / "python", "-c", versions),
        env=(("PYTHONDONTWRITEBYTECODE", "1"),),
    )


def known(binary=PERIGEE):
    """All servers by name, the ruler first."""
    ruler, go = OUT / "bare" / "epoll", OUT / "go" / "server"
    servers = [
        Server(
            "bare",
            "bare epoll loop",
            lambda port, loops: [ruler, port],
            ruler,
            part="bare",
            only=("root", "pipelined", "item", "post"),
        ),
        perigee("perigee", binary),
        perigee("perigee-hello", binary, app="hello", only=("root", "pipelined")),
        _nginx(),
        _javascript("bun", "Bun, by hand", "bun"),
        _javascript("elysia", "Elysia on Bun", "bun"),
        _javascript("fastify", "Fastify on Node", "node"),
        Server(
            "go",
            "Go net/http",
            lambda port, loops: [go, port],
            go,
            part="go",
            version=("cat", go.with_name("version")),
        ),
        _fastapi(),
    ]
    return {server.name: server for server in servers}


def _free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def require(server):
    """Raises Missing unless the server is installed."""
    if server.binary.exists():
        return
    reason = OUT / (server.part or server.name) / "missing"
    if reason.exists():
        raise Missing(reason.read_text().strip())
    how = f"run tests/bench/setup {server.part}" if server.part else "run make"
    raise Missing(f"no {server.binary.name} ({how})")


@contextlib.contextmanager
def pinned(cores):
    """Everything started inside runs on these cores, without one exec more for taskset."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def _environment(server):
    own = {key: value for key, value in os.environ.items() if not key.startswith("PERIGEE")}
    return own | dict(server.env)


class Running:
    """A started server; `first_answer_ms` is the time from exec to its first whole answer."""

    def __init__(self, server, cores, loops=1, wrapper=(), patience_s=PATIENCE_S):
        require(server)
        self.server = server
        self.port = _free_port()
        command = [str(word) for word in (*wrapper, *server.command(self.port, loops))]
        self._log = tempfile.TemporaryFile()
        with pinned(cores):
            started = time.perf_counter()
            self.process = subprocess.Popen(
                command,
                env=_environment(server),
                stdin=subprocess.DEVNULL,
                stdout=self._log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self.pid = self.process.pid
        try:
            self._wait_for_answer(started, patience_s)
        except BaseException:
            self.stop()
            raise
        self.first_answer_ms = (time.perf_counter() - started) * 1000

    def _wait_for_answer(self, started, patience_s):
        while True:
            try:
                with socket.create_connection(("127.0.0.1", self.port), timeout=5) as connection:
                    connection.sendall(b"GET / HTTP/1.1\r\nHost: bench\r\n\r\n")
                    if connection.recv(65536).startswith(b"HTTP/1.1 200"):
                        return
                    raise Missing("GET / is not answered with 200")
            except (ConnectionRefusedError, ConnectionResetError):
                pass
            if self.process.poll() is not None:
                raise Missing(f"ended at start: {self.last_words()}")
            if time.perf_counter() > started + patience_s:
                raise Missing(f"no answer in {patience_s} s: {self.last_words()}")
            time.sleep(0.0002)

    def last_words(self):
        """The part of its output that most likely says what went wrong."""
        self._log.seek(0)
        lines = self._log.read().decode(errors="replace").strip().splitlines()
        telling = [line for line in lines if "rror" in line][:1] or lines[:2]
        return " ".join(line.strip() for line in telling) or "without a word"

    def stop(self):
        """Ends it as an operator would; kills it, and says so, where that does not help."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(timeout=15)
        except subprocess.TimeoutExpired:
            print(f"bench: {self.server.name} did not end on SIGTERM", file=sys.stderr)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        self.process.wait()
        self._log.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()
