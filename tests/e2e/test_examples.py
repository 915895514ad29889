"""The examples of docs/operate.md, as far as a machine without Docker and systemd can try them."""

import json
import os
import re
import shutil
import signal
import socket
import subprocess

import pytest

from server import BINARY, PROJECT, children_of, environment, is_sanitized, run
from wire import PATIENCE, Conn

EXAMPLES = PROJECT / "docs" / "examples"
# What the image that the example builds on has for programs in C.
DISTROLESS = {"libc.so.6", "libm.so.6", "libpthread.so.0", "libdl.so.2", "librt.so.1", "ld-linux-x86-64.so.2"}


def dockerfile():
    """The steps of the two stages as [instruction, rest], with the default of APP filled in."""
    steps = []
    for line in (EXAMPLES / "Dockerfile").read_text().splitlines():
        if line and not line.startswith("#"):
            steps.append(line.replace("${APP}", "apps/hello").split(" ", 1))
    second = [i for i, step in enumerate(steps) if step[0] == "FROM"][1]
    return steps[:second], steps[second:]


def only(steps, instruction):
    (found,) = [rest for name, rest in steps if name == instruction]
    return found


def test_the_dockerfile_copies_what_is_there_and_builds_what_it_copies():
    build, final = dockerfile()
    assert only(build, "COPY") == ". /perigee" and only(build, "WORKDIR") == "/perigee"
    assert "make build" in [rest for _, rest in build if rest.startswith("make")][0]
    assert "build/perigee" in re.search(r"^build:.*", (PROJECT / "Makefile").read_text(), re.M)[0]
    binary, app = [rest for name, rest in final if name == "COPY"]
    assert binary == "--from=build /perigee/build/perigee /usr/local/bin/perigee"
    assert (PROJECT / app.split()[0] / "app.lua").exists() and app.split()[1] == "/app"
    ignored = (EXAMPLES / "Dockerfile.dockerignore").read_text().splitlines()
    assert "build*" in ignored  # a build of this machine's would be taken for the image's


@pytest.fixture
def image(tmp_path):
    """A folder with what the image has: the binary, the app, libc, and nothing else."""
    if is_sanitized():
        pytest.skip("a sanitizer brings libraries of its own")
    _, final = dockerfile()
    root = tmp_path / "image"
    for folder in ("usr/local/bin", "proc", "dev", "tmp"):
        (root / folder).mkdir(parents=True)
    (root / "tmp").chmod(0o1777)
    sources = {"/perigee/build/perigee": BINARY}
    for rest in [rest for name, rest in final if name == "COPY"]:
        source, target = rest.split()[-2:]
        source = sources.get(source, PROJECT / source)
        copy = shutil.copytree if source.is_dir() else shutil.copy
        copy(source, root / target[1:])
    listed = subprocess.run(["ldd", BINARY], capture_output=True, text=True, check=True).stdout
    for path in re.findall(r"(/\S+) \(0x", listed):
        assert path.rsplit("/", 1)[1] in DISTROLESS, f"the image has no {path}"
        (root / path[1:]).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, root / path[1:])
    return root


CONTAINER = """
mount -t proc proc "$1/proc" && mount --bind /dev "$1/dev" && cd / || exit 125
root=$1 user=$2; shift 2
exec chroot --userspec="$user" "$root" "$@"
"""


def contain(image, *command, user):
    """Runs a command as process 1 of a container would."""
    return subprocess.Popen(
        ["unshare", "--mount", "--pid", "--fork", "sh", "-c", CONTAINER, "sh", image, user, *command],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=environment(PATH=os.environ["PATH"]),
    )


def test_the_image_of_the_dockerfile_serves(image):
    _, final = dockerfile()
    user = only(final, "USER")
    trial = contain(image, "/usr/local/bin/perigee", "version", user=user)
    said, _ = trial.communicate(timeout=PATIENCE)
    if "perigee" not in said or trial.returncode == 125:
        pytest.skip(f"this machine lets nobody make containers: {said}")
    entrypoint = json.loads(only(final, "ENTRYPOINT"))
    process = contain(image, *entrypoint, "--port", "0", user=user)
    try:
        line = process.stdout.readline()
        port = int(re.search(r"http://0\.0\.0\.0:(\d+)", line)[1])
        with Conn(port) as conn:
            assert conn.get("/").status == 200
            assert conn.get("/docs").status == 200
        (first,) = children_of(process.pid)
        os.kill(first, signal.SIGTERM)  # docker stop
        assert process.wait(PATIENCE) == 0, process.stdout.read()
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def test_the_units_use_options_that_there_are():
    known = run("run", "--help").stdout
    service = (EXAMPLES / "perigee.service").read_text()
    command = re.search(r"^ExecStart=(\S+) run (.*)$", service, re.M)[2]
    for flag in re.findall(r"--[\w-]+", command):
        assert flag in known, flag
    assert "Type=notify" in service and re.search(r"^WatchdogSec=\d+", service, re.M)


def test_the_service_serves_the_socket_of_its_unit():
    service = (EXAMPLES / "perigee.service").read_text()
    with socket.create_server(("0.0.0.0", 0)) as listening:
        port = listening.getsockname()[1]
        flags = re.search(r"^ExecStart=\S+ run \S+ (.*)$", service, re.M)[1]
        assert "--port 8000" in flags and "ListenStream=8000" in (EXAMPLES / "perigee.socket").read_text()
        flags = flags.replace("--port 8000", f"--port {port}")
        script = f"LISTEN_PID=$$ LISTEN_FDS=1 exec {BINARY} run {PROJECT}/apps/hello {flags}"
        fd = listening.fileno()
        process = subprocess.Popen(
            ["/bin/bash", "-c", f"[ {fd} = 3 ] || exec 3<&{fd}; {script}"],
            pass_fds=[fd],
            env=environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
    try:
        with Conn(port) as conn:
            assert conn.get("/").status == 200
    finally:
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, errors


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="needs systemd-analyze")
def test_systemd_understands_the_units(tmp_path):
    for unit in EXAMPLES.glob("perigee.*"):
        text = re.sub(r"^(Exec\w+=)\S*perigee", rf"\1{BINARY}", unit.read_text(), flags=re.M)
        (tmp_path / unit.name).write_text(text)
    result = subprocess.run(
        ["systemd-analyze", "verify", tmp_path / "perigee.service", tmp_path / "perigee.socket"],
        capture_output=True,
        text=True,
    )
    ours = [line for line in result.stderr.splitlines() if str(tmp_path) in line]
    assert ours == []
