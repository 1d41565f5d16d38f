"""The contract for programs and for people: /openapi.json, /asyncapi.json, and a page at /docs that shows the first.

The page is three packaged files without a build step. It loads nothing from elsewhere and runs no script but its own,
which its Content-Security-Policy also says.
"""

from functools import cache
from importlib.resources import files

from aiohttp import web

from gateway.rest.api import Access, Call, Doc, Handler, Route

OPENAPI = web.AppKey("openapi", bytes)
ASYNCAPI = web.AppKey("asyncapi", bytes)
ASSETS = files("gateway") / "docs_page"
SAFE_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}


async def get_openapi(call: Call) -> web.Response:
    return web.Response(body=call.request.app[OPENAPI], content_type="application/json", charset="utf-8")


async def get_asyncapi(call: Call) -> web.Response:
    return web.Response(body=call.request.app[ASYNCAPI], content_type="application/json", charset="utf-8")


@cache
def _asset(name: str) -> bytes:
    return (ASSETS / name).read_bytes()


def _page(name: str, media: str) -> Handler:
    async def get(_: Call) -> web.Response:
        return web.Response(body=_asset(name), content_type=media, charset="utf-8", headers=SAFE_HEADERS)

    return get


def _asset_route(path: str, name: str, media: str, summary: str) -> Route:
    return Route("GET", path, Access.PUBLIC, _page(name, media), doc=Doc(summary=summary, answers={200: media}))


ROUTES = (
    Route(
        "GET",
        "/openapi.json",
        Access.PUBLIC,
        get_openapi,
        doc=Doc(summary="This document", answers={200: dict[str, object]}),
    ),
    Route(
        "GET",
        "/asyncapi.json",
        Access.PUBLIC,
        get_asyncapi,
        doc=Doc(summary="The socket's contract, as AsyncAPI 3", answers={200: dict[str, object]}),
    ),
    _asset_route("/docs", "index.html", "text/html", "The contract as a page"),
    _asset_route("/docs/docs.js", "docs.js", "text/javascript", "The page's script"),
    _asset_route("/docs/docs.css", "docs.css", "text/css", "The page's style"),
)
