"""The candle feed: read once, kept up by trades, without a hole or a trade counted twice."""

import asyncio
import random
from typing import Any

import pytest

from gateway.reads.candles import MINUTE, candle_of, candle_row
from market.events import Traded
from market.ids import LoanId, Nanos
from tests.builders import buy
from tests.unit.gateway.test_ws_hub import Rig

L1 = LoanId("L1")


class Chart:
    """What a reader makes of the messages: a candle is replaced by a newer one of its interval."""

    def __init__(self) -> None:
        self.rows: dict[str, Any] = {}

    def take(self, messages: list[dict[str, Any]]) -> None:
        for message in messages:
            if message["channel"] == "ohlc":
                if message["type"] == "snapshot":
                    self.rows.clear()
                for row in message["data"]:
                    row.pop("conflated", None)
                    self.rows[row["interval_begin"]] = row


def truth(rig: Rig, interval: int) -> dict[str, Any]:
    candles: dict[int, Any] = {}
    for entry in rig.history.entries:
        for trade in entry.events:
            if isinstance(trade, Traded):
                new = candle_of(trade, entry.at, interval)
                candles[new.number] = candles[new.number].plus(trade, entry.at) if new.number in candles else new
    rows = [candle_row("L1/USD", candle, interval) for candle in candles.values()]
    return {row["interval_begin"]: row for row in rows}


def trade(rig: Rig, rng: random.Random, told: bool = True) -> None:
    rig.market.at = Nanos(rig.market.at + rng.choice([0, 0, 25, 70]) * MINUTE // 60)
    rig.do(buy("A", 9_800, rng.randint(1, 3) * 100), told=told)


@pytest.mark.parametrize("seed", range(6))
async def test_a_reader_that_joins_amid_trading_has_every_trade_once(seed: int) -> None:
    """The read takes a while, in which trades are committed that it sees or does not see."""
    rig, rng, chart = Rig(), random.Random(seed), Chart()
    for _ in range(rng.randint(0, 4)):
        trade(rig, rng)
    feed = rig.hub.ohlc(L1, 1)
    rig.history.pause = rng.randint(0, 4)
    reading = asyncio.create_task(feed.prepare(rig.history))
    for _ in range(6):
        await asyncio.sleep(0)
        trade(rig, rng)
    await reading
    for message in feed.snapshots():
        rig.outbox.send(message)
    feed.readers[rig.outbox] = None
    for _ in range(6):
        trade(rig, rng)
    chart.take(await rig.settle())
    assert chart.rows == truth(rig, 1)


async def test_a_trade_whose_commit_was_in_doubt_is_counted_after_the_rebuild() -> None:
    """Also when it is the first trade that this process would have told."""
    rig, rng, chart = Rig(), random.Random(1), Chart()
    feed = rig.hub.ohlc(L1, 5)
    await feed.prepare(rig.history)
    feed.readers[rig.outbox] = None
    trade(rig, rng, told=False)
    rig.rebuild()
    chart.take(await rig.settle())
    trade(rig, rng)
    chart.take(await rig.settle())
    assert chart.rows == truth(rig, 5)


async def test_a_slow_reader_gets_the_candles_that_changed_meanwhile() -> None:
    rig, rng, chart = Rig(), random.Random(2), Chart()
    feed = rig.hub.ohlc(L1, 1)
    await feed.prepare(rig.history)
    feed.readers[rig.outbox] = None
    trade(rig, rng)
    rig.outbox.flush()
    rig.transport.unread = 1 << 20
    for _ in range(8):
        trade(rig, rng)
        rig.outbox.flush()
    chart.take(rig.transport.read_all())
    assert chart.rows != truth(rig, 1)
    rig.outbox.poll()
    rig.outbox.flush()
    late = rig.transport.read_all()
    assert all("conflated" in row for row in late[-1]["data"])
    chart.take(late)
    assert chart.rows == truth(rig, 1)


async def test_a_read_that_fails_is_done_again() -> None:
    rig, rng = Rig(), random.Random(3)
    feed = rig.hub.ohlc(L1, 1)
    rig.history.pause = -1
    with pytest.raises(TimeoutError):
        await feed.prepare(rig.history)
    trade(rig, rng)
    rig.history.pause = 0
    await feed.prepare(rig.history)
    assert feed.rows() == list(truth(rig, 1).values())
