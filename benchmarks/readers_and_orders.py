"""Thousands of readers over two gateways while orders are placed, and what a gateway's crash does to its readers.

    python benchmarks/readers_and_orders.py [--readers 5000] [--orders-per-s 5000] [--seconds 20] [--smoke]

Processes as in server mode: engine, two gateways, PostgreSQL, Redis; readers and the load are processes of their own
and compete for the same cores. Each reader is a WebSocket with the book of one loan; it checks that no step is missing,
one in ten that every step has the digest that it says, and all that the book they end with is the market's. Half way
the second gateway is killed: its readers connect to the first one with the number and epoch that they know, and go on.
"""

import argparse
import asyncio
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path
from struct import pack, unpack_from
from typing import Any, Final
from urllib.parse import urlsplit
from zlib import crc32

import msgspec
import uvloop
from _service import LOAN as SMALL_LOAN
from settlement_commit import machine
from takeover import Market, running_redis

from gateway.client import ApiKey, Client
from market.settlement.embedded import EmbeddedPostgres
from market.settlement.migrate import migrate

NO_LIMIT: Final = "1000000000"
PER_BATCH: Final = 50
LOADS: Final = 8  # batches under way at once
READER_PROCESSES: Final = 2
CONNECTS_AT_ONCE: Final = 50
VERIFIED: Final = 10  # one in so many readers checks every digest
QUIET_S: Final = 3.0  # without a step after the load: everything has arrived
WAIT_S: Final = 120.0
LOAN: Final = SMALL_LOAN | {"original_principal": "100000000.00", "issued_face": "100000000.00"}


class Level(msgspec.Struct):
    price: str
    qty: str


class Row(msgspec.Struct):
    epoch: int = 0
    seq: int = 0
    prev_seq: int | None = None
    bids: list[Level] = []
    asks: list[Level] = []
    digest: int = 0


class Push(msgspec.Struct):
    channel: str = ""
    type: str = ""
    data: Any = None


class BookPush(msgspec.Struct):
    data: list[Row]
    type: str


PUSH, BOOK = msgspec.json.Decoder(Push), msgspec.json.Decoder(BookPush)


class Reader(asyncio.Protocol):
    """One socket with one book of depth 10, in as few steps as an honest check allows."""

    def __init__(self, symbol: str, counts: Counter[str], *, is_verifying: bool) -> None:
        self.symbol, self.counts, self.is_verifying = symbol, counts, is_verifying
        self.bids: dict[int, int] = {}
        self.asks: dict[int, int] = {}
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

    def close(self) -> None:
        if self._transport is not None:
            self._transport.abort()

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
        if PUSH.decode(body).channel != "book":
            if b'"success":false' in body:
                self.counts["refused"] += 1
            elif b'"resumed":true' in body:
                self._know()
                self.counts["resumed"] += 1
            return
        push = BOOK.decode(body)
        for row in push.data:
            if push.type == "snapshot":
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
        bids = sorted(self.bids, reverse=True)
        asks = sorted(self.asks)
        for side, prices in ((self.bids, bids[10:]), (self.asks, asks[10:])):
            for price in prices:
                del side[price]
        shown = "#".join(
            "|".join(f"{price}:{side[price]}" for price in prices[:10])
            for side, prices in ((self.asks, asks), (self.bids, bids))
        )
        self.counts["checked"] += 1
        self.counts["wrong"] += crc32(shown.encode()) != self.digest


def _apply(side: dict[int, int], levels: list[Level]) -> None:
    for level in levels:
        price, quantity = int(level.price.replace(".", "")), int(level.qty.replace(".", ""))
        if quantity:
            side[price] = quantity
        else:
            side.pop(price, None)


async def read(urls: list[str], readers: int, loans: int, first: int) -> None:
    """A process of readers: talks to the one that started it by lines of JSON."""
    loop, counts = asyncio.get_running_loop(), Counter[str]()
    ways = [(urlsplit(url).hostname, urlsplit(url).port) for url in urls]
    mine = [Reader(f"B-{(first + i) % loans}/USD", counts, is_verifying=i % VERIFIED == 0) for i in range(readers)]
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
        elif order == "move":  # those of the gateway that was killed
            async with asyncio.timeout(WAIT_S):
                while sum(not reader.is_connected for reader in mine) < len(mine) // 2:  # noqa: ASYNC110
                    await asyncio.sleep(0.01)
            lost = [reader for reader in mine if not reader.is_connected]
            await asyncio.gather(*(connect(reader, 0) for reader in lost))  # all at once: nobody waits for another
            _say({"away_s": [reader.known_at - reader.lost_at for reader in lost]})
        elif order == "end":
            for reader in mine:
                reader.check()
            books: dict[str, set[int]] = {reader.symbol: set() for reader in mine}
            for reader in mine:
                books[reader.symbol].add(reader.digest)
            _say({**counts, "books": {symbol: sorted(digests) for symbol, digests in books.items()}})
            return


def _say(said: dict[str, Any]) -> None:
    print(json.dumps(said), flush=True)


class Readers:
    """The other end of `read`."""

    def __init__(self, urls: list[str], readers: int, loans: int, first: int) -> None:
        arguments = ["--as-reader", *urls, "--readers", str(readers), "--loans", str(loans), "--first", str(first)]
        self.process = subprocess.Popen(
            [sys.executable, __file__, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    async def heard(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        line = await asyncio.wait_for(asyncio.to_thread(self.process.stdout.readline), WAIT_S + 10)
        if not line:
            raise RuntimeError("a process of readers ended")
        said: dict[str, Any] = json.loads(line)
        return said

    async def ask(self, order: str) -> dict[str, Any]:
        assert self.process.stdin is not None
        self.process.stdin.write(order + "\n")
        self.process.stdin.flush()
        return await self.heard()


async def prepared(admin: Client, loans: int) -> list[ApiKey]:
    """Open a seller with all claims and a buyer with cash; return their keys."""
    keys = []
    for account, kind in (("MM", "originator"), ("TAKER", "investor")):
        await admin.post("/v1/admin/accounts", {"account_id": account, "kind": kind, "name": account})
        made = await admin.post(f"/v1/admin/accounts/{account}/api-keys", {"scopes": ["read", "trade"]})
        keys.append(ApiKey(made["key"], made["secret"]))
    cash = {"account_id": "TAKER", "currency": "USD", "amount": "10000000000.00", "custody_ref": "first"}
    await admin.post("/v1/admin/deposits", cash)
    for i in range(loans):
        await admin.post("/v1/admin/loans", LOAN | {"loan_id": f"B-{i}"})
    return keys


class Load:
    """Pairs of orders that meet: each changes a book, and no book grows."""

    def __init__(self, loans: int) -> None:
        self.loans = loans
        self.placed = 0
        self.refused = 0
        self.waits: list[float] = []

    async def run(self, url: str, keys: list[ApiKey], *, per_s: float, number: int, of: int) -> None:
        """Until cancelled: a batch of offers, then the same of bids, at `per_s` orders a second at most."""
        sides = [("sell", Client(url, keys[0])), ("buy", Client(url, keys[1]))]
        async with sides[0][1], sides[1][1]:
            sockets = [(side, await client.socket()) for side, client in sides]
            for _, socket in sockets:
                await socket.login()
            started, sent = time.monotonic(), 0
            for turn in range(number, 10**9, of):
                chosen = [(turn * PER_BATCH + i) % self.loans for i in range(PER_BATCH)]
                for side, socket in sockets:
                    orders = [
                        {"symbol": f"B-{i}/USD", "side": side, "order_type": "limit", "order_qty": "1.00",
                         "limit_price": f"{97 + turn % 3}.{i % 100:02}"}
                        for i in chosen
                    ]  # fmt: skip
                    began = time.monotonic()
                    [answer] = await socket.ask("batch_add", orders=orders)
                    self.waits.append(time.monotonic() - began)
                    good = sum("order_id" in each for each in answer.get("result", {}).get("orders", []))
                    self.placed += good
                    self.refused += PER_BATCH - good
                    sent += PER_BATCH
                await asyncio.sleep(max(0.0, started + sent / per_s - time.monotonic()))


class Processors:
    """Processor time that each kind of process has taken, which says more than rates where others compute, too."""

    def __init__(self, kinds: dict[str, list[int]]) -> None:
        self._kinds = kinds
        self._before = self._taken()

    def since(self) -> dict[str, float]:
        """Return the seconds of each kind since the last call."""
        before, self._before = self._before, self._taken()
        return {kind: taken - before[kind] for kind, taken in self._before.items()}

    def _taken(self) -> dict[str, float]:
        return {kind: sum(map(_processor_s, pids)) for kind, pids in self._kinds.items()}


def _processor_s(pid: int) -> float:
    """Return the processor time of a process and of its children that live, 0 for one that is gone."""
    with suppress(OSError):
        parts = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        own = (int(parts[11]) + int(parts[12])) / os.sysconf("SC_CLK_TCK")
        return own + sum(_processor_s(int(child)) for child in children)
    return 0.0


async def measure(folder: Path, dsn: str, options: argparse.Namespace) -> None:
    await migrate(dsn)
    with running_redis(folder) as redis_url:
        market = Market(folder, dsn, redis_url)
        crews: list[Readers] = []
        try:
            await market.start("engine").said_at("engine_online")
            flags = ("--rate-orders-per-s", NO_LIMIT, "--rate-public-per-s", NO_LIMIT, "--log-level", "INFO")
            one, other = await market.gateway(*flags), await market.gateway(*flags)
            async with one, other:
                keys = await prepared(one, options.loans)
                each = options.readers // READER_PROCESSES
                began = time.monotonic()
                crews = [Readers([one.url, other.url], each, options.loans, i * each) for i in range(READER_PROCESSES)]
                connected = sum([(await crew.heard())["connected"] for crew in crews])
                print(f"{connected} readers of {options.loans} books connected in {time.monotonic() - began:.1f} s")
                load = Load(options.loans)
                urls = [one.url] * LOADS  # the other one will be killed
                works = [
                    asyncio.create_task(
                        load.run(url, keys, per_s=options.orders_per_s / len(urls), number=i, of=len(urls))
                    )
                    for i, url in enumerate(urls)
                ]
                [pid_file] = (folder / "data").rglob("postmaster.pid")
                server = int(pid_file.read_text().split()[0])
                processors = Processors(
                    {
                        "engine": [market.processes[0].process.pid],
                        "gateways": [process.process.pid for process in market.processes[1:]],
                        "PostgreSQL": [server],
                        "readers": [crew.process.pid for crew in crews],
                        "all with the load": [os.getpid()],
                    }
                )
                await reported(load, crews, processors, options.seconds, "with both gateways")
                market.processes[2].process.kill()
                market.processes[2].process.wait()
                processors.since()
                moves = await asyncio.gather(*(crew.ask("move") for crew in crews))
                away_s = sorted(each for move in moves for each in move["away_s"])
                p90_s = away_s[len(away_s) * 9 // 10]
                print(
                    f"a gateway was killed: {len(away_s)} readers had their books again at the other one after "
                    f"{statistics.median(away_s):.1f} s (p90 {p90_s:.1f} s, all {away_s[-1]:.1f} s)"
                )
                taken = ", ".join(f"{kind} {s:.1f}" for kind, s in processors.since().items())
                print(f"{'':>4}processor seconds meanwhile: {taken}")
                await reported(load, crews, processors, options.seconds, "with one gateway")
                for work in works:
                    work.cancel()
                await asyncio.gather(*works, return_exceptions=True)
                await told_at_the_end(one, crews)
        finally:
            for crew in crews:
                crew.process.kill()
            for process in market.processes:
                process.end()


async def reported(load: Load, crews: list[Readers], processors: Processors, seconds: float, what: str) -> None:
    async def updates() -> int:
        return sum([(await crew.ask("counts")).get("updates", 0) for crew in crews])

    load.waits.clear()
    processors.since()
    placed, refused, before, began = load.placed, load.refused, await updates(), time.monotonic()
    await asyncio.sleep(seconds)
    while not load.waits:  # noqa: ASYNC110
        await asyncio.sleep(0.1)
    after, took_s = await updates(), time.monotonic() - began
    taken = ", ".join(f"{kind} {s / took_s:.2f}" for kind, s in processors.since().items())
    waits = sorted(load.waits)
    print(
        f"{what}: {(load.placed - placed) / took_s:,.0f} orders/s ({load.refused - refused} refused), "
        f"{(after - before) / took_s:,.0f} updates/s delivered; "
        f"a batch of {PER_BATCH} was answered in {statistics.median(waits) * 1e3:.0f} ms (p99 "
        f"{waits[len(waits) * 99 // 100] * 1e3:.0f} ms)\n"
        f"{'':>4}processors in use: {taken}; load average {os.getloadavg()[0]:.1f}",
        flush=True,
    )


async def told_at_the_end(client: Client, crews: list[Readers]) -> None:
    """Wait until all has arrived, then compare what readers have with each other and with the market."""
    last = -1
    while last != (now := sum([(await crew.ask("counts")).get("updates", 0) for crew in crews])):
        last = now
        await asyncio.sleep(QUIET_S)
    ends = [await crew.ask("end") for crew in crews]
    counts = Counter[str]()
    wrong = 0
    for end in ends:
        books = end.pop("books")
        counts.update(end)
        for symbol, digests in books.items():
            book = await client.get(f"/v1/loans/{symbol.partition('/')[0]}/book", depth=10)
            wrong += digests != [book["digest"]]
    print(
        f"in all {counts['updates']:,} updates, {counts['gaps']} missing, {counts['resumed']} readers resumed, "
        f"{counts['snapshots']} snapshots, {counts['checked']:,} digests checked, "
        f"{counts['wrong']} wrong, {wrong} books that end other than the market's, {counts['refused']} refusals"
    )
    if counts["gaps"] or counts["wrong"] or wrong or counts["refused"]:
        raise SystemExit("a reader was told something wrong")


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--readers", type=int, default=5_000)
    parser.add_argument("--orders-per-s", type=float, default=5_000)
    parser.add_argument("--loans", type=int, default=500)
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--smoke", action="store_true", help="40 readers, a second, only to show that it works")
    parser.add_argument("--as-reader", nargs="+", help=argparse.SUPPRESS)
    parser.add_argument("--first", type=int, default=0, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.as_reader:
        await read(options.as_reader, options.readers, options.loans, options.first)
        return
    if options.smoke:
        options.readers, options.orders_per_s, options.loans, options.seconds = 40, 2_000, 50, 1
    print(f"{machine()}; {options.readers} readers, {options.orders_per_s:,.0f} orders/s asked for", flush=True)
    with tempfile.TemporaryDirectory() as name, EmbeddedPostgres(Path(name) / "data", durable=False) as postgres:
        await measure(Path(name), postgres.dsn, options)


if __name__ == "__main__":
    uvloop.run(main())
