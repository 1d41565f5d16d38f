"""A book's numbers mean the same at every gateway: who loses one goes on at another where it was."""

import asyncio
import signal
from pathlib import Path
from typing import Any

import pytest

from gateway.client import ApiError, Book, Client
from tests.e2e.topology import LOAN, order, prepare, topology
from tests.patience import PATIENCE_S
from tests.redis_server import RedisServer


class Follower:
    """A book kept from what a socket says; Book itself holds each step against its check numbers."""

    def __init__(self, loan_id: str) -> None:
        self.book = Book(f"{loan_id}/CNY", 10)
        self.kinds: list[str] = []
        self.socket: Any = None

    async def go_to(self, gateway: Client) -> Any:
        """Connect, and go on where the book is; return what the acknowledgement says."""
        self.kinds.clear()
        self.socket = await gateway.socket(on_push=self._take)
        known = {"from_seq": self.book.seq, "epoch": self.book.epoch} if self.book.epoch else {}
        told = await self.socket.call("subscribe", channel="book", symbol=self.book.symbol, depth=10, **known)
        await self.socket.call("ping")
        return told

    def _take(self, message: dict[str, Any]) -> None:
        if message["channel"] == "book":
            self.kinds.append(message["type"])
            self.book.take(message["type"], message["data"][0])

    async def reaches(self, gateway: Client) -> None:
        """Wait until the book is as the gateway shows it."""
        shown = await gateway.get(f"/v1/loans/{self.book.symbol.partition('/')[0]}/book", depth=10)
        async with asyncio.timeout(PATIENCE_S):
            while (self.book.seq, self.book.digest()) != (shown["seq"], shown["digest"]):
                await asyncio.sleep(0.01)


async def test_a_reader_whose_gateway_died_goes_on_where_it_was_at_any_other(
    tmp_path: Path, database: str, redis_server: RedisServer
) -> None:
    async with topology(tmp_path, database, redis_server) as market:
        market.start("engine", "engine")
        one, other = await asyncio.gather(market.gateway("one"), market.gateway("other"))
        async with one, other:
            keys = await prepare(one, other)
            await one.post("/v1/admin/loans", LOAN | {"loan_id": "L2"})
            lively, quiet = Follower("L1"), Follower("L2")
            async with Client(one.url, keys["ORIG"]) as seller, Client(other.url, keys["ORIG"]) as elsewhere:
                await seller.post("/v1/orders", order("sell", "quiet") | {"loan_id": "L2"})
                for follower in (lively, quiet):
                    await follower.go_to(one)
                for n in range(15):
                    await seller.post("/v1/orders", order("sell", f"before-{n}", "1.00", f"97.{n:02}"))
                await lively.reaches(one)
                left_at = lively.book.seq
                market.processes[1].signal(signal.SIGKILL)
                await lively.socket.wait_closed()

                for n in range(5):  # nobody reads this book at the other gateway
                    await elsewhere.post("/v1/orders", order("sell", f"after-{n}", "1.00", f"97.0{n}"))
                assert (await lively.go_to(other))["resumed"]
                assert (lively.kinds, lively.book.seq > left_at) == (["update"], True)
                await lively.reaches(other)

                third = await market.gateway("third")  # it knows the past from the engine's state alone
                async with third:
                    assert (await quiet.go_to(third))["resumed"]
                    assert (await lively.go_to(third))["resumed"]
                    assert (quiet.kinds, lively.kinds) == ([], [])
                    await elsewhere.post("/v1/orders", order("sell", "wakes", "2.00") | {"loan_id": "L2"})
                    await quiet.reaches(other)
                    assert quiet.kinds == ["update"]

                    await elsewhere.post("/v1/orders", order("sell", "later", "2.00", "97.03"))
                    await lively.reaches(other)
                    await _condition_holds_everywhere(lively.book.seq, keys, elsewhere, third)
                for follower in (lively, quiet):
                    await follower.socket.close()


async def _condition_holds_everywhere(seq: int, keys: Any, elsewhere: Client, third: Client) -> None:
    async with Client(third.url, keys["ORIG"]) as there:
        checked = order("sell", "condition", "1.00", "97.40") | {"if_book_seq": seq}
        assert (await there.post("/v1/orders", checked))["order_status"] == "new"
        changes = order("sell", "changes", "1.00", "97.00")
        await elsewhere.post("/v1/orders", changes)
        with pytest.raises(ApiError, match="stale_book"):
            await elsewhere.post("/v1/orders", checked | {"cl_ord_id": "too-late"})
