"""One WebSocket connection: greeting, requests in order, replies, silence, farewell.

Requests of one socket are taken one after the other; an order's answer comes when its batch is durable, so many may be
under way. Everything outgoing but the close frame passes the outbox. Who does not take its replies is not read on.
"""

import asyncio
import json
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, TypeGuard

import asyncpg
from aiohttp import WSCloseCode, WSMessage, WSMsgType, web

from gateway.access.auth import KeyRing, Principal
from gateway.access.browser import Browsers
from gateway.access.rates import Bucket, Rates
from gateway.access.sessions import WebSessions
from gateway.access.throttle import Throttle
from gateway.errors import AuthInvalidKey, AuthRequired, UnknownField, UnknownMethod, ws_error
from gateway.process.metrics import Metrics
from gateway.process.tracing import Span, Tracing, request_span
from gateway.reads.views import Views
from gateway.requests.access import Scope
from gateway.wire import parse_json, printable, time_text
from gateway.ws.board import Boards
from gateway.ws.dead_man import DeadMan
from gateway.ws.disconnect import Attachments, Leaving, withdraw_quotes_of
from gateway.ws.executions import ExecutionsFeed
from gateway.ws.feeds import BalancesFeed, Feed, Key, QuotesFeed, status_message
from gateway.ws.frames import Message
from gateway.ws.history import StreamHistory
from gateway.ws.hub import Hub
from gateway.ws.outbox import Outbox, OutboxLimits
from market.bus.presence import Attached
from market.errors import InvalidArguments, MarketError, OutcomeUnknown, Unavailable
from market.ids import AccountId
from market.port import CALLER, Caller, EnginePort

log = logging.getLogger(__name__)

CLOSE_AUTH, CLOSE_SLOW = 4001, 4008
ILLEGAL_CLOSE_CODES: Final = frozenset({1004, 1005, 1006, 1015})
CLOSE_TIMEOUT_S = 5.0
NOTHING: Final[Mapping[str, Any]] = {}
DATABASE_TROUBLE = (asyncpg.PostgresError, asyncpg.InterfaceError, OSError, TimeoutError)


@dataclass(frozen=True, slots=True, kw_only=True)
class SocketLimits:
    outbox: OutboxLimits = field(default_factory=OutboxLimits)
    frame_bytes_max: int = 128 << 10
    ping_every_s: float = 15.0
    silence_s_max: float = 60.0  # without a frame, pongs included
    unreadable_max: int = 3
    unreadable_window_s: float = 10.0
    failed_logins_max: int = 3
    subscriptions_max: int = 20_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Gate:
    """What every session works with."""

    engine: EnginePort
    views: Views
    hub: Hub
    keys: KeyRing
    sessions: WebSessions
    browsers: Browsers
    history: StreamHistory
    boards: Boards
    metrics: Metrics
    tracing: Tracing | None = None
    clock: Callable[[], int]
    limits: SocketLimits = field(default_factory=SocketLimits)
    attachments: Attachments = field(default_factory=Attachments)
    dead_man: DeadMan = field(default_factory=DeadMan)
    rates: Rates = field(default_factory=Rates)
    strangers: Throttle


@dataclass(frozen=True, slots=True)
class Request:
    """One frame, readable so far: params are not yet checked. time_in: nanoseconds.

    paid: whose buckets it drew on.
    """

    method: str
    params: dict[str, Any]
    req_id: int | str | None
    time_in: int
    paid: list[tuple[AccountId, Bucket]] = field(default_factory=list)


Method = Callable[["Session", Request], Awaitable[None]]


class Session:
    """The state of one connection. login: who it acts for, None before login.

    vouchers: whom its requests named by tokens, by credential; private streams may be theirs.
    """

    def __init__(
        self,
        gate: Gate,
        socket: web.WebSocketResponse,
        transport: asyncio.Transport,
        *,
        connection_id: str,
        challenge: str,
        peer: str | None,
        numbers: bool,
        methods: dict[str, Method],
        signed_in: Principal | None = None,
    ) -> None:
        self.gate = gate
        self.connection_id = connection_id
        self.challenge = challenge
        self.peer = peer
        self.login: Principal | None = None
        self.vouchers: dict[str, Principal] = {}
        self.name: str = connection_id  # the session that its orders belong to
        self.feeds: dict[Key, Feed] = {}
        self.streams: set[str] = set()  # status and heartbeat, which every socket gets
        self.executions: Sequence[ExecutionsFeed] = ()  # of each partition, if any
        self.failed_logins = 0
        self.grace_s: float | None = None  # before all orders are cancelled when the connection ends; None: they stay
        self.asked_for_cancel: dict[AccountId, Principal] = {}  # accounts with orders that end with the connection
        self.quoted_for: dict[AccountId, Principal] = {}  # accounts with quotes, which all do
        self.outbox = Outbox(
            transport,
            limits=gate.limits.outbox,
            numbers=numbers,
            on_slow=self._too_slow,
            on_written=gate.hub.written,
        )
        self._socket = socket
        self._transport = transport
        self._methods = methods
        self._loop = asyncio.get_running_loop()
        self._heard = self._pinged = self._loop.time()
        self._unreadable: deque[float] = deque(maxlen=gate.limits.unreadable_max)
        self._closing: tuple[int, str] | None = None
        self._goodbye: asyncio.Task[None] | None = None
        if signed_in is not None:
            self.log_in(signed_in, None, None)

    @property
    def is_subscribed(self) -> bool:
        return bool(self.feeds or self.streams or self.executions)

    async def run(self) -> None:
        """Serve until either side closes. Orders that are under way run to their end without it."""
        hub = self.gate.hub
        hub.sessions[self] = None
        try:
            self._greet()
            while self._closing is None:
                message = await self._socket.receive()
                self._heard = self._loop.time()
                if not await self._take(message):
                    break
        finally:
            hub.sessions.pop(self, None)
            self.unsubscribe_all()
            self.log_out()
            if self._goodbye is None:
                await self._close_socket()
            else:
                await self._goodbye

    def reply(self, request: Request, result: dict[str, Any]) -> None:
        told = {"success": True, "result": result, **self._rate(request)}
        self._answer(request.method, request.req_id, request.time_in, told)

    def pong(self, request: Request) -> None:
        self._answer("pong", request.req_id, request.time_in, {"success": True, "result": {}})

    def refuse(self, request: Request, error: MarketError, about: Mapping[str, str] = NOTHING) -> None:
        """about: which of several things that were named, as `symbol`, `order_id` or `cl_ord_id`."""
        self._refuse(request.method, request.req_id, request.time_in, error, {**about, **self._rate(request)})

    def close(self, code: int, reason: str) -> None:
        """Say goodbye once; whatever was queued before goes out first."""
        if self._closing is None:
            self._closing = (code, reason)
            self.outbox.flush()
            self.outbox.close()
            self._goodbye = self._loop.create_task(self._close_socket())

    def tick(self, now: float) -> None:
        if now - self._heard > self.gate.limits.silence_s_max:
            self.outbox.close()
            self._transport.abort()
        elif now - self._pinged >= self.gate.limits.ping_every_s:
            self._pinged = now
            self.outbox.ping()

    def check_credentials(self) -> None:
        """Close if a credential that private streams were asked with is no more."""
        who = self.login
        if who is None and not self.vouchers:
            return
        is_live = self.gate.keys.is_live
        if (who is not None and not is_live(who)) or not all(map(is_live, self.vouchers.values())):
            self.close(CLOSE_AUTH, "the key or the session was revoked or has expired")

    def principal(self, token: str | None, scope: Scope) -> Principal:
        """Return who asks: whom the token names, else who logged in, if the key has the scope."""
        keys = self.gate.keys
        who = self.login if token is None else keys.of_token(token, peer=self.peer)
        if who is None:
            raise AuthRequired
        if not keys.is_live(who):
            raise AuthInvalidKey
        who.require(scope)
        if token is not None:
            self.vouchers[who.credential.id] = who
        return who

    def payer(self, request: Request, token: str | None, scope: Scope, bucket: Bucket, count: int = 1) -> Principal:
        """As `principal`, who pays for the request. Raises RateLimited; a count of 0 is only shown."""
        who = self.principal(token, scope)
        request.paid.append((who.account_id, bucket))
        self.gate.rates.take(who.account_id, bucket, count)
        return who

    def require_room(self, feed: Feed) -> None:
        """Raises InvalidArguments if the socket may subscribe to no more."""
        subscribed, most = len(self.feeds), self.gate.limits.subscriptions_max
        if feed.key not in self.feeds and subscribed >= most:
            raise InvalidArguments(f"symbol: a socket may have {most} subscriptions", field="symbol")

    def log_in(self, who: Principal, name: str | None, grace_s: float | None) -> None:
        """Act for an account from now on. name: of the session that orders belong to."""
        self.log_out()
        self.failed_logins = 0
        self.login = who
        self.name = name or self.connection_id
        self.grace_s = grace_s
        self.gate.attachments.attach(who.account_id, self.name)

    def log_out(self) -> None:
        """Forget the login and every private stream; withdraw quotes, cancel the orders that were to end with it."""
        self._leave_orders()
        if self.login is not None:
            self.gate.attachments.detach(self.login.account_id, self.name)
        self.login, self.grace_s, self.name = None, None, self.connection_id
        self.asked_for_cancel.clear()
        self.quoted_for.clear()
        self.leave_executions()
        for key in [key for key in self.feeds if key[0] in (BalancesFeed.channel, QuotesFeed.channel)]:
            self.gate.hub.leave(self.feeds.pop(key), self.outbox)

    def _leave_orders(self) -> None:
        for account_id, who in self.quoted_for.items():
            self.gate.hub.spawn(withdraw_quotes_of(account_id, self.connection_id, who.key, self.gate.engine))
        leaving = {
            account_id: Leaving(account_id, self.name, who.key, self.grace_s or 0.0, everything=False)
            for account_id, who in self.asked_for_cancel.items()
        }
        if (login := self.login) is not None and self.grace_s is not None:
            leaving[login.account_id] = Leaving(login.account_id, self.name, login.key, self.grace_s, everything=True)
        for each in leaving.values():
            self.gate.hub.spawn(self.gate.attachments.cancel_orders_of(each, self.gate.engine))

    def attached(self) -> list[Attached]:
        accounts = {*self.asked_for_cancel, *self.quoted_for}
        if self.login is not None:
            accounts.add(self.login.account_id)
        grace_ms = int((self.grace_s or 0) * 1_000)
        return [Attached(account_id, self.name, self.connection_id, grace_ms) for account_id in accounts]

    def unsubscribe_all(self) -> None:
        for feed in self.feeds.values():
            self.gate.hub.leave(feed, self.outbox)
        self.feeds.clear()
        self.leave_executions()

    def leave_executions(self) -> None:
        for feed in self.executions:
            feed.readers.pop(self.outbox, None)
        self.executions = ()

    # Incoming

    async def _take(self, message: WSMessage) -> bool:
        """Handle one incoming message. Returns False when the connection is over."""
        match message.type:
            case WSMsgType.TEXT:
                await self._take_text(message.data)
            case WSMsgType.BINARY:
                self._unreadable_frame(None, InvalidArguments("text frames only"), self.gate.clock())
            case WSMsgType.PING:
                self.outbox.pong(message.data)
            case WSMsgType.PONG:
                pass
            case WSMsgType.CLOSE:
                self._closing = (legal_close_code(message.data), "")
                return False
            case _:
                return False
        return True

    def _caller(self, req_id: int | str | None, span: Span | None) -> Caller:
        number = "" if req_id is None else f":{req_id if isinstance(req_id, int) else printable(req_id)}"
        return Caller(f"{self.connection_id}{number}", None if span is None else span.traceparent)

    async def _take_text(self, text: str) -> None:
        time_in = self.gate.clock()
        try:
            body = parse_json(text.encode())
        except InvalidArguments as error:
            self._unreadable_frame(req_id_in(text), error, time_in)
            return
        request: Request | None = None
        try:
            request = request_of(body, time_in)
            if self.login is None and not self.vouchers:
                self.gate.strangers.take(self.peer or "")
            method = self._method(request.method)
            with request_span(self.gate.tracing, f"ws {request.method}", {}) as span:
                CALLER.set(self._caller(request.req_id, span))
                log.debug("ws_request method=%s", request.method)
                await method(self, request)
        except MarketError as error:
            self._refuse_envelope(body, time_in, error, request)
        except DATABASE_TROUBLE:
            log.exception("database_unreachable method=%s", body.get("method"))
            self._refuse_envelope(body, time_in, Unavailable("the database can't be reached"), request)
        except Exception:  # our bug; one request's trouble ends neither the connection nor the others
            log.exception("request_failed method=%s", body.get("method"))
            self._refuse_envelope(body, time_in, OutcomeUnknown("something went wrong in answering"), request)
        if not self.outbox.drained.is_set():
            await self.outbox.drained.wait()

    def _method(self, name: str) -> Method:
        method = self._methods.get(name)
        if method is None:
            raise UnknownMethod(f"there is no method {printable(name)}", field="method")
        return method

    def _unreadable_frame(self, req_id: int | str | None, error: MarketError, time_in: int) -> None:
        self._refuse(None, req_id, time_in, error)
        now, limits = self._loop.time(), self.gate.limits
        self._unreadable.append(now)
        if len(self._unreadable) == limits.unreadable_max and now - self._unreadable[0] <= limits.unreadable_window_s:
            self.close(WSCloseCode.POLICY_VIOLATION, "too many unreadable frames")

    # Outgoing

    def _greet(self) -> None:
        gate = self.gate
        more: dict[str, Any] = {"connection_id": self.connection_id, "challenge": self.challenge}
        if self.login is not None:
            more |= {"account": self.login.account_id, "scopes": sorted(self.login.scopes)}
        self.outbox.send(status_message(gate.views, gate.clock(), **more), excused=True)

    def _rate(self, request: Request | None) -> dict[str, Any]:
        if request is None or not request.paid:
            return {}
        return {"rate": self.gate.rates.rate(*request.paid[-1]).shown()}

    def _refuse_envelope(self, body: dict[str, Any], time_in: int, error: MarketError, request: Request | None) -> None:
        """Refuse a frame that was JSON, with what of its envelope makes sense."""
        method, req_id = body.get("method"), body.get("req_id")
        shown = printable(method) if isinstance(method, str) else None
        self._refuse(shown, req_id if is_req_id(req_id) else None, time_in, error, self._rate(request))

    def _refuse(
        self,
        method: str | None,
        req_id: int | str | None,
        time_in: int,
        error: MarketError,
        beside: Mapping[str, Any] = NOTHING,
    ) -> None:
        text, detail = ws_error(error)
        self._answer(method, req_id, time_in, {"success": False, "error": text, "error_detail": detail, **beside})

    def _answer(self, method: str | None, req_id: int | str | None, time_in: int, told: dict[str, Any]) -> None:
        times = {"time_in": time_text(time_in), "time_out": time_text(self.gate.clock())}
        self.outbox.send(Message({"method": method, "req_id": req_id, **told, **times}))

    def _too_slow(self) -> None:
        gate = self.gate
        gate.metrics.count_slow_consumer()
        log.info("slow_consumer connection=%s backlog_bytes=%d", self.connection_id, self.outbox.backlog)
        self.outbox.send(status_message(gate.views, gate.clock(), reason="slow_consumer"), excused=True)
        self.close(CLOSE_SLOW, "slow_consumer")

    async def _close_socket(self) -> None:
        """Send the close frame, wait a little for the peer's, and let go of what it never read."""
        code, reason = self._closing or (WSCloseCode.OK, "")
        self.outbox.flush()
        self.outbox.close()
        try:
            await self._socket.close(code=code, message=reason.encode(), drain=False)
        finally:
            self._loop.call_later(CLOSE_TIMEOUT_S, self._transport.abort)


def request_of(body: dict[str, Any], time_in: int) -> Request:
    """Return the request in an envelope. Raises UnknownField or InvalidArguments, naming the field."""
    for name in body:
        if name not in ("method", "params", "req_id"):
            raise UnknownField(f"there is no field {printable(name)} here", field=printable(name))
    method, params, req_id = body.get("method"), body.get("params"), body.get("req_id")
    if not isinstance(method, str):
        raise InvalidArguments("method: must be a string", field="method")
    if req_id is not None and not is_req_id(req_id):
        raise InvalidArguments("req_id: must be an integer or a string", field="req_id")
    if params is None:
        params = {}
    if not isinstance(params, dict):
        raise InvalidArguments("params: must be an object", field="params")
    return Request(method, params, req_id, time_in)


def is_req_id(value: object) -> TypeGuard[int | str]:
    return isinstance(value, int | str) and not isinstance(value, bool)


def req_id_in(text: str) -> int | str | None:
    """Return the req_id of a frame that strict reading refused, if lenient reading finds one."""
    try:
        body = json.loads(text)
    except (ValueError, RecursionError):
        return None
    req_id = body.get("req_id") if isinstance(body, dict) else None
    if isinstance(req_id, str):
        return printable(req_id)
    return req_id if is_req_id(req_id) else None


def legal_close_code(code: int) -> int:
    """Return what to answer a peer's close code with: the same, 1000 for none, 1002 for one that must not be sent."""
    if code == 0:
        return WSCloseCode.OK
    if code in ILLEGAL_CLOSE_CODES or code >= 5000:
        return WSCloseCode.PROTOCOL_ERROR
    return code
