"""The command line: what it serves, what it refuses, and how it says so."""

import shutil
import socket

import pytest

from server import APPS, BINARY, run

HELLO = """
local perigee = require("perigee")
local app = perigee.app()
app:get("/", function() return "hello" end)
return app
"""


def expect_mistake(result, code, *words):
    """The exit code, and a message on stderr that fits on one screen and holds the words."""
    assert result.returncode == code, result
    for word in words:
        assert word in result.stderr, result.stderr
    assert 0 < len(result.stderr.splitlines()) <= (1 if code == 2 else 40), result.stderr


# Help and version


@pytest.mark.parametrize("args", [["--help"], ["-h"], ["run", "--help"]])
def test_help_is_printed_to_stdout(args):
    result = run(*args)
    assert result.returncode == 0
    assert "perigee run" in result.stdout


def test_the_help_of_run_lists_its_flags_and_limits():
    listed = run("run", "--help").stdout
    for flag in ("--host", "--port", "--loops", "--log", "--max-body-bytes", "--head-timeout-ms"):
        assert flag in listed


def test_the_version_is_one_line():
    result = run("--version")
    assert result.returncode == 0
    assert result.stdout.lower().startswith("perigee ")
    assert len(result.stdout.splitlines()) == 1


# What is served


def test_a_folder_is_served(serve, write_app):
    assert serve(write_app(HELLO)).get("/").body == b'"hello"'


def test_a_path_to_a_lua_file_is_served(serve, write_app):
    folder = write_app({"other.lua": HELLO})
    assert serve(folder / "other.lua").get("/").body == b'"hello"'


def test_a_relative_folder_is_served(serve, write_app):
    folder = write_app(HELLO)
    assert serve(folder.relative_to(folder.parent), cwd=folder.parent).get("/").status == 200


def test_the_app_finds_its_own_modules(serve):
    server = serve("modules")
    assert server.json("/") == {"greeting": "hello from lib", "deep": "deep", "init": "package"}


def test_the_app_finds_its_own_modules_from_any_working_directory(serve, tmp_path):
    assert serve("modules", cwd=tmp_path).json("/")["greeting"] == "hello from lib"


def test_modules_of_the_working_directory_are_not_found(serve, write_app, tmp_path):
    (tmp_path / "stray.lua").write_text("return 'stray'")
    folder = write_app(
        """
        local perigee = require("perigee")
        local app = perigee.app()
        app:get("/", function() return (pcall(require, "stray")) end)
        return app
        """
    )
    assert serve(folder, cwd=tmp_path).json("/") is False


def test_the_binary_alone_in_another_folder_serves_an_app(serve, write_app, tmp_path):
    copy = shutil.copy2(BINARY, tmp_path / "alone")
    server = serve(
        write_app(HELLO), binary=copy, cwd=tmp_path, env={"LUA_PATH": "", "LUA_CPATH": ""}
    )
    assert server.get("/").body == b'"hello"'


def test_lua_path_in_the_environment_is_no_way_in(serve, write_app, tmp_path):
    (tmp_path / "perigee.lua").write_text("error('the wrong perigee')")
    server = serve(write_app(HELLO), env={"LUA_PATH": f"{tmp_path}/?.lua;;"})
    assert server.get("/").status == 200


# Flags and the environment


def test_flags_come_from_the_environment_too(write_app):
    taken = socket.create_server(("127.0.0.1", 0))
    port = taken.getsockname()[1]
    with taken:
        result = run("run", write_app(HELLO), env={"PERIGEE_PORT": str(port)})
        expect_mistake(result, 2, str(port))


def test_a_flag_beats_the_environment(serve, write_app):
    server = serve(write_app(HELLO), env={"PERIGEE_PORT": "1"})
    assert server.get("/").status == 200


@pytest.mark.parametrize(
    "env", [{"PERIGEE_PORT": "x"}, {"PERIGEE_LOG": "loud"}, {"PERIGEE_LOOPS": "-1"}]
)
def test_a_bad_value_in_the_environment_is_named(write_app, env):
    expect_mistake(run("run", write_app(HELLO), env=env), 2, *env)


def test_a_flag_may_be_written_with_an_equals_sign(serve, write_app):
    server = serve(write_app(HELLO), "--log=off", "--max-body-bytes=3")
    with server.connect() as conn:
        conn.request("GET", "/", body=b"four")
        assert conn.answer().status == 413


# Mistakes: one clear line and exit code 2


@pytest.mark.parametrize(
    "flags, word",
    [
        (["--frobnicate"], "--frobnicate"),
        (["--port"], "--port"),
        (["--port", "x"], "--port"),
        (["--port", "-1"], "--port"),
        (["--port", "65536"], "--port"),
        (["--port", "80x"], "--port"),
        (["--port", ""], "--port"),
        (["--loops", "0"], "--loops"),
        (["--loops", "many"], "--loops"),
        (["--log", "loud"], "--log"),
        (["--host", "not an address"], "not an address"),
        (["--max-body-bytes", "1e9"], "--max-body-bytes"),
        (["--max-body-bytes", "99999999999999999999999"], "--max-body-bytes"),
        (["--head-timeout-ms", "soon"], "--head-timeout-ms"),
        (["extra"], "extra"),
    ],
)
def test_a_bad_flag_is_named(write_app, flags, word):
    expect_mistake(run("run", write_app(HELLO), *flags), 2, word)


def test_a_missing_folder_is_named():
    expect_mistake(run("run", "/no/such/folder", "--port", 0), 2, "/no/such/folder")


def test_a_folder_without_an_app_is_named(tmp_path):
    expect_mistake(run("run", tmp_path, "--port", 0), 2, "app.lua")


def test_run_needs_an_app():
    expect_mistake(run("run"), 2)


@pytest.mark.parametrize("args", [["frobnicate"], ["--frobnicate"]])
def test_an_unknown_command_is_named(args):
    expect_mistake(run(*args), 2, "frobnicate")


def test_a_busy_port_is_named(write_app):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        expect_mistake(run("run", write_app(HELLO), "--port", port), 2, str(port), "in use")


@pytest.mark.parametrize("loops", [1, 2])
def test_a_port_another_perigee_serves_is_busy(serve, write_app, loops):
    server = serve(write_app(HELLO), "--loops", loops)
    result = run("run", write_app(HELLO), "--port", server.port, "--loops", loops)
    expect_mistake(result, 2, str(server.port), "in use")
    assert server.get("/").status == 200


# Mistakes in the app: a message on one screen and exit code 1


@pytest.mark.parametrize(
    "text, words",
    [
        ("local perigee = require('perigee')\nlocal x = = 1\n", ["app.lua:2", "local x = = 1"]),
        ("local t\n\nt.x = 1\n", ["app.lua:3", "t.x = 1"]),
        ("error('broken on purpose')", ["app.lua:1", "broken on purpose"]),
        ("error({ code = 1 })", ["app.lua"]),
        ("error()", ["app.lua"]),
        ("return", ["app.lua"]),
        ("local x = 1", ["app.lua"]),
        ("return 5", ["app.lua"]),
        ("return {}", ["app.lua"]),
        (
            "require('perigee')\nrequire('nowhere.to.be.found')",
            ["app.lua:2", "nowhere.to.be.found"],
        ),
        ("local function f() return f() + 1 end\nreturn f()", ["app.lua:1"]),
        ("coroutine.yield()", ["app.lua"]),
        ("require('perigee').sleep(1)", ["app.lua:1"]),
    ],
)
def test_a_mistake_in_the_app_is_shown_with_its_place(write_app, text, words):
    expect_mistake(run("run", write_app(text), "--port", 0), 1, *words)


def test_a_mistake_in_a_module_is_shown_with_its_place(write_app):
    folder = write_app({"app.lua": "local m = require('m')", "m.lua": "local a = 1\nlocal b = )\n"})
    expect_mistake(run("run", folder, "--port", 0), 1, "m.lua:2", "local b = )")


def test_a_mistake_is_shown_once_however_many_loops_there_are(write_app):
    result = run("run", write_app("error('broken')"), "--port", 0, "--loops", 4)
    expect_mistake(result, 1, "broken")
    assert result.stderr.count("does not load") == 1


def test_an_error_that_is_no_text_is_shown_all_the_same(write_app):
    wrong = 'error(setmetatable({}, { __tostring = function() error("again") end }))'
    for source, words in (('error({ code = "E1" })', 'code = "E1"'), (wrong, "cannot be made")):
        expect_mistake(run("run", write_app(source), "--port", 0), 1, words)


def test_an_endless_message_still_fits_on_a_screen(write_app):
    folder = write_app("error(string.rep('many words\\n', 100000))")
    result = run("run", folder, "--port", 0)
    assert result.returncode == 1
    assert len(result.stderr) < 64 * 1024


# Bytecode

BYTECODE_APP = """
local perigee = require("perigee")
local app = perigee.app()
local dumped = string.dump(load("return 42"))
local path = os.tmpname()

local function loads(how)
  local ok, chunk, message = pcall(how)
  if ok and type(chunk) == "function" then
    return true, chunk()
  end
  return ok and chunk ~= nil, tostring(message or chunk)
end

local ways = {
  load = function() return load(dumped) end,
  load_b = function() return load(dumped, "x", "b") end,
  load_bt = function() return load(dumped, "x", "bt") end,
  load_reader = function()
    local done
    return load(function()
      if not done then
        done = true
        return dumped
      end
    end, "x", "b")
  end,
  loadfile = function() return loadfile(path) end,
  loadfile_b = function() return loadfile(path, "b") end,
  dofile = function() return dofile(path) end,
  require = function() return require("compiled") end,
}

app:get("/compile", function() return perigee.bytes(dumped) end)

app:get("/{way}", function(req)
  local file = assert(io.open(path, "wb"))
  file:write(dumped)
  file:close()
  local loaded, message = loads(ways[req.params.way])
  os.remove(path)
  return { loaded = loaded, message = message }
end)

app:get("/text/works", function()
  return load("return 42")()
end)

return app
"""

WAYS = "load load_b load_bt load_reader loadfile loadfile_b dofile require".split()


@pytest.fixture
def bytecode(serve, write_app):
    folder = write_app(BYTECODE_APP)
    server = serve(folder)
    (folder / "compiled.lua").write_bytes(server.get("/compile").body)
    return server


@pytest.mark.parametrize("way", WAYS)
def test_bytecode_is_refused_however_it_comes(bytecode, way):
    got = bytecode.json(f"/{way}")
    assert got["loaded"] is False, got
    assert "binary" in got["message"] or "bytecode" in got["message"], got


def test_text_is_still_loaded(bytecode):
    assert bytecode.json("/text/works") == 42


def test_an_app_in_bytecode_is_refused(bytecode, tmp_path):
    (tmp_path / "app.lua").write_bytes(bytecode.get("/compile").body)
    result = run("run", tmp_path, "--port", 0)
    assert result.returncode == 1
    assert "binary" in result.stderr or "bytecode" in result.stderr


def test_the_tests_own_apps_are_complete():
    for app in APPS.iterdir():
        assert (app / "app.lua").exists(), app


def test_a_misspelt_global_is_warned_of_once_with_its_place(serve, write_app):
    server = serve(
        write_app(
            "local perigee = require('perigee')\n"
            "local app = perigee.app({})\n"
            "app:get('/', { deps = { current_usr } }, function() return 1 end)\n"
            "return app\n"
        ),
        "--loops",
        2,
    )
    server.wait_for_log(r"app\.lua:3: the global 'current_usr' is not defined")
    assert server.get("/").status == 200
    assert server.output.count("current_usr") == 1
