"""The façade for existing clients: how a call under /0/ is read, proved, answered and refused.

A translation and nothing more: a call becomes the same commands and looks at the same views as /v1, and no rule of
trading lives here. A refusal is answered with HTTP 200 and named in `error`, as clients of this shape expect it.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qsl

from aiohttp import web

from gateway.access.auth import Principal
from gateway.access.rates import Bucket
from gateway.errors import PayloadTooLarge, UnknownMethod, UnsupportedMediaType
from gateway.facade.proof import prove
from gateway.facade.spreads import Spreads
from gateway.facade.words import INTERNAL, error_texts
from gateway.requests.access import Scope
from gateway.rest.api import DATABASE_TROUBLE, PAID, Api, Call, Query, reply
from gateway.wire import parse_json
from gateway.ws.session import Gate
from market.errors import InvalidArguments, MarketError, Unavailable

log = logging.getLogger(__name__)

PREFIX = "/0/"
PUBLIC, PRIVATE = "public", "private"
FIELDS_MAX = 100
FORM, JSON = "application/x-www-form-urlencoded", "application/json"


@dataclass(frozen=True, slots=True)
class FacadeCall(Call):
    """One call, proved and read. gate: what belongs to an account, not to a request, such as its dead man's switch."""

    gate: Gate
    spreads: Spreads

    def flag(self, name: str) -> bool:
        """Return a flag, false if it is not there. Some clients write True."""
        text = (self.query.text(name) or "false").lower()
        if text not in ("true", "false", "1", "0"):
            raise InvalidArguments(f"{name}: must be true or false", field=name)
        return text in ("true", "1")

    def words(self, name: str, *, most: int | None = None) -> list[str]:
        """Return a comma-separated list, empty if there is none. Raises InvalidArguments for more than `most`."""
        text = self.query.text(name)
        words = text.split(",") if text else []
        if most is not None and len(words) > most:
            raise InvalidArguments(f"{name}: at most {most}", field=name)
        return words


Handler = Callable[[FacadeCall], Awaitable[Any]]


@dataclass(frozen=True, slots=True)
class FacadeRoute:
    """scope: what a private call's key must have, None for public ones.  bucket: what it draws on.

    fields: what it takes; all else is refused.  fixed: what it takes if it says what is so here anyway.
    lists: fields of a JSON body that are no plain values.
    """

    name: str
    handler: Handler
    fields: frozenset[str] = frozenset()
    scope: Scope | None = None
    bucket: Bucket | None = None
    lists: frozenset[str] = frozenset()
    fixed: Mapping[str, Collection[str]] = field(default_factory=dict)
    cost: Callable[[FacadeCall], int] = lambda _: 1

    @property
    def path(self) -> str:
        return f"{PREFIX}{PUBLIC if self.scope is None else PRIVATE}/{self.name}"


def add_facade(app: web.Application, api: Api, gate: Gate, spreads: Spreads, routes: Collection[FacadeRoute]) -> None:
    by_path = {route.path: route for route in routes}

    async def serve(request: web.Request) -> web.StreamResponse:
        try:
            return reply({"error": [], "result": await _result(request, api, gate, spreads, by_path)})
        except MarketError as error:
            return refusal(*error_texts(error))
        except web.HTTPRequestEntityTooLarge:
            return refusal(*error_texts(PayloadTooLarge()))
        except (asyncio.CancelledError, ConnectionResetError):
            raise
        except DATABASE_TROUBLE:
            log.exception("database_unreachable path=%s", request.path)
            return refusal(*error_texts(Unavailable()))
        except Exception:
            log.exception("request_failed path=%s", request.path)
            return refusal(INTERNAL, status=HTTPStatus.INTERNAL_SERVER_ERROR)

    app.router.add_route("*", PREFIX + "{call:.*}", serve)


def refusal(*texts: str, status: HTTPStatus = HTTPStatus.OK) -> web.Response:
    return reply({"error": list(texts), "result": {}}, status=status)


async def _result(
    request: web.Request, api: Api, gate: Gate, spreads: Spreads, routes: Mapping[str, FacadeRoute]
) -> Any:
    route = routes.get(request.path)
    if route is None:
        raise UnknownMethod("there is no such call")
    if request.method != "POST" and (route.scope is not None or request.method != "GET"):
        raise UnknownMethod("private calls are POST, public ones GET or POST")
    if route.scope is None:
        api.strangers.take(request.remote or "")
    data = await request.read()
    pairs, lists = _read(request, data, route.lists)
    holder: Principal | None = None
    if route.scope is not None:
        nonces = [value for name, value in pairs if name == "nonce"]
        holder = await prove(
            api.keys,
            api.pool,
            headers=request.headers,
            path=request.raw_path.partition("?")[0],
            nonce=nonces[0] if len(nonces) == 1 else None,
            body=data,
            peer=request.remote,
        )
        holder.require(route.scope)
        pairs = [(name, value) for name, value in pairs if name != "nonce"]
    call = FacadeCall(api, request, holder, Query(pairs, route.fields | route.fixed.keys()), lists, gate, spreads)
    require_fixed(call.query, route.fixed)
    if holder is not None and route.bucket is not None:
        request[PAID] = (api.rates, holder.account_id, route.bucket)
        api.rates.take(holder.account_id, route.bucket, route.cost(call))
    return await route.handler(call)


def require_fixed(query: Query, fixed: Mapping[str, Collection[str]]) -> None:
    """Raises InvalidArguments for a field that asks for what there is not here."""
    for name, words in fixed.items():
        if (said := query.text(name)) is not None and said.lower() not in words:
            raise InvalidArguments(f"{name}: only {' or '.join(words)} here", field=name)


def _read(request: web.Request, data: bytes, lists: Collection[str]) -> tuple[list[tuple[str, str]], dict[str, Any]]:
    """Return the plain fields of query and body, and those of a JSON body that are lists."""
    pairs = list(request.query.items())
    if not data:
        return pairs, {}
    if request.method != "POST":
        raise InvalidArguments(f"{request.method} takes no body")
    if (request.charset or "utf-8").lower() != "utf-8":
        raise UnsupportedMediaType
    if request.content_type == JSON:
        body = parse_json(data)
        pairs += [(name, _plain(name, value)) for name, value in body.items() if name not in lists]
        return pairs, {name: value for name, value in body.items() if name in lists}
    if request.content_type != FORM:
        raise UnsupportedMediaType
    try:
        text = data.decode()
        return pairs + parse_qsl(text, keep_blank_values=True, strict_parsing=True, max_num_fields=FIELDS_MAX), {}
    except ValueError as e:
        raise InvalidArguments("the body is no form") from e


def _plain(name: str, value: object) -> str:
    """Return a JSON value as a form would say it."""
    if value is None or isinstance(value, dict | list):
        raise InvalidArguments(f"{name}: must be a plain value", field=name)
    return str(value).lower() if isinstance(value, bool) else str(value)
