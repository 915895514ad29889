"""Commands beside `run` and `test`: help, new, check, completion, the manual page. What one table of
commands says must be the same everywhere."""

import os
import re
import shutil
import subprocess

import pytest

from server import BINARY, PROJECT, environment, run
from wire import PATIENCE

COMMANDS = re.findall(r"^  perigee (\w+) ", run("help").stdout, re.M)


def flags_of(command):
    return re.findall(r"^  --([\w-]+)", run("help", command).stdout, re.M)


# Help


def test_the_overview_names_every_command():
    result = run("help")
    assert result.returncode == 0
    assert {"new", "run", "test", "check", "routes", "openapi", "help"} <= set(COMMANDS)
    assert run("--help").stdout == run("-h").stdout == result.stdout
    assert run().stdout == result.stdout and run().returncode == 2


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_tells_what_it_does(command):
    told = run("help", command)
    assert told.returncode == 0 and command in told.stdout
    assert run(command, "--help").stdout == told.stdout
    assert re.findall(r"^(?:usage:|  ) *perigee (\S+)", told.stdout, re.M)[:2] == [command]


@pytest.mark.parametrize(
    "args, words",
    [
        (["ruotes"], ["'ruotes'", "did you mean 'routes'?"]),
        (["help", "chekc"], ["did you mean 'check'?"]),
        (["frobnicate"], ["perigee help lists them"]),
        (["test", "--wacth"], ["did you mean --watch?"]),
        (["test", "--format", "xml"], ["text, tap, junit"]),
        (["test", "--timeout-ms", "soon"], ["whole number"]),
        (["test", "--timeout-ms"], ["needs N"]),
        (["test", "--watch=1"], ["takes no value"]),
        (["run", ".", "--prot", "1"], ["did you mean --port?"]),
        (["run", ".", "--max-bdy-bytes=1"], ["did you mean --max-body-bytes?"]),
        (["run", ".", "--zzzzzz", "1"], ["perigee run --help"]),
        (["new"], ["usage: perigee new NAME"]),
        (["new", "a/b c"], ["no name"]),
        (["new", "x", "--template", "big"], ["api, minimal"]),
        (["routes", "a", "b"], ["'b' is too much"]),
        (["completion", "fish"], ["bash and zsh"]),
    ],
)
def test_a_mistake_is_one_line_that_helps(args, words, tmp_path):
    result = run(*args, cwd=tmp_path)
    assert result.returncode == 2
    assert len(result.stderr.splitlines()) == 1, result.stderr
    for word in words:
        assert word in result.stderr


# Every command is held to what docs/cli.md says of mistakes: one line on standard error, exit code 2.


@pytest.mark.parametrize("command", COMMANDS)
def test_an_unknown_option_is_refused_by_every_command(command, tmp_path):
    for option in ("--no-such-option", "-x", "--no-such-option=1"):
        refused(run(command, option, cwd=tmp_path), "unknown option", f"perigee {command} --help")


@pytest.mark.parametrize("command", COMMANDS)
def test_too_many_operands_are_refused_by_every_command(command, tmp_path):
    refused(run(command, "a", "b", "c", cwd=tmp_path), r"too much|one app at a time: 'a' and 'b'")


def refused(result, *patterns):
    assert result.returncode == 2, result
    assert result.stdout == ""
    assert len(result.stderr.splitlines()) == 1, result.stderr
    for pattern in patterns:
        assert re.search(pattern, result.stderr), result.stderr


WANTS_AN_APP = ["run", "dev", "test", "check", "routes", "openapi", "repl", "types"]
WANTS_A_SERVER = [["ps"], ["top"], ["stack", "1"], ["cancel", "1"]]


@pytest.mark.parametrize("command", WANTS_AN_APP)
def test_an_app_that_is_not_there_is_refused(command, tmp_path):
    (tmp_path / "empty").mkdir()
    refused(run(command, "nowhere", cwd=tmp_path), "nowhere.*[Nn]o such file or directory")
    refused(run(command, "nowhere/app.lua", cwd=tmp_path), "nowhere/app.lua")
    if command != "dev":  # which waits for it
        refused(run(command, "empty", cwd=tmp_path), "'empty'")


@pytest.mark.parametrize("command", ["run", "check", "routes", "openapi", "repl", "types"])
def test_an_app_that_cannot_be_read_is_told(command, tmp_path):
    (tmp_path / "app.lua").mkdir()
    result = run(command, ".", cwd=tmp_path)
    assert result.returncode == 1, result
    assert re.search("app.lua.*(?:[Ii]s a directory|cannot read)", result.stderr), result


@pytest.mark.parametrize("command", WANTS_A_SERVER)
@pytest.mark.parametrize(
    "flags, why",
    [
        (["--server", "999999999"], "no server of yours has the process id 999999999"),
        (["--server", "nowhere.sock"], "nowhere.sock: no such file"),
        (["--control", "nowhere.sock"], "nowhere.sock: no such file"),
        (["--control", "a.sock", "--server", "1"], "one server at a time: '1' and 'a.sock'"),
    ],
)
def test_a_server_that_is_not_there_is_refused(command, flags, why, tmp_path):
    runtime = {"XDG_RUNTIME_DIR": str(tmp_path)}
    refused(run(*command, *flags, cwd=tmp_path, env=runtime), why)
    refused(run(*command, cwd=tmp_path, env=runtime), "no server of yours runs")


@pytest.mark.parametrize(
    "args, why",
    [
        (["new"], "usage: perigee new NAME"),
        (["run"], "which app"),
        (["stack"], "usage: perigee stack ID"),
        (["cancel"], "usage: perigee cancel ID"),
        (["test", "folder.lua"], "no tests in 'folder.lua'"),
        (["check"], "usage: perigee check APPDIR$"),
        (["routes"], "usage: perigee routes APPDIR$"),
        (["openapi"], "usage: perigee openapi APPDIR"),
        (["repl"], "usage: perigee repl APPDIR$"),
        (["types"], "usage: perigee types APPDIR"),
        (["types", "--api", "app"], "'app' is too much"),
        (["completion"], "usage: perigee completion bash|zsh"),
        (["man", "run"], r"'run' is too much \(usage: perigee man\)"),
        (["version", "--foo"], r"unknown option --foo \(perigee version --help"),
        (["version", "2"], r"'2' is too much \(usage: perigee version\)"),
        (["--version", "--foo"], "unknown option --foo"),
        (["--help", "--foo"], "unknown option --foo"),
        (["help", "version", "run"], "'run' is too much"),
        (["ps", "1", "--server", "2"], "one server at a time"),
        (["new", "here"], "there is something in 'here'"),
        (["openapi", "here", "--diff", "nowhere.json"], "nowhere.json: .o such file"),
        (["test", "here", "--output", "nowhere/report"], "nowhere/report"),
        (["run", "here", "--port"], "--port wants a value"),
        (["top", "--interval-ms", "soon"], "--interval-ms takes a whole number"),
        (["nowhere.lua"], "no script at 'nowhere.lua': No such file"),
        (["folder.lua"], "'folder.lua' is a folder"),
        ([""], "unknown command ''"),
        (["--"], "unknown command '--'"),
    ],
)
def test_what_is_missing_or_too_much_is_told(args, why, tmp_path):
    (tmp_path / "here").mkdir()
    (tmp_path / "folder.lua").mkdir()
    (tmp_path / "here" / "app.lua").write_text("return require('perigee').app()")
    (tmp_path / "here" / "app_test.lua").write_text("test('nothing', function() end)")
    refused(run(*args, cwd=tmp_path, env={"XDG_RUNTIME_DIR": str(tmp_path)}), why)


def test_a_script_that_fails_is_something_else_than_one_that_is_missing(tmp_path):
    for text in ("error('burnt')", "local x = = 1"):
        (tmp_path / "a.lua").write_text(text)
        assert run("a.lua", cwd=tmp_path).returncode == 1


# New


@pytest.mark.parametrize("template", [[], ["--template", "minimal"], ["--template=api"]])
def test_a_new_app_is_sound_tested_and_served(tmp_path, serve, template):
    made = run("new", "my-notes", *template, cwd=tmp_path)
    assert made.returncode == 0, made.stderr
    folder = tmp_path / "my-notes"
    assert {file.name for file in folder.iterdir()} == {"app.lua", "app_test.lua", "README.md"}
    assert "My notes" in (folder / "README.md").read_text()
    for command in ("test", "check"):
        result = run(command, folder)
        assert result.returncode == 0, result.stdout + result.stderr
    assert serve(folder).get("/").status == 200


def test_a_new_app_takes_nothing_away(tmp_path):
    (tmp_path / "here").mkdir()
    assert run("new", "here", cwd=tmp_path).returncode == 0
    (tmp_path / "here" / "app.lua").write_text("mine")
    again = run("new", "here", cwd=tmp_path)
    assert again.returncode == 2 and "already" in again.stderr
    assert (tmp_path / "here" / "app.lua").read_text() == "mine"


def test_new_apps_are_formatted_as_the_project_is():
    stylua = PROJECT / "build" / "node" / "node_modules" / ".bin" / "stylua"
    if not stylua.exists():
        pytest.skip("stylua comes with `make check`")
    text = run("new", "--help") and (PROJECT / "lua/perigee/cli/new.lua").read_text()
    for source in re.findall(r"= \[==\[\n(.*?)\]==\]", text, re.S):
        if "local perigee" in source or "test(" in source:
            source = source.replace("{{name}}", "a").replace("{{title}}", "A")
            subprocess.run(
                [stylua, "--check", "-"], input=source, text=True, check=True, cwd=PROJECT
            )


# Check


@pytest.mark.parametrize("app", ["hello", "burgers", "crawler", "items"])
def test_the_apps_of_the_project_are_sound(app):
    result = run("check", PROJECT / "apps" / app)
    assert result.returncode == 0, result.stdout


UNSOUND = """local perigee = require("perigee")
local t = perigee.types
local app = perigee.app()

local Unused = t.model("Unused", { a = t.string })
local Base = t.model("Base", { a = t.string })
local Item = Base:extend("Item", { inner = t.array(t.model("Inner", { b = t.string })) })
local Later

local function find(id)
  if id == 0 then
    error(perigee.http_error(perigee.status.GONE)) -- not http_error(418)
  end
  return id or error(perigee.http_error(404, "none"))
end

local user = perigee.dependency({}, function()
  error(perigee.http_error(403))
end)

app:get("/items/{id}", {
  response = Item,
  responses = { [404] = { description = "none" } },
}, function(req)
  return find(req.params.id)
end)

app:get("/items/special", function()
  return undefined_thing
end)

app:get("/items/{name}", function() end)

app:get("/me", { deps = { user }, responses = { ["4XX"] = { description = "no" } } }, function()
  return Later:validate({})
end)

app:delete("/me", { deps = { user } }, function()
  defined_late()
end)

function defined_late() end
Later = t.model("Later", { x = t.integer })

local function inside()
  local other = perigee.app()
  other:get("/x", function() error(perigee.http_error(409)) end)
  app:mount("/other", other)
end
inside()

return app
"""


def test_check_finds_what_is_declared_in_vain_or_not_at_all(write_app):
    folder = write_app({"app.lua": UNSOUND, "lib/helper.lua": "return function() return helpp() end"})
    result = run("check", folder)
    assert result.returncode == 1
    assert [line.replace(f"{folder}/", "") for line in result.stdout.splitlines()] == [
        "app.lua:5: the model Unused is never used",
        'app.lua:21: app:get("/items/{id}") may answer 410 (app.lua:12), which its responses do not '
        "declare",
        "app.lua:29: the global 'undefined_thing' is not defined",
        "app.lua:32: GET /items/{name} is never reached: /items/{id} at app.lua:21 takes its requests",
        'app.lua:38: app:delete("/me") may answer 403 (app.lua:18), which its responses do not declare',
        'app.lua:47: app:get("/x") may answer 409 (app.lua:47), which its responses do not declare',
        "lib/helper.lua:1: the global 'helpp' is not defined",
        "6 operations, 7 findings",
    ]


def test_check_says_why_an_app_does_not_load(write_app):
    folder = write_app('local app = require("perigee").app({ titel = "x" })\nreturn app\n')
    result = run("check", folder)
    assert result.returncode == 1
    assert "did you mean 'title'?" in result.stderr and "app.lua:1" in result.stderr


# Completion


def complete(*words):
    """What bash offers for the last of these words, in a real bash."""
    script = run("completion", "bash").stdout + (
        f"\nCOMP_WORDS=({' '.join(words)})\nCOMP_CWORD={len(words) - 1}\n_perigee\n"
        'printf "%s\\n" "${COMPREPLY[@]}"\n'
    )
    result = subprocess.run(
        ["bash", "--norc", "-c", script.replace("''", '""')],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        cwd=PROJECT / "apps",
    )
    assert result.stderr == ""
    return result.stdout.split()


def test_bash_completes_commands_flags_values_and_files():
    assert sorted(complete("perigee", '""')) == sorted(COMMANDS)
    assert complete("perigee", "ro") == ["routes"]
    assert complete("perigee", "test", "--form") == ["--format"]
    assert complete("perigee", "test", "--format", "t") == ["text", "tap"]
    assert complete("perigee", "run", "--log", "j") == ["json"]
    assert complete("perigee", "completion", "z") == ["zsh"]
    assert complete("perigee", "run", "ite") == ["items"]
    for command in COMMANDS:
        offered = complete("perigee", command, "--")
        assert set(offered) == {f"--{flag}" for flag in flags_of(command)} | {"--help"}, command


@pytest.mark.skipif(not shutil.which("zsh"), reason="needs zsh")
def test_zsh_takes_its_completion():
    script = run("completion", "zsh").stdout
    subprocess.run(["zsh", "-n"], input=script, text=True, check=True, timeout=PATIENCE)
    # What _describe and _arguments are told, with both replaced by ones that print it.
    told = subprocess.run(
        ["zsh", "-f", "-c", "compdef() { :; }\n" + script + """
         _describe() { print -l $commands; }
         _files() { :; }
         _arguments() { print -l -- "$@"; }
         words=(perigee t); CURRENT=2; _perigee
         words=(perigee test --f); CURRENT=3; _perigee
         """],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    assert told.stderr == ""
    for command in COMMANDS:
        assert re.search(rf"^{command}:", told.stdout, re.M), command
    for flag in flags_of("test"):
        assert f"--{flag}[" in told.stdout


# The manual page


@pytest.mark.skipif(not shutil.which("man"), reason="needs man")
def test_the_manual_page_has_every_command_and_flag():
    result = subprocess.run(
        ["man", "--warnings", "-l", "-"],
        input=run("man").stdout,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        env=environment(MANWIDTH="200", LC_ALL="C.UTF-8", MANPAGER="cat", TERM="dumb"),
    )
    assert result.returncode == 0 and "warning" not in result.stderr, result.stderr
    text = re.sub(r".\x08", "", result.stdout)
    for command in COMMANDS:
        assert f"perigee {command}" in text, command
        for flag in flags_of(command):
            assert f"--{flag}" in text, flag


def test_help_is_coloured_in_terminals_only():
    assert "\x1b" not in run("help").stdout
    leader, follower = os.openpty()
    subprocess.run([BINARY, "help"], stdout=follower, env=environment(TERM="xterm", NO_COLOR=""))
    os.close(follower)
    assert b"\x1b[1m" in os.read(leader, 65536)
    os.close(leader)


# The banner


def test_the_banner_says_where_the_documentation_is(serve, write_app):
    text = 'local app = require("perigee").app({ %s })\napp:get("/", function() end)\nreturn app\n'
    server = serve(write_app(text % ""))
    line = server.wait_for_log("operations")
    assert f"docs at {server.url}/docs" in line
    line = serve(write_app(text % "docs_url = false")).wait_for_log("operations")
    assert "/redoc" in line
    line = serve(write_app(text % "openapi_url = false")).wait_for_log("operation")
    assert "docs" not in line
