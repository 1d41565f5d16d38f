"""Day counts: the published rules, their corner days, and QuantLib as a second opinion."""

import random
from datetime import date, timedelta
from fractions import Fraction

import pytest
import QuantLib as ql

from market.claims.daycount import days_30_360_eu, days_30_360_us, year_fraction
from market.claims.loan import DayCount

ENGINES = {
    DayCount.ACT_365F: ql.Actual365Fixed(),
    DayCount.ACT_360: ql.Actual360(),
    DayCount.THIRTY_360_US: ql.Thirty360(ql.Thirty360.USA),
    DayCount.THIRTY_360_EU: ql.Thirty360(ql.Thirty360.European),
    DayCount.ACT_ACT_ISDA: ql.ActualActual(ql.ActualActual.ISDA),
}


@pytest.mark.parametrize(
    ("start", "end", "us", "eu"),
    [
        pytest.param(date(2024, 1, 15), date(2024, 3, 1), 46, 46, id="plain"),
        pytest.param(date(2024, 1, 31), date(2024, 3, 31), 60, 60, id="31st to 31st"),
        pytest.param(date(2024, 1, 15), date(2024, 3, 31), 76, 75, id="an end on the 31st stays in the US"),
        pytest.param(date(2024, 2, 29), date(2024, 3, 31), 30, 31, id="end of February is a 30th in the US"),
        pytest.param(date(2023, 2, 28), date(2024, 2, 29), 360, 361, id="both ends of February"),
        pytest.param(date(2024, 2, 28), date(2024, 3, 31), 33, 32, id="28 February of a leap year is no end"),
    ],
)
def test_days_in_months_of_thirty(start: date, end: date, us: int, eu: int) -> None:
    assert (days_30_360_us(start, end), days_30_360_eu(start, end)) == (us, eu)


def test_act_act_splits_at_new_year() -> None:
    expected = Fraction(61, 365) + Fraction(121, 366)
    assert year_fraction(DayCount.ACT_ACT_ISDA, date(2003, 11, 1), date(2004, 5, 1)) == expected


def test_a_period_is_not_a_fraction_of_a_year() -> None:
    with pytest.raises(ValueError, match="period"):
        year_fraction(DayCount.PERIOD, date(2024, 1, 1), date(2024, 2, 1))


@pytest.mark.parametrize("convention", ENGINES)
def test_quantlib_agrees(convention: DayCount) -> None:
    rng, engine = random.Random(7), ENGINES[convention]
    for _ in range(1_000):
        start = date(1999, 1, 1) + timedelta(rng.randrange(4_000))
        end = start + timedelta(rng.randrange(2_000))
        theirs = engine.yearFraction(ql.Date(start.day, start.month, start.year), ql.Date(end.day, end.month, end.year))
        assert float(year_fraction(convention, start, end)) == pytest.approx(theirs, abs=1e-12), (start, end)
