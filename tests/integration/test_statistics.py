"""Statistics as PostgreSQL adds them up, against a plain walk over the trades; and how long they are kept."""

import asyncio
import bisect
import random
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import pytest

from gateway.reads.statistics import (
    CHOICES,
    DISCOUNTS_BP,
    PAR,
    SECOND,
    WAITS_S,
    WINDOWS_DAYS,
    By,
    Statistics,
    Tallies,
    Tally,
    grouped,
)
from market.events import Traded
from market.ids import LoanId, Nanos, OrderId
from market.orderbook.order import Side
from tests.builders import amend, buy, mass_quote, quote, register, sell
from tests.e2e.stack import POOL
from tests.integration.settlement.recording import RecordingMarket, opened

DAY_NS = 86_400 * SECOND
GRADES = {"L1": "B", "L2": "C", "L3": "C"}
Trades = list[tuple[Nanos, Traded]]


@pytest.fixture
async def pool(database: str) -> AsyncIterator[Any]:
    pool = await asyncpg.create_pool(database, min_size=1, max_size=2, server_settings=POOL)
    yield pool
    await pool.close()


def traded(market: RecordingMarket, rng: random.Random, count: int) -> tuple[Trades, dict[OrderId, Nanos]]:
    """Trade at random with pauses of nothing to days; return the trades, and when each sell order was placed."""
    trades: Trades = []
    placed: dict[OrderId, Nanos] = {}
    for _ in range(count):
        market.at = Nanos(
            market.at + rng.choice([0, 1, 59, 75, 4_000, 50_000, 400_000]) * SECOND + rng.randrange(SECOND)
        )
        loan_id, price, quantity = rng.choice(list(GRADES)), rng.randint(9_000, 10_100), rng.randint(1, 40) * 100
        side = rng.choice([sell, sell, buy])
        account = "ORIG" if side is sell else "A"
        applied = market.do(side(account, price, quantity, loan_id=loan_id))
        if side is sell:
            order_id: Any = market.venue.seq
            placed[order_id] = market.at
            if rng.random() < 0.2 and order_id in market.venue.state.orders:
                later = market.do(amend("ORIG", order_id, price=price - 100))
                trades += [(market.at, event) for event in later.events if isinstance(event, Traded)]
        trades += [(market.at, event) for event in applied.events if isinstance(event, Traded)]
    return trades, placed


def plain(trades: Trades, placed: dict[OrderId, Nanos], now: Nanos) -> Tallies:
    tallies: Tallies = {}
    for at, trade in trades:
        if at < now - 30 * DAY_NS:
            continue
        wait = None
        if trade.taker_side is Side.BUY and trade.sell_order_id in placed:
            wait = bisect.bisect_right(WAITS_S, (at - placed[trade.sell_order_id]) // SECOND) - 1
        sums = [
            amount if at >= now - days * DAY_NS else 0
            for days in WINDOWS_DAYS
            for amount in (1, trade.quantity, trade.price * trade.quantity)
        ]
        key = ("USD", GRADES[trade.loan_id], bisect.bisect_right(DISCOUNTS_BP, PAR - trade.price))
        tallies.setdefault(key, Tally()).add(sums, wait, (trade.trade_id, trade.price, at))
    return tallies


@pytest.mark.parametrize("seed", range(3))
async def test_statistics_are_what_a_plain_walk_finds_at_every_look(database: str, pool: Any, seed: int) -> None:
    rng, market = random.Random(seed), RecordingMarket(loans=())
    for loan_id, grade in GRADES.items():
        market.do(register(loan_id, grade=grade))
    market.investor("A", cash=10_000_000_00)
    trades: Trades = []
    placed: dict[OrderId, Nanos] = {}
    now, too_old = Nanos(0), 0
    statistics = Statistics(pool, clock=lambda: now, age_s_max=0.0)
    async with opened(database) as store:
        for count in (150, 0, 1, 30, 0, 80):
            more, more_placed = traded(market, rng, count)
            trades += more
            placed |= more_placed
            if entries := market.take():
                await store.commit(entries)
            market.at = Nanos(market.at + rng.choice([0, DAY_NS // 3, 2 * DAY_NS]))
            now = Nanos(market.at + 1)
            whole, expected = await statistics.of_market(), plain(trades, placed, now)
            for by in CHOICES:
                assert whole.rows[by] == grouped(expected, by)
            for loan_id in GRADES:
                of_loan = [each for each in trades if each[1].loan_id == loan_id]
                found = await statistics.of_loan(LoanId(loan_id))
                assert found.rows[frozenset(By)] == grouped(plain(of_loan, placed, now), frozenset(By))
            too_old += sum(at < now - 30 * DAY_NS for at, _ in trades)
    assert too_old
    assert any(tally.waits for tally in expected.values())


async def test_a_clock_that_is_set_back_takes_nothing_away_twice(database: str, pool: Any) -> None:
    market = RecordingMarket(loans=("L1",))
    market.investor("A", cash=10_000_00)
    market.do(sell("ORIG", 9_800, 100_00))
    market.do(buy("A", 9_800, 40_00))
    async with opened(database) as store:
        await store.commit(market.take())
    times = iter([1, DAY_NS + 2, 3, DAY_NS + 4])
    statistics = Statistics(pool, clock=lambda: market.at + next(times), age_s_max=0.0)
    faces = []
    for _ in range(4):
        [row] = (await statistics.of_market()).rows[frozenset({By.GRADE})]
        faces.append([window.face for window in row.traded])
    assert faces == [[40_00] * 3, *[[0, 40_00, 40_00]] * 3]


async def test_a_quote_that_was_hit_is_traded_but_did_not_wait(database: str, pool: Any) -> None:
    market = RecordingMarket(loans=("L1",))
    market.investor("A", cash=10_000_00)
    market.do(mass_quote("ORIG", quote(None, (9_800, 100_00))))
    market.do(buy("A", 9_800, 100_00))
    async with opened(database) as store:
        await store.commit(market.take())
    statistics = Statistics(pool, clock=lambda: market.at + 1, age_s_max=0.0)
    [row] = (await statistics.of_market()).rows[frozenset({By.GRADE})]
    assert (row.traded[0].face, row.sold.fills, row.sold.p50_s) == (100_00, 0, None)


async def test_figures_are_kept_and_added_up_once_for_all_who_ask(database: str, pool: Any) -> None:
    market = RecordingMarket(loans=("L1",))
    market.investor("A", cash=10_000_00)
    market.do(sell("ORIG", 9_800, 100_00))
    market.do(buy("A", 9_800, 40_00))
    async with opened(database) as store:
        await store.commit(market.take())
        asked = []

        def clock() -> int:
            asked.append(1)
            return market.at + 1

        kept = Statistics(pool, clock=clock, age_s_max=3_600.0)
        first, second = await asyncio.gather(kept.of_market(), kept.of_market())
        assert first is second
        assert len(asked) == 1
        market.do(buy("A", 9_800, 20_00))
        await store.commit(market.take())
        assert await kept.of_market() is first
        fresh = Statistics(pool, clock=clock, age_s_max=0.0)
        [row] = (await fresh.of_market()).rows[frozenset({By.GRADE})]
        assert row.traded[0].face == 60_00
