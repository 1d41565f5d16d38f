"""Schedules of random loans against a model on exact fractions, written as the rules are said."""

import random
from calendar import monthrange
from fractions import Fraction
from itertools import pairwise
from math import floor

import pytest

from market.claims.loan import LoanTerms, RepaymentMethod
from market.claims.schedule import level_payment, schedule_of
from tests.property.random_loans import random_terms


def half_up(exact: Fraction) -> int:
    return floor(exact + Fraction(1, 2))


def model(terms: LoanTerms, balance: int, periods: int) -> list[tuple[int, int, int]]:
    """(interest, principal, balance) of each instalment that takes `balance` to zero."""
    yearly = Fraction(terms.annual_rate_ppm, 1_000_000)
    rate = yearly * terms.months_per_period / 12
    whole_term = terms.term_months // terms.months_per_period
    if rate:
        growth = (1 + rate) ** whole_term
        level = half_up(terms.original_principal * rate * growth / (growth - 1))
    else:
        level = half_up(Fraction(terms.original_principal, whole_term))
    rows = []
    for n in range(1, periods + 1):
        interest = half_up(balance * rate)
        match terms.repayment_method:
            case RepaymentMethod.ANNUITY:
                principal = level - interest
            case RepaymentMethod.EQUAL_PRINCIPAL:
                principal = half_up(Fraction(terms.original_principal, whole_term))
            case RepaymentMethod.INTEREST_ONLY:
                principal = 0
            case RepaymentMethod.BULLET:
                interest, principal = half_up(balance * yearly * terms.term_months / 12), balance
        principal = balance if n == periods else min(principal, balance)
        balance -= principal
        rows.append((interest, principal, balance))
        if balance == 0:
            break
    return rows


@pytest.mark.parametrize("seed", range(20))
def test_schedules_are_what_the_model_says(seed: int) -> None:
    rng = random.Random(seed)
    for _ in range(50):
        terms = random_terms(rng)
        bullet = terms.repayment_method is RepaymentMethod.BULLET
        periods = 1 if bullet else terms.term_months // terms.months_per_period
        outstanding = terms.outstanding_at_registration
        expected = model(terms, terms.original_principal, periods)
        paid = 0
        if outstanding < terms.original_principal:
            paid = sum(balance >= outstanding for _, _, balance in expected)
            expected = expected[:paid] + model(terms, outstanding, periods - paid)
        schedule = schedule_of(terms)
        assert schedule.paid == paid, terms
        assert [(row.interest, row.principal, row.balance) for row in schedule.rows] == expected, terms


@pytest.mark.parametrize("seed", range(20))
def test_schedules_hold_their_invariants(seed: int) -> None:
    rng = random.Random(1_000 + seed)
    for _ in range(50):
        terms = random_terms(rng)
        schedule = schedule_of(terms)
        rows, open_rows = schedule.rows, schedule.rows[schedule.paid :]
        assert sum(row.principal for row in open_rows) == terms.outstanding_at_registration, terms
        assert rows[-1].balance == 0
        assert [row.n for row in rows] == list(range(1, len(rows) + 1))
        assert all(row.payment == row.interest + row.principal and row.principal >= 0 for row in rows)
        days = [schedule.start, *(row.due_date for row in rows)]
        assert all(before < after for before, after in pairwise(days)), terms
        last_day = max(day.day for day in days[1:])
        assert all(day.day in (last_day, monthrange(day.year, day.month)[1]) for day in days[1:]), terms


@pytest.mark.parametrize("seed", range(5))
def test_level_payment_is_the_rounded_fraction(seed: int) -> None:
    rng = random.Random(seed)
    for _ in range(100):
        principal, ppm, n = rng.randint(1, 10**9), rng.randint(1, 10_000_000), rng.randint(1, 360)
        rate = Fraction(ppm, 12_000_000)
        exact = principal * rate / (1 - 1 / (1 + rate) ** n)
        assert level_payment(principal=principal, annual_rate_ppm=ppm, periods=n) == half_up(exact)
