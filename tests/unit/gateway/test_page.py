"""How the web app's files are served: whole, packed, for ever or anew each time, and never with anything inline."""

import gzip
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from gateway.page import PLACES, add_page

Client = TestClient[web.Request, web.Application]
SCRIPT = "console.log('a page')\n" * 50


@pytest.fixture
async def client(tmp_path: Path) -> AsyncIterator[Client]:
    (tmp_path / "assets").mkdir()
    (tmp_path / "index.html").write_text("<!doctype html><p>page")
    (tmp_path / "assets" / "index-1a2b.js").write_text(SCRIPT)
    (tmp_path / ".sources").write_text("secret")
    app = web.Application()
    add_page(app, tmp_path)
    async with TestClient(TestServer(app), auto_decompress=False) as running:
        yield running


@pytest.mark.parametrize("place", [each.replace("{loan_id}", "DM-00001") for each in PLACES])
async def test_every_place_of_the_app_is_the_page(client: Client, place: str) -> None:
    response = await client.get(place, headers={"Accept-Encoding": "identity"})
    assert (response.status, response.content_type) == (200, "text/html")
    assert "page" in await response.text()
    assert response.headers["Cache-Control"] == "no-cache"
    policy = response.headers["Content-Security-Policy"]
    assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self';")
    assert "unsafe" not in policy
    assert "http" not in policy


async def test_an_asset_is_packed_and_kept_for_ever(client: Client) -> None:
    response = await client.get("/assets/index-1a2b.js", headers={"Accept-Encoding": "gzip, br"})
    assert response.headers["Content-Encoding"] == "gzip"
    assert gzip.decompress(await response.read()).decode() == SCRIPT
    assert response.headers["Cache-Control"] == "public, max-age=31536000, immutable"
    assert response.headers["Vary"] == "Accept, Accept-Encoding"
    plain = await client.get("/assets/index-1a2b.js", headers={"Accept-Encoding": "identity"})
    assert (await plain.text(), plain.content_type) == (SCRIPT, "text/javascript")


async def test_what_the_browser_has_is_not_sent_again(client: Client) -> None:
    etag = (await client.get("/")).headers["ETag"]
    response = await client.get("/", headers={"If-None-Match": etag})
    assert (response.status, await response.read()) == (304, b"")
    assert (await client.get("/", headers={"If-None-Match": '"other"'})).status == 200


@pytest.mark.parametrize("path", ["/assets/.sources", "/assets/..%2Findex.html", "/assets/none.js", "/elsewhere"])
async def test_nothing_else_is_served(client: Client, path: str) -> None:
    assert (await client.get(path)).status == 404


@pytest.mark.parametrize(
    ("path", "accept", "is_page"),
    [
        ("/nowhere", "text/html,application/xhtml+xml;q=0.9,*/*;q=0.8", True),
        ("/loans", "text/html", True),
        ("/nowhere", "application/json", False),
        ("/nowhere", "*/*", False),
        ("/v1/nowhere", "text/html", False),
        ("/0/nowhere", "text/html", False),
        ("/assets/none.js", "text/html", False),
    ],
)
async def test_who_looks_at_an_address_of_nothing_sees_the_page(
    client: Client, path: str, accept: str, *, is_page: bool
) -> None:
    etag = (await client.get("/")).headers["ETag"]
    response = await client.get(path, headers={"Accept": accept, "If-None-Match": etag, "Accept-Encoding": "identity"})
    assert response.status == 404
    assert (await response.text() == "<!doctype html><p>page") is is_page
    assert (response.headers.get("Content-Security-Policy") is not None) is is_page
    assert (await client.post(path, headers={"Accept": accept})).status in {404, 405}


async def test_an_app_that_is_not_built_says_how(tmp_path: Path) -> None:
    app = web.Application()
    add_page(app, tmp_path)
    async with TestClient(TestServer(app)) as client:
        response = await client.get("/")
        assert response.status == 503
        assert "hatch_build.py" in await response.text()
