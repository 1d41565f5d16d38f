"""What readers see of a market of several partitions when the engine of one of them changes."""

import asyncio
import random
from typing import Any

import pytest

from gateway.process.metrics import Metrics
from gateway.reads.views import Views
from gateway.ws.hub import Hub
from gateway.ws.outbox import Outbox, OutboxLimits
from gateway.ws.rows import status_row
from market.commands import Mode, SetMode
from market.ids import AccountId
from market.orderbook.order import OrderStatus
from market.partitions import partition_of, seq_before
from tests.builders import buy, mass_quote, quote, sell
from tests.cut_market import CutMarket, cut_market
from tests.unit.gateway.test_ws_hub import RememberedHistory
from tests.unit.gateway.test_ws_outbox import FakeTransport
from tests.unit.routing.test_against_one_engine import GENESIS as GENESIS_OF_THREE
from tests.unit.routing.test_against_one_engine import command_of, shown
from tests.unit.routing.test_router import GENESIS, HERE, THERE, A
from tests.unit.test_engine import until

ORIG = AccountId("ORIG")


class Reader:
    """A hub over a cut market, and one socket's outbox."""

    def __init__(self, market: CutMarket) -> None:
        self.market, self.history = market, RememberedHistory()
        ticks = iter(range(1, 1_000_000))
        self.hub = Hub(views=market.views, history=self.history, clock=lambda: next(ticks), metrics=Metrics())
        self.hub.sessions[self] = None  # type: ignore[index]  # no more of a session is asked here
        market.port.listen(self.hub)
        self.transport = FakeTransport()
        self.outbox = Outbox(
            self.transport, limits=OutboxLimits(), numbers=False, on_slow=lambda: None, on_written=self.hub.written
        )

    def committed(self) -> None:
        """Let the history know all that is in the ledgers."""
        self.history.entries = [entry for store in self.market.stores for entry in store.log]

    async def read(self) -> list[dict[str, Any]]:
        for _ in range(20):
            await asyncio.sleep(0)
        self.outbox.flush()
        return self.transport.read_all()


async def rebuilt(market: CutMarket, partition: int) -> None:
    """Have an engine lose its session and begin anew."""
    epoch = market.engines[partition].epoch
    market.stores[partition].on_lost()
    await until(lambda: market.engines[partition].epoch > epoch)
    await market.engines[partition].online()


@pytest.mark.parametrize("seed", range(3))
async def test_a_rebuild_of_one_partition_leaves_what_all_the_rest_shows(seed: int) -> None:
    rng = random.Random(seed)
    async with cut_market(3, GENESIS_OF_THREE) as market:
        for n in range(200):
            await market.outcome(command_of(rng, [], n))
        await market.do(SetMode(mode=Mode.OPEN))
        for partition in (1, 0, 2):
            market.views.on_snapshot(7, market.engines[partition].seq, market.engines[partition]._venue.snapshot())
            fresh = Views(partitions=3)
            for engine in reversed(market.engines):  # those that are no authority are heard first
                fresh.on_snapshot(1, engine.seq, engine._venue.snapshot())
            assert {**shown(fresh), "books": None} == {**shown(market.views), "books": None}
        before = shown(market.views)
        for partition in range(3):
            await rebuilt(market, partition)
        gone = {account: (*rest, []) for account, (*rest, _) in before["accounts"].items()}
        assert {key: value[3] for key, value in shown(market.views)["accounts"].items()} == {
            key: value[3] for key, value in gone.items()
        }, "orders stay; quotes, which no table holds, are gone"
        assert not any(account.quotes for account in market.views.accounts.values())


async def test_a_writer_that_changes_takes_the_quotes_of_its_own_partition() -> None:
    async with cut_market(2, GENESIS) as market:
        await market.do(mass_quote("A", *(quote((9_000, 100_00), None, loan_id=each) for each in (HERE, THERE))))
        await market.do(buy("A", 9_000, 100_00, loan_id=THERE))
        both = market.cash("A")[1]
        market.views.on_epoch(9, market.engines[1].seq)
        account = market.views.account(A)
        assert [quote.loan_id for quote in account.quotes.values()] == [HERE]
        assert [(lost.loan_id, lost.status) for lost in account.lost_quotes] == [(THERE, OrderStatus.CANCELED)]
        assert market.cash("A") == (5_000_00, both * 2 // 3)
        assert (market.views.epochs, market.views.epoch) == ({0: 1, 1: 9}, 1)


async def test_executions_are_numbered_by_partition_and_none_is_lost_when_one_is_rebuilt() -> None:
    async with cut_market(2, GENESIS) as market:
        reader = Reader(market)
        for feed in reader.hub.executions(ORIG):
            await feed.join(reader.outbox, 0, reader.history)
        for loan_id in (HERE, THERE, THERE):
            await market.do(sell("ORIG", 9_900, 1_00, loan_id=loan_id))
        market.stores[1].is_doubtful = True
        await market.outcome(sell("ORIG", 9_900, 2_00, loan_id=THERE))
        reader.committed()
        await market.engines[1].online()
        await market.do(sell("ORIG", 9_900, 3_00, loan_id=HERE))
        await market.do(sell("ORIG", 9_900, 3_00, loan_id=THERE))
        heard = [message for message in await reader.read() if message["channel"] == "executions"]
        numbers: dict[int, list[int]] = {0: [], 1: []}
        for message in heard:
            numbers[message["partition"]].append(message["sequence"])
            assert {partition_of(row["engine_seq"]) for row in message["data"]} == {message["partition"]}
        assert numbers == {0: [1, 2], 1: [1, 2, 3, 4]}


async def test_a_rebuild_is_told_to_readers_of_that_partitions_loans_alone() -> None:
    async with cut_market(2, GENESIS) as market:
        reader = Reader(market)
        for loan_id in (HERE, THERE):
            await market.do(sell("ORIG", 9_900, 1_00, loan_id=loan_id))
            feed = reader.hub.book(loan_id, 10)
            list(feed.snapshots())
            feed.readers[reader.outbox] = None
        await rebuilt(market, 1)
        messages = await reader.read()
        books = [row for message in messages if message["channel"] == "book" for row in message["data"]]
        assert [(row["symbol"].partition("/")[0], row["epoch"]) for row in books] == [(THERE, market.engines[1].epoch)]
        [status] = [row for message in messages if message["channel"] == "status" for row in message["data"]]
        assert [(each["partition"], each["epoch"]) for each in status["partitions"]] == [
            (0, 1),
            (1, market.engines[1].epoch),
        ]
        assert reader.hub.book(HERE, 10).missed(1, reader.hub.book(HERE, 10).base().seq) == []


def test_the_status_of_a_market_of_one_partition_says_nothing_of_partitions() -> None:
    views = Views()
    views.on_snapshot(3, seq_before(0), ())
    assert "partitions" not in status_row(views, 0)
