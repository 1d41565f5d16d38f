"""The market's midnight: rolls the business day by itself, and catches up the days that passed while nobody did.

One command a day, so that orders are served between two of them. A roll that fails is tried again; one that somebody
made by hand in the meantime is not repeated. Only forward: a business date ahead of the calendar is left alone.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from datetime import UTC, date, datetime, time, timedelta, tzinfo

from market.commands import RollDay
from market.errors import MarketError
from market.ids import Nanos
from market.port import EnginePort

log = logging.getLogger(__name__)

ACTOR = "calendar"
LOOK_S_MAX = 30.0  # a machine may sleep through midnight, or have its clock set
RETRY_S = 1.0
SECOND = 10**9


async def keep_days(
    engine: EnginePort,
    business_date: Callable[[], date],
    *,
    zone: tzinfo,
    clock: Callable[[], int],
    sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
) -> None:
    """Run until cancelled. business_date: of the committed state.  clock: nanoseconds since 1970."""
    while True:
        day, wait_s = business_date(), min(seconds_to_midnight(Nanos(clock()), zone), LOOK_S_MAX)
        while day < day_at(Nanos(clock()), zone):
            day += timedelta(days=1)
            try:
                await engine.submit(RollDay(to=day, reason="midnight"), actor=ACTOR)
            except MarketError as e:
                log.warning("day_roll_failed to=%s error=%s", day, e)
                wait_s = RETRY_S
                break
            log.info("day_rolled to=%s", day)
        await sleep(wait_s)


def day_at(at: Nanos, zone: tzinfo) -> date:
    """Return the date that a calendar on the wall of that zone shows."""
    return datetime.fromtimestamp(at // SECOND, zone).date()


def seconds_to_midnight(at: Nanos, zone: tzinfo) -> float:
    """Return how long the day in that zone still lasts, > 0: 23 to 25 hours at its beginning, as clocks are changed."""
    end = datetime.combine(day_at(at, zone) + timedelta(days=1), time.min, zone).astimezone(UTC)
    return end.timestamp() - at / SECOND
