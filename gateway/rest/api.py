"""What every REST call goes through: size, key, scope, content type, query, JSON; and how each failure is answered.

A route says who may call it and which query parameters it knows; its handler is then left with reading the request,
one call of the engine or a view, and rendering.
"""

import asyncio
import base64
import gzip
import json
import logging
import re
import secrets
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping
from dataclasses import KW_ONLY, dataclass, field
from enum import StrEnum
from http import HTTPStatus
from typing import Any, TypeVar

import asyncpg
from aiohttp import web

from gateway.access.auth import KeyRing, Principal
from gateway.access.browser import SAFE_METHODS, Browsers
from gateway.access.rates import Bucket, Rates
from gateway.access.sessions import SignUps, WebSession, WebSessions
from gateway.access.throttle import Throttle
from gateway.errors import (
    AuthPermissionDenied,
    AuthRequired,
    MethodNotAllowed,
    PayloadTooLarge,
    RouteNotFound,
    UnknownField,
    UnsupportedMediaType,
    answer_of,
    internal_problem,
    problem,
)
from gateway.process.metrics import METRICS, Metrics
from gateway.process.tracing import TRACING, request_span
from gateway.reads.board import CommittedBoard
from gateway.reads.history import History, Span
from gateway.reads.overview import Overview
from gateway.reads.statistics import Statistics
from gateway.reads.views import AccountView, Views
from gateway.requests.access import Scope
from gateway.requests.fields import Request
from gateway.wire import (
    PLAIN_DECIMAL,
    dump_json,
    exact_decimal,
    parse_any_json,
    parse_json,
    parse_time,
    printable,
    scaled,
)
from market.commands import AmendOrder, CancelAll, CancelOrder, Command, PlaceOrder
from market.errors import DeadlineElapsed, InvalidArguments, MarketError, OutcomeUnknown, Unavailable
from market.ids import AccountId, LoanId, Nanos
from market.port import CALLER, Answer, Caller, EnginePort

log = logging.getLogger(__name__)

BODY_BYTES_MAX = 1 << 20  # the application's client_max_size
PAGE_DEFAULT, PAGE_MAX = 100, 500
PAGE = frozenset({"limit", "cursor"})
LARGEST_KEY = 2**62
REQUEST_ID = re.compile(r"[\x21-\x7e]{1,128}")
DATABASE_TROUBLE = (asyncpg.PostgresError, asyncpg.InterfaceError, OSError, TimeoutError)
BODY_S_MAX = 30.0
MONITORING = frozenset({"/healthz", "/readyz"})
NEVER_REFUSED = frozenset({"/v1/orders/cancel-all", "/v1/orders/unblock"})
BUCKETS = {
    "GET": Bucket.QUERIES,
    "POST": Bucket.ORDERS,
    "PUT": Bucket.ORDERS,
    "PATCH": Bucket.AMENDS,
    "DELETE": Bucket.CANCELS,
}
PAID = web.RequestKey("paid", tuple[Rates, AccountId, Bucket])  # whose bucket a request drew on
ENGINE_SEQ = web.RequestKey("engine_seq", int)  # of the last command that a request had carried out
BODY_METHODS = frozenset({"POST", "PUT", "PATCH"})

Row = dict[str, Any]
R = TypeVar("R", bound=Request)
T = TypeVar("T")
E = TypeVar("E", bound=StrEnum)


@dataclass(frozen=True, slots=True, kw_only=True)
class Api:
    """What the handlers work with. clock: nanoseconds since 1970.  auditing: held by the one audit that may run.

    time_zone: the market's, IANA name.
    """

    engine: EnginePort
    views: Views
    board: CommittedBoard
    overview: Overview
    keys: KeyRing
    sessions: WebSessions
    sign_ups: SignUps
    browsers: Browsers
    history: History
    statistics: Statistics
    pool: "asyncpg.Pool[asyncpg.Record]"
    clock: Callable[[], int]
    metrics: Metrics
    auditing: asyncio.Lock = field(default_factory=asyncio.Lock)
    rates: Rates = field(default_factory=Rates)
    strangers: Throttle
    time_zone: str


ORDER_COMMANDS = (PlaceOrder, AmendOrder, CancelOrder, CancelAll)  # whose outcomes are counted


class Access(StrEnum):
    """Who may call a route: anybody, whoever proves who he is, who signed in, or a credential with that scope."""

    PUBLIC = "public"
    SIGNED = "signed"
    SESSION = "session"
    READ = "read"
    TRADE = "trade"
    TRANSFER = "transfer"
    ADMIN = "admin"


class Query:
    """The query parameters of one request. Each getter refuses a malformed value by name."""

    def __init__(self, pairs: Collection[tuple[str, str]], known: Collection[str]) -> None:
        self._values: dict[str, str] = {}
        for name, value in pairs:
            if name not in known:
                raise UnknownField(f"there is no parameter {printable(name)} here", field=printable(name))
            if name in self._values:
                raise InvalidArguments(f"{name}: given twice", field=name)
            if "\0" in value:
                raise InvalidArguments(f"{name}: must be text", field=name)
            self._values[name] = value

    def text(self, name: str) -> str | None:
        return self._values.get(name)

    def integer(self, name: str, *, default: int, low: int, high: int) -> int:
        text = self._values.get(name)
        if text is None:
            return default
        if not (text.isascii() and text.isdigit() and len(text) <= 19 and low <= int(text) <= high):
            raise InvalidArguments(f"{name}: must be a whole number from {low} to {high}", field=name)
        return int(text)

    def limit(self, *, default: int = PAGE_DEFAULT) -> int:
        return self.integer("limit", default=default, low=1, high=PAGE_MAX)

    def units(self, name: str, *, places: int = 2) -> int | None:
        """Return a decimal in units of 10^-places. A finer one is refused, never rounded."""
        text = self._values.get(name)
        if text is None:
            return None
        number = exact_decimal(text) if PLAIN_DECIMAL.fullmatch(text) else None
        value = None if number is None else scaled(number, places)
        if value is None:
            raise InvalidArguments(f"{name}: must be a decimal with at most {places} places", field=name)
        return value

    def flag(self, name: str) -> bool | None:
        text = self._values.get(name)
        if text not in (None, "true", "false"):
            raise InvalidArguments(f"{name}: must be true or false", field=name)
        return None if text is None else text == "true"

    def words(self, name: str, kind: type[E]) -> frozenset[E] | None:
        """Return a comma-separated choice of an enumeration's words."""
        text = self._values.get(name)
        if text is None:
            return None
        try:
            return frozenset(kind(word) for word in text.split(","))
        except ValueError as e:
            known = ", ".join(kind)
            raise InvalidArguments(f"{name}: must be of {known}", field=name) from e

    def time(self, name: str) -> Nanos | None:
        text = self._values.get(name)
        at = parse_time(text)
        if text is not None and at is None:
            raise InvalidArguments(f"{name}: must be a time like 2024-05-01T12:00:00Z", field=name)
        return at

    def span(self) -> Span:
        since, until, loan_id = self.time("since"), self.time("until"), self.text("loan_id")
        everything = Span()
        return Span(
            after_seq=self.integer("after_seq", default=0, low=0, high=LARGEST_KEY),
            since=everything.since if since is None else since,
            until=everything.until if until is None else until,
            loan_id=None if loan_id is None else LoanId(loan_id),
        )

    def cursor(self, *kinds: type) -> list[Any] | None:
        """Return the parts of a cursor that `cursor_of` made, each of the kind given."""
        text = self._values.get("cursor")
        if text is None:
            return None
        try:
            parts: list[Any] = json.loads(base64.urlsafe_b64decode(text.encode()))
        except (ValueError, RecursionError):
            parts = []
        is_ours = isinstance(parts, list) and [type(part) for part in parts] == list(kinds)
        if not is_ours or any(isinstance(part, int) and abs(part) > LARGEST_KEY for part in parts):
            raise InvalidArguments("cursor: not one of ours", field="cursor")
        return parts


def cursor_of(*parts: int | str) -> str:
    return base64.urlsafe_b64encode(dump_json(list(parts))).decode()


@dataclass(frozen=True, slots=True)
class Call:
    """One request, authenticated and read. holder: who asks, None on a public route."""

    api: Api
    request: web.Request
    holder: Principal | None
    query: Query
    body: Mapping[str, Any]

    @property
    def principal(self) -> Principal:
        if self.holder is None:
            raise AuthRequired
        return self.holder

    @property
    def account(self) -> AccountView:
        return self.api.views.account(self.principal.account_id)

    @property
    def now(self) -> Nanos:
        return Nanos(self.api.clock())

    def path(self, name: str) -> str:
        return self.request.match_info[name]

    def parsed(self, kind: type[R]) -> R:
        return kind.parse(dict(self.body))

    async def submit(self, command: Command) -> Answer:
        """Have the engine carry out a command, and count how it ended if it is about orders.

        A client that leaves meanwhile does not take it back.
        """
        about_orders = isinstance(command, ORDER_COMMANDS)
        try:
            answer = await self.api.engine.submit(command, actor=self.principal.key)
        except MarketError as error:
            if about_orders:
                self.api.metrics.count_order(answer_of(error).code)
            raise
        if about_orders:
            self.api.metrics.count_order("accepted")
        self.request[ENGINE_SEQ] = answer.seq
        return answer


Handler = Callable[[Call], Awaitable[web.StreamResponse]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Doc:
    """What the published contract says of a route (openapi.py); the end-to-end tests hold every answer to it.

    answers: what each good status bears, a pydantic type, or a media type where it is not JSON; a tuple for both.
    body: the model of what is sent; its example is a whole one.  refusals: beyond those that the route's kind implies.
    takes, gives: request and response headers of its own.
    """

    summary: str
    answers: Mapping[int, object]
    body: object = None
    example: object = None
    refusals: tuple[type[MarketError], ...] = ()
    takes: tuple[str, ...] = ()
    gives: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Route:
    """params: the query parameters that it knows.  list_name: a body that is a list stands for an object with this."""

    method: str
    path: str
    access: Access
    handler: Handler
    params: frozenset[str] = frozenset()
    list_name: str | None = None
    _: KW_ONLY
    doc: Doc

    @property
    def is_rated(self) -> bool:
        """Whether it is limited: per account, a public one per address. Administration and monitoring are not."""
        return self.access not in (Access.TRANSFER, Access.ADMIN) and self.path not in MONITORING


def reply(value: object, *, status: int = HTTPStatus.OK, headers: Mapping[str, str] | None = None) -> web.Response:
    return web.Response(
        body=dump_json(value), status=status, content_type="application/json", charset="utf-8", headers=headers
    )


def packed_reply(request: web.Request, packed: bytes) -> web.Response:
    """Answer with gzip of JSON, unpacked for whoever does not take it."""
    takes_it = "gzip" in request.headers.get("Accept-Encoding", "")
    return web.Response(
        body=packed if takes_it else gzip.decompress(packed),
        content_type="application/json",
        charset="utf-8",
        headers={"Vary": "Accept-Encoding"} | ({"Content-Encoding": "gzip"} if takes_it else {}),
    )


def page(items: list[Any], next_cursor: str | None) -> web.Response:
    return reply({"items": items, "next_cursor": next_cursor})


def page_of(call: Call, rows: Iterable[Row], **key: type) -> web.Response:
    """Answer with a page of rows that are all at hand, as many as fit one unless `limit` says otherwise.

    key: the fields that order them, the first one first, and their types.
    """
    limit, after = call.query.limit(default=PAGE_MAX), call.query.cursor(*key.values())
    behind = [row for row in rows if after is None or [row[name] for name in key] > after]
    more = cursor_of(*(behind[limit - 1][name] for name in key)) if len(behind) > limit else None
    return page(behind[:limit], more)


def add_routes(app: web.Application, api: Api, routes: Collection[Route]) -> None:
    app.middlewares.append(answer_every_failure)
    for route in routes:
        app.router.add_route(route.method, route.path, _served(api, route))


def _served(api: Api, route: Route) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    async def serve(request: web.Request) -> web.StreamResponse:
        if route.access is Access.PUBLIC and route.is_rated:
            api.strangers.take(request.remote or "")
        data = await _read(request)
        holder = await _authenticated(api, route, request, data)
        body = _read_body(request, data, route.list_name)
        if holder is not None and (bucket := _bucket_of(route)) is not None:
            request[PAID] = (api.rates, holder.account_id, bucket)
            api.rates.take(holder.account_id, bucket, _cost(route, body))
        return await route.handler(Call(api, request, holder, Query(list(request.query.items()), route.params), body))

    return serve


async def _read(request: web.Request) -> bytes:
    """Return the body. Raises DeadlineElapsed for one that does not come."""
    if not request.can_read_body:
        return b""
    try:
        async with asyncio.timeout(BODY_S_MAX):
            return await request.read()
    except TimeoutError as e:
        raise DeadlineElapsed(f"the body did not come within {BODY_S_MAX:.0f} s") from e


def _bucket_of(route: Route) -> Bucket | None:
    """Administration and transfers are not limited."""
    if not route.is_rated or route.access is Access.PUBLIC:
        return None
    if route.path in NEVER_REFUSED:
        return Bucket.CANCELS
    return BUCKETS[route.method] if route.access is Access.TRADE else Bucket.QUERIES


def _cost(route: Route, body: Mapping[str, Any]) -> int:
    if route.path in NEVER_REFUSED:
        return 0
    orders = body.get("orders")
    return len(orders) if isinstance(orders, list) else 1


async def _authenticated(api: Api, route: Route, request: web.Request, data: bytes) -> Principal | None:
    if route.access is Access.PUBLIC:
        return None
    principal = await _principal(api, request, data)
    if route.access is Access.SESSION:
        if not isinstance(principal.credential, WebSession):
            raise AuthPermissionDenied("this is for people: sign in with a password")
    elif route.access is not Access.SIGNED:
        principal.require(Scope(route.access))
    return principal


async def _principal(api: Api, request: web.Request, data: bytes) -> Principal:
    """Return who asks: the key that signed the request, or else the session in the browser's cookie."""
    token = None if "X-API-Key" in request.headers else api.browsers.token_of(request)
    if token is None:
        return await api.keys.of_request(
            headers=request.headers, method=request.method, path=request.raw_path, body=data, peer=request.remote
        )
    principal = api.sessions.of_token(token)
    if request.method not in SAFE_METHODS:
        api.browsers.check_write(request, token)
    return principal


def _read_body(request: web.Request, data: bytes, list_name: str | None) -> Mapping[str, Any]:
    """Return the JSON object of a request; no body says as much as an empty object."""
    if not data:
        return {}
    if request.method not in BODY_METHODS:
        raise InvalidArguments(f"{request.method} takes no body")
    if request.content_type != "application/json" or (request.charset or "utf-8").lower() != "utf-8":
        raise UnsupportedMediaType
    if list_name is not None and data.lstrip()[:1] == b"[":
        return {list_name: parse_any_json(data)}
    return parse_json(data)


@web.middleware
async def answer_every_failure(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    """Turn every refusal into its problem document; measure, trace and log the request, under an id that is told."""
    loop = asyncio.get_running_loop()
    began, request_id, route = loop.time(), _request_id(request), _route_of(request)
    is_upgrade = "Upgrade" in request.headers  # a socket lives for hours: its requests are what is traced
    tracing = None if is_upgrade else request.app[TRACING]
    with request_span(tracing, f"{request.method} {route}", request.headers) as span:
        CALLER.set(Caller(request_id, None if span is None else span.traceparent))
        response = await _answered(request, handler)
        seconds, seq = loop.time() - began, request.get(ENGINE_SEQ)
        if span is not None:
            span.note(http__request__method=request.method, http__response__status_code=response.status)
            span.note(http__route=route, market__request_id=request_id, market__engine_seq=seq or 0)
            if response.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
                span.fail()
    if response.status != HTTPStatus.SWITCHING_PROTOCOLS:
        request.app[METRICS].observe_request(request.method, response.status, seconds)
        level = logging.WARNING if response.status >= HTTPStatus.INTERNAL_SERVER_ERROR else logging.DEBUG
        told = (request.method, route, response.status, seconds, seq)
        log.log(level, "request method=%s route=%s status=%d seconds=%.6f engine_seq=%s", *told)
    if not response.prepared:
        response.headers["X-Request-Id"] = request_id
    if PAID in request and not response.prepared:
        rates, account_id, bucket = request[PAID]
        response.headers.update(rates.rate(account_id, bucket).headers())
    return response


def _request_id(request: web.Request) -> str:
    """Return the client's word for the request, or one that we make up."""
    given = request.headers.get("X-Request-Id", "")
    return given if REQUEST_ID.fullmatch(given) else secrets.token_hex(8)


def _route_of(request: web.Request) -> str:
    resource = request.match_info.route.resource
    return "unknown" if resource is None else resource.canonical


async def _answered(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    try:
        return await handler(request)
    except MarketError as error:
        return problem(error, instance=request.path)
    except web.HTTPException as e:
        known = _as_market_error(e)
        if known is None:
            raise
        response = problem(known, instance=request.path)
        if "Allow" in e.headers:
            response.headers["Allow"] = e.headers["Allow"]
        return response
    except (asyncio.CancelledError, ConnectionResetError):
        raise
    except DATABASE_TROUBLE:
        log.exception("database_unreachable path=%s", request.path)
        return problem(Unavailable("the database can't be reached"), instance=request.path)
    except Exception:
        log.exception("request_failed path=%s", request.path)
        return internal_problem(instance=request.path)


def _as_market_error(error: web.HTTPException) -> MarketError | None:
    match error:
        case web.HTTPNotFound():
            return RouteNotFound()
        case web.HTTPMethodNotAllowed():
            return MethodNotAllowed()
        case web.HTTPRequestEntityTooLarge():
            return PayloadTooLarge()
        case web.HTTPUnsupportedMediaType():
            return UnsupportedMediaType()
    return None


async def told_after_commit(read: Awaitable[T]) -> T:
    """Await what is read to describe a command that is already durable: failing now must not look like a refusal."""
    try:
        return await read
    except DATABASE_TROUBLE as e:
        raise OutcomeUnknown("it was executed, but can't be shown now: ask again") from e
