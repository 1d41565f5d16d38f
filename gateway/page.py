"""The web app: the files that gateway/web is built into, served at / with nothing inline and nothing from elsewhere.

Files are read once and kept with their gzip, which is small (some 160 kB in all). What is under /assets/ bears a hash
of its content in its name and may be kept for ever; the page itself is asked for each time. Every place that the app
itself can show is answered with the page, so that an address can be reloaded and sent to a friend. An address of
nothing is answered with the page and status 404 to a browser, beside the API's own; programs get the problem document.
Left out: what the page shows (it asks the same API as every other program).
"""

import gzip
import hashlib
import mimetypes
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path

from aiohttp import web

DIST = Path(__file__).parent / "web" / "dist"
PLACES = (
    "/",
    "/loans/{loan_id}",
    "/statistics",
    "/portfolio",
    "/account",
    "/operator",
)  # beside main.ts's table of routes
OF_PROGRAMS = ("/v1/", "/0/", "/ws/", "/assets/")
COMPRESSIBLE = {".js", ".css", ".svg", ".html"}
FOR_EVER = "public, max-age=31536000, immutable"
HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
}
NOT_BUILT = (
    "<!doctype html><title>Not built</title><h1>The web app is not built</h1>"
    "<p>Run <code>python hatch_build.py</code> in the project's environment, or start with <code>./dev</code>. "
    'The API works without it: see <a href="/docs">/docs</a>.'
)


@dataclass(frozen=True, slots=True)
class Asset:
    """A built file. packed: its gzip, where that is worth it."""

    body: bytes
    packed: bytes | None
    media: str
    etag: str

    @classmethod
    def of(cls, file: Path) -> "Asset":
        body = file.read_bytes()
        packed = gzip.compress(body, mtime=0) if file.suffix in COMPRESSIBLE else None
        media = mimetypes.types_map.get(file.suffix, "application/octet-stream")
        return cls(body, packed, media, hashlib.sha256(body).hexdigest()[:32])

    def response(self, request: web.Request, cache: str, status: int = HTTPStatus.OK) -> web.Response:
        headers = HEADERS | {"Cache-Control": cache, "Vary": "Accept, Accept-Encoding", "ETag": f'"{self.etag}"'}
        if status == HTTPStatus.OK and any(each.value == self.etag for each in request.if_none_match or ()):
            return web.Response(status=304, headers=headers)
        body, charset = self.body, None
        if self.packed is not None:
            charset = "utf-8"
            if "gzip" in request.headers.get("Accept-Encoding", ""):
                headers["Content-Encoding"] = "gzip"
                body = self.packed
        return web.Response(status=status, body=body, content_type=self.media, charset=charset, headers=headers)


def add_page(app: web.Application, dist: Path = DIST) -> None:
    """Serve the built app, or a page that says how to build it."""
    index, folder = dist / "index.html", dist / "assets"
    page = Asset.of(index) if index.exists() else None
    assets = {file.name: Asset.of(file) for file in folder.iterdir()} if page and folder.is_dir() else {}

    async def get_page(request: web.Request) -> web.Response:
        if page is None:
            return web.Response(text=NOT_BUILT, content_type="text/html", status=503, headers=HEADERS)
        return page.response(request, "no-cache")

    async def get_asset(request: web.Request) -> web.Response:
        asset = assets.get(request.match_info["name"])
        if asset is None:
            raise web.HTTPNotFound
        return asset.response(request, FOR_EVER)

    @web.middleware
    async def show_nowhere(
        request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        try:
            return await handler(request)
        except web.HTTPNotFound:
            if page is None or not _wants_a_page(request):
                raise
            return page.response(request, "no-cache", HTTPStatus.NOT_FOUND)

    app.middlewares.append(show_nowhere)
    for place in PLACES:
        app.router.add_get(place, get_page)
    app.router.add_get("/assets/{name}", get_asset)


def _wants_a_page(request: web.Request) -> bool:
    """Whether somebody looks at an address in a browser, and not at one for programs."""
    is_read = request.method in {"GET", "HEAD"}
    return is_read and "text/html" in request.headers.get("Accept", "") and not request.path.startswith(OF_PROGRAMS)
