"""What an account may expect from its claims: its share of every open instalment, by contract.

Assumed: each instalment is paid in full on its due date. From a loan in default nothing is expected by date.
A share is rounded half up on each leg by itself; what is paid in the end is split by largest remainder over all
holders, so it may differ by a minor unit.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import date
from typing import Any

from gateway.reads.schemas import instalment_status
from gateway.reads.views import AccountView, Views
from gateway.wire import minor_text
from market.claims.loan import LIVE_STATUSES, LoanStatus, LoanTerms
from market.claims.schedule import Instalment
from market.ids import Currency, Face, Minor
from market.money import div_half_up

EXPECTED = LIVE_STATUSES - {LoanStatus.DEFAULT}


@dataclass(frozen=True, slots=True)
class Expecting:
    """A claim with the open instalments of its loan, oldest first: values, so that another thread may add them up."""

    terms: LoanTerms
    face: Face
    rows: tuple[Instalment, ...]

    def share(self, amount: Minor) -> Minor:
        return Minor(div_half_up(amount * self.face, self.terms.original_principal))


def expecting(views: Views, account: AccountView, *, from_loan: str = "") -> Iterator[Expecting]:
    """Yield the account's claims that expect anything, by loan id, from that loan on."""
    for loan_id in sorted(loan_id for loan_id in account.claims if loan_id >= from_loan):
        loan, face = views.loans[loan_id], account.claims[loan_id].total
        if face and loan.state.status in EXPECTED:
            yield Expecting(loan.state.terms, face, tuple(loan.schedule.rows[loan.schedule.paid :]))


def rows_by_claim(claims: Iterable[Expecting], on: date) -> Iterator[dict[str, Any]]:
    """Yield one row for each instalment, by loan, then number. status: due, late or future, as in its schedule."""
    for claim in claims:
        for i, row in enumerate(claim.rows):
            yield {
                "loan_id": claim.terms.loan_id,
                "n": row.n,
                **_amounts(row.due_date, claim.terms.currency, claim.share(row.interest), claim.share(row.principal)),
                "status": instalment_status(row, on, is_paid=False, is_next=i == 0),
            }


def rows_by_date(claims: Iterable[Expecting]) -> list[dict[str, Any]]:
    """Return the sums of each date in each currency, in order. About 0.6 us per instalment."""
    totals: dict[tuple[date, Currency], tuple[int, int]] = {}
    for claim in claims:
        for row in claim.rows:
            key = row.due_date, claim.terms.currency
            interest, principal = totals.get(key, (0, 0))
            totals[key] = interest + claim.share(row.interest), principal + claim.share(row.principal)
    return [_amounts(*key, *sums) for key, sums in sorted(totals.items())]


def _amounts(due_date: date, currency: Currency, interest: int, principal: int) -> dict[str, Any]:
    return {
        "due_date": due_date.isoformat(),
        "interest": minor_text(interest),
        "principal": minor_text(principal),
        "amount": minor_text(interest + principal),
        "currency": currency,
    }
