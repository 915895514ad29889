"""Fixtures. Every test that starts a server has it ended by SIGTERM and checked afterwards."""

import contextlib
import resource

import pytest

from server import APPS, BINARY, Server, is_sanitized


def pytest_configure(config):
    config.addinivalue_line("markers", "memory: measures memory; skipped under sanitizers")
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 8192), hard))


def pytest_collection_modifyitems(items):
    if not is_sanitized():
        return
    skip = pytest.mark.skip(reason="memory of a sanitizer build says nothing")
    for item in items:
        if item.get_closest_marker("memory"):
            item.add_marker(skip)


@pytest.fixture(scope="session", autouse=True)
def binary():
    if not BINARY.exists():
        pytest.exit(f"{BINARY} does not exist: build it first, or name it in PERIGEE", 2)
    return BINARY


@pytest.fixture
def serve():
    """Starts servers: serve("probe", "--max-body-bytes", 10). One loop unless told otherwise."""
    with contextlib.ExitStack() as ends:

        def start(app, *flags, **options):
            path = APPS / app if isinstance(app, str) else app
            loops = () if "--loops" in flags else ("--loops", 1)
            server = Server(path, "--port", 0, *loops, *flags, **options)
            ends.callback(lambda: print(server.output))  # shown when the test fails
            ends.callback(server.stop)
            return server

        yield start


@pytest.fixture
def probe(serve):
    return serve("probe")


@pytest.fixture
def write_app(tmp_path):
    """Writes an app's files, {"app.lua": text}, and returns its folder."""

    def write(files):
        if isinstance(files, (str, bytes)):
            files = {"app.lua": files}
        folder = tmp_path / "app"
        for name, content in files.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return folder

    return write
