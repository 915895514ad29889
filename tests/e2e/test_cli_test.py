"""`perigee test`: an app's own tests, their client, their clock, and how results are told."""

import json
import os
import re
import subprocess
import xml.etree.ElementTree as ElementTree

import pytest

from server import BINARY, PROJECT, environment, run, too_deep_for_tsan
from wire import PATIENCE

APP = """
local perigee = require("perigee")
local app = perigee.app({ limits = { max_headers = 20, max_body_bytes = 2000000 } })
local get_name = perigee.dependency({}, function() return "real" end)
local events = {}

app:on_start(function() perigee.sleep(1) events[#events + 1] = "start" end)
app:on_stop(function() perigee.sleep(1) events[#events + 1] = "stop" end)
app:get("/events", function() return events end)
app:get("/name", { deps = { name = get_name } }, function(req) return req.deps.name end)
app:get("/broken", function() local nothing = nil return nothing.field end)
app:get("/wait", { timeout_ms = false }, function(req)
  perigee.sleep(tonumber(req.query.ms))
  return { waited = req.query.ms }
end)
app:get("/lines", function()
  return perigee.stream(function(out)
    for i = 1, 3 do
      out:write("line " .. i .. "\\n")
      perigee.sleep(100)
    end
  end, { content_type = "text/plain" })
end)
app:get("/sse", function()
  return perigee.stream(function(out)
    out:write("event: greeting\\nid: 7\\ndata: a\\ndata: b\\n\\n: nothing\\n\\ndata: c\\n\\n")
  end, { content_type = "text/event-stream" })
end)
app:any("/echo", function(req)
  return {
    method = req.method,
    target = req.target,
    body = req:body(),
    type = req.headers["content-type"] or false,
    cookie = req.headers.cookie or false,
    token = req.headers["x-token"] or false,
    client = req.client.host,
    agent = req.headers["user-agent"],
  }
end)
app:post("/size", function(req)
  local size = 0
  for bytes in req:chunks() do size = size + #bytes end
  return size
end)
app:post("/upload", { form = { title = perigee.types.string },
  files = { one = perigee.types.file } }, function(req)
  return { req.form.title, req.files.one.name, req.files.one.size }
end)
for _, status in ipairs({ 301, 302, 303, 307, 308 }) do
  app:post("/redirect/" .. status, function()
    return perigee.redirect("/echo?from=" .. status, { status = status })
  end)
end
app:get("/elsewhere", function() return perigee.redirect("https://example.org/") end)
app:get("/loop", function() return perigee.redirect("loop") end)
app:get("/set", function(req)
  req.response:cookie("here", "1")
  req.response:cookie("below", "2", { path = "/deep" })
  return 1
end)
app:get("/unset", function(req) req.response:cookie("here", "", { max_age = 0 }) return 1 end)
app:get("/deep/echo", function(req) return req.headers.cookie or false end)
app.get_name = get_name
return app
"""


@pytest.fixture
def suite(write_app):
    """Writes tests beside APP and runs them: suite("t:eq(1, 1)") is one test's body."""

    def execute(body, *flags, app=APP, **options):
        text = body if "test(" in body else f'test("it", function(t)\n{body}\nend)\n'
        files = {"a_test.lua": text}
        if app:
            files["app.lua"] = app
        return run("test", write_app(files), *flags, **options)

    return execute


@pytest.fixture
def passes(suite):
    def check(body, **options):
        result = suite(body, **options)
        assert result.returncode == 0, result.stdout + result.stderr
        return result

    return check


@pytest.fixture
def fails(suite):
    """The test fails for this reason; returns what was said of it."""

    def check(body, *words, flags=(), **options):
        result = suite(body, *flags, **options)
        assert result.returncode == 1, result.stdout + result.stderr
        for word in words:
            assert word in result.stdout, result.stdout
        return result.stdout

    return check


# The apps of the project


@pytest.mark.parametrize("app", ["hello", "burgers", "items"])
def test_the_apps_pass_their_own_tests(app):
    result = run("test", PROJECT / "apps" / app)
    assert result.returncode == 0, result.stdout + result.stderr
    assert re.search(r"[1-9]\d* passed, 0 failed", result.stdout)


# The client


def test_a_request_is_what_it_was_asked_to_be(passes):
    passes(
        """
        local client = t:client({ headers = { ["X-Token"] = "a" }, address = "10.1.2.3" })
        local seen = client:get("/echo", { query = { b = { 1, 2 }, a = "x y" } }):json()
        t:eq(seen.method, "GET")
        t:eq(seen.target, "/echo?a=x%20y&b=1&b=2")
        t:eq(seen.token, "a")
        t:eq(seen.client, "10.1.2.3")
        seen = client:put("/echo?a=1", { query = "b=2", json = { n = 1 }, headers = { ["x-token"] = "b" } }):json()
        t:eq({ seen.target, seen.token, seen.body, seen.type },
          { "/echo?a=1&b=2", "b", '{"n":1}', "application/json" })
        seen = client:post("/echo", { form = { a = "1 2", b = { "x", "y" } } }):json()
        t:eq({ seen.body, seen.type }, { "a=1%202&b=x&b=y", "application/x-www-form-urlencoded" })
        t:eq(client:delete("/echo"):json().method, "DELETE")
        t:eq(client:request("OPTIONS", "/echo"):json().method, "OPTIONS")
        local head = client:head("/echo")
        t:eq(head.body, "")
        t:ok(tonumber(head.headers["Content-Length"]) > 0)
        """
    )


def test_files_are_uploaded(passes):
    passes(
        """
        local client = t:client()
        local file = { name = "a file.txt", content = "12345", type = "text/plain" }
        t:eq(client:post("/upload", { form = { title = "T" }, files = { one = file } }):json(),
          { "T", "a file.txt", 5 })
        t:eq(client:post("/upload", { form = { title = "T" }, files = { one = "text" } }):json(),
          { "T", "one", 4 })
        """
    )


def test_bodies_are_long_and_come_in_pieces(passes):
    passes(
        """
        local client = t:client()
        t:eq(client:post("/size", { body = ("x"):rep(1500000) }):json(), 1500000)
        local count = 0
        local answer = client:post("/size", { body = function()
          count = count + 1
          return count <= 50 and ("y"):rep(9999) or nil
        end })
        t:eq(answer:json(), 50 * 9999)
        t:status(client:post("/size", { body = ("x"):rep(2000001) }), 413)
        """
    )


def test_redirects_are_followed_as_browsers_do(passes):
    passes(
        """
        local client = t:client()
        for status, method in pairs({ [301] = "GET", [302] = "GET", [303] = "GET", [307] = "POST", [308] = "POST" }) do
          local answer = client:post("/redirect/" .. status, { body = "abc" })
          t:eq(answer:json().method, method)
          t:eq(answer:json().body, method == "POST" and "abc" or "")
          t:eq(answer:json().target, "/echo?from=" .. status)
          t:eq(#answer.history, 1)
          t:eq(answer.history[1].status, status)
        end
        t:status(client:post("/redirect/303", { follow_redirects = false }), 303)
        t:status(client:get("/elsewhere"), 307)
        t:raises("redirects", client.get, client, "/loop")
        t:status(t:client({ follow_redirects = false }):get("/loop"), 307)
        """
    )


def test_cookies_are_kept_by_path_and_given_up(passes):
    passes(
        """
        local client = t:client({ cookies = { mine = "m" } })
        client:get("/set")
        t:eq(client.cookies.here, "1")
        t:eq(client:get("/echo"):json().cookie, "here=1; mine=m")
        t:eq(client:get("/deep/echo"):json(), "below=2; here=1; mine=m")
        t:eq(client:get("/echo", { cookies = { mine = "other" } }):json().cookie, "here=1; mine=other")
        client:get("/unset")
        client.cookies.mine = nil
        t:eq(client:get("/echo"):json().cookie, false)
        """
    )


def test_a_stream_is_read_as_it_arrives(passes):
    passes(
        """
        local client = t:client()
        local clock = t:clock({ manual = true })
        local answer <close> = client:stream("GET", "/lines")
        t:eq(answer.headers["transfer-encoding"], "chunked")
        local next_line = answer:lines()
        t:eq(next_line(), "line 1")
        clock:advance(99)
        t:eq(clock:now(), 99)
        clock:advance(1)
        t:eq(next_line(), "line 2")
        clock:advance(1000)
        t:eq(next_line(), "line 3")
        t:eq(next_line(), nil)
        """
    )


def test_events_are_read(passes):
    passes(
        """
        local got = {}
        for event in t:client():stream("GET", "/sse"):events() do got[#got + 1] = event end
        t:eq(got, { { event = "greeting", id = "7", data = "a\\nb" }, { data = "c" } })
        """
    )


def test_a_client_that_goes_away_cancels_what_it_asked_for(passes):
    passes(
        """
        local perigee = require("perigee")
        local app = perigee.app()
        local ended
        app:get("/", function()
          return perigee.stream(function(out)
            local mark <close> = setmetatable({}, { __close = function() ended = true end })
            while true do
              out:write(("x"):rep(1000))
              perigee.sleep(1)
            end
          end)
        end)
        local answer = t:client(app):stream("GET", "/")
        t:ok(#answer:chunks()() >= 1000)
        t:eq(ended, nil)
        answer:close()
        repeat perigee.sleep(1) until ended
        """
    )


def test_bytes_that_no_client_sends(passes):
    passes(
        """
        local wire <close> = t:client():connect()
        wire:write("GET /echo HTTP/1.1\\r\\nHost: a\\r\\nHost: b\\r\\n\\r\\n")
        t:match(wire:read(), "^HTTP/1.1 400 ")
        """
    )


def test_the_limits_of_the_app_hold(passes):
    passes(
        """
        local headers = {}
        for i = 1, 30 do headers["x-" .. i] = "1" end
        t:status(t:client():get("/echo", { headers = headers }), 431)
        local other = require("perigee").app({ limits = { max_headers = 200 } })
        other:get("/", function() return 1 end)
        for i = 1, 150 do headers["x-" .. i] = "1" end
        t:status(t:client(other):get("/", { headers = headers }), 200)
        """
    )


def test_mistakes_of_the_test_are_named(passes):
    passes(
        """
        local client = t:client()
        t:raises("unknown option 'jsn' (did you mean 'json'?)", client.post, client, "/echo", { jsn = 1 })
        t:raises("a target such as", client.get, client, "echo")
        t:raises("not several", client.post, client, "/echo", { json = 1, form = {} })
        t:raises("unknown option 'cookie'", t.client, t, { cookie = {} })
        """
    )


# Life


def test_the_app_is_started_before_the_first_request_and_stopped_at_the_end(passes):
    passes(
        """
        test("one", function(t) t:eq(t:client():get("/events"):json(), { "start" }) end)
        test("two", function(t)
          t:eq(t:client():get("/events"):json(), { "start", "stop", "start" })
          t:eq(t:client():get("/events"):json(), { "start", "stop", "start" })
        end)
        """
    )


def test_each_file_has_the_app_and_the_globals_anew(write_app):
    one = 'test("n", function(t) t:eq(_G.stray, nil); _G.stray = 1; t:eq(t:client():get("/events"):json(), { "start" }) end)'
    result = run("test", write_app({"app.lua": APP, "a_test.lua": one, "deep/b_test.lua": one}))
    assert result.returncode == 0, result.stdout
    assert "2 passed" in result.stdout


def test_a_dependency_is_overridden_until_the_test_ends(passes):
    passes(
        """
        local app = require("app")
        test("one", function(t)
          t:eq(t.app, app)
          t:override(app.get_name, function() return "fake" end)
          t:eq(t:client():get("/name"):json(), "fake")
        end)
        test("two", function(t)
          local client = t:client()
          t:eq(client:get("/name"):json(), "real")
          t:raises("override before", t.override, t, app.get_name, function() end)
        end)
        """
    )


def test_two_apps_take_turns(passes):
    passes(
        """
        local other = require("perigee").app()
        other:get("/", function() return "other" end)
        t:eq(t:client(other):get("/"):json(), "other")
        t:eq(t:client():get("/name"):json(), "real")
        """
    )


def test_there_may_be_no_app_at_all(passes):
    passes('t:eq(t.app, nil) t:raises("there is no app", t.client, t)', app=None)


# The clock


def test_waits_take_no_time_and_end_in_their_order(passes):
    passes(
        """
        local client = t:client()
        local clock = t:clock()
        local long = client:send("GET", "/wait?ms=86400000")
        local short = client:send("GET", "/wait?ms=1000")
        t:eq(short:wait():json(), { waited = "1000" })
        t:eq(clock:now(), 1000)
        t:status(long:wait(), 200)
        t:eq(clock:now(), 86400000)
        """
    )


def test_the_clock_goes_on_after_the_test(passes):
    passes(
        """
        local sleep = require("perigee").sleep
        test("one", function(t) t:clock() sleep(1e6) end)
        test("two", function(t) sleep(1) end)
        test("three", function(t)
          local clock = t:clock({ manual = true })
          clock:advance(10)
          clock:close()
          sleep(1)
        end)
        """
    )


# What fails, and how it is told


def test_a_failed_check_shows_both_values_and_its_line(fails):
    said = fails("local x = 1\nt:eq({ a = { 1, 2 } }, { a = { 1, 3 } })", "a_test.lua:3", "a[2]")
    assert "expected 3" in said and "got 2" in said


@pytest.mark.parametrize(
    "check, word",
    [
        ("t:ne(1, 1)", "anything but 1"),
        ("t:ok(false)", "got false"),
        ("t:ok(nil, 'the reason')", "the reason"),
        ("t:match('abc', '^b')", '"^b"'),
        ("t:contains('abc', 'x')", '"x"'),
        ("t:contains({ 1, 2 }, 3)", "expected 3"),
        ("t:near(1.2, 1, 0.1)", "+-"),
        ("t:raises('x', function() end)", "expected an error"),
        ("t:raises('x', error, 'y')", '"y"'),
        ("t:eq('a\\nb', 'a')", '"a\\nb"'),
        ("t:fail('no good')", "no good"),
        ("error('thrown')", "thrown"),
        ("error(require('perigee').http_error(404, 'nothing'))", "404 nothing"),
        ("t:cleanup(function() error('in cleanup') end)", "in cleanup"),
        ("t:client():stream('GET', '/lines'):json()", "the body is no JSON"),
    ],
)
def test_a_check_that_does_not_hold_says_why(fails, check, word):
    fails(check, word, "0 passed, 1 failed")


def test_an_answer_of_another_status_is_shown_with_the_log(fails):
    said = fails(
        't:log("note", { 1 })\nt:status(t:client():get("/broken"), 200)',
        "expected the status 200",
        "500 Internal Server Error",
        "attempt to index a nil value",
        "note { 1 }",
    )
    assert re.search(r"app\.lua:\d+: attempt", said)


def test_a_passing_test_keeps_the_log_to_itself(passes):
    result = passes('t:status(t:client():get("/broken"), 500)')
    assert "nil value" not in result.stdout + result.stderr


def test_a_test_that_hangs_is_ended(fails):
    fails("require('perigee').sleep(1e9)", "too long", flags=("--timeout-ms", 50))
    fails("t:client():get('/wait?ms=1e9')", "too long", flags=("--timeout-ms", 50))


def test_what_a_test_leaves_behind_fails_it(fails, passes):
    fails(
        """
        local perigee = require("perigee")
        local app = perigee.app()
        app:get("/", function(req)
          req:after(function() perigee.sleep(1e8) end)
          return 1
        end)
        t:client(app):get("/")
        """,
        "it left behind: 1 task",
    )


def test_a_handler_that_ends_late_is_no_leftover(passes):
    passes(
        """
        local perigee = require("perigee")
        local app = perigee.app()
        app:get("/", function(req)
          req:after(function() perigee.sleep(20) end)
          return 1
        end)
        t:client(app):get("/")
        """
    )


SCHEDULES = """
    local perigee = require("perigee")
    local app, runs = perigee.app(), {}
    app:every(1000, function() runs[#runs + 1] = clock:now() perigee.sleep(SLEEP) end)
    app:cron("30 * * * *", function() runs.hourly = (runs.hourly or 0) + 1 end)
"""


@too_deep_for_tsan
def test_schedules_follow_the_clock_of_the_test(passes):
    passes(
        "local clock = t:clock({ manual = true })"
        + SCHEDULES.replace("SLEEP", "1500")
        + """
        t:client(app)
        clock:advance(999)
        t:eq(runs, {})
        clock:advance(4001)
        t:eq(runs, { 1000, 3000, 5000 }) -- on the beat; those that fell into a run are left out
        clock:advance(3600 * 1000)
        t:eq(runs.hourly, 1)
        """
    )


def test_an_app_that_is_served_anew_begins_its_schedules_anew(passes):
    passes(
        "local clock = t:clock({ manual = true })"
        + SCHEDULES.replace("SLEEP", "0")
        + """
        t:client(app)
        clock:advance(1400)
        t:client(perigee.app()) -- stops the other one
        clock:advance(5000)
        t:eq(runs, { 1000 })
        t:client(app)
        clock:advance(1200)
        t:eq(runs, { 1000, 7400 })
        """
    )


def test_a_schedule_that_runs_when_its_test_ends_is_cancelled(passes):
    passes(
        """
        local perigee = require("perigee")
        local app, closed = perigee.app(), 0
        app:every(1000, function()
          local _ <close> = setmetatable({}, { __close = function() closed = closed + 1 end })
          perigee.sleep(1e8)
        end, { at_start = true })
        t:cleanup(function() t:eq(closed, 1) end)
        t:client(app)
        perigee.sleep(1)
        t:ok(not perigee.task.stopping())
        """
    )


def test_a_stream_without_an_end_keeps_no_test_waiting(passes):
    passes(
        """
        local perigee = require("perigee")
        local app, ended = perigee.app(), nil
        app:get("/", function(req)
          req:after(function()
            ended = select(2, perigee.task.until_stop(perigee.sleep, 1e8)).code
          end)
          return 1
        end)
        t:cleanup(function() t:eq(ended, "ESTOPPING") end)
        t:client(app):get("/")
        """
    )


def test_who_listened_to_topics_leaves_nothing_behind(passes):
    passes(
        """
        local perigee = require("perigee")
        local app = perigee.app()
        app:get("/", function()
          return perigee.events(function(out)
            local news <close> = perigee.shared.subscribe("orders.*")
            while true do
              local order, topic = news:receive()
              out:send(order, { event = topic })
            end
          end)
        end)
        app:post("/", function() return perigee.shared.publish("orders.new", { id = 7 }) end)
        local client = t:client(app)
        local live = client:stream("GET", "/")
        t:eq(client:post("/"):json(), 1)
        local first = live:events()()
        t:eq(first.event, "orders.new")
        t:eq(first.data, '{"id":7}')
        """
    )


def test_connections_that_clients_keep_are_not_left_behind(passes, serve, write_app):
    there = serve(write_app('local a = require("perigee").app() a:get("/", function() end) return a'))
    passes(
        f"""
        local http = require("perigee").http
        local own = http.client()
        for _ = 1, 2 do
          t:eq(http.get("{there.url}/").status, 200)
          t:eq(own:get("{there.url}/").status, 200)
        end
        """
    )


def test_cleanups_run_last_one_first_also_after_a_failure(fails):
    fails(
        """
        t:cleanup(function() io.stdout:write("first ") end)
        t:cleanup(function() io.stdout:write("second ") end)
        t:fail("x")
        """,
        "second first",
    )


def test_a_skipped_test_is_neither(suite):
    result = suite('t:skip("not today")')
    assert result.returncode == 0
    assert "0 passed, 0 failed, 1 skipped" in result.stdout and "not today" in result.stdout


def test_an_error_that_is_no_text_fails_its_test_alone(suite):
    result = suite(
        """
        test("fields", function() error({ code = "E1" }) end)
        test("worse", function()
          error(setmetatable({}, { __tostring = function() error("again") end }))
        end)
        test("sound", function() end)
        """
    )
    assert result.returncode == 1 and "1 passed, 2 failed" in result.stdout, result.stdout
    assert 'code = "E1"' in result.stdout and "message cannot be made" in result.stdout


def test_a_file_that_does_not_load_fails(fails):
    fails("test('a', function() end) local x = = 1", "a_test.lua:1")
    fails("test('a', function() end) test('a', function() end)", "declared twice")
    fails("test('a', function() end)", "app.lua:1", app="nonsense here")


def test_the_exit_code_2_says_there_was_nothing_to_do(suite, tmp_path):
    assert "no tests" in run("test", tmp_path).stderr
    assert run("test", tmp_path).returncode == 2
    assert run("test", tmp_path / "none").returncode == 2
    assert suite("t:ok(1)", "--filter", "zzz").returncode == 2
    result = suite("t:ok(1)", "--filtre", "zzz")
    assert result.returncode == 2 and "--filter" in result.stderr


# Flags

THREE = """
test("alpha", function(t) t:ok(true) end)
test("beta <&> #1", function(t) t:eq(1, 2) end)
test("gamma", function(t) t:skip("later") end)
"""


def test_a_filter_chooses(suite):
    result = suite(THREE, "--filter", "alpha")
    assert result.returncode == 0 and "1 passed, 0 failed" in result.stdout


def test_fail_fast_ends_with_the_first_failure(suite):
    result = suite(THREE, "--fail-fast")
    assert result.returncode == 1 and "gamma" not in result.stdout


def test_one_file_is_run(write_app):
    folder = write_app({"app.lua": APP, "a_test.lua": THREE, "b_test.lua": "nonsense"})
    assert "1 passed, 1 failed" in run("test", folder / "a_test.lua").stdout


def test_the_working_directory_is_the_default(write_app):
    folder = write_app({"app.lua": APP, "a_test.lua": THREE})
    assert "1 passed, 1 failed" in run("test", cwd=folder).stdout


def test_tap(suite):
    lines = suite(THREE, "--format", "tap").stdout.splitlines()
    assert lines[0] == "TAP version 14" and lines[-1] == "1..3"
    points = [line for line in lines if re.match("(not )?ok", line)]
    assert [re.sub(r"/\S*/", "", point) for point in points] == [
        "ok 1 - a_test.lua: alpha",
        "not ok 2 - a_test.lua: beta <&> \\#1",
        "ok 3 - a_test.lua: gamma # SKIP later",
    ]


def test_junit(suite, tmp_path):
    output = tmp_path / "junit.xml"
    result = suite(THREE, "--format", "junit", "--output", output)
    assert result.returncode == 1 and result.stdout == ""
    root = ElementTree.parse(output).getroot()
    suites = root.findall("testsuite")
    assert [(s.get("tests"), s.get("failures"), s.get("skipped")) for s in suites] == [
        ("3", "1", "1")
    ]
    cases = root.findall("testsuite/testcase")
    assert [case.get("name") for case in cases] == ["alpha", "beta <&> #1", "gamma"]
    assert "expected 2" in cases[1].find("failure").text
    assert cases[2].find("skipped").get("message") == "later"


COVERED = """local perigee = require("perigee")
local app = perigee.app()

local function never(x)
  if x then
    return 1
  end
  return 2
end

app:get("/", function(req)
  if req.query.all then
    return never(true)
  end
  local co = coroutine.wrap(function()
    return "in a coroutine"
  end)
  return co()
end)

return app
"""


def test_coverage_counts_the_lines_that_ran(write_app, tmp_path):
    test = 'test("one", function(t) t:status(t:client():get("/"), 200) end)'
    folder = write_app({"app.lua": COVERED, "a_test.lua": test})
    lcov = tmp_path / "lcov.info"
    result = run("test", folder, "--coverage", "--lcov", lcov)
    assert result.returncode == 0, result.stderr
    assert re.search(r"app\.lua +73\.3%  11 of 15  not: 5-8, 13$", result.stdout, re.M), result.stdout
    record = lcov.read_text()
    assert f"SF:{folder}/app.lua" in record
    assert "DA:16,1" in record and "DA:13,0" in record and "DA:6,0" in record
    assert "LF:15\nLH:11\nend_of_record" in record
    assert "a_test.lua" not in record


@pytest.mark.parametrize("path", [(), (".",), ("a_test.lua",), ("./a_test.lua",)])
def test_coverage_counts_in_the_working_directory(write_app, path):
    test = 'test("one", function(t) t:status(t:client():get("/"), 200) end)'
    folder = write_app({"app.lua": COVERED, "a_test.lua": test})
    result = run("test", *path, "--coverage", cwd=folder)
    assert re.search(r"^app\.lua +73\.3%  11 of 15", result.stdout, re.M), result.stdout


def test_watch_runs_again_when_a_file_changes(write_app):
    folder = write_app({"app.lua": APP, "a_test.lua": 'test("a", function(t) t:ok(false) end)'})
    process = subprocess.Popen(
        [BINARY, "test", str(folder), "--watch"],
        env=environment(),
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        lines = iter(process.stdout.readline, "")
        assert any("waiting for a change" in line for line in lines)
        (folder / "a_test.lua").write_text('test("now good", function(t) t:ok(true) end)')
        seen = []
        for line in lines:
            seen.append(line)
            if "waiting for a change" in line:
                break
        assert any("1 passed, 0 failed" in line for line in seen), seen
    finally:
        process.terminate()
        process.wait(PATIENCE)
        process.stdout.close()


def test_many_runs_at_once_do_not_disturb_each_other(write_app):
    folder = write_app({"app.lua": APP, "a_test.lua": 'test("a", function(t) t:client():get("/name") end)'})
    runs = [
        subprocess.Popen([BINARY, "test", str(folder)], stdout=subprocess.PIPE, env=environment())
        for _ in range(8)
    ]
    for one in runs:
        output, _ = one.communicate(timeout=PATIENCE)
        assert one.returncode == 0 and b"1 passed" in output


def test_colours_are_for_terminals(write_app):
    folder = write_app({"app.lua": APP, "a_test.lua": THREE})

    def in_terminal(**extra):
        leader, follower = os.openpty()
        result = subprocess.run(
            [BINARY, "test", str(folder)],
            stdout=follower,
            env=environment(TERM="xterm", **extra),
            timeout=PATIENCE,
        )
        os.close(follower)
        text = b""
        while True:
            try:
                piece = os.read(leader, 65536)
            except OSError:
                break
            if not piece:
                break
            text += piece
        os.close(leader)
        assert result.returncode == 1
        return text

    environment_without = {"NO_COLOR": ""}
    assert b"\x1b[31m" in in_terminal(**environment_without)
    assert b"\x1b" not in in_terminal(NO_COLOR="1")
    assert b"\x1b" not in run("test", folder).stdout.encode()


def test_the_client_module_is_not_for_servers(serve, write_app):
    server = serve(
        write_app(
            """
            local perigee = require("perigee")
            local app = perigee.app()
            app:get("/", function() return { pcall(require("perigee.host").test.counts) } end)
            return app
            """
        )
    )
    ok, message = json.loads(server.get("/").body)
    assert ok is False and "not in a server" in message
