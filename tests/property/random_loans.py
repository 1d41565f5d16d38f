"""Random loan terms of every kind: method, period, rate, calendar, size, part repaid."""

import random
from datetime import date, timedelta

from market.claims.loan import DayCount, LoanTerms, RepaymentMethod
from market.claims.schedule import add_months
from market.ids import Minor
from tests.builders import terms


def random_terms(rng: random.Random) -> LoanTerms:
    """Terms of a loan with something outstanding, from 100.00 to 1,000,000.00; schedule_of accepts each."""
    months_per_period = rng.choice([1, 1, 1, 3, 6, 12])
    issue = date(2015, 1, 1) + timedelta(rng.randrange(5_000))
    anchor_day = issue.day if rng.random() < 0.7 else rng.randint(1, 31)
    principal = rng.randint(100_00, rng.choice([1_000_00, 50_000_00, 1_000_000_00]))
    outstanding = principal if rng.random() < 0.5 else rng.randint(principal // 20, principal)
    return terms(
        original_principal=Minor(principal),
        outstanding_at_registration=Minor(outstanding),
        annual_rate_ppm=rng.choice([0, rng.randrange(1_000, 60_000), rng.randrange(60_000, 360_000, 100)]),
        repayment_method=rng.choice(list(RepaymentMethod)),
        term_months=months_per_period * rng.randint(1, 60 // months_per_period),
        months_per_period=months_per_period,
        issue_date=issue,
        first_due_date=add_months(issue, months_per_period, anchor_day=anchor_day),
        day_count=rng.choice(list(DayCount)),
    )
