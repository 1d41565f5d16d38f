"""Midnight in several zones, also on the days on which clocks are changed."""

from datetime import UTC, date, datetime
from zoneinfo import ZoneInfo

import pytest

from gateway.process.calendar import SECOND, day_at, seconds_to_midnight
from market.ids import Nanos

NEW_YORK, SHANGHAI = ZoneInfo("America/New_York"), ZoneInfo("Asia/Shanghai")


def at(text: str) -> Nanos:
    return Nanos(int(datetime.fromisoformat(text).timestamp()) * SECOND)


@pytest.mark.parametrize(
    ("zone", "now", "day", "hours"),
    [
        (UTC, "2024-05-01T00:00:00Z", date(2024, 5, 1), 24),
        (UTC, "2024-05-01T23:30:00Z", date(2024, 5, 1), 0.5),
        (SHANGHAI, "2024-05-01T15:59:59Z", date(2024, 5, 1), 1 / 3600),
        (SHANGHAI, "2024-05-01T16:00:00Z", date(2024, 5, 2), 24),
        (NEW_YORK, "2024-05-01T03:00:00Z", date(2024, 4, 30), 1),
        (NEW_YORK, "2024-03-10T05:00:00Z", date(2024, 3, 10), 23),  # an hour is left out
        (NEW_YORK, "2024-11-03T04:00:00Z", date(2024, 11, 3), 25),  # an hour comes twice
    ],
)
def test_the_day_and_what_is_left_of_it(zone: ZoneInfo, now: str, day: date, hours: float) -> None:
    assert day_at(at(now), zone) == day
    assert seconds_to_midnight(at(now), zone) == pytest.approx(hours * 3600)
