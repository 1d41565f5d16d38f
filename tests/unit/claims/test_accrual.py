"""Accrued interest: pro rata to the period, by day count, clamped, flat; one rounding for a share."""

from datetime import date, timedelta
from fractions import Fraction

import pytest

from market.claims.accrual import NOTHING_ACCRUED, Accrued, accrued, full_period, share
from market.claims.loan import DayCount
from market.claims.schedule import Instalment, schedule_of
from market.ids import Face, Minor
from tests.builders import terms

LOAN = terms()
FIRST = schedule_of(LOAN).rows[0]  # due 2024-02-15, interest 100.00, 31 days
PRINCIPAL = LOAN.original_principal


def row(interest: int, due: date) -> Instalment:
    return Instalment(1, due, Minor(interest), Minor(interest), Minor(0), Minor(0))


def whole(of: Accrued) -> int:
    """Accrued interest of the whole loan in minor units."""
    return share(of, quantity=Face(PRINCIPAL), original_principal=PRINCIPAL)


@pytest.mark.parametrize(
    ("on", "expected"),
    [
        pytest.param(date(2024, 1, 10), 0, id="before the period"),
        pytest.param(date(2024, 1, 15), 0, id="on its first day nothing is earned yet"),
        pytest.param(date(2024, 1, 16), 3_23, id="one day of 31"),
        pytest.param(date(2024, 2, 14), 96_77, id="thirty days of 31"),
        pytest.param(date(2024, 2, 15), 100_00, id="due date"),
        pytest.param(date(2024, 3, 20), 100_00, id="overdue: never above the instalment"),
    ],
)
def test_period_pro_rata(on: date, expected: int) -> None:
    assert whole(accrued(LOAN, FIRST, LOAN.issue_date, PRINCIPAL, on, flat=False)) == expected


def test_a_long_first_period_spreads_the_same_interest() -> None:
    loan = terms(first_due_date=date(2024, 3, 15))  # 60 days
    first = schedule_of(loan).rows[0]
    assert whole(accrued(loan, first, loan.issue_date, PRINCIPAL, date(2024, 2, 14), flat=False)) == 50_00


@pytest.mark.parametrize(
    ("day_count", "expected"),
    [
        (DayCount.ACT_365F, 151_23),
        (DayCount.ACT_360, 153_33),
        (DayCount.THIRTY_360_US, 153_33),
        (DayCount.THIRTY_360_EU, 153_33),
        (DayCount.ACT_ACT_ISDA, 150_82),
    ],
)
def test_published_money_interest(day_count: DayCount, expected: int) -> None:
    """10,000.00 at 12 % from 2024-01-15 to 2024-03-01: first day counted, last not (QuantLib's figures)."""
    loan = terms(day_count=day_count)
    half_year = row(600_00, date(2024, 7, 15))
    found = accrued(loan, half_year, loan.issue_date, PRINCIPAL, date(2024, 3, 1), flat=False)
    assert whole(found) == expected


def test_published_period_share() -> None:
    """100,000 at 5.75 % semi-annual: 0.473525 % a month, 29 days of 30 are 457.74 (IIROC); in 0.00001 here."""
    month = row(473_52500, date(2024, 7, 1))
    found = accrued(LOAN, month, date(2024, 6, 1), PRINCIPAL, date(2024, 6, 30), flat=False)
    assert round(Fraction(found.numerator, found.denominator) / 1000) == 457_74


def test_day_count_never_earns_more_than_the_instalment() -> None:
    """The classical trap: 31 days under ACT/365F are 69.29 on 6,798.44, above a month's interest of 67.98."""
    loan = terms(day_count=DayCount.ACT_365F)
    month, start, outstanding = row(67_98, date(2024, 6, 15)), date(2024, 5, 15), Minor(6_798_44)
    assert whole(accrued(loan, month, start, outstanding, date(2024, 6, 15), flat=False)) == 67_98
    assert whole(accrued(loan, month, start, outstanding, date(2024, 6, 14), flat=False)) == 67_05


@pytest.mark.parametrize("day_count", DayCount)
def test_flat_loans_accrue_nothing(day_count: DayCount) -> None:
    loan = terms(day_count=day_count)
    assert accrued(loan, FIRST, loan.issue_date, PRINCIPAL, date(2024, 2, 1), flat=True) == NOTHING_ACCRUED


@pytest.mark.parametrize("day_count", DayCount)
def test_accrued_rises_daily_from_zero_and_stays_within_the_instalment(day_count: DayCount) -> None:
    loan = terms(day_count=day_count)
    days = [loan.issue_date + timedelta(k) for k in range(60)]
    found = [accrued(loan, FIRST, loan.issue_date, PRINCIPAL, on, flat=False) for on in days]
    amounts = [Fraction(a.numerator, a.denominator) for a in found]
    assert amounts[0] == 0
    assert amounts == sorted(amounts)
    assert amounts[-1] <= FIRST.interest


def test_zero_rate_accrues_nothing() -> None:
    loan = terms(annual_rate_ppm=0, day_count=DayCount.ACT_365F)
    first = schedule_of(loan).rows[0]
    assert whole(accrued(loan, first, loan.issue_date, PRINCIPAL, date(2024, 2, 1), flat=False)) == 0


def test_a_share_is_rounded_once() -> None:
    """17 days of 31 are 54.838..., of which 4,559.63 of 10,000.00 is 25.00442; 54.84 would have made it 25.01."""
    found = accrued(LOAN, FIRST, LOAN.issue_date, PRINCIPAL, date(2024, 2, 1), flat=False)
    assert found == Accrued(100_00 * 17, 31)
    assert share(found, quantity=Face(4_559_63), original_principal=PRINCIPAL) == 25_00
    assert share(Accrued(1, 2), quantity=Face(PRINCIPAL), original_principal=PRINCIPAL) == 1, "half a fen rounds up"


def test_a_buy_reserves_the_full_period() -> None:
    assert whole(full_period(FIRST)) == FIRST.interest
