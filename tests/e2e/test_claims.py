"""What the page about concurrency claims; tests/claims.md says which test shows which claim."""

import contextlib
import pathlib
import re
import signal
import socket

import pytest

from wire import eventually

TESTS = pathlib.Path(__file__).resolve().parent.parent


class Claims:
    """A server of the app `claims`, with the folder that it leaves its notes in."""

    def __init__(self, serve, folder):
        self.folder = folder
        self.server = serve("claims", "--threads", 2, env={"NOTES": str(folder)})
        self.json = self.server.json

    def notes(self):
        path = self.folder / "notes"
        return path.read_text().splitlines() if path.exists() else []

    def wait_for(self, *notes):
        for note in notes:
            eventually(lambda: note in self.notes(), f"the note '{note}'")


@pytest.fixture
def claims(serve, tmp_path):
    return Claims(serve, tmp_path)


@pytest.fixture
def silent():
    """The port of a server that takes connections and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


# --- S-01, S-10, S-20: who waits holds up nobody


@pytest.mark.parametrize(
    "what", ["body", "reader", "disk", "remote", "socket", "child", "thread", "channel"]
)
def test_others_are_served_while_a_handler_waits(claims, silent, what):
    with claims.server.connect() as conn:
        if what == "body":
            conn.send(b"POST /wait/body HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n12345")
        elif what == "reader":
            conn.request("GET", "/flood")
        else:
            conn.request("GET", f"/wait/{what}?url=http://127.0.0.1:{silent}/&port={silent}")
        eventually(lambda: what in claims.json("/waiting"), "a request that waits")
        for _ in range(20):
            assert claims.json("/") == "here"
        assert what in claims.json("/waiting")
        conn.reset()
    eventually(lambda: what not in claims.json("/waiting"), "nobody waits")


# --- S-07, S-08: everything runs where it may wait


def test_the_same_waits_work_wherever_the_app_runs(claims):
    assert claims.json("/places/all") is True
    assert claims.json("/places/threaded") is True
    (claims.folder / "tick").touch()
    places = ["start", "lifespan", "middleware", "open", "handler", "coroutine", "close", "after"]
    claims.wait_for(*(f"{place} folder" for place in [*places, "schedule"]))
    claims.wait_for("start folder on a worker", "threaded folder on a worker")
    claims.server.signal(signal.SIGTERM)
    assert claims.server.wait() == 0
    claims.wait_for("stop folder", "lifespan's end folder", "stop folder on a worker")


# --- S-02, S-03, S-12 to S-15: who goes to a worker, and how often


@pytest.mark.parametrize("target, hops", [("plain", 0), ("whole", 1), ("needs", 1)])
def test_a_request_takes_as_few_hops_as_possible(claims, target, hops):
    before = claims.json("/jobs")
    for _ in range(10):
        assert claims.json(f"/hops/{target}") == 1
    assert claims.json("/jobs") == before + 10 * hops


# --- S-05: one app, one description


def test_a_description_does_not_tell_plain_from_threaded(claims):
    paths = claims.json("/openapi.json")["paths"]

    def described(kind):
        operation = paths[f"/same/{kind}/{{id}}"]["put"]
        return {k: v for k, v in operation.items() if k not in ("operationId", "summary")}

    assert described("plain") == described("threaded")
    with claims.server.client() as client:
        for name in ("", "Lamp"):
            plain, threaded = (
                client.put(f"/same/{kind}/1", json={"name": name}) for kind in ("plain", "threaded")
            )
            assert (plain.status_code, plain.json()) == (threaded.status_code, threaded.json())


# --- S-16: helpers


@pytest.mark.parametrize("kind, hops", [("plain", 0), ("threaded", 1)])
def test_a_helper_is_simply_called(claims, kind, hops):
    before = claims.json("/jobs")
    assert claims.json(f"/helper/{kind}") is True
    assert claims.json("/jobs") == before + hops


# --- S-06, S-21, S-22: computing in parallel


def test_threaded_functions_compute_at_the_same_time_and_disturb_nobody(claims):
    with contextlib.ExitStack() as stack:
        one, two = (stack.enter_context(claims.server.connect()) for _ in range(2))
        one.request("GET", "/meet/one/two")
        claims.wait_for("begun one")
        for _ in range(100):
            assert claims.json("/") == "here"
        two.request("GET", "/meet/two/one")
        assert one.answer().body == b'"one"'
        assert two.answer().body == b'"two"'


# --- the list of claims


def test_every_test_that_a_claim_names_exists():
    text = (TESTS / "claims.md").read_text()
    claims = re.findall(r"^\| (S-\d\d) ", text, re.MULTILINE)
    assert claims == [f"S-{n:02}" for n in range(1, 25)]
    shown = re.findall(r"`((?:e2e|lua|bench)/[^`]+)`", text)
    for path, _, name in (place.partition("::") for place in shown):
        source = (TESTS / path).read_text()
        assert not name or f"def {name}(" in source, f"{path}::{name}"
