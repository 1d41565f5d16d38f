"""A process of sockets that each follow one book and check what they are told: the far end of a benchmark.

Each checks that no step is missing; one in VERIFIED checks with every step that its book has the digest that was said,
the others with their last one. Run as a program it is the process, and talks to who started it by lines of JSON.
"""

import argparse
import asyncio
import json
import subprocess
import sys
import time
from collections import Counter
from struct import pack, unpack_from
from typing import Any, Final
from urllib.parse import urlsplit
from zlib import crc32

import msgspec
import uvloop

CONNECTS_AT_ONCE: Final = 50
VERIFIED: Final = 10
WAIT_S: Final = 120.0
PUSH: Final = b'{"channel":"book","type":"'


class Level(msgspec.Struct, gc=False):
    price: str
    qty: str


class Row(msgspec.Struct, gc=False):
    epoch: int
    seq: int
    bids: list[Level]
    asks: list[Level]
    digest: int
    prev_seq: int | None = None


class BookPush(msgspec.Struct):
    data: list[Row]
    type: str


_pushes = msgspec.json.Decoder(BookPush)


class Reader(asyncio.Protocol):
    """One socket with one book of depth 10, in as few steps as an honest check allows."""

    def __init__(self, symbol: str, counts: Counter[str], *, is_verifying: bool) -> None:
        self.symbol, self.counts, self.is_verifying = symbol, counts, is_verifying
        self.bids: dict[str, str] = {}  # by price, as they were told
        self.asks: dict[str, str] = {}
        self.epoch, self.seq, self.digest = 0, -1, 0
        self.is_known = asyncio.Event()
        self.lost_at = self.known_at = 0.0
        self._transport: asyncio.Transport | None = None
        self._buffer = bytearray()
        self._is_open = False

    def connection_made(self, transport: Any) -> None:
        self._transport, self._is_open = transport, False
        self.is_known.clear()
        self._buffer.clear()
        head = (
            "GET /ws/v2 HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        )
        transport.write(head.encode())

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        self._transport, self.lost_at = None, time.monotonic()

    @property
    def is_connected(self) -> bool:
        return self._transport is not None

    def data_received(self, data: bytes) -> None:
        buffer = self._buffer
        buffer += data
        if not self._is_open:
            end = buffer.find(b"\r\n\r\n")
            if end < 0:
                return
            del buffer[: end + 4]
            self._is_open = True
            self._subscribe()
        at, size = 0, len(buffer)
        while size - at >= 2:
            length, head = buffer[at + 1], 2
            if length == 126:
                if size - at < 4:
                    break
                (length,), head = unpack_from(">H", buffer, at + 2), 4
            elif length == 127:
                if size - at < 10:
                    break
                (length,), head = unpack_from(">Q", buffer, at + 2), 10
            if size - at < head + length:
                break
            opcode, body = buffer[at] & 15, bytes(buffer[at + head : at + head + length])
            at += head + length
            if opcode == 1:
                self._take(body)
            elif opcode == 9:
                self._send(10, body)
        del buffer[:at]

    def _subscribe(self) -> None:
        params: dict[str, Any] = {"channel": "book", "symbol": [self.symbol], "depth": 10}
        if self.seq >= 0:
            params |= {"from_seq": self.seq, "epoch": self.epoch}
        self._send(1, json.dumps({"method": "subscribe", "params": params, "req_id": 1}).encode())

    def _send(self, opcode: int, body: bytes) -> None:
        assert self._transport is not None
        size = len(body)
        head = bytes((128 | opcode, 128 | size)) if size < 126 else bytes((128 | opcode, 254)) + pack(">H", size)
        self._transport.write(head + b"\0\0\0\0" + body)  # a mask of zeros: RFC 6455 asks for one, not for a secret

    def _take(self, body: bytes) -> None:
        if not body.startswith(PUSH):
            if b'"success":false' in body:
                self.counts["refused"] += 1
            elif b'"resumed":true' in body:
                self._know()
                self.counts["resumed"] += 1
            elif b'"channel":"book"' in body and b'"method"' not in body:
                raise RuntimeError(f"a push that was not recognised: {body!r}")  # it would not be counted
            return
        push = _pushes.decode(body)
        is_snapshot = push.type == "snapshot"
        for row in push.data:
            if is_snapshot:
                self.bids.clear()
                self.asks.clear()
                self._know()
                self.counts["snapshots"] += 1
            else:
                if row.prev_seq != self.seq:
                    self.counts["gaps"] += 1
                self.counts["updates"] += 1
            _apply(self.bids, row.bids)
            _apply(self.asks, row.asks)
            self.epoch, self.seq, self.digest = row.epoch, row.seq, row.digest
            if self.is_verifying:
                self.check()

    def _know(self) -> None:
        self.known_at = time.monotonic()
        self.is_known.set()

    def check(self) -> None:
        """Hold the book against the digest told with its last step; drop what is below the ten best levels."""
        bids, asks = sorted(self.bids, key=_units, reverse=True), sorted(self.asks, key=_units)
        for side, prices in ((self.bids, bids[10:]), (self.asks, asks[10:])):
            for price in prices:
                del side[price]
        shown = "#".join(
            "|".join(f"{_units(price)}:{_units(side[price])}" for price in prices[:10])
            for side, prices in ((self.asks, asks), (self.bids, bids))
        )
        self.counts["checked"] += 1
        self.counts["wrong"] += crc32(shown.encode()) != self.digest


def _units(text: str) -> int:
    return int(text.replace(".", ""))


def _apply(side: dict[str, str], levels: list[Level]) -> None:
    for level in levels:
        if level.qty == "0.00":
            side.pop(level.price, None)
        else:
            side[level.price] = level.qty


async def read(urls: list[str], symbols: list[str]) -> None:
    """Follow the symbols, one socket each, at the urls in turn; do what is asked by lines until the word `end`."""
    loop, counts = asyncio.get_running_loop(), Counter[str]()
    ways = [(urlsplit(url).hostname, urlsplit(url).port) for url in urls]
    mine = [Reader(symbol, counts, is_verifying=i % VERIFIED == 0) for i, symbol in enumerate(symbols)]
    room = asyncio.Semaphore(CONNECTS_AT_ONCE)

    async def connect(reader: Reader, way: int) -> None:
        async with asyncio.timeout(WAIT_S):
            await loop.create_connection(lambda: reader, *ways[way])
            await reader.is_known.wait()

    async def connect_in_turn(reader: Reader, way: int) -> None:
        async with room:
            await connect(reader, way)

    await asyncio.gather(*(connect_in_turn(reader, i % len(ways)) for i, reader in enumerate(mine)))
    _say({"connected": len(mine)})
    lines = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    while True:
        order = (await lines.readline()).decode().strip()
        if order == "counts":
            _say(dict(counts))
        elif order == "move":  # those of the gateway that was killed, the second one
            lost = mine[1::2]
            async with asyncio.timeout(WAIT_S):
                while any(reader.is_connected for reader in lost):  # noqa: ASYNC110
                    await asyncio.sleep(0.01)
            await asyncio.gather(*(connect(reader, 0) for reader in lost))  # all at once: nobody waits for another
            _say({"away_s": [reader.known_at - reader.lost_at for reader in lost]})
        elif order == "end":
            books: dict[str, set[int]] = {reader.symbol: set() for reader in mine}
            for reader in mine:
                reader.check()
                books[reader.symbol].add(reader.digest)
            _say({**counts, "books": {symbol: sorted(digests) for symbol, digests in books.items()}})
            return


def _say(said: dict[str, Any]) -> None:
    print(json.dumps(said), flush=True)


class Readers:
    """The other end of `read`."""

    def __init__(self, urls: list[str], symbols: list[str]) -> None:
        self.process = subprocess.Popen(
            [sys.executable, __file__, *urls], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self._write(json.dumps(symbols))

    async def heard(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        line = await asyncio.wait_for(asyncio.to_thread(self.process.stdout.readline), WAIT_S + 10)
        if not line:
            raise RuntimeError("a process of readers ended")
        said: dict[str, Any] = json.loads(line)
        return said

    async def ask(self, order: str) -> dict[str, Any]:
        self._write(order)
        return await self.heard()

    def _write(self, line: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="a process of readers; the symbols come by standard input")
    parser.add_argument("urls", nargs="+")
    uvloop.run(read(parser.parse_args().urls, json.loads(sys.stdin.readline())))
