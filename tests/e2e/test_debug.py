"""What a failed request shows in development, and what it does not."""

import os

import pytest

APP = """
local perigee = require("perigee")
local app = perigee.app({ %s })
local function divide(amount, password)
  local half = amount // 2
  return half .. nil
end
app:get("/fails", function(req)
  local answer = divide(7, "hun" .. "ter2")
  return answer
end)
app:get("/object", function()
  error({ code = 1 })
end)
local t = perigee.types
app:get("/breaks-its-type", { response = t.model("A", { n = t.integer }) }, function()
  return { n = "x" }
end)
app:get("/no-json", function()
  return { f = print }
end)
app:get("/bad-header", function(req)
  req.response:set("X-Bad", "two\\nlines"):set("X-Good", "yes")
  return 1
end)
app:get("/refused", function()
  error(perigee.http_error(404))
end)
return app
"""
HTML = {"accept": "text/html,*/*", "authorization": "Bearer abc", "x-a": "it's <b>"}


@pytest.fixture
def client(serve, write_app):
    with serve(write_app(APP % "debug = true")).client() as client:
        yield client


def test_a_browser_sees_where_it_failed(client):
    answer = client.get("/fails?x=1", headers=HTML)
    assert answer.status_code == 500
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    page = answer.text
    assert "attempt to concatenate a nil value" in page
    assert "app.lua:6 in" in page and "app.lua:9" in page
    assert "return half .. nil" in page
    assert "<td>half</td><td>3</td>" in page
    assert "GET /fails?x=1" in page
    assert "curl -X GET" in page and "'x-a: it'\\''s &lt;b&gt;'" in page
    assert "stack traceback" in page
    for secret in ("hunter2", "Bearer abc", "<b>"):
        assert secret not in page
    assert "<td>password</td><td>**********</td>" in page


def test_others_get_the_traceback_as_text(client):
    answer = client.get("/fails", headers={"accept": "application/json"})
    assert answer.status_code == 500
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"
    assert "app.lua:6" in answer.text and "stack traceback" in answer.text
    assert client.get("/object").status_code == 500
    assert client.get("/refused").json() == {"detail": "Not Found"}


@pytest.mark.parametrize(
    "path, message, line",
    [
        ("/breaks-its-type", "response.n: Input should be a valid integer", 16),
        ("/no-json", "f: a function cannot be written as JSON", 19),
        ("/bad-header", "header 'X-Bad'", 22),
    ],
)
def test_what_cannot_be_sent_is_shown_with_its_operation(client, path, message, line):
    answer = client.get(path, headers=HTML)
    assert answer.status_code == 500
    assert "the result cannot be sent: " in answer.text
    assert message in answer.text and f"app.lua:{line}" in answer.text
    text = client.get(path)
    assert text.status_code == 500 and "the result cannot be sent: " in text.text
    assert text.headers.get("x-good") == ("yes" if path == "/bad-header" else None)


def test_without_it_nothing_shows(serve, write_app):
    with serve(write_app(APP % "")).client() as client:
        answer = client.get("/fails", headers=HTML)
        assert (answer.status_code, answer.text) == (500, "Internal Server Error")
        for path in ("/breaks-its-type", "/no-json", "/bad-header"):
            answer = client.get(path, headers=HTML)
            assert (answer.status_code, answer.text) == (500, "Internal Server Error")


PIPE = """
local perigee = require("perigee")
local app = perigee.app({ debug = true })
local pipe = "@%s/pipe"
local function from_pipe(text)
  return load(text, pipe)
end
from_pipe("local app = ... app:get('/fails', function() error('it fails') end)")(app)
return app
"""


def test_a_chunk_with_the_name_of_a_pipe_keeps_nobody_waiting(serve, tmp_path):
    folder = tmp_path / "app"
    folder.mkdir()
    os.mkfifo(folder / "pipe")
    (folder / "app.lua").write_text(PIPE % folder)
    with serve(folder).client() as client:
        assert "/fails" in client.get("/openapi.json").json()["paths"]
        answer = client.get("/fails", headers=HTML)
        assert answer.status_code == 500 and "it fails" in answer.text
