"""apps/crawler on the real binary: the limiter, the race, the deadlines, and what is left behind."""

import threading

import pytest

from peers import RawServer, read_head
from server import PROJECT
from wire import PATIENCE, eventually



@pytest.fixture
def crawler(serve):
    return serve(PROJECT / "apps" / "crawler", env={"no_proxy": "*"})


def crawl(server, **options):
    query = {"start": f"{server.url}/site/1", **options}
    with server.client() as client:
        answer = client.get("/crawl", params=query)
    assert answer.status_code == 200, answer.text
    return answer.json()


def numbers(server, result):
    prefix = server.url + "/"
    assert all(page.startswith(prefix) for page in result["pages"])
    return sorted(int(page.rsplit("/", 1)[1]) for page in result["pages"])


def below(number):
    """The pages that are reached through a page, itself included."""
    return {number} | (below(2 * number) | below(2 * number + 1) if number <= 31 else set())


def test_everything_that_answers_in_time_is_found(crawler):
    result = crawl(crawler)
    assert result["complete"] is True
    assert numbers(crawler, result) == sorted(set(range(1, 64)) - below(13))
    [failed] = result["failed"]
    assert failed == {"url": f"{crawler.url}/site/13", "problem": "ETIMEDOUT"}
    assert crawler.json("/now") == {"crawls": 0, "fetches": 0}


def test_the_mirror_wins_where_the_site_is_slow(crawler):
    result = crawl(crawler, mirrored="true")
    assert result["complete"] is True and result["failed"] == []
    assert numbers(crawler, result) == list(range(1, 64))
    for slow in (7, 13, 14, 21):
        assert f"{crawler.url}/mirror/{slow}" in result["pages"]
    assert crawler.json("/now") == {"crawls": 0, "fetches": 0}


def test_what_was_found_before_the_deadline_is_the_answer(crawler):
    result = crawl(crawler, at_once=1, deadline_ms=150)
    assert result["complete"] is False
    assert 0 < len(result["pages"]) < 20
    assert crawler.json("/now") == {"crawls": 0, "fetches": 0}


def test_no_more_pages_than_were_asked_for(crawler):
    result = crawl(crawler, max_pages=5)
    assert numbers(crawler, result) == [1, 2, 3, 4, 5]


def test_a_site_that_is_not_there(crawler):
    result = crawl(crawler, start="http://127.0.0.1:1/")
    assert result["pages"] == []
    assert result["failed"] == [{"url": "http://127.0.0.1:1/", "problem": "ECONNREFUSED"}]


def test_when_the_client_goes_nothing_is_left(crawler):
    """A site without an end: the crawl would go on until its deadline."""
    served = []

    def serve(sock):
        while head := read_head(sock):
            number = len(served)
            served.append(head)
            body = b'<a href="%d">next</a>' % (number + 1)
            sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)

    site = RawServer(serve)
    before = crawler.sockets()
    conn = crawler.connect()
    conn.request("GET", f"/crawl?start={site.url}/&at_once=1&max_pages=1000&deadline_ms=20000")
    eventually(lambda: served, "the crawl begins")
    conn.reset()
    eventually(lambda: crawler.json("/now") == {"crawls": 0, "fetches": 0}, "all of it ends")
    assert len(served) < 1000
    # What is left is the idle connection to the site, if its answer came before the end.
    eventually(lambda: crawler.sockets() <= before + 1, "every connection is closed")
    site.close()


def test_a_fetch_that_hangs_is_cut_off_with_its_client(crawler):
    gone = threading.Event()

    def serve(sock):
        read_head(sock)
        if read_head(sock) == b"":
            gone.set()

    site = RawServer(serve)
    conn = crawler.connect()
    conn.request("GET", f"/crawl?start={site.url}/")
    eventually(lambda: crawler.json("/now")["fetches"] == 1, "the fetch begins")
    conn.reset()
    assert gone.wait(PATIENCE)
    eventually(lambda: crawler.json("/now") == {"crawls": 0, "fetches": 0}, "all of it ends")
    site.close()
