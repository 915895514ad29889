"""Behind proxies: who the client is, which scheme it used, and what a proxy strips from paths."""

import json

import pytest

from server import run
from wire import PATIENCE

APP = """
local perigee = require("perigee")
local app = perigee.app()
app:get("/", { name = "root" }, function(req)
  return { host = req.client.host, port = req.client.port, scheme = req.scheme }
end)
app:get("/url", function()
  return app:url("root")
end)
return app
"""


@pytest.fixture
def behind(serve, write_app):
    return lambda *flags: serve(write_app(APP), *flags)


CHAINS = [
    # headers, client, scheme
    ((), "127.0.0.1", "http"),
    (("X-Forwarded-For: 203.0.113.7",), "203.0.113.7", "http"),
    (("X-Forwarded-For: 203.0.113.7", "X-Forwarded-Proto: https"), "203.0.113.7", "https"),
    (("X-Forwarded-For: 6.6.6.6, 203.0.113.7, 10.1.2.3",), "203.0.113.7", "http"),
    (("X-Forwarded-For: 6.6.6.6", "X-Forwarded-For: 203.0.113.7"), "203.0.113.7", "http"),
    (("X-Forwarded-For: 10.0.0.1, 10.0.0.2",), "10.0.0.1", "http"),
    (("X-Forwarded-For: [2001:db8::1]:4711",), "2001:db8::1", "http"),
    (("X-Forwarded-For: 203.0.113.7, unknown",), "127.0.0.1", "http"),
    (("X-Forwarded-For: ,",), "127.0.0.1", "http"),
    (("Forwarded: for=203.0.113.7;proto=https",), "203.0.113.7", "https"),
    (('Forwarded: for="[2001:db8::1]:4711"; Proto=HTTPS',), "2001:db8::1", "https"),
    (("Forwarded: for=6.6.6.6;proto=https, for=203.0.113.7;proto=http",), "203.0.113.7", "http"),
    (("Forwarded: for=203.0.113.7, for=10.0.0.9;proto=https",), "203.0.113.7", "http"),
    (("Forwarded: for=_hidden;proto=https",), "127.0.0.1", "https"),
    (("Forwarded: by=x", "X-Forwarded-For: 203.0.113.7"), "127.0.0.1", "http"),
]


@pytest.mark.parametrize("fields, client, scheme", CHAINS)
def test_trusted_proxies_are_believed(behind, fields, client, scheme):
    server = behind("--forwarded-allow-ips", "127.0.0.1,10.0.0.0/8")
    with server.connect() as conn:
        answer = conn.get("/", *fields)
    said = json.loads(answer.body)
    assert (said["host"], said["scheme"]) == (client, scheme)


def test_others_are_not(behind):
    server = behind("--forwarded-allow-ips", "10.0.0.0/8")
    with server.connect() as conn:
        body = conn.get("/", "X-Forwarded-For: 203.0.113.7", "X-Forwarded-Proto: https").body
    assert b'"host":"127.0.0.1"' in body
    assert b'"scheme":"http"' in body


def test_the_access_log_names_the_client(behind):
    server = behind()
    with server.connect() as conn:
        conn.get("/", "X-Forwarded-For: 203.0.113.7")
    server.wait_for_log(r'^203\.0\.113\.7:0 "GET /" 200')


@pytest.mark.parametrize("value", ["localhost", "10.0.0.0/99"])
def test_networks_that_are_none_are_said(behind, write_app, value):
    done = run("run", write_app(APP), "--forwarded-allow-ips", value)
    assert done.returncode == 2
    assert "takes addresses and networks" in done.stderr


V1 = b"PROXY TCP4 203.0.113.7 198.51.100.1 56324 443\r\n"
V2 = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xcb\0\x71\x07\xc6\x33\x64\x01\xdc\x04\x01\xbb"
REQUEST = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"


@pytest.mark.parametrize("header", [V1, V2])
@pytest.mark.parametrize("step", [1000, 1])
def test_a_proxy_header_names_the_client(behind, header, step):
    server = behind("--proxy-protocol", "on")
    with server.connect() as conn:
        whole = header + REQUEST
        for at in range(0, len(whole), step):
            conn.send(whole[at : at + step])
        assert b'"port":56324' in (first := conn.answer().body)
        assert b'"host":"203.0.113.7"' in first
        assert b'"host":"203.0.113.7"' in conn.get("/").body # once a connection


def test_its_client_is_no_proxy_of_ours(behind):
    server = behind("--proxy-protocol", "on")
    with server.connect() as conn:
        conn.send(V1 + b"GET / HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: 6.6.6.6\r\n\r\n")
        assert b'"host":"203.0.113.7"' in conn.answer().body


@pytest.mark.parametrize("flags, first", [((), REQUEST), (("--forwarded-allow-ips", "10.0.0.1"), V1)])
def test_a_connection_without_a_header_of_our_proxy_is_cut(behind, flags, first):
    server = behind("--proxy-protocol", "on", *flags)
    with server.connect() as conn:
        conn.send(first)
        with pytest.raises((EOFError, ConnectionError)):
            conn.answer()


def test_a_header_that_does_not_come_is_a_slow_client(behind):
    server = behind("--proxy-protocol", "on", "--head-timeout-ms", 1000)
    with server.connect() as conn:
        conn.send(V1[:20])
        conn.sock.settimeout(PATIENCE)
        assert conn.sock.recv(1) == b""


def test_a_root_path_goes_into_the_document_and_urls(behind):
    server = behind("--root-path", "/api/v1")
    assert server.json("/openapi.json")["servers"] == [{"url": "/api/v1"}]
    assert server.json("/url") == "/api/v1/"
    assert b"/api/v1/openapi.json" in server.get("/docs").body


@pytest.mark.parametrize("value", ["api", "/api/"])
def test_a_root_path_has_its_form(write_app, value):
    done = run("run", write_app(APP), "--root-path", value)
    assert done.returncode == 2
    assert "begins with a slash and ends without" in done.stderr
