"""Day count conventions: the part of a year between two dates, as an exact fraction.

In each the first day counts and the last does not (算头不算尾). `DayCount.PERIOD` is not a fraction of a year: it
shares an instalment's interest over the days of its own period (accrual.py).
"""

from datetime import date, timedelta
from fractions import Fraction

from market.claims.loan import DayCount


def year_fraction(convention: DayCount, start: date, end: date) -> Fraction:
    """Return the years from `start` (inclusive) to `end` (exclusive), exact; negative if `end` is before `start`.

    Source: 2006 ISDA Definitions section 4.16 (b) ACT/ACT, (d) ACT/365F, (e) ACT/360, (g) 30E/360; see
    `days_30_360_us` for 30/360. Raises ValueError for `DayCount.PERIOD`.
    """
    match convention:
        case DayCount.ACT_365F:
            return Fraction((end - start).days, 365)
        case DayCount.ACT_360:
            return Fraction((end - start).days, 360)
        case DayCount.THIRTY_360_US:
            return Fraction(days_30_360_us(start, end), 360)
        case DayCount.THIRTY_360_EU:
            return Fraction(days_30_360_eu(start, end), 360)
        case DayCount.ACT_ACT_ISDA:
            return _act_act_isda(start, end)
        case DayCount.PERIOD:
            raise ValueError("a period share is not a fraction of a year")


def days_30_360_us(start: date, end: date) -> int:
    """Return days between two dates in months of 30 days, US rule.

    The last day of February as the start is a 30th, and as the end too if both are; then an end on the 31st is a 30th
    if the start is a 30th or 31st.  Source: SIFMA Standard Securities Calculation Methods; the NASD rule of Excel.
    """
    start_day, end_day = start.day, end.day
    if _ends_february(start):
        start_day = 30
        if _ends_february(end):
            end_day = 30
    if end_day == 31 and start_day >= 30:
        end_day = 30
    return _days_360(start, min(start_day, 30), end, end_day)


def days_30_360_eu(start: date, end: date) -> int:
    """Return days between two dates in months of 30 days, European rule (30E/360): a 31st is a 30th, always."""
    return _days_360(start, min(start.day, 30), end, min(end.day, 30))


def _days_360(start: date, start_day: int, end: date, end_day: int) -> int:
    return 360 * (end.year - start.year) + 30 * (end.month - start.month) + end_day - start_day


def _ends_february(day: date) -> bool:
    return day.month == 2 and (day + timedelta(1)).month == 3


def _act_act_isda(start: date, end: date) -> Fraction:
    """Days that fall in a leap year over 366 and the others over 365: each date as years since year 0, subtracted."""
    return _years_since_zero(end) - _years_since_zero(start)


def _years_since_zero(day: date) -> Fraction:
    new_year = date(day.year, 1, 1)
    length = (date(day.year, 12, 31) - new_year).days + 1
    return day.year + Fraction((day - new_year).days, length)
