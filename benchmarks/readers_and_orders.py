"""Thousands of readers over two gateways while makers quote and orders are placed; then a gateway is killed.

    python benchmarks/readers_and_orders.py [--readers 5000] [--orders-per-s 1000] [--sides-per-s 4000] [--smoke]

Processes as in server mode: engine, two gateways, durable PostgreSQL, Redis; readers and the load are processes of
their own and compete for the same cores. Two kinds of orders come, and are counted apart:
- durable orders, in batches of 50 by `batch_add`: pairs of a sale and a purchase that trade, each acknowledged once it
  is in the database. One in ten is of a popular loan.
- sides of quotes, by `mass_quote`: a maker moves bid and ask of 100 loans with a frame. A side is an order in the book
  that replaces the one before; it lives as long as its maker's connection, and only its trades are in the database.
Each reader is a WebSocket with the book of one loan (_book_readers.py): four in five have one of their own, the others
follow the popular ones. First each kind alone, to see what it costs, then both, then the second gateway is killed: its
readers connect to the first one with the number and epoch that they know. In the end all books are held against those
that a gateway, which starts then, hears from the engine.
"""

import argparse
import asyncio
import os
import statistics
import tempfile
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import uvloop
from _book_readers import Readers
from _service import LOAN as SMALL_LOAN
from settlement_commit import machine
from takeover import Market, running_redis

from gateway.client import ApiKey, Client, Socket
from market.settlement.embedded import EmbeddedPostgres
from market.settlement.migrate import migrate

NO_LIMIT = "1000000000"
ORDERS_PER_BATCH = 50
LOANS_PER_FRAME = 100
BATCHES_AT_ONCE = 8
FRAMES_AT_ONCE = 2
READER_PROCESSES = 2
POPULAR = 100  # loans
POPULAR_SHARE = 5  # of readers, one in so many
POPULAR_TURN = 10  # of orders and frames, one in so many
BACKLOG_S = 0.5  # how much of what could not be sent in time is made up for
ASKED_AT_ONCE = 16
QUIET_S = 3.0  # without a step after the load: everything has arrived
LOAN = SMALL_LOAN | {"original_principal": "100000000.00", "issued_face": "100000000.00"}


class Pace:
    """Gives turns at so many a second at most, 0 for none."""

    def __init__(self) -> None:
        self._per_s = 0.0
        self._next_at = 0.0
        self._changed = asyncio.Event()

    def set(self, per_s: float) -> None:
        self._per_s, self._next_at = per_s, time.monotonic()
        self._changed.set()
        self._changed = asyncio.Event()

    async def turn(self, count: int) -> None:
        while not self._per_s:
            await self._changed.wait()
        now = time.monotonic()
        at = max(self._next_at, now - BACKLOG_S)
        self._next_at = at + count / self._per_s
        await asyncio.sleep(at - now)


@dataclass(slots=True, eq=False)
class Flow:
    """What was sent of one kind. done: orders or sides.  requests: batches or frames.  waits: for answers, seconds."""

    unit: str
    pace: Pace = field(default_factory=Pace)
    done: int = 0
    refused: int = 0
    requests: int = 0
    waits: list[float] = field(default_factory=list)

    def count(self, good: int, of: int, wait_s: float) -> None:
        self.done += good
        self.refused += of - good
        self.requests += 1
        self.waits.append(wait_s)


class Load:
    """Orders between 97 and 98, quotes around them: the two never meet."""

    def __init__(self, loans: int) -> None:
        self.loans = loans
        self.popular = min(POPULAR, loans // 2)
        self.orders, self.sides = Flow("durable orders"), Flow("sides of quotes")
        self._batch = self._frame = 0

    async def trade(self, seller: Socket, buyer: Socket) -> None:
        """Until cancelled: a batch of sales, then the same of purchases."""
        while True:
            self._batch += 1
            batch = self._batch
            first = batch * ORDERS_PER_BATCH
            loans = [
                n % self.popular if n % POPULAR_TURN == 0 else self.popular + n % (self.loans - self.popular)
                for n in range(first, first + ORDERS_PER_BATCH)
            ]
            for side, socket in (("sell", seller), ("buy", buyer)):
                orders = [
                    {"symbol": f"B-{n}/USD", "side": side, "order_type": "limit", "order_qty": "1.00",
                     "limit_price": f"97.{batch % 100:02}"}
                    for n in loans
                ]  # fmt: skip
                await self.orders.pace.turn(ORDERS_PER_BATCH)
                began = time.monotonic()
                [answer] = await socket.ask("batch_add", orders=orders)
                wait_s = time.monotonic() - began
                good = sum("order_id" in each for each in answer.get("result", {}).get("orders", []))
                self.orders.count(good, ORDERS_PER_BATCH, wait_s)

    async def quote(self, maker: Socket) -> None:
        """Until cancelled: move both sides of some loans by a tick."""
        others = range(self.popular, self.loans, LOANS_PER_FRAME)
        while True:
            self._frame += 1
            frame = self._frame
            first = 0 if frame % POPULAR_TURN == 0 else others[frame % len(others)]
            bound = self.popular if first == 0 else self.loans
            tick = f"{frame % 99:02}"
            quotes = [
                {
                    "symbol": f"B-{n}/USD",
                    "bid": f"96.{tick}",
                    "bid_qty": "10.00",
                    "ask": f"98.{tick}",
                    "ask_qty": "10.00",
                }
                for n in range(first, min(first + LOANS_PER_FRAME, bound))
            ]
            await self.sides.pace.turn(2 * len(quotes))
            began = time.monotonic()
            [answer] = await maker.ask("mass_quote", quotes=quotes)
            wait_s = time.monotonic() - began
            self.sides.count(answer.get("result", {}).get("accepted", 0), 2 * len(quotes), wait_s)


def symbols_of(readers: int, loans: int) -> list[str]:
    """Return which book each reader follows: every fifth a popular one, the others one of their own."""
    popular = min(POPULAR, loans // 2)
    chosen = []
    for i in range(readers):
        n = i // POPULAR_SHARE % popular if i % POPULAR_SHARE == 0 else popular + i % (loans - popular)
        chosen.append(f"B-{n}/USD")
    return chosen


async def all_of(calls: Sequence[Callable[[], Awaitable[object]]]) -> None:
    """Make the calls, some at once."""
    rest = iter(calls)

    async def work() -> None:
        for call in rest:
            await call()

    await asyncio.gather(*(work() for _ in range(ASKED_AT_ONCE)))


async def prepared(admin: Client, loans: int) -> list[ApiKey]:
    """Open a maker with all claims and a buyer, both with cash; return their keys."""
    keys = []
    for account, kind in (("MM", "originator"), ("TAKER", "investor")):
        await admin.post("/v1/admin/accounts", {"account_id": account, "kind": kind, "name": account})
        made = await admin.post(f"/v1/admin/accounts/{account}/api-keys", {"scopes": ["read", "trade"]})
        keys.append(ApiKey(made["key"], made["secret"]))
        cash = {"account_id": account, "currency": "USD", "amount": "10000000000.00", "custody_ref": account}
        await admin.post("/v1/admin/deposits", cash)

    def registered(n: int) -> Callable[[], Awaitable[object]]:
        return lambda: admin.post("/v1/admin/loans", LOAN | {"loan_id": f"B-{n}"})

    await all_of([registered(n) for n in range(loans)])
    return keys


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
    """Return the processor time of a process and, but for our own, of its children; 0 for one that is gone."""
    with suppress(OSError):
        parts = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        own = (int(parts[11]) + int(parts[12])) / os.sysconf("SC_CLK_TCK")
        return own if pid == os.getpid() else own + sum(map(_processor_s, _children(pid)))
    return 0.0


def _children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def _redis_pids() -> list[int]:
    return [pid for pid in _children(os.getpid()) if "redis" in Path(f"/proc/{pid}/comm").read_text()]


class Report:
    def __init__(self, load: Load, crews: list[Readers], processors: Processors) -> None:
        self.load, self.crews, self.processors = load, crews, processors

    async def updates(self) -> int:
        return sum([(await crew.ask("counts")).get("updates", 0) for crew in self.crews])

    async def phase(self, what: str, seconds: float, *, orders_per_s: float, sides_per_s: float) -> None:
        """Have so much sent for so long, then say what came of it and whose time it took."""
        flows = {self.load.orders: orders_per_s, self.load.sides: sides_per_s}
        for flow, per_s in flows.items():
            flow.pace.set(per_s)
        await asyncio.sleep(min(seconds / 2, 1))  # what the phase before left is through
        for flow in flows:
            flow.waits.clear()
        before = [(flow.done, flow.refused, flow.requests) for flow in flows]
        updates = await self.updates()
        self.processors.since()
        began = time.monotonic()
        await asyncio.sleep(seconds)
        taken = self.processors.since()
        took_s = time.monotonic() - began
        updates = await self.updates() - updates
        print(f"\n{what}: {updates / took_s:,.0f} updates/s delivered; load average {os.getloadavg()[0]:.1f}")
        count = 0
        for flow, (done, refused, requests) in zip(flows, before, strict=True):
            if flows[flow]:
                count += flow.done - done
                waits = sorted(flow.waits) or [float("nan")]
                print(
                    f"    {(flow.done - done) / took_s:,.0f} {flow.unit}/s ({flow.refused - refused} refused) in "
                    f"{(flow.requests - requests) / took_s:,.0f} requests/s, answered in "
                    f"{statistics.median(waits) * 1e3:.0f} ms (p99 {waits[len(waits) * 99 // 100] * 1e3:.0f} ms)"
                )
        busy = ", ".join(f"{kind} {s / took_s:.2f}" for kind, s in taken.items())
        each = ", ".join(f"{kind} {s / max(count, 1) * 1e6:.0f}" for kind, s in taken.items())
        print(f"    processors in use: {busy}; in all {sum(taken.values()) / took_s:.2f}")
        print(f"    us of processor per order or side: {each}; in all {sum(taken.values()) / max(count, 1) * 1e6:.0f}")
        print(f"    updates delivered per order or side: {updates / max(count, 1):.2f}", flush=True)

    async def moved(self) -> None:
        """Say what became of the readers whose gateway was killed."""
        self.processors.since()
        moves = await asyncio.gather(*(crew.ask("move") for crew in self.crews))
        away_s = sorted(each for move in moves for each in move["away_s"])
        taken = ", ".join(f"{kind} {s:.1f}" for kind, s in self.processors.since().items())
        print(
            f"\na gateway was killed: {len(away_s)} readers had their books again at the other one after "
            f"{statistics.median(away_s):.1f} s (p90 {away_s[len(away_s) * 9 // 10]:.1f} s, all {away_s[-1]:.1f} s)\n"
            f"    processor seconds meanwhile: {taken}",
            flush=True,
        )


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
                began = time.monotonic()
                symbols = symbols_of(options.readers, options.loans)
                crews = [Readers([one.url, other.url], symbols[i::READER_PROCESSES]) for i in range(READER_PROCESSES)]
                connected = sum([(await crew.heard())["connected"] for crew in crews])
                print(f"{connected} readers of {len(set(symbols))} books connected in {time.monotonic() - began:.1f} s")
                [pid_file] = (folder / "data").rglob("postmaster.pid")
                processors = Processors(
                    {
                        "engine": [market.processes[0].process.pid],
                        "gateways": [process.process.pid for process in market.processes[1:]],
                        "PostgreSQL": [int(pid_file.read_text().split()[0])],
                        "Redis": _redis_pids(),
                        "readers": [crew.process.pid for crew in crews],
                        "load": [os.getpid()],
                    }
                )
                load = Load(options.loans)
                # At the first gateway: the second one will be killed.
                async with Client(one.url, keys[0]) as maker, Client(one.url, keys[1]) as taker:
                    works = [
                        asyncio.create_task(load.trade(await logged_in(maker), await logged_in(taker)))
                        for _ in range(BATCHES_AT_ONCE)
                    ]
                    quoting = await logged_in(maker)
                    works += [asyncio.create_task(load.quote(quoting)) for _ in range(FRAMES_AT_ONCE)]
                    await under_load(Report(load, crews, processors), market, options)
                    load.orders.pace.set(0)
                    load.sides.pace.set(0)
                    await told_at_the_end(await market.gateway(*flags), crews, quiet_s=min(QUIET_S, options.seconds))
                    for work in works:
                        work.cancel()
                    await asyncio.gather(*works, return_exceptions=True)
        finally:
            for crew in crews:
                crew.process.kill()
            for process in market.processes:
                process.end()


async def logged_in(client: Client) -> Socket:
    socket = await client.socket()
    await socket.login()
    return socket


async def under_load(report: Report, market: Market, options: argparse.Namespace) -> None:
    orders, sides, short_s = options.orders_per_s, options.sides_per_s, options.seconds / 2
    await report.phase("durable orders alone", short_s, orders_per_s=orders, sides_per_s=0)
    await report.phase("quotes alone", short_s, orders_per_s=0, sides_per_s=sides)
    await report.phase("both, over two gateways", options.seconds, orders_per_s=orders, sides_per_s=sides)
    market.processes[2].process.kill()
    market.processes[2].process.wait()
    await report.moved()
    await report.phase("both, over one gateway", short_s, orders_per_s=orders, sides_per_s=sides)


async def told_at_the_end(fresh: Client, crews: list[Readers], *, quiet_s: float) -> None:
    """Wait until all has arrived, then compare what readers have with what a new gateway hears from the engine."""
    last = -1
    while last != (now := sum([(await crew.ask("counts")).get("updates", 0) for crew in crews])):
        last = now
        await asyncio.sleep(quiet_s)
    ends = [await crew.ask("end") for crew in crews]
    counts, books = Counter[str](), list[tuple[str, list[int]]]()
    for end in ends:
        books += end.pop("books").items()
        counts.update(end)
    wrong = 0

    def compared(symbol: str, digests: list[int]) -> Callable[[], Awaitable[None]]:
        async def compare() -> None:
            nonlocal wrong
            book = await fresh.get(f"/v1/loans/{symbol.partition('/')[0]}/book", depth=10)
            wrong += digests != [book["digest"]]

        return compare

    async with fresh:
        await all_of([compared(*each) for each in books])
    print(
        f"\nin all {counts['updates']:,} updates, {counts['gaps']} missing, {counts['resumed']} readers resumed, "
        f"{counts['snapshots']} snapshots, {counts['checked']:,} digests checked, {counts['wrong']} wrong, "
        f"{wrong} of {len(books)} books that end other than the engine's, {counts['refused']} refusals"
    )
    if counts["gaps"] or counts["wrong"] or wrong or counts["refused"]:
        raise SystemExit("a reader was told something wrong")


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--readers", type=int, default=5_000)
    parser.add_argument("--orders-per-s", type=float, default=1_000, help="durable ones")
    parser.add_argument("--sides-per-s", type=float, default=4_000, help="of quotes")
    parser.add_argument("--loans", type=int, default=4_000)
    parser.add_argument(
        "--seconds", type=float, default=20, help="of both kinds over two gateways; half for the others"
    )
    parser.add_argument("--smoke", action="store_true", help="40 readers, a second, only to show that it works")
    options = parser.parse_args()
    if options.smoke:
        options.readers, options.loans, options.seconds = 40, 50, 1
    print(
        f"{machine()}; {options.readers} readers; asked for: {options.orders_per_s:,.0f} durable orders/s and "
        f"{options.sides_per_s:,.0f} sides of quotes/s",
        flush=True,
    )
    with tempfile.TemporaryDirectory() as name, EmbeddedPostgres(Path(name) / "data") as postgres:
        await measure(Path(name), postgres.dsn, options)


if __name__ == "__main__":
    uvloop.run(main())
