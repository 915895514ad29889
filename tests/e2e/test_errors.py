"""Errors as the app wants them, written by C, and answers around their edges."""

import json

import pytest

import server as servers

APP = """
local perigee = require("perigee")
local t = perigee.types
local app = perigee.app({ %s })
local Item = t.model("Item", { a = t.integer }, { extra = "allow" })

app:post("/item", { body = Item, query = { q = t.integer({ default = 0 }) } }, function(req)
  return req.body
end)
app:post("/typed", { body = Item, response = Item }, function(req)
  req.body.late = true
  req.body.b = nil
  return req.body
end)
app:get("/broken", { response = Item }, function()
  return {}
end)
app:get("/raises", function()
  error("secret")
end)
app:post("/json", function(req)
  return req:json()
end)
app:get("/nothing", { status = 204 }, function() end)
app:get("/empty", function()
  return perigee.empty()
end)
app:get("/reset", { status = 205 }, function() end)
app:get("/text", { produces = "text/plain" }, function() end)
app:get("/hello", { produces = "text/plain", status = 203 }, function(req)
  req.response:set("X-A", "b")
  return "hello"
end)
app:get("/other", { produces = "text/plain" }, function(req)
  req.response.status = 418
  return "tea"
end)
app:get("/no-text", { produces = "text/csv" }, function()
  return { 1 }
end)
app:post("/upload", { files = { file = t.file({ max_bytes = 4, types = { "image/*", "text/plain" } }) } }, function(req)
  return req.files.file.size
end)
local task = require("perigee.host").task
app:get("/resumes", function()
  return task.resumes()
end)
return app
"""


@pytest.fixture
def app(serve, write_app):
    def start(options="", *flags):
        return serve(write_app(APP % options), *flags)

    return start


def resumes(client):
    return client.get("/resumes").json()


@pytest.mark.parametrize(
    "options, kind, body",
    [
        (
            'errors = "problem"',
            "application/problem+json",
            {
                "type": "about:blank",
                "title": "Unprocessable Content",
                "status": 422,
                "detail": "The request is not as declared.",
                "errors": [
                    {
                        "type": "missing",
                        "loc": ["body", "a"],
                        "msg": "Field required",
                        "input": {},
                    }
                ],
            },
        ),
        (
            'errors = "problem", validation_detail = "codes"',
            "application/problem+json",
            {
                "type": "about:blank",
                "title": "Unprocessable Content",
                "status": 422,
                "detail": "The request is not as declared.",
                "errors": [{"type": "missing", "loc": ["body", "a"]}],
            },
        ),
        (
            'errors = "problem", validation_detail = "none"',
            "application/problem+json",
            {
                "type": "about:blank",
                "title": "Unprocessable Content",
                "status": 422,
                "detail": "The request is not as declared.",
            },
        ),
        (
            'validation_detail = "codes"',
            "application/json",
            {"detail": [{"type": "missing", "loc": ["body", "a"]}]},
        ),
        (
            'validation_detail = "none"',
            "application/json",
            {"detail": "Unprocessable Content"},
        ),
    ],
)
def test_the_app_s_style_of_422_never_enters_lua(app, options, kind, body):
    with app(options).client() as client:
        before = resumes(client)
        answer = client.post("/item", json={})
        assert (answer.status_code, answer.headers["content-type"]) == (422, kind)
        assert answer.text == json.dumps(body, separators=(",", ":"))
        assert resumes(client) == before + 1  # the question itself


def test_all_of_several_codes_are_told(app):
    with app('validation_detail = "codes"').client() as client:
        answer = client.post("/item?q=x", json={"a": "y"})
        assert answer.text == (
            '{"detail":[{"type":"int_parsing","loc":["query","q"]},'
            '{"type":"int_parsing","loc":["body","a"]}]}'
        )


def test_problem_details_are_what_c_answers_by_itself_too(app):
    server = app('errors = "problem"')
    with server.client() as client:
        for path, status, title in (
            ("/lost", 404, "Not Found"),
            ("/broken", 500, "Internal Server Error"),
            ("/raises", 500, "Internal Server Error"),
        ):
            answer = client.get(path)
            assert answer.headers["content-type"] == "application/problem+json"
            assert answer.json() == {"type": "about:blank", "title": title, "status": status}
        assert "secret" in server.wait_for_log("secret")
        answer = client.post("/item", content=b"x" * (2 << 20))
        assert answer.json()["status"] == 413
        answer = client.post("/item", content=b"\xff", headers={"content-type": "application/json"})
        assert answer.json() == {
            "type": "about:blank",
            "title": "Bad Request",
            "status": 400,
            "detail": "There was an error parsing the body",
        }


def test_extra_fields_keep_their_order(app):
    with app().client() as client:
        text = '{"z":1,"a":2,"y":[],"x":{"n":null},"b":3,"z":4}'
        for path, expected in (
            ("/item", '{"a":2,"z":4,"y":[],"x":{"n":null},"b":3}'),
            ("/typed", '{"a":2,"z":4,"y":[],"x":{"n":null},"late":true}'),
        ):
            answer = client.post(path, content=text, headers={"content-type": "application/json"})
            assert answer.text == expected


def test_thousands_of_extra_fields_cost_no_more_than_others(app):
    many = {f"k{i}": i for i in range(20000)}
    with app().client() as client:
        assert client.post("/item", json={"a": 1, **many}).json() == {"a": 1, **many}


def test_broken_json_is_told_in_the_usual_order(app):
    with app().client() as client:
        answer = client.post("/json", content=b"{x")
        assert answer.status_code == 422
        assert answer.text == (
            '{"detail":[{"type":"json_invalid","loc":["body",1],"msg":"JSON decode error",'
            '"input":{},"ctx":{"error":"Expecting property name enclosed in double quotes"}}]}'
        )


def test_answers_without_a_body(app):
    """As FastAPI: a plain result has the operation's type, an explicit answer has its own."""
    with app().client() as client:
        answer = client.get("/nothing")
        assert (answer.status_code, answer.content) == (204, b"")
        assert answer.headers["content-type"] == "application/json"
        assert "content-length" not in answer.headers
        assert "content-type" not in client.get("/empty").headers
        answer = client.get("/reset")
        assert (answer.status_code, answer.content) == (205, b"")
        assert answer.headers["content-length"] == "0"


def test_results_of_an_operation_that_produces_text(app):
    server = app()
    with server.client() as client:
        answer = client.get("/text")
        assert (answer.status_code, answer.content) == (200, b"")
        assert answer.headers["content-type"] == "text/plain; charset=utf-8"
        answer = client.get("/hello")
        assert (answer.status_code, answer.text, answer.headers["x-a"]) == (203, "hello", "b")
        assert client.get("/other").status_code == 418
        assert client.get("/no-text").status_code == 500
        server.wait_for_log("produces text/csv.*must be a string, not a table")


def test_files_are_held_to_their_declaration(app):
    with app().client() as client:

        def upload(content, kind):
            return client.post("/upload", files={"file": ("f", content, kind)})

        assert upload(b"1234", "image/png").json() == 4
        assert upload(b"", "TEXT/plain; charset=utf-8").json() == 0
        error = upload(b"12345", "image/png").json()["detail"][0]
        assert error["type"] == "file_too_large"
        assert error["msg"] == "File should have at most 4 bytes"
        assert error["ctx"] == {"max_bytes": 4}
        for kind in ("text/html", "image", "image/"):
            error = upload(b"1", kind).json()["detail"][0]
            assert error["type"] == "file_type"
            assert error["msg"] == "File should be of type 'image/*' or 'text/plain'"


def test_forms_are_held_to_the_limits_of_the_app(app):
    with app("limits = { max_form_files = 1, max_form_field_bytes = 10 }").client() as client:
        files = [("file", ("f", b"1", "text/plain"))] * 2
        answer = client.post("/upload", files=files)
        assert answer.status_code == 400
        assert answer.json()["detail"] == "Too many files. Maximum number of files is 1."
        answer = client.post("/upload", files=files[:1], data={"note": "x" * 11})
        assert answer.status_code == 400


def test_a_mistake_in_a_call_of_the_framework_is_told_at_the_line_of_the_call(serve, write_app):
    text = """local perigee = require("perigee")
local app = perigee.app()
app:get("/", function()
  local value = perigee.shared.get({})
  return value
end)
app:get("/threaded", perigee.threaded(function()
  local value = perigee.shared.get(true)
  return value
end))
local bad = %s
return app
"""
    server = serve(write_app(text % "nil"))
    assert server.get("/").status == 500
    server.wait_for_log(r"app\.lua:4: bad argument #1 to 'get' \(string expected, got")
    assert server.get("/threaded").status == 500
    server.wait_for_log(r"app\.lua:8: bad argument #1 to 'get' \(string expected, got boolean\)")
    done = servers.run("check", write_app(text % "perigee.time.sleep({})"))
    assert done.returncode == 1
    assert "app.lua:11: bad argument #1 to 'sleep' (number expected, got table)" in done.stderr
    assert "perigee/" not in done.stderr


def test_an_error_that_is_a_table_is_logged_with_its_fields(serve, write_app):
    server = serve(
        write_app("""
local perigee = require("perigee")
local app = perigee.app()
local function fail()
  error({ code = "E_STOCK", left = 3, deep = {}, "first", long = ("x"):rep(300) })
end
app:get("/plain", fail)
app:get("/wrapped", { use = { function(req, next) return next(req) end } }, fail)
app:get("/threaded", perigee.threaded(fail))
return app
""")
    )
    for target in ("/plain", "/wrapped", "/threaded"):
        assert server.get(target).status == 500
        server.wait_for_log(
            f"{target} .*: "
            + r'\{\[1\] = "first", code = "E_STOCK", deep = \{\.\.\.\}, left = 3, long = "x{200}\.\.\."\}'
        )
