"""What only browsers need: the session cookie, where a page may come from, and headers that say what not to do.

A browser sends the cookie by itself, so a page of another site must not be able to use it: the cookie is
SameSite=Strict, writes carry a CSRF token, and an Origin that is not ours is refused, on the upgrade to a WebSocket as
well. There is no CORS: scripts of other sites read nothing here.
"""

from dataclasses import dataclass
from urllib.parse import urlsplit

from aiohttp import web

from gateway.access.sessions import is_csrf_token
from gateway.errors import AuthCsrf

CSRF_HEADER = "X-CSRF-Token"
COOKIE, SECURE_COOKIE = "debt_market_session", "__Host-debt_market_session"
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
SAFE_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}
HSTS = "max-age=31536000"


@dataclass(frozen=True, slots=True)
class Browsers:
    """secure: they reach us by https only.  origins: where pages may come from, beside the host that they ask."""

    secure: bool = False
    origins: frozenset[str] = frozenset()

    @property
    def cookie(self) -> str:
        return SECURE_COOKIE if self.secure else COOKIE

    def token_of(self, request: web.Request) -> str | None:
        """Return the session's token, if the browser has one."""
        return request.cookies.get(self.cookie) or None

    def keep(self, response: web.Response, token: str, *, life_s: int) -> None:
        response.set_cookie(
            self.cookie, token, max_age=life_s, path="/", httponly=True, samesite="Strict", secure=self.secure
        )

    def forget(self, response: web.Response) -> None:
        self.keep(response, "", life_s=0)

    def check_origin(self, request: web.Request) -> None:
        """Raises AuthCsrf for a page of another site. Programs send no Origin."""
        origin = request.headers.get("Origin")
        if origin is None or origin in self.origins:
            return
        parts = urlsplit(origin) if origin.isprintable() else urlsplit("")
        if parts.netloc.lower() != request.host.lower() or parts.scheme not in self._schemes:
            raise AuthCsrf("pages of this origin may not do that", field="Origin")

    def check_write(self, request: web.Request, token: str) -> None:
        """Raises AuthCsrf unless the request comes from a page of ours."""
        self.check_origin(request)
        if not is_csrf_token(request.headers.get(CSRF_HEADER, ""), token):
            raise AuthCsrf(f"{CSRF_HEADER} must be what GET /v1/session says", field=CSRF_HEADER)

    async def protect(self, _: web.Request, response: web.StreamResponse) -> None:
        """Add to every answer what it does not say by itself."""
        for name, value in SAFE_HEADERS.items():
            response.headers.setdefault(name, value)
        if self.secure:
            response.headers.setdefault("Strict-Transport-Security", HSTS)

    @property
    def _schemes(self) -> tuple[str, ...]:
        return ("https",) if self.secure else ("http", "https")
