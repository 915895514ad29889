"""`perigee dev`: the app is loaded again when its files change, and open pages follow."""

import contextlib
import json
import os
import pathlib
import random
import re
import shutil
import signal
import socket
import subprocess
import threading
import time

import pytest

from browser import Browser
from server import BINARY, environment, run
from wire import PATIENCE, eventually

APP = """
local perigee = require("perigee")
local app = perigee.app({ title = "Dev" })
local words = require("words")
app:get("/", function() return words.word end)
app:get("/page", function()
  return perigee.html("<!DOCTYPE html><html><body><h1>" .. words.word .. "</h1></body></html>")
end)
app:get("/piece", function() return perigee.html("<p>a piece</p>") end)
app:get("/open", function() return perigee.html("<!doctype html><p>no end tag") end)
app:get("/upper", function() return perigee.html("<HTML><BODY>x</BODY></HTML>") end)
app:get("/strict", function()
  return perigee.html("<html><body><h1>" .. words.word .. "</h1></body></html>", {
    headers = { ["Content-Security-Policy"] = "default-src 'self'; script-src 'nonce-r4nd0m'" },
  })
end)
app:get("/threaded", perigee.threaded(function()
  return perigee.html("<html><body><h1>" .. words.word .. "</h1></body></html>", {
    headers = { ["Content-Security-Policy"] = "script-src 'nonce-thr34d'" },
  })
end))
app:get("/threaded-packed", perigee.threaded(function()
  return perigee.html("<html></body>", { headers = { ["Content-Encoding"] = "x-own" } })
end))
app:get("/packed", function()
  return perigee.html("<html></body>", { headers = { ["Content-Encoding"] = "x-own" } })
end)
app:get("/text", function() return perigee.text("<html><body></body></html>") end)
return app
"""


class App:
    """The folder of an app that is worked on."""

    def __init__(self, folder):
        self.folder = folder
        folder.mkdir()
        (folder / "app.lua").write_text(APP)
        self.say("one")

    def say(self, word):
        self.save_by_rename(word)  # nobody ever sees half of it

    def save_by_rename(self, word):
        other = self.folder / ".words.lua.swp"
        other.write_text(f"return {{ word = '{word}' }}\n")
        other.rename(self.folder / "words.lua")

    def save_in_place(self, word):
        (self.folder / "words.lua").write_text(f"return {{ word = '{word}' }}\n")

    def save_with_backup(self, word):
        (self.folder / "words.lua").rename(self.folder / "words.lua~")
        self.save_in_place(word)

    def save_after_deleting(self, word):
        (self.folder / "words.lua").unlink()
        self.save_in_place(word)

    def save_in_pieces(self, word):
        with open(self.folder / "words.lua", "w", buffering=1) as file:
            for letter in f"return {{ word = '{word}' }}\n":
                file.write(letter)
                file.flush()

    def save_with_a_trial_file(self, word):
        (self.folder / "4913").touch()
        (self.folder / "4913").unlink()
        self.save_with_backup(word)
        (self.folder / "words.lua~").unlink()


@pytest.fixture
def app(tmp_path):
    return App(tmp_path / "app")


@pytest.fixture
def dev(serve):
    def start(folder, *flags, **options):
        return serve(folder, *flags, command="dev", **options)

    return start


def answers(server, value):
    """Waits for an answer; a half-written file may have been served before it."""
    body = json.dumps(value).encode()
    eventually(lambda: server.get("/").body == body, f"the answer {value!r}")


def reloads(server):
    return len([line for line in server.log if "reloaded in" in line])


# What is seen


SAVES = [name for name in vars(App) if name.startswith("save")]


@pytest.mark.parametrize("save", SAVES)
def test_a_saved_file_is_served(dev, app, save):
    server = dev(app.folder)
    for word in ("two", "three", "four"):
        getattr(app, save)(word)
        answers(server, word)
    assert "does not load" not in server.output or save != "save_by_rename"


def test_a_touch_without_a_change_loads_nothing(dev, app):
    server = dev(app.folder)
    for _ in range(5):
        (app.folder / "words.lua").touch()
        app.save_by_rename("one")
    app.save_by_rename("two")
    answers(server, "two")
    assert reloads(server) == 1


def test_a_hundred_touches_a_second_end_in_the_last_word(dev, app):
    server = dev(app.folder)
    rests = 0  # that were long enough to be taken for the end
    for n in range(100):
        app.save_in_place(f"word {n}")
        saved = time.monotonic()
        time.sleep(0.01)
        rests += time.monotonic() - saved > 0.0115
    answers(server, "word 99")
    assert reloads(server) <= 30 + rests


def test_a_burst_of_files_is_one_load(dev, app):
    for n in range(50):
        (app.folder / f"module_{n}.lua").write_text("return 1")
    server = dev(app.folder)
    os.kill(server.pid, signal.SIGSTOP)  # a burst for the server, however slow the machine is
    for n in range(50):
        (app.folder / f"module_{n}.lua").write_text("return 2")
    app.say("two")
    os.kill(server.pid, signal.SIGCONT)
    answers(server, "two")
    assert reloads(server) <= 2
    server.wait_for_log(r"\(module_\d+.lua and \d+ more\)")


def test_new_files_and_folders_are_seen(dev, app):
    server = dev(app.folder)
    deep = app.folder / "lib" / "deep"
    deep.mkdir(parents=True)
    (deep / "word.lua").write_text("return 'deep'")
    server.wait_for_log(r"reloaded.*\(lib/deep/word.lua\)")
    (app.folder / "words.lua").write_text("return { word = require('lib.deep.word') }")
    answers(server, "deep")
    (deep / "word.lua").write_text("return 'deeper'")
    answers(server, "deeper")


def test_templates_and_static_files_count(dev, app):
    server = dev(app.folder)
    (app.folder / "static").mkdir()
    for name in ("page.html", "static/style.css", ".env"):
        (app.folder / name).write_text("new")
        server.wait_for_log(rf"reloaded.*\({re.escape(name)}\)")


@pytest.mark.parametrize(
    "name",
    [".git/index", ".words.lua.swp", "words.lua~", "#words.lua#", "node_modules/x.js"]
    + ["__pycache__/x.pyc", "4913", "data.db", "data.sqlite3", "data.db-wal", "server.log"],
)
def test_what_is_not_the_apps_own_loads_nothing(dev, app, name):
    (app.folder / name).parent.mkdir(exist_ok=True)
    server = dev(app.folder)
    (app.folder / name).write_text("new")
    app.save_by_rename("two")
    answers(server, "two")
    server.wait_for_log(r"reloaded in.*\(words.lua\)")
    assert reloads(server) == 1


def test_its_own_output_loads_nothing(app):
    """`perigee dev > output.txt` in the app's folder: a load that writes a line must not cause the next."""
    output = app.folder / "output.txt"
    with output.open("w") as file:
        process = subprocess.Popen(
            [BINARY, "dev", str(app.folder), "--port", "0"],
            env=environment(),
            stdout=file,
            stderr=subprocess.STDOUT,
        )
    try:
        eventually(lambda: "loaded again when" in output.read_text(), "the start")
        app.say("two")
        eventually(lambda: "reloaded in" in output.read_text(), "a load")
        app.say("three")
        eventually(lambda: output.read_text().count("reloaded in") > 1, "another load")
        assert output.read_text().count("reloaded in") == 2
        assert "output.txt" not in output.read_text()
    finally:
        process.terminate()
        process.wait(PATIENCE)


def test_a_file_that_comes_and_goes_does_no_harm(dev, app):
    server = dev(app.folder)
    for n in range(100):
        (app.folder / f"here_{n % 3}.lua").write_text("x = = 1")
        (app.folder / f"here_{n % 3}.lua").unlink()
    app.say("two")
    answers(server, "two")


def test_a_folder_that_comes_and_goes_does_no_harm(dev, app):
    server = dev(app.folder)
    for n in range(50):
        folder = app.folder / f"folder_{n % 2}" / "deep"
        folder.mkdir(parents=True)
        (folder / "x.lua").write_text("return 1")
        shutil.rmtree(folder.parent)
    app.say("two")
    answers(server, "two")


def test_files_behind_links_are_seen(dev, app, tmp_path):
    library = tmp_path / "library"
    library.mkdir()
    (library / "word.lua").write_text("return 'linked'")
    (tmp_path / "single.lua").write_text("return '!'")
    (app.folder / "lib").symlink_to(library)
    (app.folder / "single.lua").symlink_to(tmp_path / "single.lua")
    (library / "circle").symlink_to(app.folder)
    (app.folder / "words.lua").write_text(
        "return { word = require('lib.word') .. require('single') }"
    )
    server = dev(app.folder)
    assert server.json("/") == "linked!"
    (library / "word.lua").write_text("return 'changed'")
    answers(server, "changed!")
    (tmp_path / "single.lua").write_text("return '?'")
    answers(server, "changed?")
    other = tmp_path / "other"
    other.mkdir()
    (other / "word.lua").write_text("return 'other'")
    (tmp_path / "new").symlink_to(other)
    (tmp_path / "new").rename(app.folder / "lib")
    answers(server, "other?")
    (other / "word.lua").write_text("return 'again'")
    answers(server, "again?")


def test_an_app_that_is_a_link_may_be_led_elsewhere(dev, app, tmp_path):
    (tmp_path / "current").symlink_to(app.folder)
    server = dev(tmp_path / "current")
    assert server.json("/") == "one"
    second = App(tmp_path / "second")
    second.say("second")
    (tmp_path / "new").symlink_to(second.folder)
    (tmp_path / "new").rename(tmp_path / "current")
    answers(server, "second")
    second.say("third")
    answers(server, "third")


def test_a_folder_that_is_taken_away_and_put_back(dev, app, tmp_path):
    server = dev(app.folder)
    app.folder.rename(tmp_path / "away")
    server.wait_for_log("the version before it keeps serving")
    assert server.json("/") == "one"
    (tmp_path / "away" / "words.lua").write_text("return { word = 'back' }")
    (tmp_path / "away").rename(app.folder)
    answers(server, "back")
    app.say("still seen")
    answers(server, "still seen")


def test_a_module_from_elsewhere_is_seen(dev, app, tmp_path):
    (tmp_path / "lua").mkdir()
    (tmp_path / "lua" / "elsewhere.lua").write_text("return 'elsewhere'")
    (app.folder / "words.lua").write_text("return { word = require('elsewhere') }")
    server = dev(app.folder, env={"LUA_PATH": f"{tmp_path}/lua/?.lua;;"})
    assert server.json("/") == "elsewhere"
    (tmp_path / "lua" / "elsewhere.lua").write_text("return 'moved'")
    answers(server, "moved")


def test_the_current_folder_is_served_when_none_is_named(dev, app):
    server = dev(pathlib.Path("."), cwd=app.folder)
    app.say("two")
    answers(server, "two")
    server.wait_for_log(r"\(words.lua\)")


# What does not load


def test_a_mistake_keeps_the_version_before_and_is_shown(dev, app):
    server = dev(app.folder)
    app.say("two'")
    server.wait_for_log("words.lua:1")
    server.wait_for_log(r"> +1 \| return { word = 'two'' }")
    server.wait_for_log("the version before it keeps serving")
    assert server.json("/") == "one"
    app.say("two")
    answers(server, "two")


def test_the_same_mistake_is_shown_once(dev, app):
    server = dev(app.folder)
    app.save_by_rename("two'")
    server.wait_for_log("the version before it keeps serving")
    for _ in range(5):
        app.save_by_rename("two'")
    app.save_by_rename("two")
    answers(server, "two")
    assert server.output.count("the version before it keeps serving") == 1


def test_an_app_that_has_never_loaded_is_a_page_that_says_why(dev, app):
    app.say("two'")
    server = dev(app.folder)
    server.wait_for_log("shows what is wrong")
    plain = server.get("/anything")
    assert plain.status == 500
    assert b"words.lua:1" in plain.body
    page = server.get("/anything", "Accept: text/html,*/*")
    assert (page.status, page.header("content-type")) == (500, "text/html; charset=utf-8")
    assert b"words.lua:1" in page.body and b"/__perigee/reload.js" in page.body
    with server.connect() as conn:
        conn.request("POST", "/", body=b"some body")
        assert conn.answer().status == 500
        app.say("two")
        eventually(lambda: conn.get("/").body == b'"two"', "the app serves")
    server.wait_for_log(r"Dev, \d+ operations")


def test_an_empty_folder_becomes_an_app(dev, tmp_path):
    folder = tmp_path / "later"
    folder.mkdir()
    server = dev(folder)
    assert b"no app.lua" in server.get("/").body
    (folder / "words.lua").write_text("return { word = 'now' }")
    (folder / "app.lua").write_text(APP)
    eventually(lambda: server.get("/").status == 200, "the app serves")
    assert server.json("/") == "now"


def test_a_folder_that_is_not_there_is_a_mistake():
    result = run("dev", "/no/such/folder", "--port", 0)
    assert result.returncode == 2
    assert "/no/such/folder" in result.stderr


def test_a_load_without_end_is_cut_and_shown(dev, app):
    server = dev(app.folder, "--load-timeout-ms", 3000)
    (app.folder / "words.lua").write_text("while true do end")
    server.wait_for_log("too long to load.*")
    assert server.json("/") == "one"
    app.say("two")
    answers(server, "two")


# Pages


SCRIPT = re.compile(rb'<script src="/__perigee/reload\.js" data-state="([0-9a-f]+-\d+)"( [^>]*)?></script>')


def test_whole_pages_carry_the_script_and_nothing_else_does(dev, app):
    server = dev(app.folder)
    for path in ("/page", "/open", "/upper", "/strict", "/threaded", "/docs", "/redoc"):
        assert SCRIPT.search(server.get(path).body), path
    for path in ("/piece", "/packed", "/threaded-packed", "/text", "/", "/openapi.json"):
        assert b"__perigee" not in server.get(path).body, path
    assert server.get("/page").body.endswith(b"</script></body></html>")
    assert SCRIPT.search(server.get("/strict").body)[2] == b' nonce="r4nd0m"'
    assert SCRIPT.search(server.get("/threaded").body)[2] == b' nonce="thr34d"'


def test_a_head_speaks_of_the_same_page(dev, app):
    server = dev(app.folder)
    with server.connect() as conn:
        length = len(conn.get("/page").body)
        conn.request("HEAD", "/page")
        assert conn.answer("HEAD").header("content-length") == str(length)


def test_production_knows_no_such_script(serve, app):
    server = serve(app.folder)
    assert b"__perigee" not in server.get("/page").body
    assert server.get("/__perigee/reload").status == 404
    assert server.get("/__perigee/reload.js").status == 404


def state_of(server):
    return SCRIPT.search(server.get("/page").body)[1].decode()


def test_news_wait_until_there_are_some(dev, app):
    server = dev(app.folder)
    with server.connect() as conn:
        conn.request("GET", f"/__perigee/reload?state={state_of(server)}")
        assert server.json("/") == "one"
        assert not conn.readable()
        app.say("two'")
        news = conn.answer()
        assert b"words.lua:1" in news.body and b'"error":"' in news.body
        state = re.search(rb'"state":"([^"]+)"', news.body)[1].decode()
        conn.request("GET", f"/__perigee/reload?state={state}")
        assert server.json("/") == "one"
        assert not conn.readable()
        app.say("two")
        assert b'"error":null' in conn.answer().body
        assert conn.get("/").body == b'"two"'


def test_news_are_not_for_other_sites(dev, app):
    server = dev(app.folder)
    for site in ("cross-site", "same-site"):
        assert server.get("/__perigee/reload", f"Sec-Fetch-Site: {site}").status == 403
    assert server.get("/__perigee/reload", "Sec-Fetch-Site: same-origin").status == 200
    assert server.get("/__perigee/other").status == 404


def test_news_are_not_for_names_that_were_made_to_lead_here(dev, app):
    server = dev(app.folder)

    def status(host, path="/__perigee/reload"):
        with server.connect() as conn:
            conn.send(f"GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n")
            return conn.answer().status

    own = ["127.0.0.1", "localhost", "LOCALHOST", "app.localhost", "shop.test", "[::1]", "192.168.0.7", "10.0.0.1"]
    own += [socket.gethostname(), socket.gethostname() + ".local"]
    for host in own:
        assert status(host) == status(f"{host}:{server.port}") == 200, host
    for host in ("evil.example", "localhost.evil.example", "127.0.0.1.evil.example", "xlocalhost"):
        assert status(host) == status(f"{host}:{server.port}") == 403, host
        assert status(host, "/__perigee/reload.js") == 403
        assert status(host, "/") == 200  # the app's own answers are its own affair
    app.say("two'")
    other = dev(app.folder)
    with other.connect() as conn:
        conn.send("GET / HTTP/1.1\r\nHost: evil.example\r\n\r\n")
        answer = conn.answer()
        assert answer.status == 403 and b"words.lua" not in answer.body


@pytest.mark.parametrize("leave", ["close", "reset", "half_close"])
def test_listeners_may_leave(dev, app, leave):
    server = dev(app.folder)
    state = state_of(server)
    conns = [server.connect() for _ in range(20)]
    for conn in conns:
        conn.request("GET", f"/__perigee/reload?state={state}")
    assert server.json("/") == "one"
    for conn in conns[:10]:
        getattr(conn, leave)()
    app.say("two")
    for conn in conns[10:]:
        assert b'"error":null' in conn.answer().body
        conn.close()
    answers(server, "two")
    for conn in conns[:10]:
        conn.close()


def test_listeners_do_not_keep_the_server(dev, app):
    server = dev(app.folder, "--shutdown-grace-ms", 600_000)
    with server.connect() as conn:
        conn.request("GET", f"/__perigee/reload?state={state_of(server)}")
        assert server.json("/") == "one"
        server.signal(signal.SIGTERM)
        assert b'"error":null' in conn.answer().body
        conn.expect_end()
    assert server.wait() == 0


# In a real browser


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    browser = Browser(tmp_path_factory.mktemp("profile"))
    yield browser
    browser.close()


def sees(browser, script):
    """Waits until an expression is true in a page that may be replaced at any moment."""

    def is_true():
        try:
            return browser.evaluate(script)
        except AssertionError:  # the page that was asked is gone
            return False

    return eventually(is_true, script)


def heading(word):
    return f"document.querySelector('h1')?.innerText === '{word}'"


OVERLAY = "document.querySelector('#perigee-overlay')"


@pytest.mark.parametrize("path", ["/page", "/strict"])
def test_a_page_reloads_itself(browser, dev, app, path):
    server = dev(app.folder)
    browser.open(server.url + path)
    sees(browser, heading("one"))
    for word in ("two", "three", "four"):
        app.say(word)
        sees(browser, heading(word))


def test_a_mistake_is_shown_above_the_page_until_it_is_mended(browser, dev, app):
    server = dev(app.folder)
    browser.open(server.url + "/page")
    sees(browser, heading("one"))
    app.say("<b>two'")
    sees(browser, f"{OVERLAY}?.innerText.includes('words.lua:1')")
    text = browser.text("#perigee-overlay")
    assert "The app does not load" in text
    assert "return { word = '<b>two'' }" in text
    assert browser.evaluate("document.querySelector('#perigee-overlay b')") is None
    assert browser.evaluate(heading("one"))
    app.say("still'")
    sees(browser, f"{OVERLAY}?.innerText.includes(\"'still''\")")
    app.say("two")
    sees(browser, f"{heading('two')} && !{OVERLAY}")


def test_the_page_of_an_app_that_never_loaded_becomes_the_apps(browser, dev, app):
    app.say("two'")
    server = dev(app.folder)
    browser.open(server.url + "/page")
    sees(browser, f"{OVERLAY}?.innerText.includes('words.lua:1')")
    app.say("two")
    sees(browser, f"{heading('two')} && !{OVERLAY}")


LIVE = """
app:get("/feed", function(req)
  return perigee.events(function(events)
    local last = req.headers["Last-Event-ID"] or "none"
    events:send(words.word .. " after " .. last, { id = words.word, retry = 10 })
    perigee.sleep(1e9)
  end)
end)
app:get("/live", function()
  return perigee.html([[<h1></h1><script>
    new EventSource("/feed").onmessage = (event) => {
      document.querySelector("h1").innerText = JSON.parse(event.data)
    }
  </script>]])
end)
return app"""


def test_an_event_source_comes_back_to_the_next_version(browser, dev, app):
    (app.folder / "app.lua").write_text(APP.replace("return app", LIVE))
    server = dev(app.folder, "--shutdown-grace-ms", 600_000)
    browser.open(server.url + "/live")
    sees(browser, heading("one after none"))
    app.say("two")
    sees(browser, heading("two after one"))
    app.say("three")
    sees(browser, heading("three after two"))


@pytest.mark.parametrize(
    "fails",
    ["local x = nil; return x.y", "error('burnt')", "perigee.sleep(1e9)", "return { f = print }"],
)
def test_a_page_of_a_failure_reloads_when_it_is_mended(browser, dev, app, fails):
    route = """
        app:get("/fails", { timeout_ms = 100 }, function() %s end)
        return app"""
    (app.folder / "app.lua").write_text(APP.replace("return app", route % fails))
    server = dev(app.folder)
    browser.open(server.url + "/fails")
    sees(browser, r"/nil value|burnt|Gateway Timeout|Internal Server/.test(document.body.innerText)")
    mended = "return perigee.html('<html><body><h1>mended</h1></body></html>')"
    (app.folder / "app.lua").write_text(APP.replace("return app", route % mended))
    sees(browser, heading("mended"))


def test_only_browsers_see_a_failure_as_a_page(dev, app):
    late = 'app:get("/late", { timeout_ms = 1 }, function() perigee.sleep(1e9) end) return app'
    (app.folder / "app.lua").write_text(APP.replace("return app", late))
    server = dev(app.folder)
    page = server.get("/late", "Accept: text/html", "Sec-Fetch-Dest: document")
    assert page.header("content-type") == "text/html; charset=utf-8"
    assert b'<pre>{"detail":"Gateway Timeout"}</pre>' in page.body and b"__perigee" in page.body
    for fields in (["Accept: text/html", "Sec-Fetch-Dest: empty"], ["Accept: */*"], []):
        plain = server.get("/late", *fields)
        assert plain.status == 504 and plain.body == b'{"detail":"Gateway Timeout"}'
    assert server.get("/none", "Accept: text/html", "Sec-Fetch-Dest: document").body[:1] == b"{"


def test_the_documentation_reloads(browser, dev, app):
    server = dev(app.folder)
    browser.open(server.url + "/docs")
    sees(browser, "document.body.innerText.includes('Dev')")
    text = APP.replace('title = "Dev"', 'title = "Changed"')
    (app.folder / "app.lua").write_text(text)
    sees(browser, "document.body?.innerText.includes('Changed')")


def quiet_port():
    """A free port below those that the system hands out: nobody gets it between two servers."""
    text = pathlib.Path("/proc/sys/net/ipv4/ip_local_port_range").read_text()
    first = int(text.split()[0])
    for port in random.sample(range(max(1024, first - 10000), first), 100):
        with socket.socket() as trial, contextlib.suppress(OSError):
            trial.bind(("127.0.0.1", port))
            return port
    raise AssertionError("no port is free")


def test_a_page_finds_the_server_again_that_was_started_anew(browser, dev, app):
    port = quiet_port()
    server = dev(app.folder, "--port", port)
    browser.open(server.url + "/page")
    sees(browser, heading("one"))
    server.stop()
    app.say("two")
    dev(app.folder, "--port", port)
    sees(browser, heading("two"))


# Many edits


def edit_under_load(server, app, edits):
    """Returns the seconds from save to new answer, and what failed."""
    stop, failures, asked = threading.Event(), [], [0]

    def ask():
        try:
            with server.connect() as conn:
                while not stop.is_set():
                    answer = conn.get("/")
                    assert answer.status == 200, answer
                    asked[0] += 1
                    time.sleep(0.001)
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    times = []
    with server.connect() as conn:
        for n in range(edits):
            app.save_by_rename(f"edit {n}")
            saved = time.monotonic()
            wanted = f'"edit {n}"'.encode()
            while conn.get("/").body != wanted:
                assert time.monotonic() < saved + PATIENCE, wanted
                time.sleep(0.001)
            times.append(time.monotonic() - saved)
    stop.set()
    for thread in threads:
        thread.join(PATIENCE)
    return times, failures, asked[0]


@pytest.mark.memory
def test_edits_under_load_fail_no_request_and_leave_no_memory(dev, app):
    """A thousand of them, and how long each takes: tests/bench/reload."""
    edits = int(os.environ.get("PERIGEE_EDITS", 100))
    for n in range(48):
        (app.folder / f"module_{n}.lua").write_text("return {}\n")
    server = dev(app.folder, "--log", "off")
    warm, failures, _ = edit_under_load(server, app, max(edits // 4, 25))
    before = server.memory_kib()
    times, more_failures, asked = edit_under_load(server, app, edits)
    assert failures + more_failures == []
    assert asked > edits
    # An edit that left its version behind would leave ten times as much.
    eventually(lambda: server.memory_kib() < before + 6144, f"not much more than {before} KiB")
    median = sorted(times)[len(times) // 2]
    print(f"{edits} edits, median {median * 1000:.1f} ms, {asked} requests")
