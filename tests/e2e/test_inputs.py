"""Declared inputs and what stands behind answers, over the wire with the real types."""

import httpx

APP = """
local perigee = require("perigee")
local t = perigee.types
local app = perigee.app({})
local seen = {}

local Item = t.model("Item", { name = t.string, price = t.number({ gt = 0 }) })

app:post("/item", { body = Item }, function(req)
  seen[#seen + 1] = "handler"
  return req.body
end)

app:put("/maybe", { body = Item({ optional = true }) }, function(req)
  return { kind = type(req.body) }
end)

app:post("/bytes", { files = { f = t.bytes }, form = { note = t.string } }, function(req)
  return { size = #req.files.f, note = req.form.note }
end)

app:get("/cookie", { cookies = { sid = t.string } }, function(req)
  return { declared = req.cookies.sid }
end)

app:get("/raw-cookie", function(req)
  return { raw = req.cookies.sid }
end)

app:get("/after", function(req)
  req:after(function(text)
    perigee.sleep(1)
    seen[#seen + 1] = text
  end, "after")
  return "sent"
end)

app:get("/seen", function()
  return perigee.json.array(seen)
end)

app:get("/typed", { response = Item }, function()
  return { name = "Foo", price = 1, secret = "not declared" }
end)

app:get("/broken", { response = t.array(Item) }, function()
  return { { name = "Foo", price = 1 }, { name = "Bar", price = "much" } }
end)

local task = require("perigee.host").task
app:get("/resumes", function()
  return task.resumes()
end)

local live
app:post("/live", function(req)
  live = req
  perigee.sleep(600000)
end)

app:get("/live", function()
  return live:body()
end)

return app
"""


def test_invalid_input_never_reaches_the_handler(serve, write_app):
    server = serve(write_app(APP))
    with server.client() as client:
        for _ in range(3):
            answer = client.post("/item", json={"name": 1, "price": -1})
            assert answer.status_code == 422
            assert [(e["type"], e["loc"]) for e in answer.json()["detail"]] == [
                ("string_type", ["body", "name"]),
                ("greater_than", ["body", "price"]),
            ]
        assert client.get("/seen").json() == []
        assert client.post("/item", json={"name": "Foo", "price": "2.5"}).json() == {"name": "Foo", "price": 2.5}
        assert client.get("/seen").json() == ["handler"]


def test_refusals_by_c_do_not_enter_lua(serve, write_app):
    server = serve(write_app(APP))
    with server.client() as client:
        before = client.get("/resumes").json()
        for _ in range(20):
            assert client.post("/item", json={"name": 1}).status_code == 422
            assert client.post("/item", content=b"{").status_code == 422
            assert client.get("/nowhere").status_code == 404
            assert client.delete("/item").status_code == 405
        assert client.get("/resumes").json() == before + 1  # the one that asks


def test_a_declared_body_that_is_not_sent_reads_nil(serve, write_app):
    server = serve(write_app(APP))
    with server.client() as client:
        assert client.put("/maybe").json() == {"kind": "nil"}
        assert client.put("/maybe", json={"name": "a", "price": 1}).json() == {"kind": "table"}


def test_files_may_be_declared_as_bytes(serve, write_app):
    server = serve(write_app(APP))
    with server.client() as client:
        answer = client.post("/bytes", files={"f": b"12345"}, data={"note": "hi"})
        assert answer.json() == {"size": 5, "note": "hi"}
        content = client.get("/openapi.json").json()["paths"]["/bytes"]["post"]["requestBody"]["content"]
        assert list(content) == ["multipart/form-data"]


KEYS = """
local perigee = require("perigee")
local t = perigee.types
local app = perigee.app({})
for name, key in pairs({ number = t.number, boolean = t.boolean, date = t.date, integer = t.integer }) do
  app:post("/" .. name, { body = t.map(key, t.integer) }, function(req)
    return req.body
  end)
end
return app
"""


def test_a_map_with_keys_of_any_type_can_be_answered(serve, write_app):
    sent = {"number": "1.50", "boolean": "yes", "date": "2020-01-02", "integer": " 1"}
    answered = {"number": "1.5", "boolean": "true", "date": "2020-01-02", "integer": "1"}
    with serve(write_app(KEYS)).client() as client:
        for name, key in sent.items():
            answer = client.post(f"/{name}", json={key: 1})
            assert (answer.status_code, answer.json()) == (200, {answered[name]: 1}), name


def test_a_quoted_cookie_is_unquoted(serve, write_app):
    server = serve(write_app(APP))
    with server.client() as client:
        headers = {"cookie": r'sid="a\054b \"c\" \303\244"'}
        assert client.get("/cookie", headers=headers).status_code == 200
        assert client.get("/cookie", headers=headers).json()["declared"].startswith('a,b "c" ')
        assert client.get("/raw-cookie", headers={"cookie": r'sid="a\054b"'}).json() == {"raw": "a,b"}


def test_functions_behind_an_answer_run_once_it_is_sent(serve, write_app):
    server = serve(write_app(APP))
    with server.client() as client:
        assert client.get("/after").json() == "sent"
    server.stop()  # drains what runs behind answers
    with serve(write_app(APP)).client() as client:
        client.get("/after")
        while client.get("/seen").json() != ["after"]:
            pass


def test_a_result_is_filtered_by_its_declared_type(serve, write_app):
    server = serve(write_app(APP))
    assert server.json("/typed") == {"name": "Foo", "price": 1.0}


def test_a_result_that_breaks_its_type_is_a_500_whose_log_names_the_place(serve, write_app):
    server = serve(write_app(APP))
    assert server.get("/broken").status == 500
    server.wait_for_log(r"response\[1\]\.price|response\[2\]\.price")


def test_a_body_awaited_by_another_request_ends_with_its_own(serve, write_app):
    server = serve(write_app(APP))
    with server.connect() as owner, server.connect() as other:
        owner.send(b"POST /live HTTP/1.1\r\nhost: a\r\ncontent-length: 10\r\n\r\n12345")
        while True:
            other.request("GET", "/live")
            if not other.readable(0.3):
                break  # it waits for the body of the first request
            assert other.answer().status == 500  # the first request is not there yet
        owner.reset()
        assert other.answer().status == 500
    assert server.get("/seen").status == 200


def test_httpx_sees_the_same_error_for_an_unreadable_body(serve, write_app):
    server = serve(write_app(APP))
    with server.client() as client:
        answer = client.post("/item", content=b'{"name": ', headers={"content-type": "application/json"})
        assert isinstance(answer, httpx.Response)
        assert answer.status_code == 422
        assert answer.json()["detail"][0]["type"] == "json_invalid"


def test_a_body_awaited_by_another_request_ends_when_it_is_refused(serve, write_app):
    server = serve(write_app(APP), "--max-body-bytes", 10)
    for _ in range(3):
        with server.connect() as owner, server.connect() as other:
            owner.send(b"POST /live HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n5\r\n12345\r\n")
            while True:
                other.request("GET", "/live")
                if not other.readable(0.3):
                    break
                assert other.answer().status == 500
            owner.send(b"6\r\n123456\r\n")
            assert owner.answer().status == 413
            assert other.answer().status == 500
    assert server.get("/seen").status == 200


HOSTILE = """
local perigee = require("perigee")
local t = perigee.types
local app = perigee.app({})

local Node
Node = t.model("Node", { next = t.ref(function() return Node end, { optional = true }) })

app:post("/node", { body = Node, response = Node }, function(req)
  return req.body
end)

local function count(req)
  local n = 0
  for _ in pairs(req.body) do
    n = n + 1
  end
  return n
end

app:post("/integers", { body = t.map(t.integer, t.any) }, count)
app:post("/numbers", { body = t.map(t.number, t.any) }, count)
return app
"""


def test_a_value_as_deep_as_a_body_may_be_can_be_answered(serve, write_app):
    # 512 levels are allowed, and each is two types here: a reference and its model.
    text = '{"next":' * 511 + "{}" + "}" * 511
    with serve(write_app(HOSTILE)).client() as client:
        response = client.post(
            "/node", content=text, headers={"content-type": "application/json"}
        )
    assert response.status_code == 200
    assert response.text == text.replace("{}", '{"next":null}')


def test_keys_that_collide_in_a_table_of_lua_are_refused(serve, write_app):
    # Lua finds the integers by their remainder, the others by the first bits of their mantissa: each
    # of these maps would cost billions of steps and hold the loop until it is killed.
    remainder = {str(i * 65535): 1 for i in range(60000)}
    mantissa = {repr(1.5 + i / 2**48): 1 for i in range(40000)}
    expected = {"type": "value_error", "loc": ["body"], "msg": "Value error, too many keys collide"}
    with serve(write_app(HOSTILE)).client() as client:
        for path, keys in (("/integers", remainder), ("/numbers", mantissa)):
            response = client.post(path, json=keys)
            assert response.status_code == 422
            (error,) = response.json()["detail"]
            assert {key: error[key] for key in expected} == expected
        for step in (1, 255, 1000, 65536):
            assert client.post("/integers", json={i * step: 1 for i in range(40000)}).text == "40000"
        assert client.post("/numbers", json={i + 0.5: 1 for i in range(40000)}).text == "40000"
