"""A VM has so much memory and no more: whoever asks for more gets an error, and the others go on."""

import pytest

from server import run, too_deep_for_tsan

LIMIT = 24 << 20


@pytest.fixture
def server(serve):
    return serve("memory", "--lua-memory", "24M")


@pytest.mark.parametrize(
    "target",
    [
        "/grow",
        "/string",
        "/coroutine",
        "/task",
        pytest.param("/many-tasks", marks=too_deep_for_tsan),
        "/dependency",
        "/middleware",
        "/close",
    ],
)
def test_a_handler_that_wants_too_much_is_a_500(server, target):
    with server.connect() as conn, server.connect() as other:
        for _ in range(2):
            answer = conn.get(target)
            assert (answer.status, answer.body) == (500, b"Internal Server Error")
            assert other.get("/").body == b'"alive"'
    line = server.wait_for_log(rf"GET {target} \(request .*not enough memory|out of memory: Lua holds")
    assert "memory" in line
    assert server.process.poll() is None


def test_the_log_says_what_the_limit_is(server):
    assert server.get("/grow").status == 500
    server.wait_for_log(rf"out of memory: Lua holds \d+ bytes and may hold {LIMIT} \(--lua-memory\)")


def test_the_error_can_be_caught(server):
    assert server.json("/caught") == {"ok": False, "message": "not enough memory"}


def test_a_finalizer_may_fail_for_want_of_memory(server):
    assert server.get("/finalizer").body == b'"collected"'
    server.wait_for_log("a __gc function failed: not enough memory")


def test_a_stream_that_has_begun_is_cut(server):
    with server.connect() as conn:
        conn.request("GET", "/stream")
        assert conn.head().status == 200
        with pytest.raises((ConnectionResetError, EOFError)):
            conn.rest_of_chunks()
    assert server.get("/").body == b'"alive"'


def test_a_function_behind_the_answer_may_fail_for_want_of_memory(server):
    assert server.get("/behind").body == b'"answered"'
    server.wait_for_log("a function behind an answer failed .*not enough memory")
    assert server.get("/").body == b'"alive"'


def test_a_vm_that_is_full_refuses_and_lives(server):
    """What the app keeps cannot be collected: every request fails until it lets go."""
    assert server.get("/keep").status == 500
    for _ in range(20):
        assert server.get("/grow").status == 500
    with server.connect() as conn:
        for _ in range(50):
            assert conn.get("/").status in (200, 500)
        conn.get("/let-go")
    assert server.get("/let-go").status in (200, 500)
    assert server.get("/json").status == 200
    assert server.get("/").body == b'"alive"'


@pytest.mark.memory
def test_the_process_stays_within_it(server):
    for _ in range(5):
        assert server.get("/grow").status == 500
    assert server.memory_kib("VmHWM") < (2 * LIMIT >> 10) + 32768


@pytest.mark.parametrize("value", ["0", "x", "1M", "12X", "-1", "64MM", "M", "9999999G", ""])
def test_the_flag_takes_a_number_of_bytes(value):
    result = run("run", ".", "--lua-memory", value)
    assert result.returncode == 2
    assert "--lua-memory" in result.stderr


@pytest.mark.parametrize("value", ["33554432", "32768k", "32M", "1g"])
def test_the_flag_takes_units(serve, value):
    assert serve("memory", "--lua-memory", value).get("/").status == 200
