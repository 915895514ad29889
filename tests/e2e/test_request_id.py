"""Names of requests: one that a trusted proxy sent is kept, and answers tell it where that is asked for."""

import json
import re

import pytest

APP = """
local perigee = require("perigee")
local app = perigee.app({ title = "Ids" %s })
app:get("/", function(req)
  return { id = req.id }
end)
app:get("/worker", perigee.threaded(function(req)
  return { id = req.id }
end))
app:get("/own", function()
  return perigee.json({}, { headers = { ["X-Request-Id"] = "mine" } })
end)
app:get("/stream", function(req)
  return perigee.stream(function(out)
    out:write(req.id)
  end)
end)
app:get("/empty", { status = 204 }, function() end)
app:get("/fails", function()
  error("on purpose")
end)
app:get("/item/{id}", { params = { id = perigee.types.integer } }, function() end)
return app
"""
OWN = re.compile("[0-9a-f]{24}")


@pytest.fixture
def ids(serve, write_app):
    def start(*flags, option=""):
        return serve(write_app(APP % option), *flags)

    return start


def answer_of(server, target, *fields):
    """The id that the handler saw and the one in the head of its answer."""
    answer = server.get(target, *fields)
    assert answer.status == 200, answer
    return json.loads(answer.body)["id"], answer.header("x-request-id")


@pytest.mark.parametrize("target", ["/", "/worker"])
def test_the_id_of_a_trusted_proxy_names_the_request(ids, target):
    server = ids("--request-id", "on")
    for sent in ("a", "x" * 128, "0af7651916cd43dd-8448eb211c80319c", '!"#~'):
        assert answer_of(server, target, f"X-Request-ID: {sent}") == (sent, sent)


@pytest.mark.parametrize("target", ["/", "/worker"])
@pytest.mark.parametrize(
    "fields",
    [
        ("X-Request-ID: " + "x" * 129,),
        ("X-Request-ID: two words",),
        ("X-Request-ID: \xe9",),
        ("X-Request-ID:",),
        ("X-Request-ID: a", "X-Request-ID: b"),
    ],
)
def test_what_is_no_sane_id_does_not_count(ids, target, fields):
    seen, told = answer_of(ids("--request-id", "on"), target, *fields)
    assert OWN.fullmatch(seen) and told == seen


@pytest.mark.parametrize("target", ["/", "/worker"])
def test_nobody_else_may_name_requests(ids, target):
    server = ids("--request-id", "on", "--forwarded-allow-ips", "192.0.2.1")
    seen, told = answer_of(server, target, "X-Request-ID: mine")
    assert OWN.fullmatch(seen) and told == seen


def test_answers_are_silent_unless_asked(ids):
    server = ids()
    assert answer_of(server, "/", "X-Request-ID: a") == ("a", None)
    assert "x-request-id" not in dict(server.get("/missing").fields)


def test_the_option_asks_and_the_flag_wins(ids):
    assert answer_of(ids(option=", request_id = true"), "/", "X-Request-ID: a") == ("a", "a")
    off = ids("--request-id", "off", option=", request_id = true")
    assert answer_of(off, "/", "X-Request-ID: a") == ("a", None)


@pytest.mark.parametrize(
    "target, status",
    [("/missing", 404), ("/item/x", 422), ("/fails", 500), ("/empty", 204), ("/stream", 200)],
)
def test_every_answer_tells_it(ids, target, status):
    server = ids("--request-id", "on")
    answer = server.get(target, "X-Request-ID: abc")
    assert (answer.status, answer.header("x-request-id")) == (status, "abc")
    own = server.get(target)
    assert OWN.fullmatch(own.header("x-request-id"))


def test_a_refusal_before_the_head_is_understood_has_an_id_too(ids):
    server = ids("--request-id", "on")
    with server.connect() as conn:
        conn.send("GET / HTTP/1.1\r\nHost: a\r\nbad header\r\n\r\n")
        answer = conn.answer()
        assert answer.status == 400 and OWN.fullmatch(answer.header("x-request-id"))


def test_an_app_that_names_the_answer_itself_is_left_alone(ids):
    answer = ids("--request-id", "on").get("/own", "X-Request-ID: theirs")
    assert answer.header("x-request-id") == "mine"


def test_requests_of_one_connection_have_their_own_ids(ids):
    server = ids("--request-id", "on")
    with server.connect() as conn:
        seen = {conn.get("/", *fields).header("x-request-id") for fields in ((), ("X-Request-ID: a",), ())}
    assert len(seen) == 3 and "a" in seen


def test_logs_name_it(ids):
    server = ids("--request-id", "on")
    server.get("/fails", "X-Request-ID: abc")
    server.wait_for_log(r'"GET /fails" 500 \d+ \d+\.\d\dms abc$')
    server.wait_for_log(r"GET /fails \(request abc, .*on purpose")
    lines = ids("--request-id", "on", "--log", "json")
    lines.get("/", 'X-Request-ID: a"b')
    assert json.loads(lines.wait_for_log('"method":"GET"'))["request"] == 'a"b'
