"""What handlers return and raise, as it arrives."""

import json
import re

import pytest


@pytest.fixture
def answers(serve):
    return serve("answers")


@pytest.mark.parametrize(
    "target, kind, body",
    [
        ("/text", "text/plain; charset=utf-8", b"plain"),
        ("/html", "text/html; charset=utf-8", b"<p>hi</p>"),
        ("/bytes", "application/octet-stream", b"\0\1\xfe\xff"),
    ],
)
def test_a_response_has_its_type_and_its_bytes(answers, target, kind, body):
    answer = answers.get(target)
    assert (answer.status, answer.header("content-type"), answer.body) == (200, kind, body)


def test_a_response_has_its_status_and_headers(answers):
    answer = answers.get("/status")
    assert (answer.status, answer.body) == (201, b"made")
    assert (answer.header("x-one"), answer.header("x-two")) == ("1", "2")
    answer = answers.get("/json")
    assert (answer.status, answer.body) == (202, b'{"a":1}')


def test_a_header_may_repeat(answers):
    assert answers.get("/many-cookies").all("set-cookie") == ["a=1", "b=2"]


@pytest.mark.parametrize("code", [204, 304])
def test_answers_that_have_no_body_get_none(answers, code):
    with answers.connect() as conn:
        assert conn.get(f"/status/{code}").status == code
        assert conn.get("/text").body == b"plain", "the connection is still in step"


@pytest.mark.parametrize("code", [200, 299, 404, 451, 599])
def test_any_final_status_can_be_answered(answers, code):
    assert answers.get(f"/status/{code}").status == code


@pytest.mark.parametrize("code", [0, -1, 99, 100, 101, 199, 1000, 20000])
def test_a_status_that_is_no_final_one_is_an_error_of_the_handler(answers, code):
    with answers.connect() as conn:
        assert conn.get(f"/status/{code}").status == 500
        assert conn.get("/text").body == b"plain"


def test_a_cookie_is_set(answers):
    assert answers.get("/cookie?v=abc").header("set-cookie").startswith("session=abc; ")


@pytest.mark.parametrize("value", ["a%3B%20Domain%3Devil.test", "a%22%3B%20Domain%3Dx", "a%0d%0ab"])
def test_a_cookie_value_can_add_neither_attributes_nor_lines(answers, value):
    cookie = answers.get(f"/cookie?v={value}").header("set-cookie")
    assert cookie.count(";") == answers.get("/cookie?v=a").header("set-cookie").count(";")


def test_a_redirect_is_307_with_its_target(answers):
    answer = answers.get("/redirect")
    assert (answer.status, answer.header("location")) == (307, "/text")


# Splitting

SPLITS = ["a%0d%0aX-Evil:1", "a%0aX-Evil:1", "a%0dX-Evil:1", "a%00b", "a%0d%0a%0d%0aHTTP/1.1 200"]


@pytest.mark.parametrize("value", SPLITS)
@pytest.mark.parametrize(
    "target",
    [
        "/redirect/to?url=",
        "/header/value?v=",
        "/header/name?v=",
        "/header/type?v=",
    ],
)
def test_no_value_can_split_an_answer(answers, target, value):
    with answers.connect() as conn:
        conn.request("GET", target + value.replace(" ", "%20"))
        answer = conn.answer()
        assert answer.status == 500
        assert answer.header("x-evil") is None
        assert conn.get("/text").body == b"plain", "one request, one answer"


@pytest.mark.parametrize("name", ["", "a%20b", "a:b", "a%c3%a4", "%09"])
def test_a_header_name_must_be_a_token(answers, name):
    assert answers.get(f"/header/name?v={name}").status == 500


@pytest.mark.parametrize("kind", ["length", "chunked", "both"])
def test_a_handler_cannot_break_the_framing(answers, kind):
    with answers.connect() as conn:
        answer = conn.get(f"/framing/{kind}")
        assert answer.status == 500 or answer.body == b"hello"
        assert conn.get("/text").body == b"plain"


# Errors


@pytest.mark.parametrize(
    "target, status, body",
    [
        ("/http-error", 404, {"detail": "no such thing"}),
        ("/http-error/table", 409, {"detail": {"code": 7, "why": ["a", "b"]}}),
        ("/http-error/caught", 200, {"ok": False, "status": 404, "detail": "no such thing"}),
    ],
)
def test_an_http_error_is_answered_from_any_depth(answers, target, status, body):
    answer = answers.get(target)
    assert (answer.status, json.loads(answer.body)) == (status, body)
    assert answer.header("content-type") == "application/json"


def test_an_http_error_may_bring_headers(answers):
    answer = answers.get("/http-error/headers")
    assert (answer.status, answer.header("www-authenticate")) == (401, "Bearer")


def test_an_http_error_without_a_detail_has_the_phrase_of_its_status(answers):
    answer = answers.get("/http-error/plain")
    assert answer.status == 418
    assert re.search("teapot", json.loads(answer.body)["detail"], re.I)


@pytest.mark.parametrize(
    "target",
    [
        "/error",
        "/error/table",
        "/error/nil",
        "/error/tostring",
        "/error/overflow",
        "/error/memory",
        "/error/in-close",
    ],
)
def test_any_other_error_is_a_500_that_tells_the_client_nothing(answers, target):
    with answers.connect() as conn:
        answer = conn.get(target)
        assert (answer.status, answer.body) == (500, b"Internal Server Error")
        assert answer.header("content-type") == "text/plain; charset=utf-8"
        assert conn.get("/text").body == b"plain", "the connection is kept"


def test_the_log_has_the_traceback_with_the_id_of_the_request(answers):
    answers.get("/error")
    answers.wait_for_log("the secret reason")
    answers.wait_for_log("stack traceback")
    answers.wait_for_log(r"app\.lua:\d+: in .*fails")
    answers.wait_for_log(re.escape(str(answers.json("/last-id"))))


def test_errors_do_not_spoil_the_coroutines_that_come_after(answers):
    with answers.connect() as conn:
        for _ in range(200):
            assert conn.get("/error").status == 500
            assert conn.get("/http-error").status == 404
            assert conn.get("/text").body == b"plain"


# Requests that outlive their exchange


@pytest.mark.parametrize(
    "what",
    "method path target params query headers cookies client id body json chunks".split(),
)
def test_a_request_used_after_its_end_raises(answers, what):
    with answers.connect() as conn:
        conn.request("POST", "/keep?x=1", "Cookie: x=1", body=b'{"a":1}')
        assert conn.answer().body == b'"kept"'
        got = json.loads(conn.get(f"/use-kept/{what}").body)
        assert got["ok"] is False, got
        assert "request" in got["message"], got
        conn.request("POST", "/keep")
        assert conn.answer().status == 200


# Early hints

HINTS = """
local perigee = require("perigee")
local app = perigee.app({ openapi_url = false })
local gate = perigee.task.channel(1)
local LINK = "</app.css>; rel=preload; as=style"

app:use(function(req, next)
  if req.query.outer then
    req:early_hints({ { "Link", "</outer.css>" } })
  end
  return next(req)
end)
app:get("/page", function(req)
  local sent = req:early_hints({ Link = { LINK, "</app.js>" }, ["X-Hint"] = "1" })
  gate:receive()
  return { sent = sent }
end)
app:get("/go", function()
  gate:send(true)
end)
app:get("/told", function(req)
  return req:early_hints({ Link = LINK })
end)
app:get("/split", function(req)
  return req:early_hints({ Link = "a\\r\\nb: c" })
end)
app:get("/late", function(req)
  return perigee.stream(function(out)
    out:write("begun ")
    out:write(tostring(req:early_hints({ Link = LINK })))
  end)
end)
app:get("/there", perigee.threaded(function(req)
  return req:early_hints({ Link = LINK })
end))
return app
"""


@pytest.fixture
def hints(serve, write_app):
    return serve(write_app(HINTS), "--threads", 1)


def test_early_hints_arrive_while_the_handler_waits(hints):
    with hints.connect() as conn:
        conn.request("GET", "/page?outer=1")
        assert conn.head().header("link") == "</outer.css>"
        early = conn.head()
        assert (early.status, early.header("x-hint")) == (103, "1")
        assert early.all("link") == ["</app.css>; rel=preload; as=style", "</app.js>"]
        assert early.header("content-length") is None
        hints.get("/go")
        answer = conn.answer()
        assert (answer.status, answer.body, answer.header("link")) == (200, b'{"sent":true}', None)
        conn.request("GET", "/told")
        assert (conn.head().status, conn.answer().body) == (103, b"true")


def test_nobody_who_would_not_understand_gets_early_hints(hints):
    with hints.connect() as conn:
        conn.request("GET", "/told", version="1.0")
        assert conn.answer().body == b"false"
    assert hints.get("/late").body == b"begun false"
    assert hints.json("/there") is False


def test_early_hints_cannot_split_an_answer(hints):
    assert hints.get("/split").status == 500
    hints.wait_for_log("req:early_hints: header 'Link'")


def test_usual_clients_pass_over_early_hints(hints):
    with hints.client() as client:
        assert client.get("/told").json() is True
        assert client.get("/told").json() is True
