"""What an account may expect from its claims: its share of every open instalment, by contract.

Assumed: each instalment is paid in full on its due date. From a loan in default nothing is expected by date.
A share is rounded half up on each leg by itself; what is paid in the end is split by largest remainder over all
holders, so it may differ by a minor unit.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date

from gateway.schemas import instalment_status
from gateway.views import AccountView, LoanView, Views
from market.claims.loan import LIVE_STATUSES, LoanStatus
from market.ids import Currency, Face, LoanId, Minor
from market.money import div_half_up

EXPECTED = LIVE_STATUSES - {LoanStatus.DEFAULT}


@dataclass(frozen=True, slots=True, kw_only=True)
class Cashflow:
    """n: the instalment's number in the loan.  status: due, late or future, as in the loan's schedule."""

    loan_id: LoanId
    n: int
    due_date: date
    interest: Minor
    principal: Minor
    currency: Currency
    status: str


def cashflows(views: Views, account: AccountView) -> list[Cashflow]:
    """Return what is expected, by date, then loan. The oldest arrears come first."""
    found = [
        flow
        for loan_id, claim in account.claims.items()
        if claim.total and views.loans[loan_id].state.status in EXPECTED
        for flow in _of_claim(views.loans[loan_id], claim.total, views.business_date)
    ]
    return sorted(found, key=lambda flow: (flow.due_date, flow.loan_id, flow.n))


def totals_by_date(flows: list[Cashflow]) -> dict[tuple[date, Currency], tuple[Minor, Minor]]:
    """Return interest and principal expected on each date in each currency, in order."""
    totals: dict[tuple[date, Currency], tuple[Minor, Minor]] = {}
    for flow in flows:
        interest, principal = totals.get((flow.due_date, flow.currency), (0, 0))
        totals[flow.due_date, flow.currency] = Minor(interest + flow.interest), Minor(principal + flow.principal)
    return dict(sorted(totals.items()))


def _of_claim(loan: LoanView, face: Face, on: date) -> Iterator[Cashflow]:
    terms, schedule = loan.state.terms, loan.schedule
    for i, row in enumerate(schedule.rows[schedule.paid :]):
        yield Cashflow(
            loan_id=terms.loan_id,
            n=row.n,
            due_date=row.due_date,
            interest=Minor(div_half_up(row.interest * face, terms.original_principal)),
            principal=Minor(div_half_up(row.principal * face, terms.original_principal)),
            currency=terms.currency,
            status=instalment_status(row, on, is_paid=False, is_next=i == 0),
        )
