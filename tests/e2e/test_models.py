"""What models can do beyond fields: classes, attributes, serializers, patches, entity tags."""

import pytest

APP = """
local perigee = require("perigee")
local t = perigee.types
local app = perigee.app({})

-- A class of the app's, with a computed attribute, whose schema is a model.
local Point = {}
setmetatable(Point, { __schema = t.model("Point", {
  x = t.integer,
  y = t.integer({ default = 0 }),
  sum = t.integer({ optional = true }),
}) })
local Instance = { __index = function(self, key)
  return key == "sum" and type(self.x) == "number" and self.x + self.y or nil
end }
local function point(x, y)
  return setmetatable({ x = x, y = y }, Instance)
end

app:post("/point", { body = Point, response = Point }, function(req)
  return point(req.body.x, req.body.y)
end)
app:post("/points", { body = t.array(Point), response = t.map(Point) }, function(req)
  return { a = point(req.body[1].x, 1) }
end)
app:get("/validate", function()
  local line = t.model("Line", { from = Point, via = t.array(Point), to = t.ref(function()
    return Point
  end, { optional = true }) })
  local class = setmetatable({}, { __index = { from = point(1, 2), via = { point(3, 4) } } })
  local good = line:validate(class)
  local bad, errs = line:validate(setmetatable({}, { __index = { from = point("x", 1), via = {} } }))
  return { good.from.sum, good.via[1].sum, good.to == nil, bad == nil, errs[1].loc }
end)

app:get("/no-object", function()
  local Item = t.model("Item", { name = t.string })
  local types = {}
  for i, value in ipairs({ "text", 5, true, { 1 }, perigee.json.null }) do
    local _, of_model = Item:validate(value)
    local _, of_object = t.object({ name = t.string }):validate(value)
    local _, of_list = t.array(Item):validate({ value })
    assert(#of_model == 1 and #of_object == 1 and #of_list == 1 and of_list[1].loc[1] == 0)
    types[i] = { of_model[1].type, of_object[1].type, of_list[1].type }
  end
  return types
end)

local Event = t.model("Event", {
  at = t.datetime({ serialize = { t.integer, function() return 7 end } }),
  name = t.string({ optional = true, serialize = { t.string, string.upper } }),
  tags = t.array(t.string({ serialize = { t.model("Tag", { text = t.string }), function(text)
    return { text = text }
  end } }), { default = {} }),
})
app:post("/event", { body = Event, response = Event }, function(req)
  return req.body
end)
local Bad = t.model("Bad", { n = t.integer({ serialize = { t.integer, function() return "x" end } }) })
app:get("/bad", { response = Bad }, function()
  return { n = 1 }
end)

local Inner = t.model("Inner", { a = t.integer({ default = 1 }), b = t.integer({ optional = true }) })
local Item = t.model("Item", {
  name = t.string,
  price = t.number({ optional = true }),
  inner = Inner({ optional = true }),
  list = t.array(t.integer, { default = {} }),
})
local Patch = Item:partial("Patch")
local stored = { name = "a", price = 2.5, inner = { a = 2, b = 3 }, list = { 1 } }
app:patch("/item", { body = Patch, response = Item }, function(req)
  local merged, errs = Item:merge(stored, req.body)
  if not merged then
    error(perigee.http_error(422, errs))
  end
  return merged
end)
app:get("/plain-merge", { response = Item }, function()
  return Item:merge(stored, { price = perigee.json.null, inner = { b = perigee.json.null } })
end)
app:get("/encoded", function()
  return {
    Item:encode({ name = "a" }),
    Item:encode({ name = "a", list = { 1 } }, { exclude_none = true, include = { "name", "price" } }),
  }
end)

local version = 1
app:get("/tagged", { etag = true, response = Item }, function(req)
  req.response:set("Cache-Control", "max-age=5")
  return { name = "v" .. version }
end)
app:put("/tagged", { etag = true }, function(req)
  perigee.conditional.check(req, ('"%d"'):format(version))
  version = version + 1
  return version
end)
app:get("/tagged/{what}", { etag = true }, function(req)
  local answers = {
    text = function() return perigee.text("text") end,
    created = function() return perigee.json(1, { status = 201 }) end,
    own = function() return perigee.json(1, { headers = { ETag = '"own"' } }) end,
    status = function()
      req.response.status = 202
      return 1
    end,
    stream = function()
      return perigee.stream(function(out) out:write("x") end)
    end,
    checked = function()
      return perigee.conditional.check(req, '"7"') or "new"
    end,
  }
  return answers[req.params.what]()
end)
app:get("/xml", function()
  return perigee.xml("<a/>")
end)
return app
"""


@pytest.fixture
def server(serve, write_app):
    return serve(write_app(APP))


@pytest.fixture
def client(server):
    with server.client() as client:
        yield client


def test_a_class_with_a_schema_counts_as_its_model(client):
    assert client.post("/point", json={"x": 1, "y": 2}).text == '{"x":1,"y":2,"sum":3}'
    assert client.post("/point", json={"x": "a"}).json()["detail"][0]["loc"] == ["body", "x"]
    assert client.post("/points", json=[{"x": 5}]).text == '{"a":{"x":5,"y":1,"sum":6}}'
    schemas = client.get("/openapi.json").json()["components"]["schemas"]
    assert schemas["Point"]["required"] == ["x"]


def test_objects_with_attributes_are_validated_as_models(client):
    assert client.get("/validate").json() == [3, 7, True, True, ["from", "x"]]
    for types in client.get("/no-object").json():
        assert types == ["model_type", "model_type", "model_type"]


def test_values_are_written_as_their_serializers_say(client):
    answer = client.post("/event", json={"at": "2026-01-01T00:00:00Z", "name": "a", "tags": ["b"]})
    assert answer.text == '{"at":7,"name":"A","tags":[{"text":"b"}]}'
    answer = client.post("/event", json={"at": "2026-01-01T00:00:00Z"})
    assert answer.text == '{"at":7,"name":null,"tags":[]}'
    schemas = client.get("/openapi.json").json()["components"]["schemas"]
    assert schemas["Event-Input"]["properties"]["at"]["format"] == "date-time"
    assert schemas["Event-Output"]["properties"]["at"] == {"type": "integer", "title": "At"}
    tags = schemas["Event-Output"]["properties"]["tags"]["items"]
    assert tags == {"$ref": "#/components/schemas/Tag"}


def test_what_a_serializer_makes_must_fit_too(server):
    assert server.get("/bad").status == 500
    server.wait_for_log("n: Input should be a valid integer")


@pytest.mark.parametrize(
    "patch, expected",
    [
        ({}, {"name": "a", "price": 2.5, "inner": {"a": 2, "b": 3}, "list": [1]}),
        (
            {"name": "b", "price": None},
            {"name": "b", "price": None, "inner": {"a": 2, "b": 3}, "list": [1]},
        ),
        (
            {"inner": {"b": None}, "list": []},
            {"name": "a", "price": 2.5, "inner": {"a": 2, "b": None}, "list": []},
        ),
        (
            {"inner": None},
            {"name": "a", "price": 2.5, "inner": None, "list": [1]},
        ),
    ],
)
def test_a_patch_changes_what_it_names(client, patch, expected):
    headers = {"content-type": "application/merge-patch+json"}
    answer = client.request("PATCH", "/item", json=patch, headers=headers)
    assert (answer.status_code, answer.json()) == (200, expected)


def test_a_patch_is_validated_with_what_it_patches(client):
    answer = client.patch("/item", json={"name": None})
    assert answer.status_code == 422
    assert answer.json()["detail"][0]["loc"] == ["name"]
    assert client.get("/plain-merge").json() == {
        "name": "a",
        "price": None,
        "inner": {"a": 2, "b": None},
        "list": [1],
    }


def test_a_model_writes_its_values_with_options(client):
    assert client.get("/encoded").json() == [
        '{"name":"a","price":null,"inner":null,"list":[]}',
        '{"name":"a"}',
    ]


def test_answers_have_the_tag_of_their_bytes(client):
    answer = client.get("/tagged")
    etag = answer.headers["etag"]
    assert answer.json()["name"] == "v1"
    assert answer.headers["content-type"] == "application/json"
    again = client.get("/tagged", headers={"if-none-match": etag})
    assert (again.status_code, again.content) == (304, b"")
    assert again.headers["etag"] == etag
    assert again.headers["cache-control"] == "max-age=5"
    assert client.head("/tagged", headers={"if-none-match": etag}).status_code == 304
    assert client.get("/tagged", headers={"if-match": '"x"'}).status_code == 412
    assert client.put("/tagged", headers={"if-match": '"9"'}).status_code == 412
    assert client.put("/tagged", headers={"if-none-match": "*"}).status_code == 412
    assert client.put("/tagged", headers={"if-match": '"1"'}).json() == 2
    answer = client.get("/tagged", headers={"if-none-match": etag})
    assert (answer.status_code, answer.json()["name"]) == (200, "v2")


def test_tags_are_for_whole_answers_of_200(client):
    assert client.get("/tagged/text").headers["etag"]
    assert client.get("/tagged/own").headers["etag"] == '"own"'
    for path in ("created", "status", "stream"):
        assert "etag" not in client.get(f"/tagged/{path}").headers, path
    assert client.get("/tagged/status").status_code == 202
    assert client.get("/tagged/checked").json() == "new"
    assert client.get("/tagged/checked", headers={"if-none-match": '"7"'}).status_code == 304
    assert client.get("/xml").headers["content-type"] == "application/xml"


def test_a_patch_of_a_model_with_aliases(serve, write_app):
    app = """
local perigee = require("perigee")
local t = perigee.types
local app = perigee.app({})
local Sub = t.model("Sub", { x = t.integer({ alias = "ex" }) })
local Item = t.model("Item", {
  name = t.string({ alias = "nm" }),
  subs = t.array(Sub, { default = {} }),
})
local item = assert(Item:validate({ nm = "a", subs = { { ex = 1 } } }))
app:patch("/declared", { body = Item:partial("Patch"), response = Item }, function(req)
  return Item:merge(item, req.body)
end)
app:patch("/plain", { response = Item }, function(req)
  return Item:merge(item, req:json())
end)
return app
"""
    with serve(write_app(app)).client() as client:
        for path in ("/declared", "/plain"):
            answer = client.patch(path, json={"nm": "b"})
            assert answer.json() == {"nm": "b", "subs": [{"ex": 1}]}
