"""`perigee openapi` and `perigee routes`: an app looked at without serving it."""

import json

import pytest

from server import APPS, run

DOCS = APPS / "docs"


def test_openapi_prints_the_document_that_is_served(serve):
    printed = run("openapi", DOCS)
    assert (printed.returncode, printed.stderr) == (0, "")
    assert printed.stdout == serve("docs").get("/openapi.json").body.decode() + "\n"


def test_openapi_diff_is_silent_about_what_breaks_nobody(tmp_path):
    document = json.loads(run("openapi", DOCS).stdout)
    del document["paths"]["/users/me"]
    old = tmp_path / "old.json"
    old.write_text(json.dumps(document))
    result = run("openapi", DOCS, "--diff", old)
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")


def test_openapi_diff_names_what_breaks_clients(tmp_path):
    document = json.loads(run("openapi", DOCS).stdout)
    document["paths"]["/gone"] = {"get": {"responses": {"200": {"description": ""}}}}
    document["components"]["schemas"]["Item"]["required"].remove("price")
    old = tmp_path / "old.json"
    old.write_text(json.dumps(document))
    result = run("openapi", DOCS, "--diff", old)
    assert result.returncode == 1
    assert result.stdout.splitlines() == [
        "GET /gone: is gone",
        "POST /items: body.price: is now required",
    ]


def test_openapi_mistakes_are_one_line_and_exit_code_2(tmp_path):
    broken = tmp_path / "broken.json"
    broken.write_text("{")
    for args, word in (
        ([], "usage"),
        ([DOCS, "--frobnicate"], "--frobnicate"),
        ([DOCS, "--diff"], "--diff"),
        ([DOCS, "--diff", tmp_path / "none.json"], "none.json"),
        ([DOCS, "--diff", broken], "broken.json"),
        ([DOCS, DOCS], "too much"),
        (["/no/such/folder"], "/no/such/folder"),
    ):
        result = run("openapi", *args)
        assert (result.returncode, result.stdout) == (2, ""), (args, result)
        assert word in result.stderr and len(result.stderr.splitlines()) == 1, result.stderr


def test_commands_show_why_an_app_does_not_load(write_app):
    folder = write_app("local perigee = require('perigee')\nperigee.app({ titel = 'x' })\n")
    for command in ("openapi", "routes"):
        result = run(command, folder)
        assert (result.returncode, result.stdout) == (1, "")
        assert "app.lua:2" in result.stderr and "titel" in result.stderr


@pytest.mark.parametrize(
    "path, message",
    [
        ("/{a}/{a}", "two parameters named 'a' in the path '/{a}/{a}'"),
        ("/x/{a:foo}", "unknown converter 'foo' (known: str int float uuid path)"),
        ("/x/{a", "a '{' without a '}' in the path '/x/{a'"),
        ("/x/a}", "a '}' without a '{'"),
        ("/{a}{b}", "no literal text between 'a' and 'b'"),
    ],
)
def test_every_command_refuses_a_path_that_cannot_be_served(write_app, path, message):
    folder = write_app(
        f"local app = require('perigee').app({{}})\napp:get('{path}', function() end)\nreturn app\n"
    )
    (folder / "app_test.lua").write_text("test('runs', function() end)\n")
    said = set()
    for command in ("run", "openapi", "routes", "check", "test"):
        port = ("--port", "0") if command == "run" else ()  # else two of these want the same one
        result = run(command, folder, *port)
        assert result.returncode != 0, command
        lines = [x for x in (result.stdout + result.stderr).splitlines() if message in x]
        said |= {line[line.index(message) :] for line in lines}
        assert f'app.lua:2: app:get("{path}"): {message}' in "\n".join(lines), (command, result)
    assert len(said) == 1


def test_the_path_of_a_page_must_be_one_that_can_be_served(write_app):
    folder = write_app("local app = require('perigee').app({ docs_url = '/{docs' })\nreturn app\n")
    for command in ("run", "openapi"):
        result = run(command, folder)
        assert result.returncode != 0
        assert "app.lua:1: perigee.app: a '{' without a '}'" in result.stderr


def test_routes_lists_operations_with_their_names_needs_and_places():
    result = run("routes", DOCS)
    assert (result.returncode, result.stderr) == (0, "")
    lines = {tuple(line.split()[:2]): line for line in result.stdout.splitlines()}
    assert "read_item" in lines["GET", "/items/{item_id}"]
    assert "needs token" in lines["GET", "/users/me"]
    assert all("app.lua:" in line for line in lines.values())
