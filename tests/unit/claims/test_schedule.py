"""Schedules: the worked example, each method, odd calendars, rounding at its limits, loans registered part-way."""

import gzip
from csv import DictReader
from datetime import date
from decimal import Decimal
from typing import Any

import pytest

from market.claims.loan import RepaymentMethod
from market.claims.schedule import Schedule, due_dates, level_payment, recast, schedule_of
from market.ids import Minor
from tests.builders import terms
from tests.data import DATA_DIR, needs_data


def schedule(**changed: Any) -> Schedule:
    """The worked loan (10,000.00 at 12 % over 12 months, annuity) with changes."""
    return schedule_of(terms(**changed))


def payments(of: Schedule) -> list[int]:
    return [row.payment for row in of.rows]


def balances(of: Schedule) -> list[int]:
    return [row.balance for row in of.rows]


def test_worked_annuity() -> None:
    worked = schedule()
    assert payments(worked) == [888_49] * 11 + [888_47]
    assert sum(row.interest for row in worked.rows) == 661_86
    assert worked.rows[2].balance == 7_610_80  # factor 0.76108 after three instalments
    assert (worked.paid, worked.start) == (0, date(2024, 1, 15))


def test_published_level_payment() -> None:
    assert level_payment(principal=Minor(10_000_00), annual_rate_ppm=119_000, periods=36) == 331_67  # goPeer


def test_equal_principal_interest_adds_up_to_the_closed_form() -> None:
    rows = schedule(repayment_method=RepaymentMethod.EQUAL_PRINCIPAL, original_principal=Minor(60_000_00),
                    outstanding_at_registration=Minor(60_000_00)).rows  # fmt: skip
    assert {row.principal for row in rows} == {5_000_00}
    assert sum(row.interest for row in rows) == 3_900_00  # P x r x (n + 1) / 2


def test_equal_principal_last_instalment_clears_what_division_leaves() -> None:
    rows = schedule(repayment_method=RepaymentMethod.EQUAL_PRINCIPAL).rows
    assert [row.principal for row in rows] == [833_33] * 11 + [833_37]


def test_interest_only_pays_principal_at_the_end() -> None:
    worked = schedule(repayment_method=RepaymentMethod.INTEREST_ONLY)
    assert payments(worked) == [100_00] * 11 + [10_100_00]
    assert balances(worked) == [10_000_00] * 11 + [0]


@pytest.mark.parametrize(
    ("first_due", "maturity"),
    [
        pytest.param(date(2024, 2, 15), date(2025, 1, 15), id="first due date is the end of a first month"),
        pytest.param(date(2025, 1, 15), date(2025, 1, 15), id="first due date is the maturity"),
        pytest.param(date(2025, 1, 10), date(2025, 1, 10), id="maturity a little early"),
        pytest.param(date(2025, 2, 3), date(2025, 2, 3), id="maturity a little late"),
        pytest.param(date(2024, 3, 1), date(2025, 2, 1), id="a long first month moves the maturity"),
    ],
)
def test_bullet_pays_once_with_simple_interest(first_due: date, maturity: date) -> None:
    (row,) = schedule(repayment_method=RepaymentMethod.BULLET, first_due_date=first_due).rows
    assert (row.due_date, row.payment, row.interest, row.balance) == (maturity, 11_200_00, 1_200_00, 0)


def test_quarterly_periods() -> None:
    worked = schedule(months_per_period=3, first_due_date=date(2024, 4, 15))
    assert [row.due_date.month for row in worked.rows] == [4, 7, 10, 1]
    assert worked.rows[0].interest == 300_00
    assert payments(worked)[:3] == [2_690_27] * 3  # 10,000 x 0.03 x 1.03^4 / (1.03^4 - 1)


def test_zero_rate() -> None:
    worked = schedule(annual_rate_ppm=0)
    assert payments(worked) == [833_33] * 11 + [833_37]
    assert all(row.interest == 0 for row in worked.rows)


def test_length_of_the_first_period_does_not_change_instalments() -> None:
    for first_due in date(2024, 1, 25), date(2024, 3, 31):
        assert payments(schedule(first_due_date=first_due)) == payments(schedule())


@pytest.mark.parametrize(
    ("issue", "first_due", "expected"),
    [
        pytest.param(date(2024, 1, 31), date(2024, 2, 29), ["02-29", "03-31", "04-30"], id="31st, leap year"),
        pytest.param(date(2023, 1, 31), date(2023, 2, 28), ["02-28", "03-31", "04-30"], id="31st, common year"),
        pytest.param(date(2024, 1, 30), date(2024, 2, 29), ["02-29", "03-30", "04-30"], id="30th"),
        pytest.param(date(2024, 3, 31), date(2024, 4, 30), ["04-30", "05-31", "06-30"], id="31st over a short month"),
        pytest.param(date(2024, 1, 15), date(2024, 2, 29), ["02-29", "03-29", "04-29"], id="29th by choice"),
        pytest.param(date(2024, 1, 31), date(2024, 3, 15), ["03-15", "04-15", "05-15"], id="a day of its own"),
        pytest.param(date(2023, 12, 31), date(2024, 1, 31), ["01-31", "02-29", "03-31"], id="31st first"),
    ],
)
def test_month_ends(issue: date, first_due: date, expected: list[str]) -> None:
    days = due_dates(issue=issue, first_due=first_due, periods=3, months_per_period=1)
    assert [day.isoformat()[5:] for day in days] == expected


def test_month_end_survives_a_quarter_grid() -> None:
    days = due_dates(issue=date(2023, 8, 31), first_due=date(2023, 11, 30), periods=4, months_per_period=3)
    assert [day.isoformat() for day in days] == ["2023-11-30", "2024-02-29", "2024-05-31", "2024-08-31"]


def test_registered_exactly_on_schedule_takes_past_instalments_as_paid() -> None:
    seasoned = schedule(outstanding_at_registration=Minor(7_610_80))
    assert seasoned.paid == 3
    assert seasoned.rows == schedule().rows


def test_registered_between_two_balances_keeps_the_level_payment_and_clears_what_is_left() -> None:
    seasoned = schedule(outstanding_at_registration=Minor(7_000_00))
    assert seasoned.paid == 3  # 7,610.80 is not below 7,000.00, the next balance, 6,798.42, is
    assert seasoned.rows[:3] == schedule().rows[:3]
    assert payments(seasoned)[3:11] == [888_49] * 8
    assert seasoned.rows[3].interest == 70_00
    assert seasoned.rows[-1].balance == 0
    assert seasoned.rows[-1].payment < 888_49
    assert sum(row.principal for row in seasoned.rows[3:]) == 7_000_00


def test_registered_with_nothing_outstanding_is_all_paid() -> None:
    finished = schedule(outstanding_at_registration=Minor(0))
    assert finished.paid == len(finished.rows) == 12


def test_interest_only_registered_with_less_has_only_its_last_instalment_open() -> None:
    seasoned = schedule(repayment_method=RepaymentMethod.INTEREST_ONLY, outstanding_at_registration=Minor(4_000_00))
    assert seasoned.paid == 11
    assert seasoned.rows[-1].payment == 4_040_00


def test_bullet_registered_with_less_owes_interest_on_what_is_outstanding() -> None:
    seasoned = schedule(repayment_method=RepaymentMethod.BULLET, outstanding_at_registration=Minor(4_000_00))
    assert (seasoned.paid, payments(seasoned)) == (0, [4_480_00])


def test_recast_after_a_payment_in_advance_drops_rows_that_are_not_needed() -> None:
    before = schedule()
    after = recast(terms(), before, paid=2, outstanding=Minor(1_500_00))
    assert after.rows[:2] == before.rows[:2]
    assert [(row.n, row.payment) for row in after.rows[2:]] == [(3, 888_49), (4, 632_78)]
    assert after.rows[2].due_date == before.rows[2].due_date


@pytest.mark.parametrize("method", RepaymentMethod)
def test_dust_loans_are_cleared(method: RepaymentMethod) -> None:
    for principal in range(1, 40):
        rows = schedule(
            repayment_method=method, term_months=60, original_principal=Minor(principal),
            outstanding_at_registration=Minor(principal),
        ).rows  # fmt: skip
        assert sum(row.principal for row in rows) == principal
        assert rows[-1].balance == 0
        assert rows[-1].principal > 0


def test_rates_at_which_interest_eats_the_level_payment_never_let_the_debt_grow() -> None:
    rows = schedule(annual_rate_ppm=10_000_000, term_months=60).rows
    assert all(row.principal >= 0 for row in rows)
    assert sum(row.principal for row in rows) == 10_000_00


def test_a_term_of_broken_periods_is_refused() -> None:
    with pytest.raises(ValueError, match="13 months"):
        schedule(term_months=13, months_per_period=3)


@needs_data
def test_lendingclub_instalments_of_2018q1() -> None:
    """The level payment of 10,000 real loans, to 0.01, for at least 99.9 % of them."""
    with gzip.open(DATA_DIR / "loans_lendingclub_2018q1.csv.gz", "rt") as file:
        rows = list(DictReader(file))
    off = 0
    for row in rows:
        level = level_payment(
            principal=Minor(int(Decimal(row["loan_amount"]) * 100)),
            annual_rate_ppm=int(Decimal(row["interest_rate"]) * 10_000),
            periods=int(row["term"]),
        )
        off += abs(level - Decimal(row["installment"]) * 100) > 1
    assert len(rows) == 10_000
    assert off <= len(rows) // 1000
