"""A REST client that can be made to do anything wrong: raw bodies, own headers, signatures to repeat.

Every answer that it gets is held to what the published contract declares for the route.
"""

import hashlib
import hmac
import itertools
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import aiohttp
from yarl import URL

from gateway.client import ApiKey
from tests.contract import check_answer
from tests.e2e.stack import Stack

Json = dict[str, Any]


@dataclass(frozen=True)
class Told:
    """An answer. body: the JSON that came."""

    status: int
    body: Json
    headers: Any

    @property
    def code(self) -> Any:
        return self.body.get("code")

    @property
    def field(self) -> Any:
        return self.body["errors"][0]["field"] if self.body["errors"] else None


class Rest:
    """Calls one service with one key, or with none."""

    _clock = itertools.count(1)  # no two signatures share a timestamp

    def __init__(self, url: str, client: aiohttp.ClientSession, key: ApiKey | None = None) -> None:
        self.url = url
        self.key = key
        self._client = client

    def of(self, key: ApiKey | None) -> "Rest":
        return Rest(self.url, self._client, key)

    async def get(self, path: str, **headers: str) -> Told:
        return await self.call("GET", path, **headers)

    async def post(self, path: str, body: object = None, **headers: str) -> Told:
        return await self.call("POST", path, body, **headers)

    async def call(self, method: str, path: str, body: object = None, **headers: str) -> Told:
        """Send a signed request. body: bytes as they are, all else as JSON, nothing for None."""
        data = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
        sent = {**self.signature(method, path, data), **headers}
        if data and "Content-Type" not in sent:
            sent["Content-Type"] = "application/json"
        return await self.raw(method, path, data, sent)

    async def raw(self, method: str, path: str, data: bytes, headers: dict[str, str]) -> Told:
        """Send a request with these headers and no others of ours."""
        url = URL(self.url + path, encoded=True)
        async with self._client.request(method, url, data=data or None, headers=headers) as response:
            told = await response.read()
            check_answer(method, path, response.status, response.headers, told)
            return Told(response.status, json.loads(told), response.headers)

    def signature(self, method: str, path: str, data: bytes, *, timestamp: str | None = None) -> dict[str, str]:
        if self.key is None:
            return {}
        timestamp = timestamp or str(time.time_ns() // 1_000 + next(self._clock) % 1_000)
        signed = "\n".join((timestamp, method, path, hashlib.sha256(data).hexdigest()))
        sign = hmac.new(self.key.secret.encode(), signed.encode(), hashlib.sha256).hexdigest()
        return {"X-API-Key": self.key.key, "X-API-Timestamp": timestamp, "X-API-Signature": sign}


@asynccontextmanager
async def rest(url: str, key: ApiKey | None = None) -> AsyncIterator[Rest]:
    async with aiohttp.ClientSession(skip_auto_headers={"Content-Type"}) as client:
        yield Rest(url, client, key)


@dataclass
class Market:
    """A market with a seller who holds L1 and L2, a buyer with a million, an operator, and somebody without a key."""

    stack: Stack
    seller: Rest
    buyer: Rest
    admin: Rest
    anyone: Rest


def order(side: str = "buy", price: str = "98.00", qty: str = "100.00", **more: Any) -> Json:
    return {"loan_id": "L1", "side": side, "limit_price": price, "order_qty": qty, **more}
