"""Signed REST calls to one service, and the way to its socket."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from types import TracebackType
from typing import Self, TypeVar
from urllib.parse import urlencode

import aiohttp

from gateway.client.errors import ApiError
from gateway.client.keys import ApiKey
from gateway.client.socket import OnPush, Socket
from gateway.client.wire import Json, encode, parse

T = TypeVar("T")

FRAME_BYTES_MAX = 16 << 20  # a snapshot of a deep book or of many orders is one frame
PING_S = 10.0  # a socket that does not answer a ping in half of that is gone
ATTEMPTS_MAX = 6
BACKOFF_S = 0.1


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
        payload = b"" if body is None else encode(body)
        headers = self._signature(method, path, payload)
        if body is not None:
            headers["Content-Type"] = "application/json"
        async with self._http.request(method, self.url + path, data=payload, headers=headers) as response:
            text = await response.read()
            if response.status < HTTPStatus.BAD_REQUEST:
                return response.status, parse(text)
            raise _refusal(response.status, response.reason or "", text)

    async def socket(self, path: str = "/ws/v2", *, on_push: OnPush | None = None) -> Socket:
        """Return a connected WebSocket, greeted but not logged in. on_push: gets every push, as it arrives.

        Raises aiohttp.ClientError, OSError or Disconnected.
        """
        url = self.url.replace("http", "ws", 1) + path
        connection = await self._http.ws_connect(url, max_msg_size=FRAME_BYTES_MAX, heartbeat=PING_S)
        return await Socket.greeted(connection, self.key, on_push)

    def _signature(self, method: str, path: str, payload: bytes) -> dict[str, str]:
        """Sign a call. A signature is good once, so two calls never share a timestamp."""
        if self.key is None:
            return {}
        self._last_timestamp_us = max(time.time_ns() // 1_000, self._last_timestamp_us + 1)
        return self.key.rest_headers(self._last_timestamp_us, method, path, payload)


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


def _refusal(status: int, reason: str, text: bytes) -> ApiError:
    try:
        body = parse(text)
    except ValueError:
        body = {}
    message = str(body.get("detail") or body.get("title") or reason)
    for each in body.get("errors") or []:
        if str(each.get("message")) not in message:
            message += f"; {each.get('field')}: {each.get('message')}"
    return ApiError(str(body.get("code", status)), message, status=status, body=body)
