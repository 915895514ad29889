"""Settings: where they come from, and how what is wrong with them is said."""

import json

import pytest

from server import run

APP = """local perigee = require("perigee")
local t = perigee.types
local settings = perigee.settings({
  port = t.integer({ ge = 1 }),
  debug = t.boolean({ default = false }),
  ratio = t.number({ default = 0.5 }),
  password = t.secret({ min_length = 8 }),
  hosts = t.array(t.string, { default = {} }),
  database = t.object({ url = t.url, pool = t.integer({ default = 5 }) }),
  note = t.string({ optional = true }),
}, { prefix = "SHOP_" })

local app = perigee.app()
app:get("/", function()
  return {
    port = settings.port, debug = settings.debug, ratio = settings.ratio,
    password = settings.password, hosts = settings.hosts, url = settings.database.url,
    pool = settings.database.pool, note = settings.note,
  }
end)
app:get("/shown", function() return { tostring(settings), settings } end)
app:get("/mistakes", function()
  local _, unknown = pcall(function() return settings.prot end)
  local _, written = pcall(function() settings.port = 1 end)
  return { unknown, written }
end)
return app
"""

GIVEN = {
    "SHOP_PORT": "5432",
    "SHOP_PASSWORD": "very secret",
    "SHOP_DATABASE__URL": "postgres://db/shop",
}


@pytest.fixture
def read(serve, write_app):
    def get(*flags, files=None, path="/", env=None):
        folder = write_app({"app.lua": APP, **(files or {})})
        return serve(folder, *flags, env=GIVEN if env is None else env).json(path)

    return get


def test_settings_come_from_the_environment_and_their_defaults(read):
    assert read() == {
        "port": 5432,
        "debug": False,
        "ratio": 0.5,
        "password": "very secret",
        "hosts": [],
        "url": "postgres://db/shop",
        "pool": 5,
    }


def test_texts_become_what_is_declared(read):
    values = read(
        env={
            **GIVEN,
            "SHOP_DEBUG": "yes",
            "SHOP_RATIO": "1e-1",
            "SHOP_HOSTS": "a, b ,c",
            "SHOP_DATABASE": '{"pool": 7}',
            "SHOP_NOTE": "123",
        }
    )
    assert values["debug"] is True and values["ratio"] == 0.1 and values["note"] == "123"
    assert values["hosts"] == ["a", "b", "c"]
    assert (values["pool"], values["url"]) == (7, "postgres://db/shop")
    values = read(env={**GIVEN, "SHOP_HOSTS": '["a,b"]'})
    assert values["hosts"] == ["a,b"]


def test_a_flag_beats_the_environment_which_beats_the_file(read):
    file = "SHOP_PORT=1\nSHOP_RATIO=0.25 # a quarter\nSHOP_NOTE='from the file'\n"
    values = read("--set", "port=3", files={".env": file}, env={**GIVEN, "SHOP_RATIO": "0.75"})
    assert (values["port"], values["ratio"], values["note"]) == (3, 0.75, "from the file")
    values = read("--set=database.pool=9", "--set", "hosts=x=y")
    assert values["pool"] == 9 and values["hosts"] == ["x=y"]


def test_all_that_is_wrong_is_said_at_once(write_app):
    env = {"SHOP_PORT": "0", "SHOP_DEBUG": "maybe", "SHOP_PASSWORD": "short", "SHOP_HOSTS": "a"}
    result = run("run", write_app(APP), "--set", "databse.url=x", "--set", "ratio=x", env=env)
    assert result.returncode == 1
    for words in (
        "app.lua:3: settings are missing or wrong",
        "SHOP_PORT: Input should be greater than or equal to 1, not '0' (from the environment)",
        "SHOP_DEBUG: Input should be a valid boolean",
        "SHOP_RATIO: Input should be a valid number",
        "(from --set)",
        "SHOP_PASSWORD: Value should have at least 8 items",
        "SHOP_DATABASE__URL is missing",
        "--set databse.url: did you mean 'database.url'?",
    ):
        assert words in result.stderr, result.stderr
    assert "short" not in result.stderr and result.stderr.count("does not load") == 1


def test_a_flag_that_nobody_asks_for_is_a_mistake(write_app):
    folder = write_app(APP)
    for flag, hint in (("prot=1", "did you mean 'port'?"), ("zzz=1", "declares no such setting")):
        result = run("routes", folder, "--set", flag, env=GIVEN)
        assert result.returncode == 1 and hint in result.stderr
    result = run("run", folder, "--set", "port", env=GIVEN)
    assert result.returncode == 2 and "NAME=VALUE" in result.stderr
    assert run("check", folder, "--set", "port=1", env=GIVEN).returncode == 0


def test_a_file_that_cannot_be_read_is_a_mistake(write_app):
    folder = write_app({"app.lua": APP, ".env": "A=1\nwhat is this"})
    result = run("routes", folder, env=GIVEN)
    assert result.returncode == 1 and ".env:2: a line NAME=value" in result.stderr
    named = APP.replace('prefix = "SHOP_"', 'prefix = "SHOP_", env_file = "prod.env"')
    result = run("routes", write_app(named), env=GIVEN)
    assert result.returncode == 1 and "prod.env' cannot be read" in result.stderr
    none = APP.replace('prefix = "SHOP_"', 'prefix = "SHOP_", env_file = false')
    assert run("routes", write_app({"app.lua": none, ".env": "x y"}), env=GIVEN).returncode == 0


def test_a_file_that_is_there_and_cannot_be_read_is_a_mistake_too(write_app):
    folder = write_app({"app.lua": APP, ".env/file": ""})
    result = run("routes", folder, env=GIVEN)
    assert result.returncode == 1 and ".env' cannot be read: Is a directory" in result.stderr


SECRETS = """local perigee = require("perigee")
local t = perigee.types
local account = t.model("Account", { name = t.string, key = t.secret })
local settings = perigee.settings({
  list = t.array(t.secret),
  map = t.map(t.string, t.secret({ min_length = 2 })),
  maybe = t.secret({ nullable = true, optional = true }),
  either = t.union({ t.integer, t.secret }),
  accounts = t.array(account),
  main = account,
}, { env_file = false })
local app = perigee.app()
app:get("/", function()
  return { shown = settings, read = settings.list[1] .. settings.accounts[1].key }
end)
return app
"""


def test_secrets_are_masked_wherever_they_stand(serve, write_app):
    env = {
        "LIST": "one-hidden,two-hidden",
        "MAP": '{"a":"map-hidden"}',
        "MAYBE": "maybe-hidden",
        "EITHER": "either-hidden",
        "ACCOUNTS": '[{"name":"visible","key":"three-hidden"}]',
        "MAIN": '{"name":"visible","key":"four-hidden"}',
    }
    folder = write_app(SECRETS)
    mask = "**********"
    answer = serve(folder, env=env).json("/")
    assert answer["read"] == "one-hiddenthree-hidden"
    assert answer["shown"] == {
        "list": [mask, mask],
        "map": {"a": mask},
        "maybe": mask,
        "either": mask,
        "accounts": [{"name": "visible", "key": mask}],
        "main": {"name": "visible", "key": mask},
    }
    broken = {"LIST": '["hidden', "MAP": '{"a":"hidden', "ACCOUNTS": "hidden", "EITHER": "[hidden"}
    broken |= {"MAIN": '{"name":"visible","key":"hidden', "MAIN__NAME": "x"}
    result = run("run", folder, env=env | broken)
    assert result.returncode == 1 and "hidden" not in result.stderr, result.stderr
    for name in ("LIST", "MAP", "ACCOUNTS", "MAIN"):
        assert f"  {name}: Input should be a valid" in result.stderr, result.stderr


def test_secrets_are_masked_wherever_settings_are_shown(read):
    text, encoded = read(path="/shown")
    assert "very secret" not in text and "password = **********" in text and "port = 5432" in text
    assert encoded["password"] == "**********" and encoded["database"]["pool"] == 5
    assert "very secret" not in json.dumps(encoded)


def test_settings_know_what_they_do_not_have(read):
    unknown, written = read(path="/mistakes")
    assert "settings has no 'prot' (did you mean 'port'?)" in unknown
    assert "cannot be set" in written


def test_tests_of_apps_take_settings_too(write_app):
    test = 'test("a", function(t) t:eq(t:client():get("/"):json().port, 7) end)'
    result = run("test", write_app({"app.lua": APP, "a_test.lua": test}), "--set", "port=7", env=GIVEN)
    assert result.returncode == 0, result.stdout + result.stderr
