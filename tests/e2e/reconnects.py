"""A client that is killed at random, again and again, and what it knows in the end.

Its books it keeps by resuming, its orders and fills by the numbers of `executions`; what it reads is checked frame by
frame: no gap, no double, acknowledgement before executions before the public trade, no trades among other rows.
"""

import asyncio
import random
import tempfile
from pathlib import Path
from typing import Any

from gateway.client import ApiKey, Book
from market.ids import AccountId
from tests.e2e.sockets import Json, connected, follow, order
from tests.e2e.stack import Stack, running_stack
from tests.e2e.traders import Traders
from tests.postgres import running_server

ACCOUNT = "A17"
BOOKS = {"L1/USD": 10, "L2/USD": 25}
REBUILD_EVERY = 40  # lives: then the engine loses its database for a moment, and numbers begin anew


class Client:
    """What survives the death of a connection: nothing but what was read from it."""

    def __init__(self, stack: Stack, key: ApiKey, seed: int) -> None:
        self.stack, self.key, self.rng = stack, key, random.Random(seed)
        self.books = {symbol: Book(symbol, depth) for symbol, depth in BOOKS.items()}
        self.sequence = 0
        self.orders: dict[str, Json] = {}
        self.fills: dict[str, Json] = {}
        self.public: dict[str, bool] = {}  # trades that were read, and whether a fill of ours had come before
        self.resumed = self.sent = 0

    async def live(self, traders: Traders, *, until_read: bool = False) -> None:
        """Connect, resume everything, trade a little, and vanish in the middle of it; or read all first."""
        async with connected(self.stack.ws_url, self.key) as socket:
            await socket.ask("subscribe", channel="executions", from_seq=self.sequence)
            await socket.ask("subscribe", channel="trade", symbol=list(BOOKS))
            for symbol, depth in BOOKS.items():
                book = self.books[symbol]
                known = {} if book.seq == 0 else {"from_seq": book.seq, "epoch": book.epoch}
                await socket.ask("subscribe", channel="book", symbol=symbol, depth=depth, **known)
            if until_read:
                last = self.stack.views.account(AccountId(ACCOUNT)).exec_seq
                while self._numbers(socket.seen)[-1:] != [last] and last != self.sequence:
                    await socket.frame()  # they come from the database, beside all else
                await socket.call("ping")
            else:
                trading = asyncio.create_task(traders.trade(40))
                mine: dict[int, str] = {}
                for _ in range(self.rng.randint(0, 5)):
                    await self._ask_for_something(socket, mine)
                try:
                    for _ in range(self.rng.randint(0, 60)):
                        await asyncio.wait_for(socket.frame(), 0.5)
                except TimeoutError:
                    pass
                socket.vanish()
                self.take(socket.seen, mine)
                await trading
                return
            self.take(socket.seen, {})

    @staticmethod
    def _numbers(messages: list[Json]) -> list[int]:
        return [message["sequence"] for message in messages if message.get("channel") == "executions"]

    async def _ask_for_something(self, socket: Any, mine: dict[int, str]) -> None:
        rng = self.rng
        still_open = [o["order_id"] for o in self.orders.values() if o["order_status"] in ("new", "partially_filled")]
        if still_open and rng.random() < 0.5:
            await socket.ask("cancel_order", order_id=[rng.choice(still_open)])
            return
        self.sent += 1
        symbol, side = rng.choice(list(BOOKS)), rng.choice(["buy", "sell"])
        price = f"{98.9 + rng.randint(-20, 20) / 100:.2f}"
        wish = order(symbol, side, price, f"{rng.randint(1, 9)}.00", cl_ord_id=f"c{self.sent}")
        mine[await socket.ask("add_order", **wish)] = wish["cl_ord_id"]

    def take(self, messages: list[Json], mine: dict[int, str]) -> None:
        acked: set[str] = set()
        for message in messages:
            match message.get("channel"):
                case "book":
                    follow(self.books[message["data"][0]["symbol"]], message)
                case "executions":
                    self._take_executions(message, set(mine.values()) - acked)
                case "trade":
                    for row in message["data"]:
                        self.public.setdefault(row["trade_id"], row["trade_id"] in self.fills)
                case None:
                    if message.get("req_id") in mine:
                        acked.add(mine[message["req_id"]])
                    if message["method"] == "subscribe":
                        assert message["success"], message
                        self.resumed += message["result"].get("resumed", False)

    def _take_executions(self, message: Json, unanswered: set[str]) -> None:
        assert (message["type"], message["prev_sequence"]) == ("update", self.sequence)
        self.sequence = message["sequence"]
        assert len({row["exec_type"] == "trade" for row in message["data"]}) == 1, "trades stand by themselves"
        for row in message["data"]:
            assert row["cl_ord_id"] not in unanswered, "an acknowledgement comes first"
            self.orders[row["order_id"]] = row
            if row["exec_type"] == "trade":
                assert row["trade_id"] not in self.fills, "each fill once"
                self.fills[row["trade_id"]] = row

    async def check(self) -> None:
        """Compare with the engine's books and the tables."""
        for symbol, book in self.books.items():
            truth = self.stack.views.loan_of_symbol(symbol).book.view(book.depth).snapshot()
            assert (book.seq, book.epoch) == (truth.seq, self.stack.engine.epoch)
            assert (book.bids, book.asks) == (list(truth.bids), list(truth.asks))
        pool = self.stack.pool
        orders = await pool.fetch(
            "SELECT order_id, status, filled, version FROM market.orders WHERE account_id = $1", ACCOUNT
        )
        assert {(o["order_id"], o["order_status"], o["cum_qty"], o["version"]) for o in self.orders.values()} == {
            (f"O-{order_id}", status, f"{filled / 100:.2f}", version) for order_id, status, filled, version in orders
        }
        trades = await pool.fetch(
            "SELECT trade_id, price, quantity FROM market.trade WHERE buyer = $1 OR seller = $1", ACCOUNT
        )
        assert {(f["trade_id"], f["last_price"], f["last_qty"]) for f in self.fills.values()} == {
            (f"T-{trade_id}", f"{price / 100:.2f}", f"{qty / 100:.2f}") for trade_id, price, qty in trades
        }
        for trade_id, was_known in self.public.items():
            assert was_known or trade_id not in self.fills, "an execution comes before the trade that it made"


async def run(dsn: str, *, lives: int, seed: int) -> Client:
    """Kill a client so many times; return it, alive and checked."""
    async with running_stack(dsn) as stack:
        traders = Traders(stack, seed)
        await traders.open()
        client = Client(stack, await stack.investor(ACCOUNT, 100_000_00), seed)
        for life in range(1, lives + 1):
            await client.live(traders)
            if life % REBUILD_EVERY == 0:
                await stack.cut_engine_off()
        await client.live(traders, until_read=True)
        await client.check()
        return client


def run_campaign(*, lives: int, seed: int) -> None:
    """Run it on a private server of its own."""

    async def campaign(folder: str) -> Client:
        with running_server(Path(folder)) as server:
            return await run(await server.create_migrated_database(), lives=lives, seed=seed)

    with tempfile.TemporaryDirectory(prefix="dm-") as folder:
        client = asyncio.run(campaign(folder))
    print(
        f"client: killed {lives} times, {client.resumed} books resumed; {len(client.orders)} orders and "
        f"{len(client.fills)} fills, {client.sequence} messages, each once; books equal the engine's"
    )
