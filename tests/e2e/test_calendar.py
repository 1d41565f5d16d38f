"""The business day that moves by itself, on a real engine and a clock of ours."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import UTC, date, datetime

from gateway.process.calendar import RETRY_S, SECOND, keep_days
from market.commands import RollDay
from tests.e2e.stack import Stack


class Clock:
    """Stands still; whoever sleeps waits until somebody lets time pass."""

    def __init__(self, day: date) -> None:
        self.set(day)
        self.waits: asyncio.Queue[float] = asyncio.Queue()
        self.woken = asyncio.Event()

    def set(self, day: date) -> None:
        self.now = int(datetime(day.year, day.month, day.day, 12, tzinfo=UTC).timestamp()) * SECOND

    async def sleep(self, seconds: float) -> None:
        self.waits.put_nowait(seconds)
        await self.woken.wait()
        self.woken.clear()


@asynccontextmanager
async def kept(stack: Stack, clock: Clock) -> AsyncIterator[None]:
    days = keep_days(
        stack.engine, lambda: stack.views.business_date, zone=UTC, clock=lambda: clock.now, sleep=clock.sleep
    )
    task = asyncio.create_task(days)
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def rolls(stack: Stack) -> list[str]:
    rows = await stack.pool.fetch(
        "SELECT body::json->>'to' AS day FROM market.command_log "
        "WHERE kind = 'RollDay' AND actor = 'calendar' ORDER BY seq"
    )
    return [row["day"] for row in rows]


async def test_missed_days_are_caught_up_one_by_one_then_midnight_moves_it(stack: Stack) -> None:
    clock = Clock(date(2024, 1, 18))
    async with kept(stack, clock):
        assert await clock.waits.get() > RETRY_S
        assert stack.views.business_date == date(2024, 1, 18)
        clock.set(date(2024, 1, 19))
        clock.woken.set()
        await clock.waits.get()
        await stack.do(RollDay(to=date(2024, 1, 21)))  # by hand, ahead of the calendar: left alone
        clock.set(date(2024, 1, 20))
        clock.woken.set()
        await clock.waits.get()
        assert stack.views.business_date == date(2024, 1, 21)
    assert await rolls(stack) == ["2024-01-16", "2024-01-17", "2024-01-18", "2024-01-19"]


async def test_it_goes_on_after_the_engine_lost_its_database(stack: Stack) -> None:
    clock = Clock(date(2024, 1, 15))
    async with kept(stack, clock):
        await clock.waits.get()
        async with stack.engine_kept_off():
            clock.set(date(2024, 1, 16))
            clock.woken.set()
            assert await clock.waits.get() == RETRY_S, "the roll was refused"
            assert stack.views.business_date == date(2024, 1, 15)
        clock.woken.set()
        await clock.waits.get()
        assert stack.views.business_date == date(2024, 1, 16)
    assert await rolls(stack) == ["2024-01-16"]
