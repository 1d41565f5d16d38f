"""A small asynchronous client of the public API: signed REST calls and the WebSocket, as any outside program sees it.

The import, the demo and the tests use it; nothing in it knows more than PROTOCOL says. JSON numbers with a fraction
become Decimal, never a float.
"""

import asyncio
import hashlib
import hmac
import itertools
import json
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from decimal import Decimal
from http import HTTPStatus
from types import TracebackType
from typing import Any, Self, TypeVar
from urllib.parse import urlencode

import aiohttp

from market.commands import RegisterLoan

Json = dict[str, Any]
T = TypeVar("T")

FRAME_BYTES_MAX = 16 << 20  # a snapshot of a deep book or of many orders is one frame
PUSHES_MAX = 100_000  # unread pushes of one subscription before its reader counts as stuck
ATTEMPTS_MAX = 6
BACKOFF_S = 0.1


@dataclass(frozen=True, slots=True)
class ApiKey:
    key: str
    secret: str

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read KEY:SECRET. Raises ValueError."""
        key, colon, secret = text.partition(":")
        if not (key and colon and secret):
            raise ValueError("an API key is written KEY:SECRET")
        return cls(key, secret)

    def __str__(self) -> str:
        return f"{self.key}:{self.secret}"


class ApiError(Exception):
    """The service refused. outcome: `not_executed` or `unknown`.  body: all that it said."""

    def __init__(self, code: str, message: str, *, status: int | None = None, body: Json) -> None:
        super().__init__(f"{code}: {message}" if message else code)
        self.code = code
        self.status = status
        self.body = body
        self.outcome = str(body.get("outcome", "unknown"))
        self.retryable = bool(body.get("retryable", False))

    @property
    def retry_after_s(self) -> float:
        return float(self.body.get("retry_after_ms", 0)) / 1_000


class Disconnected(Exception):
    """The socket is gone; what was asked and not yet answered may or may not have been done."""


class Client:
    """REST calls to one service, signed if there is a key. Use it as an async context manager.

    connections_max: calls under way at once; more wait their turn.
    """

    def __init__(
        self, url: str, key: ApiKey | None = None, *, timeout_s: float = 30.0, connections_max: int = 64
    ) -> None:
        self.url = url.rstrip("/")
        self.key = key
        self._timeout = aiohttp.ClientTimeout(total=timeout_s)
        self._connections_max = connections_max
        self._last_timestamp_us = 0

    async def __aenter__(self) -> Self:
        connector = aiohttp.TCPConnector(limit=self._connections_max)
        self._http = aiohttp.ClientSession(connector=connector, timeout=self._timeout)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, e: BaseException | None, at: TracebackType | None
    ) -> None:
        await self._http.close()

    async def get(self, path: str, **query: str | int) -> Json:
        return (await self.request("GET", path + (f"?{urlencode(query)}" if query else "")))[1]

    async def post(self, path: str, body: Json | None = None) -> Json:
        return (await self.request("POST", path, body if body is not None else {}))[1]

    async def request(self, method: str, path: str, body: Json | None = None) -> tuple[int, Json]:
        """Return status and body of a success. path: with its query.

        Raises ApiError for a refusal, aiohttp.ClientError or TimeoutError if there was no answer.
        """
        payload = b"" if body is None else json.dumps(body, separators=(",", ":"), ensure_ascii=False).encode()
        headers = self._signature(method, path, payload) if self.key else {}
        if body is not None:
            headers["Content-Type"] = "application/json"
        async with self._http.request(method, self.url + path, data=payload, headers=headers) as response:
            text = await response.read()
            if response.status < HTTPStatus.BAD_REQUEST:
                return response.status, _parse(text)
            raise _refusal(response.status, response.reason or "", text)

    async def socket(self, path: str = "/ws/v2") -> "Socket":
        """Return a connected WebSocket, greeted but not logged in."""
        connection = await self._http.ws_connect(
            self.url.replace("http", "ws", 1) + path, max_msg_size=FRAME_BYTES_MAX, autoping=True
        )
        return await Socket.greeted(connection, self.key)

    def _signature(self, method: str, path: str, payload: bytes) -> dict[str, str]:
        """Sign a call. A signature is good once, so two calls never share a timestamp."""
        assert self.key is not None
        self._last_timestamp_us = max(time.time_ns() // 1_000, self._last_timestamp_us + 1)
        timestamp = str(self._last_timestamp_us)
        signed = "\n".join((timestamp, method, path, hashlib.sha256(payload).hexdigest()))
        return {
            "X-API-Key": self.key.key,
            "X-API-Timestamp": timestamp,
            "X-API-Signature": _hmac_hex(self.key.secret, signed),
        }


class Socket:
    """One WebSocket. Replies find their request by `req_id`, pushes the iterators of their channel."""

    def __init__(self, connection: aiohttp.ClientWebSocketResponse, key: ApiKey | None, greeting: Json) -> None:
        self.greeting = greeting
        self._connection = connection
        self._key = key
        self._req_ids = itertools.count(1)
        self._replies: dict[int, asyncio.Queue[Json | None]] = {}
        self._pushes: defaultdict[str, list[asyncio.Queue[Json | None]]] = defaultdict(list)
        self._reader = asyncio.create_task(self._read(), name="debt-market-socket")

    @classmethod
    async def greeted(cls, connection: aiohttp.ClientWebSocketResponse, key: ApiKey | None) -> Self:
        try:
            greeting = _parse(await connection.receive_str())
        except TypeError as e:
            raise Disconnected("closed before the greeting") from e
        return cls(connection, key, greeting["data"][0])

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, e: BaseException | None, at: TracebackType | None
    ) -> None:
        await self.close()

    @property
    def closed(self) -> bool:
        return self._connection.closed or self._reader.done()

    async def close(self) -> None:
        await self._connection.close()
        self._reader.cancel()
        with suppress(asyncio.CancelledError):
            await self._reader

    async def login(self, **params: Any) -> Json:
        """Log in with the client's key. params: session, cancel_on_disconnect."""
        if self._key is None:
            raise ValueError("a login needs an API key")
        challenge = self.greeting["challenge"]
        signed = "\n".join(("ws-login", self.greeting["connection_id"], challenge, self._key.key))
        signature = _hmac_hex(self._key.secret, signed)
        return await self.call("login", api_key=self._key.key, challenge=challenge, sig=signature, **params)

    async def call(self, method: str, **params: Any) -> Json:
        """Return the result of a request. Raises ApiError if it is refused, Disconnected if no answer came."""
        return (await self.call_many(1, method, **params))[0]

    async def call_many(self, answers: int, method: str, **params: Any) -> list[Json]:
        """Return the results of a request that is answered `answers` times, in order; the first refusal is raised."""
        req_id = next(self._req_ids)
        queue = self._replies[req_id] = asyncio.Queue()
        try:
            if self.closed:
                raise Disconnected("the socket is closed")
            try:
                await self._connection.send_str(_frame({"method": method, "params": params, "req_id": req_id}))
            except ConnectionError as e:
                raise Disconnected(str(e)) from e
            replies = []
            for _ in range(answers):
                if (reply := await queue.get()) is None:
                    raise Disconnected(f"closed with {self._connection.close_code} before {method} was answered")
                replies.append(reply)
        finally:
            del self._replies[req_id]
        return [_result(reply) for reply in replies]

    async def subscribe(self, channel: str, symbols: Sequence[str] | None = None, **params: Any) -> AsyncIterator[Json]:
        """Subscribe, then return the channel's messages, snapshot first, until the socket closes (Disconnected)."""
        queue: asyncio.Queue[Json | None] = asyncio.Queue(PUSHES_MAX)
        self._pushes[channel].append(queue)  # before asking: the snapshot may arrive right behind the acknowledgement
        names = {} if symbols is None else {"symbol": list(symbols)}
        await self.call_many(len(symbols or [0]), "subscribe", channel=channel, **names, **params)
        return _messages(queue)

    async def _read(self) -> None:
        try:
            async for frame in self._connection:
                if frame.type is not aiohttp.WSMsgType.TEXT:
                    break
                message = _parse(frame.data)
                if "channel" in message:
                    for queue in self._pushes[message["channel"]]:
                        queue.put_nowait(message)  # QueueFull ends the socket: nothing is lost unseen
                elif (replies := self._replies.get(message.get("req_id") or 0)) is not None:
                    replies.put_nowait(message)
        finally:
            for queue in [*self._replies.values(), *itertools.chain(*self._pushes.values())]:
                with suppress(asyncio.QueueFull):
                    queue.put_nowait(None)


async def retried(call: Callable[[], Awaitable[T]]) -> T:
    """Return what an idempotent call returns; a passing failure is tried again, at most ATTEMPTS_MAX times in all."""
    for attempt in range(1, ATTEMPTS_MAX + 1):
        try:
            return await call()
        except ApiError as e:
            if attempt == ATTEMPTS_MAX or not (e.retryable or e.code == "rate_limited"):
                raise
            pause_s = e.retry_after_s
        except (aiohttp.ClientConnectionError, TimeoutError):
            if attempt == ATTEMPTS_MAX:
                raise
            pause_s = 0.0
        await asyncio.sleep(max(pause_s, BACKOFF_S * 2**attempt))
    raise AssertionError("unreachable")


def loan_body(registration: RegisterLoan) -> Json:
    """Return the body of POST /v1/admin/loans that registers this loan."""
    terms, guarantee = registration.terms, registration.terms.guarantee
    body: Json = {
        "loan_id": terms.loan_id,
        "originator": terms.originator,
        "currency": terms.currency,
        "original_principal": decimal(terms.original_principal),
        "issued_face": decimal(registration.issued_face),
        "annual_rate": decimal(terms.annual_rate_ppm, places=6),
        "repayment_method": terms.repayment_method,
        "term_months": terms.term_months,
        "months_per_period": terms.months_per_period,
        "issue_date": terms.issue_date.isoformat(),
        "first_due_date": terms.first_due_date.isoformat(),
        "day_count": terms.day_count,
        "outstanding_principal": decimal(terms.outstanding_at_registration),
        "status": registration.status,
        "grade": terms.grade,
        "claim_type": terms.claim_type,
        "guarantee": {
            "kind": guarantee.kind,
            "name": guarantee.name,
            "trigger_days": guarantee.trigger_days,
            "coverage": guarantee.coverage,
        },
        "borrower_ref": terms.borrower_ref,
        "purpose": terms.purpose,
        "region": terms.region,
        "rulebook": registration.rulebook,
        "documents": [{"name": document.name, "sha256": document.sha256} for document in terms.documents],
        "never_late": terms.never_late,
    }
    if not terms.transferable:
        body["transferable"] = False
    if registration.reason is not None:
        body["reason"] = registration.reason
    return body


def decimal(units: int, *, places: int = 2) -> str:
    """Return units of 10^-places in plain notation: 12345 is "123.45"."""
    whole, fraction = divmod(abs(units), 10**places)
    return f"{'-' if units < 0 else ''}{whole}.{fraction:0{places}}"


def units(text: str, *, places: int = 2) -> int:
    """Return a decimal string in units of 10^-places. Raises ValueError if it is finer than that."""
    scaled = Decimal(text).scaleb(places)
    if scaled != int(scaled):
        raise ValueError(f"{text} has more than {places} decimals")
    return int(scaled)


async def _messages(queue: "asyncio.Queue[Json | None]") -> AsyncIterator[Json]:
    while (message := await queue.get()) is not None:
        yield message
    raise Disconnected("the socket is closed")


def _result(reply: Json) -> Json:
    if reply.get("success"):
        return dict(reply.get("result") or {})
    detail = reply.get("error_detail") or {}
    raise ApiError(detail.get("code", "unknown"), str(reply.get("error", "")), body=detail)


def _refusal(status: int, reason: str, text: bytes) -> ApiError:
    try:
        body = _parse(text)
    except ValueError:
        body = {}
    message = str(body.get("detail") or body.get("title") or reason)
    for each in body.get("errors") or []:
        if str(each.get("message")) not in message:
            message += f"; {each.get('field')}: {each.get('message')}"
    return ApiError(str(body.get("code", status)), message, status=status, body=body)


def _hmac_hex(secret: str, signed: str) -> str:
    return hmac.new(secret.encode(), signed.encode(), hashlib.sha256).hexdigest()


def _parse(text: str | bytes) -> Json:
    parsed: Json = json.loads(text, parse_float=Decimal) if text else {}
    return parsed


def _frame(message: Mapping[str, Any]) -> str:
    return json.dumps(message, separators=(",", ":"), ensure_ascii=False)
