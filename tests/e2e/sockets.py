"""A socket client that hides nothing: every frame in the order in which it came."""

import asyncio
import itertools
import json
import socket
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlsplit

import aiohttp

from gateway.client import ApiKey, Book, units
from tests.contract import check_push, check_reply
from tests.patience import PATIENCE_S

Json = dict[str, Any]


class Socket:
    """One connection. `seen`: all frames that were received, in order.

    checked: whether frames are held to the published contract, which has decimals as text.
    """

    def __init__(self, connection: aiohttp.ClientWebSocketResponse, *, checked: bool = True) -> None:
        self.connection, self.checked = connection, checked
        self.seen: list[Json] = []
        self.greeting: Json = {}
        self._unread: deque[Json] = deque()
        self._req_ids = itertools.count(1)

    async def send(self, message: object) -> None:
        await self.connection.send_str(message if isinstance(message, str) else json.dumps(message))

    async def ask(self, method: str, **params: Any) -> int:
        """Send a request without waiting for its reply; return its req_id."""
        req_id = next(self._req_ids)
        await self.send({"method": method, "params": params, "req_id": req_id})
        return req_id

    async def call(self, method: str, **params: Any) -> Json:
        """Send a request and return its reply; what else comes meanwhile stays to be read."""
        return await self.reply(await self.ask(method, **params))

    async def reply(self, req_id: int) -> Json:
        return await self.until(lambda m: "channel" not in m and m.get("req_id") == req_id)

    async def push(self, channel: str, kind: str | None = None) -> Json:
        return await self.until(lambda m: m.get("channel") == channel and kind in (None, m.get("type")))

    async def until(self, wanted: Callable[[Json], bool]) -> Json:
        """Return the first unread frame that is wanted. The others stay unread, in order."""
        for message in self._unread:
            if wanted(message):
                self._unread.remove(message)
                return message
        async with asyncio.timeout(PATIENCE_S):  # heartbeats would keep a wait for each frame alive for ever
            while not wanted(message := await self.frame()):
                self._unread.append(message)
        return message

    async def frame(self) -> Json:
        """Return the next frame from the wire. Raises ConnectionError when the connection has ended."""
        message = await self.connection.receive(PATIENCE_S)
        if message.type is not aiohttp.WSMsgType.TEXT:
            raise ConnectionError(f"{message.type.name} {self.connection.close_code}")
        found: Json = json.loads(message.data)
        if self.checked:
            (check_push if "channel" in found else check_reply)(found)
        self.seen.append(found)
        return found

    async def closed(self) -> int | None:
        """Read on until the server closes; return its code."""
        try:
            while True:
                await self.frame()
        except ConnectionError:
            return self.connection.close_code

    def vanish(self) -> None:
        """Leave without a word: the peer gets a reset, in the middle of whatever it is sending."""
        transport = self.connection._response.connection.transport  # type: ignore[union-attr]
        transport.abort()  # type: ignore[union-attr]

    async def login(self, key: ApiKey, **more: Any) -> Json:
        return await self.call("login", **login_params(self.greeting, key), **more)


def login_params(greeting: Json, key: ApiKey) -> Json:
    [row] = greeting["data"]
    return key.login_params(row)


@asynccontextmanager
async def connected(url: str, key: ApiKey | None = None, **options: Any) -> AsyncIterator[Socket]:
    """A socket that was greeted and, with a key, logged in."""
    options = {"max_msg_size": 0, "timeout": aiohttp.ClientWSTimeout(ws_close=2.0), **options}
    async with aiohttp.ClientSession() as client, client.ws_connect(url, **options) as connection:
        client_side = Socket(connection, checked="num=json" not in url)
        client_side.greeting = await client_side.frame()
        if key is not None:
            assert (await client_side.login(key))["success"]
        yield client_side


class RawSocket:
    """A connection by hand: reads when it is told to, and can send what no library would."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    @classmethod
    async def open(cls, url: str, *, receive_buffer: int = 4096) -> "RawSocket":
        parts = urlsplit(url)
        peer = socket.socket()
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        peer.setblocking(False)
        await asyncio.get_running_loop().sock_connect(peer, (parts.hostname, parts.port))
        reader, writer = await asyncio.open_connection(sock=peer, limit=2**12)
        target = parts.path + (f"?{parts.query}" if parts.query else "")
        writer.write(
            f"GET {target} HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n".encode()
        )
        head = await reader.readuntil(b"\r\n\r\n")
        assert b" 101 " in head, head
        return cls(reader, writer)

    def send(self, payload: bytes | Json, opcode: int = 0x81) -> None:
        """Send one frame; a mask of zeros leaves the payload as it is."""
        data = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
        size = len(data)
        head = bytes((opcode, 0x80 | size)) if size < 126 else bytes((opcode, 0xFE)) + size.to_bytes(2)
        if size >= 1 << 16:
            head = bytes((opcode, 0xFF)) + size.to_bytes(8)
        self.writer.write(head + bytes(4) + data)

    async def frame(self) -> tuple[int, bytes]:
        """Return opcode and payload of the next frame. Raises IncompleteReadError at the end."""
        first, size = await self._read(2)
        if size >= 126:
            size = int.from_bytes(await self._read(2 if size == 126 else 8))
        return first & 0x0F, await self._read(size)

    async def message(self) -> Json:
        """Return the next text message."""
        while True:
            opcode, payload = await self.frame()
            if opcode == 1:
                found: Json = json.loads(payload)
                return found
            if opcode == 8:
                raise ConnectionError(f"closed {int.from_bytes(payload[:2])}")

    async def until(self, wanted: Callable[[Json], bool]) -> Json:
        async with asyncio.timeout(PATIENCE_S):
            while not wanted(message := await self.message()):
                pass
        return message

    async def rest(self) -> tuple[list[Json], int]:
        """Read on until the close frame; return the messages before it and its code, 1006 if there was none."""
        messages: list[Json] = []
        try:
            while True:
                opcode, payload = await self.frame()
                if opcode == 8:
                    return messages, int.from_bytes(payload[:2])
                if opcode == 1:
                    messages.append(json.loads(payload))
        except (asyncio.IncompleteReadError, ConnectionError):
            return messages, 1006

    async def close_code(self) -> int:
        return (await self.rest())[1]

    def vanish(self) -> None:
        self.writer.transport.abort()

    async def _read(self, size: int) -> bytes:
        async with asyncio.timeout(PATIENCE_S):
            return await self.reader.readexactly(size)


def follow(book: Book, message: Json) -> None:
    """Take a message of `book` into a book. Raises BookError if it does not follow, or a sum differs.

    Of an update removals come first, each of the two kinds best to worst.
    """
    [row] = message["data"]
    if message["type"] == "update":
        for side, sign in (("bids", -1), ("asks", 1)):
            places = [(level["qty"] != "0.00", sign * units(level["price"])) for level in row[side]]
            assert places == sorted(places), row[side]
    book.take(message["type"], row)


def order(symbol: str, side: str, price: str, quantity: str, **more: Any) -> Json:
    return {"symbol": symbol, "side": side, "order_type": "limit", "limit_price": price, "order_qty": quantity, **more}
