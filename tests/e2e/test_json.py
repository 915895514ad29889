"""JSON is strict and lossless, both ways."""

import json

import pytest


@pytest.fixture
def values(serve):
    return serve("values")


def post(server, target, body):
    with server.connect() as conn:
        conn.request("POST", target, "Content-Type: application/json", body=body)
        return conn.answer()


@pytest.mark.parametrize(
    "text",
    [
        "null",
        "true",
        "0",
        "-1",
        "9007199254740993",
        "9223372036854775807",
        "-9223372036854775808",
        "0.30000000000000004",
        "-0.0",
        "1.0",
        "5e-324",
        "1.7976931348623157e+308",
        "123456.789",
        '""',
        '"Hello"',
        '"\u20ac \U0001f600"',
        '"a\\u0000b"',
        '"\\"\\\\"',
        "[]",
        "{}",
        "[[],{},[[]]]",
        '{"a":[]}',
        '{"a":{}}',
        "[1,2.5,null,false]",
        '{"a":null}',
    ],
)
def test_a_value_survives_the_round_trip_to_the_byte(values, text):
    answer = post(values, "/echo", text.encode())
    assert (answer.status, answer.body.decode()) == (200, text)


@pytest.mark.parametrize(
    "text, same",
    [
        (' \t\r\n{ "a" : [ 1 , 2 ] } \n', {"a": [1, 2]}),
        ('"\\u20AC\\ud83d\\ude00\\/\\b\\f\\n\\r\\t"', "\u20ac\U0001f600/\b\f\n\r\t"),
        ('{"a":1,"a":2}', {"a": 2}),
        ("1E5", 100000.0),
        ("1e-2", 0.01),
        ('{"":0}', {"": 0}),
    ],
)
def test_equivalent_texts_mean_the_same(values, text, same):
    assert json.loads(post(values, "/echo", text.encode()).body) == same


@pytest.mark.parametrize(
    "text, kind",
    [("1", "integer"), ("1.0", "float"), ("1e0", "float"), ("9223372036854775807", "integer")],
)
def test_integers_stay_integers_and_floats_stay_floats(values, text, kind):
    assert json.loads(post(values, "/type", text.encode()).body) == kind


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b" ",
        b"{",
        b"[",
        b"]",
        b"[1,]",
        b"[,1]",
        b"[1 2]",
        b'{"a"}',
        b'{"a":}',
        b'{"a":1,}',
        b"{a:1}",
        b"{'a':1}",
        b"{1:1}",
        b"01",
        b"-",
        b"+1",
        b"1.",
        b".5",
        b"1e",
        b"0x1",
        b"NaN",
        b"Infinity",
        b"-Infinity",
        b"nul",
        b"True",
        b"1 2",
        b"{}x",
        b'"',
        b'"a',
        b'"\\x"',
        b'"\\u12"',
        b'"\n"',
        b'"\x00"',
        b'"\xff"',
        b'"\xc0\x80"',
        b'"\xed\xa0\x80"',
        b'"\xf4\x90\x80\x80"',
        b"// comment\n1",
        b'"\\ud800"',
        b'"\\udc00\\ud800"',
    ],
    ids=repr,
)
def test_text_that_is_no_json_is_the_clients_mistake(values, text):
    answer = post(values, "/echo", text)
    assert 400 <= answer.status < 500, answer
    assert json.loads(answer.body)["detail"]


@pytest.mark.parametrize(
    "text, byte", [('{"a":}', 5), ("[1,2,x]", 5), ('"\u20ac" x', 6), ("[1", 2)]
)
def test_a_decoding_error_names_the_byte(values, text, byte):
    got = json.loads(post(values, "/decode", text.encode()).body)
    assert got["ok"] is False
    assert got["position"] == byte + 1, "positions count from 1, as Lua's do"
    assert f"byte {byte + 1}" in got["message"]


@pytest.mark.parametrize("byte", [b"[", b'{"a":'])
def test_a_million_brackets_are_refused_without_harm(values, byte):
    answer = post(values, "/echo", (1_000_000 // len(byte)) * byte)
    assert 400 <= answer.status < 500
    assert values.get("/value/true").body == b"true"


@pytest.mark.parametrize("depth, accepted", [(512, True), (513, False)])
def test_the_nesting_of_json_is_limited(values, depth, accepted):
    answer = post(values, "/echo", depth * b"[" + depth * b"]")
    assert (answer.status == 200) is accepted
    assert answer.status < 500


def test_the_nesting_limit_is_a_flag(serve):
    server = serve("values", "--max-json-depth", 3)
    assert post(server, "/echo", b"[[[]]]").status == 200
    assert 400 <= post(server, "/echo", b"[[[[]]]]").status < 500


@pytest.mark.parametrize(
    "name, text",
    [
        ("nil", "null"),
        ("nothing", "null"),
        ("null", "null"),
        ("cjson_null", "[null]"),
        ("string", '"Hello"'),
        ("escapes", '"\\"\\\\/\\b\\f\\n\\r\\t\\u0000\\u001f\x7f"'),
        ("integer", "9007199254740993"),
        ("minimum", "-9223372036854775808"),
        ("float", "0.30000000000000004"),
        ("whole", "1.0"),
        ("negative_zero", "-0.0"),
        ("small", "5e-324"),
        ("large", "1.7976931348623157e+308"),
        ("true", "true"),
        ("false", "false"),
        ("empty", "{}"),
        ("empty_array", "[]"),
        ("empty_object", "{}"),
        ("list", '[1,"two",{"three":3}]'),
    ],
)
def test_a_returned_value_is_json_whatever_its_type(values, name, text):
    answer = values.get(f"/value/{name}")
    assert (answer.status, answer.body.decode()) == (200, text)
    assert answer.header("content-type") == "application/json"


@pytest.mark.parametrize(
    "name, path",
    [
        ("nan", r"list\[2\]"),
        ("infinity", "far"),
        ("function", r"items\[3\]\.price"),
        ("coroutine", "task"),
        ("userdata", "file"),
        ("cycle", r"next\.back"),
        ("mixed", "here"),
        ("boolean_key", "here"),
        ("bad_utf8", r"user\.name"),
        ("surrogate_utf8", r"user\.name"),
        ("bad_utf8_key", "here"),
        ("too_deep", r"\[1\]"),
    ],
)
def test_a_value_that_is_no_json_is_a_500_and_the_log_names_its_path(values, name, path):
    answer = values.get(f"/value/{name}")
    assert (answer.status, answer.body) == (500, b"Internal Server Error")
    values.wait_for_log(path)


def test_deep_values_within_the_limit_are_written(values):
    assert values.get("/value/deep").body == 500 * b"[" + b"{}" + 500 * b"]"


def test_an_encoding_error_names_the_path(values):
    got = values.json("/encode-error")
    assert got["ok"] is False
    assert "a[1].b" in got["message"]


def test_cjson_is_there_and_shares_the_null(values):
    assert values.json("/same-null") is True
