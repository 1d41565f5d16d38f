"""Candles as PostgreSQL adds them up, against a plain walk over the trades."""

import random
from collections.abc import AsyncIterator

import asyncpg
import pytest

from gateway.reads.candles import INTERVALS, MINUTE, Candle, candle_of
from gateway.reads.history import NEVER, History, Span
from market.events import Traded
from market.ids import LoanId, Nanos
from tests.builders import buy, sell
from tests.e2e.stack import POOL
from tests.integration.settlement.recording import RecordingMarket, opened

L1 = LoanId("L1")
Trades = list[tuple[Nanos, Traded]]


def plain(trades: Trades, interval: int) -> list[Candle]:
    """Newest first."""
    candles: dict[int, Candle] = {}
    for at, trade in trades:
        new = candle_of(trade, at, interval)
        candles[new.number] = candles[new.number].plus(trade, at) if new.number in candles else new
    return [candles[number] for number in sorted(candles, reverse=True)]


def traded(market: RecordingMarket, rng: random.Random, count: int) -> Trades:
    """Trade at random prices with pauses of nothing to weeks, in two loans; return what was traded in the first."""
    found: Trades = []
    for _ in range(count):
        market.at = Nanos(market.at + rng.choice([0, 1, 20, 60, 90, 3_600, 86_400 * 20]) * MINUTE // 60)
        loan_id, price, quantity = rng.choice(["L1", "L2"]), rng.randint(9_000, 9_900), rng.randint(1, 40) * 100
        market.do(sell("ORIG", price, quantity, loan_id=loan_id))
        applied = market.do(buy("A", price, quantity, loan_id=loan_id))
        found += [(market.at, each) for each in applied.events if isinstance(each, Traded) and each.loan_id == L1]
    return found


@pytest.fixture
async def history(database: str) -> AsyncIterator[History]:
    pool = await asyncpg.create_pool(database, min_size=1, max_size=1, server_settings=POOL)
    yield History(pool)
    await pool.close()


@pytest.mark.parametrize("seed", range(2))
async def test_candles_are_what_a_plain_walk_finds(database: str, history: History, seed: int) -> None:
    rng, market = random.Random(seed), RecordingMarket(loans=("L1", "L2"))
    market.investor("A", cash=1_000_000_00)
    trades = traded(market, rng, 120)
    async with opened(database) as store:
        await store.commit(market.take())
    for interval in INTERVALS:
        expected = plain(trades, interval)
        paged: list[Candle] = []
        below = NEVER
        while True:
            page = await history.candles(L1, interval=interval, span=Span(), below=below, limit=7)
            paged += page
            if len(page) < 7:
                break
            below = page[-1].number
        assert paged == expected, interval


async def test_a_span_counts_only_the_trades_in_it(database: str, history: History) -> None:
    market = RecordingMarket(loans=("L1", "L2"))
    market.investor("A", cash=1_000_000_00)
    trades = traded(market, random.Random(3), 120)
    async with opened(database) as store:
        await store.commit(market.take())
    since, until = trades[10][0], trades[25][0]
    inside = [(at, trade) for at, trade in trades if since <= at < until]
    for interval in (1, 1_440):
        found = await history.candles(
            L1, interval=interval, span=Span(since=since, until=until), below=NEVER, limit=500
        )
        assert found == plain(inside, interval)


async def test_a_loan_without_trades_has_no_candles(history: History) -> None:
    assert await history.candles(L1, interval=1, span=Span(), below=NEVER, limit=5) == []
