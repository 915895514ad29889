"""Groups of tasks within requests: what fails, what is late and what a client leaves behind ends,
cleaned up, before anybody goes on. And lifespans, around all requests."""

import json

import pytest

from wire import eventually

APP = """
local perigee = require("perigee")
local host = require("perigee.host")
local task = perigee.task
local app = perigee.app()

local trace = {}

local function note(name)
  return setmetatable({}, {
    __close = function()
      perigee.sleep(1)
      trace[#trace + 1] = name
    end,
  })
end

local function forever(name)
  local _ <close> = note(name)
  trace[#trace + 1] = name .. " waits"
  perigee.sleep(86400000)
end

app:get("/trace", function()
  return { trace = trace, alive = host.task.alive() }
end)

app:get("/gone", function()
  local _ <close> = note("handler")
  task.group(function(g)
    g:spawn(forever, "a")
    g:spawn(function()
      task.group(function(inner)
        inner:spawn(forever, "b")
      end)
    end)
  end)
end)

app:get("/all", function(req)
  local a, b = task.all({
    function()
      perigee.sleep(2)
      return req.query.a
    end,
    function()
      perigee.sleep(1)
      return req.query.b
    end,
  })
  return { a, b }
end)

app:get("/missing", function()
  task.group(function(g)
    g:spawn(forever, "sibling")
    g:spawn(function()
      perigee.sleep(1)
      error(perigee.http_error(404, "Item not found"))
    end)
  end)
end)

local function deep_inside()
  error("boom in a child")
end

app:get("/fails", function()
  task.group(function(g)
    g:spawn(function()
      perigee.sleep(1)
      deep_inside()
    end)
  end)
end)

app:get("/fail-together", function()
  task.group(function(g)
    for i = 1, 2 do
      g:spawn(function()
        pcall(perigee.sleep, i)
        error("failure " .. i)
      end)
    end
  end)
end)

app:get("/late", function()
  local found, err = task.move_on(5, forever, "late")
  return { found = found, code = err.code }
end)

app:post("/echo", function(req)
  return task.group(function(g)
    return g:spawn(function()
      return perigee.text(req:body())
    end):join()
  end)
end)

app:get("/locals", {
  deps = {
    user = perigee.dependency(function(req)
      task.locals.user = req.query.user
      return req.query.user
    end),
  },
}, function(req)
  return task.group(function(g)
    return g:spawn(function()
      perigee.sleep(1)
      return { task.locals.user, req.deps.user }
    end):join()
  end)
end)

return app
"""


@pytest.fixture
def app(serve, write_app):
    return serve(write_app(APP))


def value_of(answer):
    return json.loads(answer.body)


def trace_of(app):
    return value_of(app.get("/trace"))


def test_the_tasks_of_a_client_that_left_are_cancelled_and_clean_up(app):
    with app.connect() as conn:
        conn.request("GET", "/gone")
        eventually(lambda: "b waits" in trace_of(app)["trace"], "both tasks wait")
        conn.reset()
    seen = eventually(lambda: (t := trace_of(app))["alive"] == 1 and t, "all tasks have ended")
    assert sorted(seen["trace"][2:4]) == ["a", "b"]
    assert seen["trace"][4] == "handler"


def test_functions_run_at_the_same_time_and_read_the_request(app):
    assert value_of(app.get("/all?a=1&b=2")) == ["1", "2"]


def test_an_http_error_of_a_task_is_the_answer(app):
    answer = app.get("/missing")
    assert (answer.status, value_of(answer)) == (404, {"detail": "Item not found"})
    assert trace_of(app) == {"trace": ["sibling waits", "sibling"], "alive": 1}


def test_the_log_shows_where_a_task_failed(app):
    assert app.get("/fails").status == 500
    app.wait_for_log("boom in a child")
    app.wait_for_log("deep_inside")
    app.wait_for_log("in a task of")


def test_errors_of_several_tasks_are_logged_together(app):
    assert app.get("/fail-together").status == 500
    app.wait_for_log("2 tasks failed")
    app.wait_for_log("1. .*failure 1")
    app.wait_for_log("2. .*failure 2")


def test_what_is_late_ends(app):
    assert value_of(app.get("/late")) == {"code": "ETIMEDOUT"}
    assert trace_of(app)["trace"] == ["late waits", "late"]


def test_a_task_reads_the_body(app):
    body = b"x" * 300_000
    with app.connect() as conn:
        conn.request("POST", "/echo", body=body)
        assert conn.answer().body == body


def test_values_of_the_task_reach_its_children_and_no_other_request(app):
    assert value_of(app.get("/locals?user=ada")) == ["ada", "ada"]
    assert value_of(app.get("/locals?user=grace")) == ["grace", "grace"]


LIFESPAN = """
local perigee = require("perigee")
local app = perigee.app()
local router = perigee.router({ prefix = "/inner" })

local function spanning(name)
  return function(_, serve)
    print(name .. " starts")
    local _ <close> = setmetatable({}, { __close = function()
      perigee.sleep(1)
      print(name .. " closes")
    end })
    perigee.sleep(1)
    FAIL
    serve({ [name] = { name } })
    print(name .. " ends")
  end
end

app:lifespan(spanning("outer"))
router:lifespan(spanning("inner"))
router:get("/", function(req)
  local before = req.state.inner[1]
  req.state.inner = "mine"
  return { req.state.outer[1], before, req.state.inner }
end)
app:include(router)
return app
"""


def test_a_lifespan_surrounds_all_requests(serve, write_app):
    app = serve(write_app(LIFESPAN.replace("FAIL", "")))
    for _ in range(2):
        assert value_of(app.get("/inner/")) == ["outer", "inner", "mine"]
    app.stop()
    lines = [line for line in app.log if line.startswith(("outer", "inner"))]
    assert lines == [
        "outer starts",
        "inner starts",
        "inner ends",
        "inner closes",
        "outer ends",
        "outer closes",
    ]


def test_a_lifespan_that_fails_ends_the_start_with_its_message(serve, write_app):
    broken = LIFESPAN.replace("FAIL", 'if name == "inner" then error("no database") end')
    with pytest.raises(AssertionError, match="no database"):
        serve(write_app(broken))


def test_a_lifespan_that_does_not_serve_is_a_mistake(serve, write_app):
    with pytest.raises(AssertionError, match="ended without serve"):
        serve(write_app(LIFESPAN.replace("FAIL", "if name then return end")))
