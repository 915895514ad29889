"""The binary under test as a child process: its port, its log, its memory, its end."""

import json
import os
import pathlib
import re
import resource
import signal
import subprocess
import threading

import httpx
import pytest

from wire import PATIENCE, Conn, eventually

HERE = pathlib.Path(__file__).resolve().parent
APPS = HERE / "apps"
PROJECT = HERE.parent.parent
BINARY = pathlib.Path(os.environ.get("PERIGEE", PROJECT / "build" / "perigee")).resolve()
REPORTS = re.compile("ERROR: AddressSanitizer|LeakSanitizer|ThreadSanitizer|runtime error:")
START_LINE = re.compile(r"http://127\.0\.0\.1:(\d+)")


# A machine that is busy with other tests is no stuck server, and no idle client.
PATIENT = {"PERIGEE_STALL_TIMEOUT_MS": "300000", "PERIGEE_KEEP_ALIVE_TIMEOUT_MS": "600000"}


def is_sanitized(kind=rb"[at]san"):
    """Whether the binary is a sanitizer build, whose memory use says nothing."""
    return BINARY.exists() and re.search(rb"__%b_init" % kind, BINARY.read_bytes()) is not None


too_deep_for_tsan = pytest.mark.skipif(
    is_sanitized(rb"tsan"), reason="the sanitizer loses count of frames that coroutines leave"
)


def environment(**extra):
    """The test's environment without settings that would reach the server as flags."""
    env = {key: value for key, value in os.environ.items() if not key.startswith("PERIGEE")}
    return {**env, **extra}


def run(*args, binary=BINARY, env=None, cwd=None):
    """Runs the binary to its end and returns the finished process with text output."""
    return subprocess.run(
        [binary, *map(str, args)],
        env=environment(**(env or {})),
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )


def children_of(pid):
    """The processes that a process has started, oldest first."""
    found = []
    for stat in pathlib.Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rsplit(")", 1)[1].split()
        except (FileNotFoundError, ProcessLookupError):
            continue
        if int(fields[1]) == pid:
            found.append((int(fields[19]), int(stat.parent.name)))
    return [child for _, child in sorted(found)]


class Server:
    """A running `perigee run` (or `dev`). Output of both streams is collected line by line as `log`."""

    def __init__(
        self, app, *flags, binary=BINARY, env=None, cwd=None, descriptors=None, command="run"
    ):
        def limit_descriptors():
            resource.setrlimit(resource.RLIMIT_NOFILE, (descriptors, descriptors))

        self.log = []
        self.app_path = app
        self._changed = threading.Condition()
        self._ended = False
        self.process = subprocess.Popen(
            [binary, command, str(app), *map(str, flags)],
            env=environment(**PATIENT | (env or {})),
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            preexec_fn=limit_descriptors if descriptors else None,
        )
        self._reader = threading.Thread(target=self._collect, daemon=True)
        self._reader.start()
        try:
            line = self.wait_for_log(START_LINE)
        except AssertionError:
            self.process.kill()
            raise
        self.pid = self._server_pid()
        self.port = int(START_LINE.search(line)[1])
        self.url = f"http://127.0.0.1:{self.port}"

    def _collect(self):
        for raw in self.process.stdout:
            with self._changed:
                self.log.append(raw.decode("utf-8", "replace").rstrip("\n"))
                self._changed.notify_all()
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def _server_pid(self):
        """The process that serves: a child of the supervisor, if there is one."""
        children = children_of(self.process.pid)
        return children[-1] if children else self.process.pid

    # Log

    @property
    def output(self):
        return "\n".join(self.log)

    def wait_for_log(self, pattern, count=1):
        """Waits until `count` lines match and returns the last of them."""

        def matching():
            return [line for line in self.log if re.search(pattern, line)]

        with self._changed:
            self._changed.wait_for(lambda: len(matching()) >= count or self._ended, PATIENCE)
            lines = matching()
        assert len(lines) >= count, f"{pattern!r} is not in the log:\n{self.output}"
        return lines[count - 1]

    # Clients

    def connect(self, **options):
        return Conn(self.port, **options)

    def get(self, target, *fields):
        """One GET on a connection of its own."""
        with self.connect() as conn:
            return conn.get(target, *fields)

    def json(self, target):
        answer = self.get(target)
        assert answer.status == 200, answer
        return json.loads(answer.body)

    def client(self, **options):
        return httpx.Client(base_url=self.url, timeout=PATIENCE, trust_env=False, **options)

    # The process

    def memory_kib(self, what="VmRSS"):
        status = pathlib.Path(f"/proc/{self.pid}/status").read_text()
        return int(re.search(rf"{what}:\s+(\d+) kB", status)[1])

    def cpu_seconds(self):
        fields = pathlib.Path(f"/proc/{self.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def sockets(self):
        """How many sockets the process holds open."""
        count = 0
        for link in pathlib.Path(f"/proc/{self.pid}/fd").iterdir():
            try:
                count += os.readlink(link).startswith("socket:")
            except FileNotFoundError:
                pass
        return count

    def is_refusing(self):
        try:
            self.connect().close()
        except (ConnectionRefusedError, ConnectionResetError):
            return True
        return False

    def signal(self, number):
        self.process.send_signal(number)

    def wait(self):
        """Waits for the end of the process and of its output; returns the exit code."""
        try:
            code = self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise AssertionError(f"the server did not end:\n{self.output}") from None
        self._reader.join(PATIENCE)
        self.process.stdout.close()
        return code

    def stop(self):
        """Ends the server as an operator would and holds it to a clean end."""
        if self.process.poll() is None:
            self.signal(signal.SIGTERM)
        code = self.wait()
        reports = [line for line in self.log if REPORTS.search(line)]
        assert not reports, f"the sanitizers complain:\n{self.output}"
        assert "please report this" not in self.output, f"a handle leaked:\n{self.output}"
        assert code == 0, f"exit code {code}:\n{self.output}"

    def wait_for_sockets(self, count):
        eventually(lambda: self.sockets() <= count, f"{count} open sockets, not {self.sockets()}")
