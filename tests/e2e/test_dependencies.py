"""Dependencies that close: what they are told of how the request ended."""

import pytest

APP = """
local perigee = require("perigee")
local t = perigee.types
local app = perigee.app({})

local closed
local MyError = setmetatable({}, { __tostring = function() return "mine" end })
MyError.__index = MyError

local function transaction(raises_again)
  return perigee.dependency({
    open = function() return "tx" end,
    close = function(_, err)
      if err == nil then
        closed = "committed"
        return
      end
      closed = "rolled back: " .. tostring(err.name or err):gsub("^.-:%d+: ", "")
      if raises_again then
        error(err, 0)
      end
    end,
  })
end

local tx = transaction()

app:get("/closed", function()
  return closed
end)
app:get("/well", { deps = { tx = tx }, response = t.integer }, function()
  return 1
end)
app:get("/breaks-its-type", { deps = { tx = tx }, response = t.integer }, function()
  return "many"
end)
app:get("/breaks-it-there", { deps = { tx = tx }, response = t.integer }, perigee.threaded(function()
  return "many"
end))
app:get("/cannot-be-json", { deps = { tx = tx } }, function()
  return { f = print }
end)
app:get("/text", { deps = { tx = tx } }, function()
  return perigee.text("fine")
end)
app:get("/raises", { deps = { tx = tx } }, function()
  error("a bug")
end)
app:get("/raises-its-own", { deps = { tx = tx } }, function()
  error(setmetatable({ name = "of my class" }, MyError))
end)
app:get("/raised-again", { deps = { tx = transaction(true) } }, function()
  error(setmetatable({ name = "of my class" }, MyError))
end)
app:on_error(MyError, function(_, err)
  return perigee.json({ handled = err.name }, { status = 409 })
end)
return app
"""


@pytest.mark.parametrize(
    ("path", "status", "closed"),
    [
        ("/well", 200, "committed"),
        ("/text", 200, "committed"),
        # What the client is not told to be done must not be done.
        ("/breaks-its-type", 500, "rolled back: the result cannot be sent: response: Input should"),
        ("/breaks-it-there", 500, "rolled back: the result cannot be sent: response: Input should"),
        ("/cannot-be-json", 500, "rolled back: "),
        # The error is the one that was raised, not what the framework keeps of it.
        ("/raises", 500, "rolled back: a bug"),
        ("/raises-its-own", 409, "rolled back: of my class"),
        ("/raised-again", 409, "rolled back: of my class"),
    ],
)
def test_a_dependency_is_told_how_the_request_ended(serve, write_app, path, status, closed):
    with serve(write_app(APP)).client() as client:
        assert client.get(path).status_code == status
        assert client.get("/closed").json().startswith(closed)


PARALLEL = """
local perigee = require("perigee")
local shared, task = perigee.shared, perigee.task
local app = perigee.app()

-- Returns once the other one has begun, too: alone, it would wait for ever.
local function meet(own, other)
  local news <close> = shared.subscribe(other)
  shared.set(own, true)
  shared.publish(own, true)
  while not shared.get(other) do
    news:receive(10000)
  end
  return own
end
local function together(options, fn)
  options.parallel = true
  return perigee.dependency(options, fn)
end
local function note(text)
  shared.push("notes", text)
end
app:get("/notes", function()
  local notes = {}
  while shared.length("notes") > 0 do
    notes[#notes + 1] = shared.pop("notes")
  end
  return notes
end)

local one = together({}, function() return meet("one", "two") end)
local two = together({ query = { n = perigee.types.integer({ default = 2 }) } }, function(req)
  return meet("two", "one") .. req.query.n
end)
local both = perigee.dependency({ deps = { one = one, two = two } }, function(req)
  return req.deps.one .. " " .. req.deps.two
end)
app:get("/meet", { deps = { both = both, again = one } }, function(req)
  return { req.deps.both, req.deps.again }
end)

local three = together({}, perigee.threaded(function() return meet("three", "four") end))
local four = together({}, perigee.threaded(function() return meet("four", "three") end))
app:get("/meet-there", { deps = { three = three, four = four } }, function(req)
  return { req.deps.three, req.deps.four }
end)
app:get("/meet-there-and-stay", {
  deps = { three = three, four = four },
}, perigee.threaded(function(req)
  return { req.deps.three, req.deps.four }
end))

local function refusing(status)
  return together({}, function() error(perigee.http_error(status)) end)
end
app:get("/refused", { deps = { refusing(401), refusing(403) } }, function() end)
local buggy = together({}, function() error("a bug") end)
app:get("/fails", { deps = { refusing(401), buggy } }, function() end)

local begun = task.event()
local slow = perigee.dependency({ parallel = true, open = function()
  note("opening")
  local undo <close> = setmetatable({}, { __close = function(_, err)
    note("undone " .. err.code)
  end })
  begun:set()
  perigee.sleep(60000)
end, close = function() note("never") end })
local opened = perigee.dependency({ parallel = true, open = function()
  note("opened")
end, close = function(_, err) note("closed " .. err.status) end })
local late = together({}, function()
  begun:wait()
  error(perigee.http_error(409))
end)
app:get("/cleanup", { deps = { opened, slow, late } }, function() end)
return app
"""


def test_parallel_dependencies_run_at_the_same_time(serve, write_app):
    server = serve(write_app(PARALLEL), "--threads", 2)
    assert server.json("/meet") == ["one two2", "one"]
    assert server.json("/meet?n=5") == ["one two5", "one"]
    assert server.get("/meet?n=x").status == 422


@pytest.mark.parametrize("path", ["/meet-there", "/meet-there-and-stay"])
def test_parallel_dependencies_have_a_worker_each(serve, write_app, path):
    server = serve(write_app(PARALLEL), "--threads", 2)
    assert server.json(path) == ["three", "four"]


def test_the_first_refusal_of_parallel_dependencies_is_the_answer(serve, write_app):
    server = serve(write_app(PARALLEL))
    assert server.get("/refused").status == 401
    assert server.get("/fails").status == 500, "a bug is not hidden by a refusal"


def test_what_runs_beside_a_dependency_that_fails_is_cancelled_and_cleans_up(serve, write_app):
    server = serve(write_app(PARALLEL))
    assert server.get("/cleanup").status == 409
    assert server.json("/notes") == ["opened", "opening", "undone ECANCELED", "closed 409"]
