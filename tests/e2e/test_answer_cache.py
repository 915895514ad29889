"""`cache` of an operation: what is kept, for whom, and who makes it."""

import signal
import threading

import pytest

from server import run
from wire import eventually

APP = """
local perigee = require("perigee")
local shared, t = perigee.shared, perigee.types
local app = perigee.app({ openapi_url = false })

local function count(name)
  return shared.incr("made " .. name)
end
local kept = { ttl_ms = 60000 }

app:get("/made", function(req)
  return shared.get("made " .. req.query.name) or 0
end)
app:get("/time", { cache = kept }, function(req)
  req.response:set("X-Made", "by the handler")
  return { made = count("time"), q = req.query.q }
end)
app:get("/short", { cache = { ttl_ms = 1 } }, function()
  return count("short")
end)
app:get("/text", { cache = kept, produces = "text/plain", etag = true }, function()
  return "text " .. count("text")
end)
local Out = t.model("Out", { n = t.integer, list = t.array(t.integer) })
app:get("/typed", { cache = kept, response = Out, status = 203 }, function()
  return { n = count("typed"), list = {}, secret = 1 }
end)
app:get("/vary", { cache = { ttl_ms = 60000, vary = { "Accept-Language" } } }, function(req)
  return req.headers["Accept-Language"] .. count("vary")
end)
app:get("/declared", {
  cache = kept,
  headers = { x_kind = t.string },
  cookies = { theme = t.string({ default = "light" }) },
}, function(req)
  return { req.headers.x_kind, req.cookies.theme, count("declared") }
end)
local user = perigee.dependency({ headers = { x_user = t.string } }, function(req)
  count("resolved")
  req.response:set("X-For", req.headers.x_user)
  return req.headers.x_user
end)
app:get("/mine", {
  deps = { user = user },
  cache = { ttl_ms = 60000, key = function(req)
    return req.deps.user ~= "nobody" and req.deps.user or nil
  end },
}, function(req)
  return { req.deps.user, count("mine") }
end)
local session = perigee.dependency({ cookies = { session = t.string({ optional = true }) } }, function(req)
  req.state.user = req.cookies.session
end)
local guard = perigee.dependency({ deps = { session } }, function() end)
app:get("/guarded", { deps = { guard }, cache = kept }, function(req)
  return { req.state.user or "nobody", count("guarded") }
end)
app:get("/guarded-there", { deps = { guard }, cache = kept }, perigee.threaded(function()
  return count("guarded-there")
end))
app:get("/guarded-for-all", {
  deps = { guard }, cache = { ttl_ms = 60000, key = function() return "" end },
}, function() return count("guarded-for-all") end)
app:get("/missing", { cache = kept }, function()
  count("missing")
  error(perigee.http_error(404))
end)
app:get("/cookie", { cache = kept }, function(req)
  req.response:cookie("id", tostring(count("cookie")))
  return "yours"
end)
app:get("/stream", { cache = kept }, function()
  count("stream")
  return perigee.stream(function(out) out:write("bytes") end)
end)
app:get("/threaded", { cache = kept }, perigee.threaded(function()
  return count("threaded")
end))
local far = perigee.dependency({ deps = { user = user } }, perigee.threaded(function(req)
  return req.deps.user .. "!"
end))
local once = perigee.dependency({ scope = "app", open = function() return { call = print } end })
app:get("/mine-there", {
  deps = { user = user, far = far, once = once },
  etag = true,
  cache = { ttl_ms = 60000, key = function(req) return req.deps.far .. req.deps.user end },
}, perigee.threaded(function(req)
  req.response:set("X-Made", "there")
  return { req.deps.far, type(req.deps.once.call), count("mine-there") }
end))

-- Waits until the test opens the gate.
local function wait_for(gate)
  local news <close> = shared.subscribe("gate " .. gate)
  while not shared.get("open " .. gate) do
    news:receive(20)
  end
end
local function asked(req, next)
  count("asked")
  return next(req)
end
app:get("/slow/{gate}", { cache = kept, use = { asked }, timeout_ms = 50000 }, function(req)
  count("slow")
  wait_for(req.params.gate)
  if req.query.fail then
    error(perigee.http_error(503, "failed"))
  end
  return "done"
end)
app:get("/slow-there/{gate}", { cache = kept, use = { asked } }, perigee.threaded(function(req)
  count("slow-there")
  wait_for(req.params.gate)
  return "done"
end))
app:get("/listen", function()
  local all <close> = shared.subscribe("*")
  count("listening")
  return all:receive(10000)
end)
app:post("/open/{gate}", function(req)
  shared.set("open " .. req.params.gate, true)
  shared.publish("gate " .. req.params.gate, "open")
end)
return app
"""


@pytest.fixture
def cache(serve, write_app):
    return serve(write_app(APP), "--threads", 2)


def made(server, name):
    return server.json(f"/made?name={name}")


def open_gate(server, name):
    with server.client() as client:
        assert client.post(f"/open/{name}").status_code == 200


def test_an_answer_is_made_once_and_stays_as_it_is(cache):
    first, second = cache.get("/time"), cache.get("/time")
    assert first.body == second.body == b'{"made":1}'
    for answer in (first, second):
        assert answer.header("x-made") == "by the handler"
        assert answer.header("content-type") == "application/json"
    assert cache.json("/time?q=1") == {"made": 2, "q": "1"}
    assert cache.json("/time?q=1") == {"made": 2, "q": "1"}
    with cache.connect() as conn:
        conn.request("HEAD", "/time")
        assert int(conn.answer("HEAD").header("content-length")) == len(first.body)
    assert made(cache, "time") == 2


def test_an_answer_is_made_again_once_it_is_too_old(cache):
    cache.json("/short")
    eventually(lambda: cache.json("/short") >= 2, "another answer")


def test_texts_and_typed_results_are_kept_as_they_were_sent(cache):
    first, second = cache.get("/text"), cache.get("/text")
    assert first.body == second.body == b"text 1"
    assert first.header("content-type") == second.header("content-type")
    assert first.header("etag") == second.header("etag")
    first, second = cache.get("/typed"), cache.get("/typed")
    assert first.body == second.body == b'{"n":1,"list":[]}'
    assert (first.status, second.status) == (203, 203)


def test_headers_and_cookies_tell_answers_apart(cache):
    with cache.client() as client:
        for _ in range(2):
            for language, body in (("en", "en1"), ("de", "de2")):
                answer = client.get("/vary", headers={"Accept-Language": language})
                assert (answer.json(), answer.headers["vary"]) == (body, "Accept-Language")
            for kind, cookie, number in (("a", "", 1), ("b", "", 2), ("a", "theme=dark", 3)):
                headers = {"X-Kind": kind, "Cookie": cookie}
                answer = client.get("/declared", headers=headers).json()
                assert answer == [kind, "dark" if cookie else "light", number]
        assert client.get("/declared").status_code == 422


def test_dependencies_are_resolved_for_each_request(cache):
    with cache.client() as client:
        for _ in range(2):
            for user, number in (("ann", 1), ("bob", 2)):
                answer = client.get("/mine", headers={"X-User": user})
                assert answer.json() == [user, number]
                assert answer.headers["x-for"] == user
        assert made(cache, "resolved") == 4
        assert client.get("/mine").status_code == 422
        for number in (3, 4):
            answer = client.get("/mine", headers={"X-User": "nobody"})
            assert answer.json() == ["nobody", number]


def test_what_dependencies_may_have_found_out_tells_answers_apart(cache):
    with cache.client() as client:
        for _ in range(2):
            for cookie, body in (("session=ann", ["ann", 1]), ("session=bob", ["bob", 2])):
                assert client.get("/guarded", headers={"Cookie": cookie}).json() == body
                assert client.get("/guarded-there", headers={"Cookie": cookie}).json() == body[1]
                assert client.get("/guarded-for-all", headers={"Cookie": cookie}).json() == 1
        assert client.get("/guarded").json() == ["nobody", 3]


def test_threaded_handlers_and_dependencies_are_kept_like_others(cache):
    with cache.client() as client:
        for _ in range(2):
            for user, number in (("ann", 1), ("bob", 2)):
                answer = client.get("/mine-there", headers={"X-User": user})
                assert answer.json() == [user + "!", "function", number]
                assert (answer.headers["x-for"], answer.headers["x-made"]) == (user, "there")
        tag = {"If-None-Match": answer.headers["etag"], "X-User": "bob"}
        assert client.get("/mine-there", headers=tag).status_code == 304
        assert made(cache, "mine-there") == 2


def test_who_waits_for_an_answer_holds_no_worker(cache):
    """Two workers: one makes the answer that five wait for, the other serves the rest."""
    threads, _ = ask(cache, "/slow-there/e", 5)
    eventually(lambda: made(cache, "asked") == 5 and made(cache, "slow-there") == 1, "all wait")
    assert cache.json("/threaded") == 1
    open_gate(cache, "e")
    for thread in threads:
        thread.join()
    assert made(cache, "slow-there") == 1


def test_what_is_somebodys_own_is_not_kept(cache):
    with cache.client() as client:
        for number in (1, 2):
            assert client.get("/time", headers={"Authorization": "x"}).json()["made"] == number
            assert client.get("/cookie").cookies["id"] == str(number)
        client.cookies.clear()
        for number in (1, 2):
            assert client.get("/missing").status_code == 404
            assert client.get("/stream").content == b"bytes"
            assert made(cache, "missing") == made(cache, "stream") == number


def test_threads_share_what_is_kept(serve, write_app):
    server = serve(write_app(APP), "--loops", 2, "--threads", 2)
    for _ in range(20):  # each on a connection, and so a loop, of its own
        assert server.json("/time")["made"] == 1
        assert server.json("/threaded") == 1


def ask(server, target, count):
    """Asks at the same time; returns the threads and the list that their answers come into."""
    answers = []
    threads = [
        threading.Thread(target=lambda: answers.append(server.get(target))) for _ in range(count)
    ]
    for thread in threads:
        thread.start()
    return threads, answers


@pytest.mark.parametrize("kind", ["slow", "slow-there"])
def test_of_all_who_ask_at_the_same_time_one_makes_the_answer(serve, write_app, kind):
    server = serve(write_app(APP), "--loops", 2, "--threads", 12)
    threads, answers = ask(server, f"/{kind}/a", 10)
    eventually(lambda: made(server, "asked") == 10, "ten requests")
    eventually(lambda: made(server, kind) == 1, "the one that makes it")
    open_gate(server, "a")
    for thread in threads:
        thread.join()
    assert [answer.body for answer in answers] == [b'"done"'] * 10
    assert made(server, kind) == 1


def test_when_the_one_fails_the_others_do_not_wait_for_each_other(cache):
    threads, answers = ask(cache, "/slow/b?fail=1", 5)
    eventually(lambda: made(cache, "asked") == 5, "five requests")
    eventually(lambda: made(cache, "slow") == 1, "the one that makes it")
    open_gate(cache, "b")
    for thread in threads:
        thread.join()
    assert [answer.status for answer in answers] == [503] * 5
    assert made(cache, "slow") == 5


def test_when_the_one_leaves_another_takes_its_turn(cache):
    with cache.connect() as first:
        first.request("GET", "/slow/c")
        eventually(lambda: made(cache, "slow") == 1, "the first one")
        threads, answers = ask(cache, "/slow/c", 4)
        eventually(lambda: made(cache, "asked") == 5, "five requests")
        first.reset()
    eventually(lambda: made(cache, "slow") == 2, "the next one")
    open_gate(cache, "c")
    for thread in threads:
        thread.join()
    assert [answer.body for answer in answers] == [b'"done"'] * 4
    assert made(cache, "slow") == 2


def test_what_goes_on_inside_is_no_topic_of_the_app(cache):
    threads, answers = ask(cache, "/listen", 1)
    eventually(lambda: made(cache, "listening") == 1, "a listener")
    cache.json("/time")
    open_gate(cache, "d")
    threads[0].join()
    assert answers[0].body == b'"open"'


def test_a_new_version_begins_with_none(cache):
    assert cache.json("/time")["made"] == 1
    cache.signal(signal.SIGHUP)
    eventually(lambda: cache.json("/time")["made"] == 2, "an answer of the new version")
    assert cache.json("/time")["made"] == 2


@pytest.mark.parametrize(
    "declared, message",
    [
        ("app:post('/', { cache = { ttl_ms = 1 } }, f)", "only answers to GET are kept"),
        ("app:get('/', { cache = {} }, f)", "ttl_ms is needed"),
        ("app:get('/', { cache = { ttl = 1 } }, f)", "known: key, ttl_ms, vary"),
        ("app:get('/', { cache = { ttl_ms = 1, vary = { 'a b' } } }, f)", "the name of a header"),
        ("app:get('/', { cache = { ttl_ms = 1 }, deps = { u = f } }, f)", "req.deps.u"),
    ],
)
def test_mistakes_are_told_at_load(write_app, declared, message):
    text = f"local app = require('perigee').app()\nlocal f = print\n{declared}\nreturn app\n"
    result = run("routes", write_app(text))
    assert result.returncode == 1
    assert "app.lua:3: " in result.stderr and message in result.stderr
