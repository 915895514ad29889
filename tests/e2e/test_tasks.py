"""Every handler is a coroutine: it may wait anywhere, and it harms nobody when it misbehaves."""

import contextlib
import json

import pytest

from wire import eventually


@pytest.fixture
def tasks(serve):
    return serve("tasks")


def test_a_hundred_handlers_wait_at_the_same_time_on_one_loop(tasks):
    with contextlib.ExitStack() as stack:
        conns = [stack.enter_context(tasks.connect()) for _ in range(100)]
        for conn in conns:
            conn.request("GET", "/barrier")
        assert [conn.answer().body for conn in conns] == 100 * [b"100"]


def test_a_waiting_handler_holds_up_nobody_else(tasks):
    with tasks.connect() as waiting:
        waiting.request("GET", "/sleep/600000")
        for _ in range(20):
            assert tasks.get("/").body == b'"alive"'
        waiting.reset()


@pytest.mark.parametrize("ms", ["0", "1", "1.0"])
def test_sleep_takes_milliseconds(tasks, ms):
    assert tasks.get(f"/sleep/{ms}").body == b'"slept"'


@pytest.mark.parametrize("ms", ["-1", "x", "1e30"])
def test_sleep_raises_on_anything_else(tasks, ms):
    assert tasks.get(f"/sleep/{ms}").status == 500
    assert tasks.get("/").status == 200


@pytest.mark.parametrize(
    "target, body",
    [
        ("/yield", b"{}"),
        ("/yield/nothing", b"null"),
        ("/yield/table", b"null"),
        ("/yield/in-pcall", b"[true]"),
    ],
)
def test_a_yield_by_hand_lets_others_run_and_goes_on(tasks, target, body):
    with tasks.connect() as conn:
        for _ in range(3):
            assert conn.get(target).body == body
        assert conn.get("/").body == b'"alive"'


@pytest.mark.parametrize(
    "target, value",
    [
        ("/own-coroutine", [1, 2, 3]),
        ("/sleep-in-pcall", [True, "slept"]),
        ("/sleep-in-metamethod", "name"),
        ("/sleep-in-iterator", 15),
        ("/who-runs", {"main": False, "yieldable": True, "kind": "thread"}),
    ],
)
def test_a_handler_may_wait_wherever_lua_can_yield(tasks, target, value):
    assert tasks.json(target) == value


def test_waiting_while_a_list_is_sorted_is_fine(tasks):
    got = tasks.json("/sleep-in-sort")
    assert (got["ok"], got["list"]) == (True, [1, 2, 3])


def test_waiting_where_lua_cannot_yield_raises(tasks):
    got = tasks.json("/sleep-in-tostring")
    assert got["ok"] is False
    assert "cannot wait here" in got["message"]


def test_waiting_inside_a_coroutine_of_the_app_does_no_harm(tasks):
    for _ in range(5):
        assert tasks.get("/sleep-in-own-coroutine").status in (200, 500)
        assert tasks.get("/").body == b'"alive"'


@pytest.mark.parametrize("leave", ["close", "reset"])
def test_a_client_that_leaves_does_not_break_its_handler_or_the_next(tasks, leave):
    for _ in range(10):
        conn = tasks.connect()
        conn.request("GET", "/long")
        getattr(conn, leave)()
    eventually(
        lambda: tasks.json("/long/state") == {"sleeping": 10, "cleaned": 10}, "all cleaned up"
    )
    assert tasks.get("/").status == 200


def test_a_client_that_only_stopped_sending_still_gets_its_answer(tasks):
    with tasks.connect() as conn:
        conn.request("GET", "/sleep/50")
        conn.half_close()
        assert conn.answer().body == b'"slept"'
        conn.expect_end()


@pytest.mark.memory
def test_requests_leave_nothing_behind_in_lua(tasks):
    def burst():
        with tasks.connect() as conn:
            for _ in range(20):
                for _ in range(100):
                    conn.request("GET", "/sleep/0")
                for _ in range(100):
                    assert conn.answer().status == 200
        return json.loads(tasks.get("/collect").body)

    burst()
    first = burst()
    assert burst() - first < 64, "KiB of Lua memory grow with the number of requests"
