"""apps/crawler on the real binary: the limiter, the race, the deadlines, and what is left behind."""

import contextlib
import threading

import pytest

from peers import RawServer, read_head
from server import PROJECT
from wire import PATIENCE, eventually

PAGES = 63


class Site(RawServer):
    """The pages of the app's own site, each of which answers at once or never. `silent` are the paths of
    those that never do."""

    def __init__(self, silent=()):
        self.silent = set(silent)
        super().__init__(self._serve_pages)

    def _serve_pages(self, sock):
        while head := read_head(sock):
            path = head.split()[1].decode()
            if path in self.silent:
                read_head(sock)  # until the client goes
                return
            number = int(path.rsplit("/", 1)[1])
            links = (f'<a href="{n}">{n}</a>' for n in (2 * number, 2 * number + 1) if n <= PAGES)
            body = "".join(links).encode()
            sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)


@pytest.fixture
def site():
    """Starts sites: site(silent paths)."""
    with contextlib.ExitStack() as ends:

        def start(*silent):
            made = Site(silent)
            ends.callback(made.close)
            return made

        yield start


@pytest.fixture
def crawler(serve):
    return serve(PROJECT / "apps" / "crawler", env={"no_proxy": "*"})


def crawl(server, site=None, **options):
    start = f"{(site or server).url}/site/1"
    query = {"start": start, "deadline_ms": 20000, "page_ms": 20000, **options}
    with server.client() as client:
        answer = client.get("/crawl", params=query)
    assert answer.status_code == 200, answer.text
    return answer.json()


def numbers(site, result):
    prefix = site.url + "/"
    assert all(page.startswith(prefix) for page in result["pages"])
    return sorted(int(page.rsplit("/", 1)[1]) for page in result["pages"])


def below(number):
    """The pages that are reached through a page, itself included."""
    return {number} | (below(2 * number) | below(2 * number + 1) if number <= 31 else set())


def test_everything_that_answers_in_time_is_found(crawler, site):
    pages = site("/site/13")
    result = crawl(crawler, pages, page_ms=3000)
    assert result["complete"] is True
    assert numbers(pages, result) == sorted(set(range(1, PAGES + 1)) - below(13))
    assert result["failed"] == [{"url": f"{pages.url}/site/13", "problem": "ETIMEDOUT"}]
    assert crawler.json("/now") == {"crawls": 0, "fetches": 0}


def test_its_own_site_has_slow_pages_and_one_that_is_never_there(crawler):
    result = crawl(crawler, page_ms=1500, deadline_ms=20000, at_once=64)
    found = set(numbers(crawler, result))
    failed = {int(one["url"].rsplit("/", 1)[1]) for one in result["failed"]}
    assert 13 in failed and not found & failed and found <= set(range(1, PAGES + 1)) - below(13)


def test_the_mirror_wins_where_the_site_is_slow(crawler, site):
    slow = (7, 13, 14, 21)
    pages = site(*(f"/site/{number}" for number in slow))
    result = crawl(crawler, pages, mirrored="true")
    assert result["complete"] is True and result["failed"] == []
    assert numbers(pages, result) == list(range(1, PAGES + 1))
    for number in slow:
        assert f"{pages.url}/mirror/{number}" in result["pages"]
    assert crawler.json("/now") == {"crawls": 0, "fetches": 0}


def test_what_was_found_before_the_deadline_is_the_answer(crawler, site):
    pages = site("/site/6")  # the sixth that is asked for, one at a time
    result = crawl(crawler, pages, at_once=1, deadline_ms=3000)
    assert result["complete"] is False
    assert numbers(pages, result) == [1, 2, 3, 4, 5]
    assert crawler.json("/now") == {"crawls": 0, "fetches": 0}


def test_no_more_pages_than_were_asked_for(crawler):
    result = crawl(crawler, max_pages=5)
    assert numbers(crawler, result) == [1, 2, 3, 4, 5]


def test_a_site_that_is_not_there(crawler):
    result = crawl(crawler, start="http://127.0.0.1:1/")
    assert result["pages"] == []
    assert result["failed"] == [{"url": "http://127.0.0.1:1/", "problem": "ECONNREFUSED"}]


def test_when_the_client_goes_nothing_is_left(crawler, site):
    """Some pages have come, some are awaited: the crawl would go on until its deadline."""
    pages = site("/site/6", "/site/7", "/site/9")
    before = crawler.sockets()
    conn = crawler.connect()
    conn.request("GET", f"/crawl?start={pages.url}/site/1&page_ms=20000&deadline_ms=20000")
    eventually(lambda: crawler.json("/now") == {"crawls": 1, "fetches": 3}, "what never comes")
    conn.reset()
    eventually(lambda: crawler.json("/now") == {"crawls": 0, "fetches": 0}, "all of it ends")
    # What is left are idle connections to the site.
    eventually(lambda: crawler.sockets() <= before + 5, "every connection is closed")


def test_a_fetch_that_hangs_is_cut_off_with_its_client(crawler):
    gone = threading.Event()

    def serve(sock):
        read_head(sock)
        if read_head(sock) == b"":
            gone.set()

    site = RawServer(serve)
    conn = crawler.connect()
    conn.request("GET", f"/crawl?start={site.url}/&page_ms=20000&deadline_ms=20000")
    eventually(lambda: crawler.json("/now")["fetches"] == 1, "the fetch begins")
    conn.reset()
    assert gone.wait(PATIENCE)
    eventually(lambda: crawler.json("/now") == {"crawls": 0, "fetches": 0}, "all of it ends")
    site.close()
