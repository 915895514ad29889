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
