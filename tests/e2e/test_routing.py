"""Which handler a request reaches, and what the host answers where there is none."""

import json
from urllib.parse import urljoin

import pytest

from server import run


@pytest.fixture
def routes(serve):
    return serve("routes")


def allowed(answer):
    return {method.strip() for method in answer.header("allow").split(",")}


def ask(server, method, target):
    with server.connect() as conn:
        conn.request(method, target)
        return conn.answer(method)


@pytest.mark.parametrize(
    "target, expected",
    [
        ("/", {"route": "root"}),
        ("/items/7", {"route": "item", "id": "7"}),
        ("/items/me", {"route": "me"}),
        ("/items/mex", {"route": "item", "id": "mex"}),
        ("/items/m", {"route": "item", "id": "m"}),
        ("/items/7/8", {"route": "rest", "rest": "7/8"}),
        ("/items/7/parts", {"route": "parts", "id": "7"}),
        ("/items/me/parts", {"route": "mine", "id": "parts"}),
        ("/items/7/parts/9", {"route": "rest", "rest": "7/parts/9"}),
        ("/items/%6De", {"route": "me"}),
        ("/deep/1/b/2/3", {"route": "deep", "id": "3"}),
        ("/deep/1/b/x/3", {"route": "deep-rest", "rest": "3"}),
        ("/deep/1/b/x/3/4", {"route": "deep-rest", "rest": "3/4"}),
        ("/files/a/b/edit", {"route": "edit", "rest": "a/b"}),
        ("/umlaut/%C3%A4", {"route": "umlaut"}),
        ("/items/7?me", {"route": "item", "id": "7"}),
    ],
)
def test_static_beats_parameter_beats_rest_at_any_depth(routes, target, expected):
    assert routes.json(target) == expected


@pytest.mark.parametrize(
    "target", ["/nowhere", "/ITEMS/7", "/deep/1/b", "/files/edit", "//", "/items//"]
)
def test_an_unknown_path_is_404(routes, target):
    answer = routes.get(target)
    if answer.status == 200:  # a rest parameter may be empty; nothing else may match
        assert json.loads(answer.body)["rest"] in ("", "/")
    else:
        assert (answer.status, json.loads(answer.body)) == (404, {"detail": "Not Found"})


@pytest.mark.parametrize(
    "method, route",
    [
        ("GET", "get"),
        ("POST", "post"),
        ("DELETE", "delete"),
        ("PUT", "put or patch"),
        ("PATCH", "put or patch"),
    ],
)
def test_several_methods_share_a_path(routes, method, route):
    assert json.loads(ask(routes, method, "/both").body)["route"] == route


def test_an_unknown_method_is_405_with_the_union_of_methods(routes):
    answer = ask(routes, "TRACE", "/both")
    assert (answer.status, json.loads(answer.body)) == (405, {"detail": "Method Not Allowed"})
    assert allowed(answer) == {"GET", "HEAD", "POST", "DELETE", "PUT", "PATCH", "OPTIONS"}
    assert {"POST"} <= allowed(ask(routes, "GET", "/post-only")) <= {"POST", "OPTIONS"}


def test_head_is_automatic_where_get_is(routes):
    with routes.connect() as conn:
        conn.request("HEAD", "/items/7")
        head = conn.answer("HEAD")
        assert head.status == 200
        assert head.header("content-length") == str(len(conn.get("/items/7").body))
        conn.request("HEAD", "/post-only")
        assert conn.answer("HEAD").status == 405


def test_an_explicit_head_wins(routes):
    assert ask(routes, "HEAD", "/explicit").header("x-head") == "mine"


def test_options_is_automatic(routes):
    answer = ask(routes, "OPTIONS", "/both")
    assert answer.status in (200, 204)
    assert answer.body == b""
    assert allowed(answer) == {"GET", "HEAD", "POST", "DELETE", "PUT", "PATCH", "OPTIONS"}
    assert ask(routes, "OPTIONS", "/nowhere").status == 404


def test_an_explicit_options_wins(routes):
    assert ask(routes, "OPTIONS", "/explicit").body == b"mine"


# Slashes


@pytest.mark.parametrize(
    "method, target, goal",
    [
        ("GET", "/no-slash/", "/no-slash"),
        ("GET", "/slash", "/slash/"),
        ("HEAD", "/slash", "/slash/"),
        ("POST", "/posts", "/posts/"),
        ("GET", "/user/7/", "/user/7"),
        ("GET", "/no-slash/?a=1&b=%20", "/no-slash?a=1&b=%20"),
        ("GET", "/slash?", "/slash/?"),
        ("GET", "/user/%0d%0aSet-Cookie:x/", "/user/%0d%0aSet-Cookie:x"),
    ],
)
def test_a_missing_or_extra_slash_is_redirected_relatively(routes, method, target, goal):
    answer = ask(routes, method, target)
    assert answer.status == 307
    assert "://" not in answer.header("location")
    base = "http://a.test"
    reached = urljoin(base + target, answer.header("location"))
    assert reached.rstrip("?").lower() == (base + goal).rstrip("?").lower()


@pytest.mark.parametrize("method, target", [("POST", "/no-slash/"), ("GET", "/posts")])
def test_no_redirect_leads_to_a_method_that_would_not_match(routes, method, target):
    assert ask(routes, method, target).status in (404, 405)


@pytest.mark.parametrize("target", ["//evil.test/x/", "///evil.test/x/", "/%2F/evil.test/x/"])
def test_no_redirect_leads_to_another_site(routes, target):
    answer = routes.get(target)
    if answer.status == 307:
        reached = urljoin("http://a.test" + target, answer.header("location"))
        assert reached.startswith("http://a.test/")


@pytest.mark.parametrize("target", ["/%0d%0aSet-Cookie:x", "/items/%0d%0aSet-Cookie:x/"])
def test_an_encoded_line_end_in_the_path_sets_no_header(routes, target):
    assert routes.get(target).header("set-cookie") is None


# Mistakes that are found at load

HEADER = 'local app = require("perigee").app()\nlocal function h() end\n'


def test_a_duplicate_route_is_reported_with_both_places(write_app):
    folder = write_app(
        HEADER + 'app:get("/a", h)\napp:post("/a", h)\napp:get("/a", h)\nreturn app\n'
    )
    result = run("run", folder, "--port", 0)
    assert result.returncode == 1
    assert "app.lua:3" in result.stderr and "app.lua:5" in result.stderr


def test_an_unreachable_route_is_reported_with_both_places(serve, write_app):
    folder = write_app(HEADER + 'app:get("/a/{x}", h)\napp:get("/a/{y}", h)\nreturn app\n')
    line = serve(folder).wait_for_log("never reached")
    assert "app.lua:3" in line and "app.lua:4" in line


@pytest.mark.parametrize(
    "declaration",
    [
        'app:get("no-slash", h)',
        'app:get("/{a}/{a}", h)',
        'app:get("/{a", h)',
        'app:get("/{}", h)',
        'app:get("/a")',
        'app:get("/a", 5)',
        "app:get(nil, h)",
        'app:route({}, "/a", h)',
    ],
)
def test_a_wrong_declaration_names_its_line(write_app, declaration):
    result = run("run", write_app(f"{HEADER}{declaration}\nreturn app\n"), "--port", 0)
    assert result.returncode == 1
    assert "app.lua:3" in result.stderr
