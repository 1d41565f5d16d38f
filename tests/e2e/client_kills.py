"""Our client on a line that breaks at random, again and again, and what it knows in the end.

The line breaks after a random number of bytes: in the handshake, the login, a replay, within a frame, between an order
and its answer. Now and then the whole program dies as well, and another one goes on from what it wrote down: the number
of the last execution, and the orders that it was about to send. Meanwhile others trade, and the engine loses its
database. In the end books, orders and fills must be the engine's, and of every order that was ever sent it must be
known what became of it.
"""

import asyncio
import random
import tempfile
from collections import Counter
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

from gateway.client import (
    ApiError,
    ApiKey,
    Backoff,
    Book,
    Disconnected,
    ExecutionReport,
    Json,
    MarketClient,
    NotSent,
    Unanswered,
    Unresolved,
)
from tests.e2e.relay import Relay
from tests.e2e.stack import Stack, running_stack
from tests.e2e.traders import Traders
from tests.patience import PATIENCE_S
from tests.postgres import running_server

ACCOUNT = "A17"
BOOKS = {"L1/USD": 10, "L2/USD": 25}
MEAN_BYTES = 7_000  # of a connection: as much as subscribing and some dozens of frames take
HANDS = 3  # that place, amend and cancel at the same time
CUTS_PER_CRASH = 25  # of the whole program
CUTS_PER_REBUILD = 200  # of the engine
SOON = Backoff(first_s=0.001, most_s=0.02)


class Desk:
    """What survives a crash. sent: orders that were written down before sending, with what became of them."""

    def __init__(self) -> None:
        self.sequence = 0
        self.orders: dict[str, Json] = {}
        self.fills: dict[str, Json] = {}
        self.sent: dict[str, str | None] = {}

    def take(self, report: ExecutionReport) -> None:
        assert report.sequence == self.sequence + 1, "none is missed, none comes twice"
        self.sequence = report.sequence
        for row in report.rows:
            self.orders[row["order_id"]] = row
            if row["exec_type"] == "trade":
                assert row["trade_id"] not in self.fills, "each fill once"
                self.fills[row["trade_id"]] = row

    def open_orders(self) -> list[str]:
        return [o["order_id"] for o in self.orders.values() if o["order_status"] in ("new", "partially_filled")]


class Program:
    """One run of the program, from its start to its death. counts: of what it met, over all runs."""

    def __init__(self, client: MarketClient, desk: Desk, rng: random.Random, counts: Counter[str]) -> None:
        self.client, self.desk, self.rng, self.counts = client, desk, rng, counts
        self.books: list[Book] = []

    async def run(self) -> None:
        """Trade until it is killed, or gives up because it is not served for too long: then it is started again."""
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._listen())
                for symbol, depth in BOOKS.items():
                    self.books.append(await self.client.book(symbol, depth))
                await self.resolve()
                for _ in range(HANDS):
                    group.create_task(self._trade())
        except* (Disconnected, Unanswered, Unresolved):
            self.counts["gave up"] += 1

    async def resolve(self) -> None:
        """Ask what became of the orders that an earlier run was about to send."""
        for order_id in [order_id for order_id, fate in self.desk.sent.items() if fate is None]:
            order = await self.client.resolve_order(order_id)
            self.desk.sent[order_id] = "fenced" if order is None else "placed"
            self.counts["resolved after a crash"] += 1

    async def _listen(self) -> None:
        async for report in self.client.executions(from_seq=self.desk.sequence):
            self.desk.take(report)

    async def _trade(self) -> None:
        while True:
            mine, drawn = self.desk.open_orders(), self.rng.random()
            try:
                if mine and drawn < 0.3:
                    await self.client.cancel_order(order_id=self.rng.choice(mine))
                elif mine and drawn < 0.5:
                    await self.client.amend_order(order_id=self.rng.choice(mine), limit_price=self._price())
                else:
                    await self._place()
            except (ApiError, Disconnected, Unanswered) as e:
                self.counts[getattr(e, "code", type(e).__name__)] += 1
            await asyncio.sleep(self.rng.random() * 0.01)

    async def _place(self) -> None:
        order_id = self.client.new_order_id()
        self.desk.sent[order_id] = None
        symbol, side = self.rng.choice(list(BOOKS)), self.rng.choice(["buy", "sell"])
        try:
            order = await self.client.add_order(
                symbol=symbol,
                side=side,
                limit_price=self._price(),
                order_qty=f"{self.rng.randint(1, 9)}.00",
                cl_ord_id=order_id,
            )
        except (ApiError, NotSent) as e:
            self.desk.sent[order_id] = getattr(e, "code", "not sent")
            raise
        self.desk.sent[order_id] = "placed"
        self.counts["placed by a copy or after asking"] += bool(order.get("duplicate", True))

    def _price(self) -> str:
        return f"{98.9 + self.rng.randint(-20, 20) / 100:.2f}"


class Campaign:
    def __init__(self, stack: Stack, key: ApiKey, seed: int) -> None:
        self.stack, self.key, self.rng = stack, key, random.Random(seed)
        self.relay = Relay(urlsplit(stack.url).port or 0, self.rng, mean_bytes=MEAN_BYTES)
        self.desk = Desk()
        self.counts: Counter[str] = Counter()
        self.url = ""

    async def run(self, cuts: int) -> None:
        server = await self.relay.start()
        self.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        trading = asyncio.create_task(self._others_trade())
        rebuilding = asyncio.create_task(self._rebuild_now_and_then())
        try:
            while self.relay.cuts < cuts:
                await self._live(min(self.relay.cuts + CUTS_PER_CRASH, cuts))
                self.counts["crashes"] += 1
        finally:
            for task in (trading, rebuilding):
                task.cancel()
            await asyncio.gather(trading, rebuilding, return_exceptions=True)
        self.relay.is_cutting = False
        await self._check()
        server.close()

    async def _live(self, until_cuts: int) -> None:
        """Run the program until the line was broken so often; then it dies at once, whatever it is about to do."""
        with suppress(Disconnected):
            async with self._client() as client:
                program = Program(client, self.desk, self.rng, self.counts)
                running = asyncio.create_task(program.run())
                while self.relay.cuts < until_cuts and not running.done():
                    await asyncio.sleep(0.005)
                client.reconnect()
                running.cancel()
                with suppress(asyncio.CancelledError):
                    await running
                self.counts["connections"] += client.connections
                self.counts["resyncs"] += sum(book.resyncs for book in program.books)

    def _client(self, timeout_s: float = 2.0) -> MarketClient:
        return MarketClient(self.url, self.key, session="desk", timeout_s=timeout_s, backoff=SOON)

    async def _others_trade(self) -> None:
        traders = Traders(self.stack, self.rng.randint(0, 1 << 30))
        await traders.open()
        while True:
            await traders.trade(20, at_once=5)
            await asyncio.sleep(0.01)

    async def _rebuild_now_and_then(self) -> None:
        """The engine loses its database for a moment, and the numbers of books begin anew."""
        rebuilds = 0
        while True:
            await asyncio.sleep(0.05)
            if self.relay.cuts // CUTS_PER_REBUILD > rebuilds:
                rebuilds += 1
                self.counts["rebuilds"] += 1
                await self.stack.cut_engine_off()

    async def _check(self) -> None:
        """On a line that holds, one more run reads what is left; then compare with the engine and the tables."""
        async with self._client(timeout_s=PATIENCE_S) as client:
            program = Program(client, self.desk, self.rng, self.counts)
            listening = asyncio.create_task(program._listen())
            books = [await client.book(symbol, depth) for symbol, depth in BOOKS.items()]
            await program.resolve()
            async with asyncio.timeout(PATIENCE_S):
                while self.desk.sequence < self.stack.views.account(ACCOUNT).exec_seq and not listening.done():
                    await asyncio.sleep(0.01)
            await client.ping()
            listening.cancel()
            with suppress(asyncio.CancelledError):
                await listening
        for book in books:
            truth = self.stack.views.loan_of_symbol(book.symbol).book.view(book.depth).snapshot()
            assert (book.seq, book.epoch) == (truth.seq, self.stack.engine.epoch)
            assert (book.bids, book.asks) == (list(truth.bids), list(truth.asks))
        await self._compare_with_the_tables()

    async def _compare_with_the_tables(self) -> None:
        rows = await self.stack.pool.fetch(
            "SELECT order_id, status, filled, version, client_order_id FROM market.orders WHERE account_id = $1",
            ACCOUNT,
        )
        known = {(o["order_id"], o["order_status"], o["cum_qty"], o["version"]) for o in self.desk.orders.values()}
        assert known == {
            (f"O-{row['order_id']}", row["status"], f"{row['filled'] / 100:.2f}", row["version"]) for row in rows
        }
        placed = {order_id for order_id, fate in self.desk.sent.items() if fate == "placed"}
        assert placed == {row["client_order_id"] for row in rows}, "of every order it is known what became of it"
        trades = await self.stack.pool.fetch(
            "SELECT trade_id, price, quantity FROM market.trade WHERE buyer = $1 OR seller = $1", ACCOUNT
        )
        assert {(f["trade_id"], f["last_price"], f["last_qty"]) for f in self.desk.fills.values()} == {
            (f"T-{trade_id}", f"{price / 100:.2f}", f"{qty / 100:.2f}") for trade_id, price, qty in trades
        }


async def run(dsn: str, *, cuts: int, seed: int) -> Campaign:
    async with running_stack(dsn) as stack:
        campaign = Campaign(stack, await stack.investor(ACCOUNT, 100_000_00), seed)
        await campaign.run(cuts)
        return campaign


def run_campaign(*, cuts: int, seed: int) -> None:
    """Run it on a private server of its own."""

    async def campaign(folder: str) -> Campaign:
        with running_server(Path(folder)) as server:
            return await run(await server.create_migrated_database(), cuts=cuts, seed=seed)

    with tempfile.TemporaryDirectory(prefix="dm-") as folder:
        done = asyncio.run(campaign(folder))
    desk, counts = done.desk, done.counts
    fates = Counter(desk.sent.values())
    print(
        f"client: its line cut {done.relay.cuts} times, {counts['crashes']} crashes, {counts['rebuilds']} rebuilds of "
        f"the engine; {len(desk.orders)} orders, {len(desk.fills)} fills, {desk.sequence} messages, each once; of "
        f"{len(desk.sent)} orders sent {fates['placed']} placed and {fates['fenced']} fenced, none unknown; "
        "books equal the engine's"
    )
    print(f"client: {dict(counts.most_common())}")
