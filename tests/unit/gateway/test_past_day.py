"""The last 24 hours of a partition that is heard late: read once, in order, with what came meanwhile behind it."""

import asyncio
from collections.abc import Coroutine
from typing import Any

import pytest

from gateway.reads.history import StoredTrade
from gateway.reads.past_day import PastDay
from gateway.reads.views import Views
from market.events import LogEntry, Traded
from market.ids import Nanos, Seq
from market.partitions import partition_of
from tests.builders import buy, sell
from tests.cut_market import CutMarket, cut_market
from tests.unit.routing.test_router import GENESIS, HERE, THERE

NOW = Nanos(10**6)


class Ledgers:
    """What the tables of a market would say. is_open: answers wait for it.  failures: questions that fail first."""

    def __init__(self, market: CutMarket) -> None:
        self._market = market
        self.is_open = asyncio.Event()
        self.is_open.set()
        self.failures = self.questions = 0

    async def latest_trades(self, partition: int, *, since: Nanos, until: Seq, limit: int) -> list[StoredTrade]:
        self.questions += 1
        if self.failures:
            self.failures -= 1
            raise OSError
        await self.is_open.wait()
        entries = [entry for entry in self._market.stores[partition].log if entry.at >= since and entry.seq <= until]
        trades = [StoredTrade(e, entry.seq, entry.at) for entry in entries for e in entry.events if type(e) is Traded]
        return trades[-limit:]


class Late:
    """A gateway that hears the partitions of a market one by one."""

    def __init__(self, market: CutMarket) -> None:
        self._market, self.ledgers = market, Ledgers(market)
        self.views = Views(partitions=2)
        self.tasks: list[asyncio.Task[None]] = []
        self.changed: list[int] = []
        self.day = PastDay(
            self.views,
            self.ledgers,
            clock=lambda: NOW,
            trades_max=100,
            spawn=self._spawn,
            changed=self.changed.append,
        )

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        self.tasks.append(asyncio.create_task(work))

    def hear_all(self, partition: int) -> None:
        engine = self._market.engines[partition]
        events = engine._venue.snapshot()
        for listener in (self.views, self.day):
            listener.on_snapshot(engine.epoch, engine.seq, events)

    def hear(self, entry: LogEntry) -> None:
        for listener in (self.views, self.day):
            listener.on_entry(entry)
            listener.on_batch_end()

    def shows_what_is(self) -> bool:
        loans = [(views.loan(loan), views) for loan in (HERE, THERE) for views in (self.views, self._market.views)]
        mine, all_there_is = loans[::2], loans[1::2]
        return [(loan.day(NOW), [*loan.recent]) for loan, _ in mine] == [
            (loan.day(NOW), [*loan.recent]) for loan, _ in all_there_is
        ]


async def trade(market: CutMarket, loan_id: Any, price: int) -> LogEntry:
    """Return the entry of a trade."""
    await market.do(sell("ORIG", price, 1_00, loan_id=loan_id))
    answer = await market.do(buy("A", price, 1_00, loan_id=loan_id))
    return market.stores[partition_of(answer.seq)].log[-1]


async def test_a_partition_that_comes_later_is_read_when_it_comes() -> None:
    async with cut_market(2, GENESIS) as market:
        late = Late(market)
        for loan_id, price in ((HERE, 9_900), (THERE, 9_700), (THERE, 9_800)):
            await trade(market, loan_id, price)
        late.hear_all(0)
        await late.day.start()
        assert (late.changed, late.tasks) == ([0], [])
        late.ledgers.is_open.clear()
        late.hear_all(1)
        late.hear(await trade(market, THERE, 9_600))  # while its ledger is read
        assert not late.shows_what_is()
        late.ledgers.is_open.set()
        await asyncio.gather(*late.tasks)
        assert late.views.loan(THERE).day(NOW).change == -1_00
        assert late.shows_what_is()
        assert late.changed == [0, 1]
        late.hear(await trade(market, THERE, 9_500))
        late.hear_all(1)
        assert late.shows_what_is()
        assert late.ledgers.questions == 2, "what was read once is known"


async def test_trades_that_come_before_the_start_count_once() -> None:
    async with cut_market(2, GENESIS) as market:
        late = Late(market)
        await trade(market, HERE, 9_900)
        late.hear_all(0)
        late.hear(await trade(market, HERE, 9_800))
        late.hear_all(1)
        await late.day.start()
        assert late.views.loan(HERE).day(NOW).trades == 2
        assert late.shows_what_is()


async def test_a_state_that_is_told_anew_while_the_ledger_is_read_has_it_read_anew() -> None:
    async with cut_market(2, GENESIS) as market:
        late = Late(market)
        await late.day.start()
        late.ledgers.is_open.clear()
        late.hear_all(0)
        late.hear_all(1)
        await trade(market, THERE, 9_700)  # not heard: a gap, which the next state ends
        late.hear_all(1)
        late.ledgers.is_open.set()
        await asyncio.gather(*late.tasks)
        assert late.shows_what_is()
        assert sorted(late.changed) == [0, 1]


async def test_a_ledger_that_can_not_be_read_is_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.reads.past_day.RETRY_S", 0)
    async with cut_market(2, GENESIS) as market:
        late = Late(market)
        await late.day.start()
        await trade(market, THERE, 9_700)
        late.ledgers.failures = 2
        late.hear_all(0)
        late.hear_all(1)
        await asyncio.gather(*late.tasks)
        assert late.shows_what_is()
