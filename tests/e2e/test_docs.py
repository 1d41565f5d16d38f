"""The contract as it is served: the document, and the page that shows it and loads nothing from elsewhere."""

import re

import aiohttp

from gateway.openapi import openapi
from gateway.rest.routes import ROUTES
from tests.e2e.stack import Stack


async def test_the_served_document_is_that_of_the_routes(stack: Stack) -> None:
    async with aiohttp.ClientSession() as client, client.get(f"{stack.url}/openapi.json") as response:
        told = await response.json()
    assert response.status == 200
    assert told == openapi(ROUTES, version=told["info"]["version"])


async def test_the_page_runs_its_own_script_and_no_other(stack: Stack) -> None:
    async with aiohttp.ClientSession() as client:
        async with client.get(f"{stack.url}/docs") as response:
            page, policy = await response.text(), response.headers["Content-Security-Policy"]
        assert response.content_type == "text/html"
        assert "default-src 'none'; script-src 'self';" in policy
        assert "unsafe" not in policy
        assert not re.search(r"https?:|<style|\sstyle=|\son\w+=|<script>", page)
        for asset, media in re.findall(r'(?:src|href)="(/docs/\w+\.(\w+))"', page):
            async with client.get(stack.url + asset) as response:
                text = await response.text()
            assert (response.status, response.content_type) == (
                200,
                {"js": "text/javascript", "css": "text/css"}[media],
            )
            assert response.headers["X-Content-Type-Options"] == "nosniff"
            assert not re.search(r"https?:|innerHTML|eval\(", text)
