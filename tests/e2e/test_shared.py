"""perigee.shared across loop threads, worker threads and reloads; schedules that run once a process."""

import signal
import threading

import httpx

import server as servers
from wire import PATIENCE, eventually

APP = """
local perigee = require("perigee")
local shared = perigee.shared
local app = perigee.app()

app:post("/incr/{times}", { timeout_ms = false, params = { times = perigee.types.integer } }, function(req)
  local sum
  for _ = 1, req.params.times do
    sum = shared.incr("n")
  end
  return sum
end)
app:get("/n", function()
  return shared.get("n")
end)
app:post("/update", function()
  return shared.update("list", function(list)
    list = list or {}
    perigee.sleep(1) -- others come in between
    list[#list + 1] = #list + 1
    return list
  end)
end)
app:get("/list", function()
  return shared.get("list")
end)
app:get("/worker", perigee.threaded(function()
  return shared.incr("n")
end))
app:get("/next", function()
  local news <close> = shared.subscribe("news.*")
  shared.incr("listening")
  local message, topic = news:receive(60000)
  return { message = message, topic = topic }
end)
app:get("/listening", function()
  return shared.get("listening")
end)
app:post("/publish/{topic}", function(req)
  return shared.publish(req.params.topic, { text = "héctor", list = { 1, 2.5, true } })
end)
return app
"""


def post(url):
    return httpx.post(url, timeout=PATIENCE, trust_env=False)


def all_at_once(*calls):
    """Runs the calls at the same time and returns what they return."""
    results = [None] * len(calls)

    def run(i, call):
        results[i] = call()

    threads = [threading.Thread(target=run, args=item) for item in enumerate(calls)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


def spread(server, count):
    """Clients whose connections are spread over the loops."""
    clients = [server.client() for _ in range(count)]
    for client in clients:
        client.get("/n")
    return clients


def test_eight_loops_count_to_a_million(serve, write_app):
    server = serve(write_app(APP), "--loops", 8)
    clients = spread(server, 16)
    all_at_once(*(lambda c=client: c.post("/incr/62500") for client in clients))
    assert server.json("/n") == 1_000_000


def test_worker_threads_count_along(serve, write_app):
    server = serve(write_app(APP), "--loops", 2)
    for _ in range(10):
        server.json("/worker")
    assert server.json("/n") == 10


def test_updates_of_many_loops_are_all_there(serve, write_app):
    server = serve(write_app(APP), "--loops", 4)
    clients = spread(server, 8)
    all_at_once(*(lambda c=client: [c.post("/update") for _ in range(5)] for client in clients))
    assert server.json("/list") == list(range(1, 41))


def test_it_survives_a_reload(serve, write_app):
    server = serve(write_app(APP))
    post(server.url + "/incr/7")
    server.signal(signal.SIGHUP)
    server.wait_for_log("reloaded in")
    assert server.json("/n") == 7


def test_a_message_reaches_everybody_on_every_loop(serve, write_app):
    server = serve(write_app(APP), "--loops", 4)
    clients = spread(server, 8)

    def publish():
        eventually(lambda: server.json("/listening") == 8, "eight listeners")
        return post(server.url + "/publish/news.burgers").json()

    *answers, count = all_at_once(*(lambda c=client: c.get("/next").json() for client in clients),
                                  publish)
    assert count == 8
    assert answers == [{"message": {"text": "héctor", "list": [1, 2.5, True]},
                        "topic": "news.burgers"}] * 8


def test_nobody_listens_to_another_topic(serve, write_app):
    server = serve(write_app(APP))
    assert post(server.url + "/publish/other").json() == 0


def test_a_listener_that_goes_is_forgotten(serve, write_app):
    server = serve(write_app(APP))
    with server.connect() as conn:
        conn.send("GET /next HTTP/1.1\r\nHost: x\r\n\r\n")
        eventually(lambda: server.json("/listening") == 1, "a listener")
    eventually(lambda: post(server.url + "/publish/news.x").json() == 0, "its end")


# Schedules

SCHEDULES = """
local perigee = require("perigee")
local shared = perigee.shared
local app = perigee.app()
app:every(5, function()
  local running = shared.incr("running")
  shared.incr("most", math.max(0, running - (shared.get("most") or 0)))
  perigee.sleep(2)
  shared.incr("running", -1)
  shared.incr("runs")
end, { at_start = true })
app:every(5, function()
  shared.incr("failures")
  error("burnt")
end, { name = "the grill" })
app:every(5, function()
  perigee.sleep(60000)
end, { timeout_ms = 20, name = "the slow one" })
app:cron("* * * * *", function() end)
app:get("/{key}", function(req)
  return shared.get(req.params.key)
end)
return app
"""


def test_a_schedule_runs_once_for_all_loops_and_goes_on_after_errors(serve, write_app):
    server = serve(write_app(SCHEDULES), "--loops", 4)
    eventually(lambda: (server.json("/runs") or 0) > 5, "runs")
    eventually(lambda: (server.json("/failures") or 0) > 2, "runs that fail")
    assert server.json("/most") == 1
    server.wait_for_log("the schedule the grill failed: .*burnt")
    server.wait_for_log("the schedule the slow one failed")


def test_schedules_go_over_to_the_next_version(serve, write_app):
    server = serve(write_app(SCHEDULES), "--loops", 2)
    eventually(lambda: (server.json("/runs") or 0) > 2, "runs")
    server.signal(signal.SIGHUP)
    server.wait_for_log("reloaded in")
    before = server.json("/runs")
    eventually(lambda: server.json("/runs") > before + 5, "runs of the new version")


def test_an_app_that_clears_its_store_does_not_disturb_its_schedules(serve, write_app):
    text = """
        local perigee = require("perigee")
        local app = perigee.app()
        app:every(3600000, function() end)
        app:get("/keys", function()
          return #perigee.shared.keys()
        end)
        app:every(3600000, function()
          perigee.shared.incr("runs")
        end, { at_start = true, name = "once" })
        app:get("/{key}", function(req)
          perigee.shared.add("asked", true)
          return perigee.shared.get(req.params.key)
        end)
        app:on_start(perigee.shared.clear)
        return app
    """
    server = serve(write_app(text))
    eventually(lambda: server.json("/runs") == 1, "the run at the start")
    for round_ in range(3):
        server.signal(signal.SIGHUP)
        server.wait_for_log("reloaded in", round_ + 1)
        eventually(lambda: server.json("/keys") == 0, "the store is empty")
        assert server.json("/runs") is None  # the next one is due in an hour
        assert server.json("/keys") == 1


def test_a_sleeping_schedule_keeps_no_stop_waiting(serve, write_app):
    app = write_app("""
        local perigee = require("perigee")
        local app = perigee.app()
        app:every(3600000, function() end)
        return app
    """)
    server = serve(app, "--shutdown-grace-ms", 600_000)
    server.signal(signal.SIGTERM)
    assert server.wait() == 0


def test_a_line_of_cron_that_is_none_does_not_load(write_app):


    done = servers.run("run", write_app("""
        local app = require("perigee").app()
        app:cron("0 25 * * *", function() end)
        return app
    """))
    assert done.returncode == 1
    assert "app:cron: '0 25 * * *': '25' is no hour (0 to 23)" in done.stderr
