"""`perigee repl` and `perigee types`."""

import fcntl
import os
import select
import subprocess
import termios

import pytest

from server import BINARY, PROJECT, environment, run
from wire import PATIENCE

APP = """
local perigee = require("perigee")
local t = perigee.types
local app = perigee.app()
local started = false
app:on_start(function() started = true end)
app:on_stop(function() io.stdout:write("stopped\\n") end)
local Tag = t.model("Tag", { name = t.string({ description = "short" }), ["odd-key"] = t.any })
local Node
Node = t.model("Node", {
  id = t.integer,
  price = t.number({ optional = true, nullable = true }),
  state = t.literal({ "on", "off" }),
  tags = t.array(Tag),
  either = t.union({ t.integer, t.string }),
  table = t.map(t.integer),
  place = t.object({ x = t.number, y = t.number }),
  next = t.ref(function() return Node end, { optional = true }),
}, { description = "A node\\nof a tree" })
app:get("/", { response = t.array(Node) }, function() return {} end)
app:get("/started", function() return started end)
app:get("/for-ever", function() perigee.sleep(600000) end)
app:get("/wait", function() perigee.sleep(20) return "waited" end)
return app
"""


@pytest.fixture
def repl(write_app):
    def talk(text, *flags):
        return subprocess.run(
            [BINARY, "repl", str(write_app(APP)), *flags],
            input=text,
            env=environment(),
            capture_output=True,
            text=True,
            timeout=PATIENCE,
        )

    return talk


def said(result):
    assert result.returncode == 0, result.stderr
    return result.stdout.splitlines()


def test_expressions_are_shown_and_statements_run(repl):
    result = repl('1 + 1\nx = { 1, a = "b" }\nx\nlocal y = 3\ny\nnil, 2\n_\n"a\\nb"\nprint("p")\n')
    assert said(result) == [
        "2",
        '{ 1, a = "b" }',
        "nil",
        "nil\t2",
        "nil",
        '"a\\nb"',
        "p",
        "stopped",
    ]


def test_what_goes_on_over_several_lines_is_read_to_its_end(repl):
    result = repl("for i = 1, 2 do\n  print(i)\nend\nfunction f()\n\n  return 7\nend\nf()\n")
    assert said(result)[:3] == ["1", "2", "7"]


def test_the_app_is_there_and_waits_work(repl):
    result = repl(
        'client:get("/started"):json()\nclient:get("/wait")\nperigee.sleep(5)\n'
        "#app.operations\nt.integer:validate('3')\njson.encode({ 1 })\n"
    )
    assert said(result)[:6] == ["true", "200 OK", '"waited"', "4", "3", '"[1]"']


def test_mistakes_are_told_and_forgotten(repl):
    result = repl('1 +* 2\nerror("boom")\nerror(perigee.http_error(404, "no"))\n1\n')
    lines = said(result)
    assert lines[0].startswith("(repl):1: unexpected symbol")
    assert "(repl):1: boom" in lines and "HTTP error 404: no" in lines and "1" in lines
    assert "middle of a statement" in repl("for i = 1,").stdout


def test_the_last_line_needs_no_end(repl):
    assert said(repl("41 + 1"))[0] == "42"


class Terminal:
    """A REPL at a terminal of its own, whose Ctrl-C is a signal as anywhere."""

    def __init__(self, app):
        self.leader, follower = os.openpty()
        self.process = subprocess.Popen(
            [BINARY, "repl", str(app)],
            stdin=follower,
            stdout=follower,
            stderr=follower,
            env=environment(NO_COLOR="1"),
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        )
        os.close(follower)
        self.text = b""

    def read_until(self, mark):
        """What came up to the mark; what is behind it is for the next one."""
        while mark not in self.text:
            assert select.select([self.leader], [], [], PATIENCE)[0], self.text
            self.text += os.read(self.leader, 4096)
        before, self.text = self.text.split(mark, 1)
        return before.decode()

    def type(self, text):
        os.write(self.leader, text.encode())

    def close(self):
        self.process.kill()
        self.process.wait()
        os.close(self.leader)


CTRL_C = "\x03"
CTRL_D = "\x04"


@pytest.fixture
def terminal(write_app):
    terminal = Terminal(write_app(APP))
    terminal.read_until(b"\n> ")
    yield terminal
    terminal.close()


def test_a_terminal_is_asked(terminal):
    terminal.type("do\n")
    terminal.read_until(b">> ")
    terminal.type("print(6 * 7) end\n")
    terminal.read_until(b"\n42\r\n> ")
    terminal.type(CTRL_D)
    terminal.read_until(b"stopped")
    assert terminal.process.wait(PATIENCE) == 0


@pytest.mark.parametrize(
    "running",
    [
        "perigee.sleep(600000)",
        "while true do end",
        "while true do pcall(perigee.sleep, 600000) end",
        'client:get("/for-ever")',
    ],
)
def test_ctrl_c_interrupts_what_runs_and_nothing_else(terminal, running):
    terminal.type("kept = 42\n")
    terminal.read_until(b"\n> ")
    for _ in range(2):
        terminal.type(f'print("it " .. "runs") {running}\n')
        terminal.read_until(b"\nit runs\r\n")
        terminal.type(CTRL_C)
        assert "interrupted" in terminal.read_until(b"\n> ")
    terminal.type("kept\n")
    terminal.read_until(b"\n42\r\n> ")
    terminal.type(CTRL_D)
    assert terminal.process.wait(PATIENCE) == 0


def test_ctrl_c_drops_what_was_typed_and_twice_ends(terminal):
    terminal.type("x = 1 do\n")
    terminal.read_until(b">> ")
    terminal.type(CTRL_C)
    terminal.read_until(b"\n> ")
    terminal.type(CTRL_C)
    terminal.read_until(b"once more ends")
    terminal.read_until(b"\n> ")
    terminal.type("x\n")
    assert "nil" in terminal.read_until(b"\n> ")
    terminal.type(CTRL_C)
    terminal.read_until(b"once more ends")
    terminal.read_until(b"\n> ")
    terminal.type(CTRL_C)
    terminal.read_until(b"stopped")
    assert terminal.process.wait(PATIENCE) == 0


# Types


def test_models_become_classes(write_app):
    folder = write_app(APP)
    lines = run("types", folder).stdout.splitlines()
    assert lines[:3] == ["---@meta", "", f"--- Declared in {folder}/app.lua:8."]
    start = lines.index("---@class Tag")
    assert lines[start : start + 3] == [
        "---@class Tag",
        "---@field name string short",
        '---@field ["odd-key"] any',
    ]
    start = lines.index("--- A node")
    assert lines[start:-1] == [
        "--- A node",
        "--- of a tree",
        "---@class Node",
        "---@field id integer",
        "---@field price? number|userdata",
        '---@field state "on"|"off"',
        "---@field tags Tag[]",
        "---@field either integer|string",
        "---@field table table<string, integer>",
        "---@field place { x: number, y: number }",
        "---@field next? Node",
    ]


def test_the_api_is_described(tmp_path):
    text = run("types", "--api").stdout
    assert text.startswith("---@meta perigee\n")
    for part in (
        "function perigee.app(options) end",
        "---@class perigee.Request",
        "---@field min_length? integer",
        "function perigee.fs.read(path, options) end",
        "function Router:get(path, options, handler) end",
        "perigee.status.NOT_FOUND = 404",
        "function Case:client(app, options) end",
    ):
        assert part in text, part


def test_an_uploaded_file_is_as_described(write_app):
    """What is made in C is described by hand: the description is held against an object."""
    text = run("types", "--api").stdout
    block = text.split("---@class perigee.UploadedFile\n")[1].split("\n\n")[0]
    described = sorted(line.split()[1] for line in block.splitlines())
    app = """
    local perigee = require("perigee")
    local t = perigee.types
    local app = perigee.app()
    app:post("/", { files = { one = t.file } }, function(req)
      local _, names = debug.getupvalue(getmetatable(req.files.one).__index, 1)
      local list = {}
      for name in pairs(names) do list[#list + 1] = name end
      table.sort(list)
      return list
    end)
    return app
    """
    test = f"""test("it", function(t)
      local names = t:client():post("/", {{ files = {{ one = "x" }} }}):json()
      t:eq(table.concat(names, " "), "{" ".join(described)}")
    end)"""
    result = run("test", write_app({"app.lua": app, "a_test.lua": test}))
    assert result.returncode == 0, result.stdout


def test_types_needs_to_know_of_what():
    result = run("types")
    assert result.returncode == 2 and "APPDIR | --api" in result.stderr
    assert run("types", PROJECT / "apps" / "items").returncode == 0
