"""The demo's loan book: equal for equal seeds, and each loan's dates, balance and status fit together."""

from datetime import date

import pytest

from gateway.demo.book import seeded_book
from market.claims.loan import LIVE_STATUSES, LoanStatus
from market.claims.schedule import schedule_of

DAYS = {LoanStatus.CURRENT: (0, 400), LoanStatus.GRACE: (-15, -1), LoanStatus.LATE: (-90, -16)}


def test_the_same_seed_gives_the_same_book() -> None:
    today = date(2024, 5, 1)
    assert seeded_book(50, seed=7, today=today) == seeded_book(80, seed=7, today=today)[:50]
    assert seeded_book(50, seed=8, today=today) != seeded_book(50, seed=7, today=today)


@pytest.mark.parametrize("today", [date(2024, 2, 29), date(2025, 1, 31), date(2026, 11, 22)])
def test_every_loan_is_what_its_status_says(today: date) -> None:
    book = seeded_book(1_000, seed=1, today=today)
    assert {each.status for each in book} >= set(DAYS)
    assert {each.terms.currency for each in book} == {"CNY", "USD"}
    for each in book:
        terms, schedule = each.terms, schedule_of(each.terms)
        if each.status not in LIVE_STATUSES:
            assert (terms.outstanding_at_registration, each.issued_face) == (0, 0)
            continue
        assert int(each.issued_face) == terms.original_principal
        balance = schedule.rows[schedule.paid - 1].balance if schedule.paid else terms.original_principal
        assert terms.outstanding_at_registration == balance
        soonest, latest = DAYS.get(each.status, (-180, -91))
        assert soonest <= (schedule.rows[schedule.paid].due_date - today).days <= latest
