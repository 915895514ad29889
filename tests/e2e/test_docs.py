"""The documentation pages in a real browser, and the files they are made of as clients get them."""

import gzip

import pytest

from browser import Browser

HOST = "perigee.test"  # pages behave differently on localhost: Swagger UI asks no validator there
PAGES = ("/docs", "/redoc")


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    browser = Browser(tmp_path_factory.mktemp("profile"), hosts=[HOST])
    yield browser
    browser.close()


@pytest.fixture
def visit(browser, serve):
    """Opens a page of the app, and afterwards checks that no page asked another host."""
    server = serve("docs")

    def open_page(path):
        browser.open(f"http://{HOST}:{server.port}{path}")
        return browser

    browser.requested.clear()
    yield open_page
    assert browser.hosts() == {HOST}, browser.requested


def operation(name, tag="default"):
    return f"#operations-{tag}-{name}"


# Swagger UI


def test_docs_list_the_operations(visit):
    page = visit("/docs")
    page.wait_for_text("Read Me")
    assert page.evaluate("document.title") == "Documented - Swagger UI"
    text = page.text()
    for words in ("Documented", "1.2.3", "/items/{item_id}", "Read Item", "/token", "Log In"):
        assert words in text
    assert page.evaluate("document.querySelectorAll('.opblock').length") == 4


def test_docs_show_the_description_and_the_schema(visit):
    page = visit("/docs")
    page.click(operation("read_item_items__item_id__get", "items") + " .opblock-summary-control")
    page.wait_for_text("Reads one item.")
    page.wait_for_text("HTTPValidationError", ".models")


def test_try_it_out_sends_a_request_and_shows_the_answer(visit):
    page = visit("/docs")
    block = operation("read_item_items__item_id__get", "items")
    page.click(f"{block} .opblock-summary-control")
    page.click(f"{block} .try-out__btn")
    page.fill(f"{block} input[placeholder=item_id]", "42")
    page.fill(f"{block} input[placeholder=q]", "a b&c")
    page.click(f"{block} .execute")
    page.wait_for_text('"q": "a b&c"', f"{block} .live-responses-table")
    assert '"item_id": 42' in page.text(f"{block} .live-responses-table")
    assert any(url.endswith("/items/42?q=a%20b%26c") for url in page.requested)


def test_try_it_out_sends_a_body_made_from_the_examples(visit):
    page = visit("/docs")
    block = operation("create_item_items_post", "items")
    page.click(f"{block} .opblock-summary-control")
    page.click(f"{block} .try-out__btn")
    page.click(f"{block} .execute")
    page.wait_for_text('"name": "Lamp"', f"{block} .live-responses-table")
    assert "201" in page.text(f"{block} .live-responses-table")


def test_authorize_gets_a_token_and_sends_it(visit):
    page = visit("/docs")
    page.click(".btn.authorize")
    page.fill("#oauth_username", "alice")
    page.fill("#oauth_password", "secret")
    page.click(".modal-ux .btn.authorize")
    page.wait_for_text("Logout", ".modal-ux")
    page.click(".modal-ux .btn-done")
    block = operation("read_me_users_me_get")
    page.click(f"{block} .opblock-summary-control")
    page.click(f"{block} .try-out__btn")
    page.click(f"{block} .execute")
    page.wait_for_text('"token": "token-of-alice"', f"{block} .live-responses-table")


def test_authorize_shows_a_refusal(visit):
    page = visit("/docs")
    page.click(".btn.authorize")
    page.fill("#oauth_username", "alice")
    page.fill("#oauth_password", "wrong")
    page.click(".modal-ux .btn.authorize")
    page.wait_for_text("Bad Request", ".modal-ux")


# ReDoc


def test_redoc_renders_the_operations(visit):
    page = visit("/redoc")
    page.wait_for_text("Reads one item.")
    assert page.evaluate("document.title") == "Documented - ReDoc"
    text = page.text()
    for words in ("Documented (1.2.3)", "Read Item", "Create Item", "Log In", "Read Me"):
        assert words in text


# What they are made of


def asset_paths(server):
    paths = ["/openapi.json"]
    for page in PAGES:
        for piece in server.get(page).body.decode().split('"'):
            if "/assets/" in piece:
                paths.append(piece)
    return paths


def test_what_pages_need_is_served_compressed_or_not_and_known_by_its_tag(serve):
    server = serve("docs")
    paths = asset_paths(server)
    assert len(paths) == 4
    for path in paths:
        plain = server.get(path)
        packed = server.get(path, "Accept-Encoding: gzip, br")
        assert (plain.status, packed.status) == (200, 200)
        assert gzip.decompress(packed.body) == plain.body
        assert plain.header("content-encoding") is None
        assert packed.header("content-encoding") == "gzip"
        assert plain.header("vary") == packed.header("vary") == "Accept-Encoding"
        assert plain.header("etag") != packed.header("etag")
        for answer, accepted in ((plain, "identity"), (packed, "gzip")):
            etag = answer.header("etag")
            again = server.get(path, f"If-None-Match: {etag}", f"Accept-Encoding: {accepted}")
            assert (again.status, again.body) == (304, b"")
            assert again.header("etag") == etag


def test_the_document_keeps_its_tag_from_start_to_start(serve):
    tags = {serve("docs").get("/openapi.json").header("etag") for _ in range(2)}
    assert len(tags) == 1


def test_an_unknown_asset_is_not_found(serve):
    server = serve("docs")
    for name in ("app.lua", "swagger-ui.css.gz", "swagger-ui.css%00.gz", ".", "%2e%2e%2fapp.lua"):
        assert server.get(f"/docs/assets/{name}").status == 404, name
