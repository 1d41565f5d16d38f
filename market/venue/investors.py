"""How much one investor may have of a loan, a borrower, a grade, and whether a grade suits him: judged when he buys.

Counted in current face, half up once per loan: what he holds and what his open buys would add, in the loan's currency.
Left out: market makers and originators, whose business it is to hold.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable

from market.commands import AccountKind
from market.errors import NotEligible, RuleViolation
from market.ids import Currency, Face, LoanId
from market.money import decimal_text
from market.orderbook.order import Order, Side
from market.venue.amounts import principal_of
from market.venue.rulebook import Limits
from market.venue.state import PAR, Account, Loan, State

NO_LIMITS = Limits()


def is_limited(loan: Loan, account: Account, side: Side) -> bool:
    return side is Side.BUY and account.kind is AccountKind.INVESTOR and loan.rulebook.limits != NO_LIMITS


def check_suitability(loan: Loan, account: Account, side: Side) -> None:
    """An investor without a risk class may buy only what is for anybody."""
    if side is not Side.BUY or account.kind is not AccountKind.INVESTOR:
        return
    grade, lowest = loan.terms.grade, loan.rulebook.risk_class_for(loan.terms.grade)
    if lowest is not None and (account.risk_class is None or account.risk_class < lowest):
        raise NotEligible(f"grade {grade} is for risk classes from {lowest} on", rule="suitability")


class Exposure:
    """What one account has and bids for, in one currency: original face by loan."""

    def __init__(self, state: State, account: Account, currency: Currency, orders: Iterable[Order]) -> None:
        """orders: which of the account's open ones count."""
        self._state = state
        self._cash = account.cash[currency].total if currency in account.cash else 0
        self._held = {
            loan_id: claim.total
            for loan_id, claim in account.claims.items()
            if state.loans[loan_id].terms.currency == currency
        }
        self._faces: defaultdict[LoanId, int] = defaultdict(int, self._held)
        for order in orders:
            if order.side is Side.BUY and state.loans[order.loan_id].terms.currency == currency:
                self.add(order)

    def add(self, order: Order) -> None:
        self._faces[order.loan_id] += order.leaves

    def check(self, loan: Loan, quantity: Face) -> None:
        """Raises RuleViolation if `quantity` more of the loan is more than its rulebook lets an investor have.

        bound: the limit, have: what it leaves, need: what the order adds; all in current face.
        """
        limits, terms = loan.rulebook.limits, loan.terms
        per_grade = None if limits.per_grade_bp is None else self._portfolio() * limits.per_grade_bp // 10_000
        share = f" ({decimal_text(limits.per_grade_bp or 0)} % of cash and claims)"
        self._within("loan", "", limits.per_loan, loan, quantity, lambda other: other is loan)
        self._within("borrower", "", limits.per_borrower, loan, quantity, lambda other: _same_borrower(other, loan))
        self._within("grade", share, per_grade, loan, quantity, lambda other: other.terms.grade == terms.grade)

    def _within(
        self, what: str, share: str, limit: int | None, loan: Loan, quantity: Face, counts: Callable[[Loan], bool]
    ) -> None:
        if limit is None:
            return
        loans = self._state.loans
        before = sum(
            current_face(loans[loan_id], face) for loan_id, face in self._faces.items() if counts(loans[loan_id])
        )
        had = self._faces.get(loan.terms.loan_id, 0)
        more = current_face(loan, had + quantity) - current_face(loan, had)
        if before + more > limit:
            raise RuleViolation(
                f"an investor may have {decimal_text(limit)} of one {what}{share}, open buys included",
                field="order_qty",
                rule=f"limit_per_{what}",
                bound=limit,
                have=max(limit - before, 0),
                need=more,
            )

    def _portfolio(self) -> int:
        loans = self._state.loans
        return self._cash + sum(current_face(loans[loan_id], face) for loan_id, face in self._held.items())


def current_face(loan: Loan, face: int) -> int:
    return principal_of(loan, Face(face), PAR)


def _same_borrower(one: Loan, other: Loan) -> bool:
    """Loans that do not name their borrower are of as many borrowers."""
    return one is other or (bool(one.terms.borrower_ref) and one.terms.borrower_ref == other.terms.borrower_ref)
