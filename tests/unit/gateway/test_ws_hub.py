"""The hub between a venue's entries and outboxes whose bytes the test can see."""

import asyncio
from collections.abc import Sequence
from itertools import count
from typing import Any

import pytest

from gateway.process.metrics import Metrics
from gateway.reads.candles import Candle, candle_of
from gateway.reads.history import StoredTrade
from gateway.reads.views import Views
from gateway.ws.executions import CommittedExecution
from gateway.ws.hub import Hub
from gateway.ws.outbox import Outbox, OutboxLimits
from market.commands import Command
from market.events import Executed, LogEntry, Traded
from market.ids import AccountId, LoanId, Seq, TradeId
from market.orderbook.depth import FIRST_SEQ
from market.partitions import partition_of
from tests.builders import Market, buy, deposit, open_account, sell
from tests.unit.gateway.test_ws_outbox import FakeTransport

BUYER = AccountId("A")


class RememberedHistory:
    """What was committed, whether it was told or not."""

    def __init__(self) -> None:
        self.entries: list[LogEntry] = []
        self.pause = 0  # turns that a read of candles takes, below 0: it fails

    async def executions(
        self, account_id: AccountId, *, after: int, until: int, limit: int, partition: int
    ) -> Sequence[CommittedExecution]:
        found = [e for e in self._executions(account_id, partition) if after < e.executed.sequence <= until]
        return found[:limit]

    async def last_fills(
        self, account_id: AccountId, *, until: int, limit: int, partition: int
    ) -> Sequence[CommittedExecution]:
        found = self._executions(account_id, partition)
        return [e for e in found if e.executed.sequence <= until and e.executed.rows[0].fill][-limit:]

    async def trades_between(self, behind: TradeId, *, after: Seq, until: Seq) -> Sequence[StoredTrade]:
        return [
            StoredTrade(event, entry.seq, entry.at)
            for entry in self.entries
            for event in entry.events
            if isinstance(event, Traded) and event.trade_id > behind and after < entry.seq <= until
        ]

    async def latest_candles(self, loan_id: LoanId, *, interval: int, limit: int) -> Sequence[Candle]:
        """What the database sees somewhere within the time that the read takes."""
        if self.pause < 0:
            raise TimeoutError
        for _ in range(self.pause // 2):
            await asyncio.sleep(0)
        candles: dict[int, Candle] = {}
        for entry in self.entries:
            for event in entry.events:
                if isinstance(event, Traded) and event.loan_id == loan_id:
                    new = candle_of(event, entry.at, interval)
                    candles[new.number] = candles[new.number].plus(event, entry.at) if new.number in candles else new
        for _ in range(self.pause - self.pause // 2):
            await asyncio.sleep(0)
        return [candles[number] for number in sorted(candles, reverse=True)][:limit]

    def _executions(self, account_id: AccountId, partition: int) -> list[CommittedExecution]:
        return [
            CommittedExecution(event, entry.seq, entry.at)
            for entry in self.entries
            for event in entry.events
            if isinstance(event, Executed) and event.account_id == account_id and partition_of(entry.seq) == partition
        ]


class Rig:
    """A market with a seller's order of 500.00 at 98.00 and a buyer A; one reader."""

    def __init__(self) -> None:
        self.market, self.views, self.history = Market(), Views(), RememberedHistory()
        self.hub = Hub(views=self.views, history=self.history, clock=count(1).__next__, metrics=Metrics())
        for command in (open_account("A"), deposit("A", 1_000_000), sell("ORIG", 9_800, 500_00)):
            self.market.do(command)
        self.rebuild()
        self.transport = FakeTransport()
        self.outbox = Outbox(
            self.transport,
            limits=OutboxLimits(),
            numbers=False,
            on_slow=lambda: None,
            on_written=self.hub.written,
        )

    def rebuild(self) -> None:
        venue = self.market.venue
        for listener in (self.views, self.hub):
            listener.on_snapshot(self.views.epoch + 1, venue.seq, venue.snapshot())

    def do(self, *commands: Command, told: bool = True) -> None:
        """Carry out commands as one batch; told: whether the listeners hear of it."""
        for command in commands:
            entry = self.market.entry(command)
            self.history.entries.append(entry)
            if told:
                self.views.on_entry(entry)
                self.hub.on_entry(entry)
        if told:
            self.views.on_batch_end()
            self.hub.on_batch_end()

    async def settle(self) -> list[dict[str, Any]]:
        """Let what was spawned end, and return what the reader got since."""
        for _ in range(10):
            await asyncio.sleep(0)
        self.outbox.flush()
        return self.transport.read_all()


async def test_no_message_is_lost_or_twice_through_a_rebuild() -> None:
    """The second order's commit was in doubt, and had happened."""
    rig = Rig()
    rig.hub.trade(LoanId("L1")).readers[rig.outbox] = None
    await rig.hub.executions(BUYER)[0].join(rig.outbox, 0, rig.history)
    rig.do(buy("A", 9_800, 1_00))
    rig.do(buy("A", 9_800, 2_00), told=False)
    rig.rebuild()
    got = await rig.settle()
    rig.do(buy("A", 9_800, 3_00))
    got += await rig.settle()
    assert [m["sequence"] for m in got if m["channel"] == "executions"] == [1, 2, 3, 4, 5, 6]
    quantities = [row["qty"] for m in got if m["channel"] == "trade" for row in m["data"]]
    assert quantities == ["1.00", "2.00", "3.00"]
    assert rig.views.loan(LoanId("L1")).day(rig.market.at).volume == 6_00


async def test_books_are_pushed_once_per_batch() -> None:
    rig = Rig()
    feed = rig.hub.book(LoanId("L1"), 10)
    list(feed.snapshots())
    feed.readers[rig.outbox] = None
    rig.do(*(sell("ORIG", 9_800 + n, 1_00) for n in range(5)))
    [message] = await rig.settle()
    [row] = message["data"]
    assert (row["prev_seq"], row["seq"], len(row["asks"])) == (FIRST_SEQ, rig.market.venue.seq, 5)


async def test_a_bug_in_a_feed_stays_out_of_the_engine(caplog: pytest.LogCaptureFixture) -> None:
    rig = Rig()
    feed = rig.hub.book(LoanId("L1"), 10)
    list(feed.snapshots())
    feed.readers[None] = None  # type: ignore[index]
    rig.do(sell("ORIG", 9_900, 1_00))
    assert "publish_failed" in caplog.text


async def test_a_feed_that_nobody_reads_is_forgotten() -> None:
    rig = Rig()
    feed = rig.hub.bbo(LoanId("L1"))
    feed.readers[rig.outbox] = None
    assert rig.hub.bbo(LoanId("L1")) is feed
    rig.hub.leave(feed, rig.outbox)
    assert rig.hub.reader_count == 0
    assert rig.hub.bbo(LoanId("L1")) is not feed
