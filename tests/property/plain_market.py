"""Accounts, holders and resting orders around plain loans: what fills cost, what orders hold, who is paid what.

Which orders meet is not decided here (the book has a reference of its own); what each fill costs is.
"""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import date, timedelta
from fractions import Fraction

from market.claims.servicing import ServicingEvent, ServicingType
from market.events import Traded
from market.ids import Minor
from market.venue.rulebook import FeeRule, Rulebook
from tests.property.plain_loan import LIVE, Money, PlainLoan, half_up, shares

FEES = Rulebook(
    name="fees",
    buyer_fee=FeeRule(rate_ppm=2_500, minimum=Minor(3)),
    seller_fee=FeeRule(rate_ppm=3_000, cap=Minor(500)),
)


@dataclass
class PlainOrder:
    """An open order. held: what the venue holds for it.  fills: how many it had so far."""

    order_id: int
    account: str
    loan_id: str
    is_buy: bool
    price: int
    leaves: int
    is_day: bool
    on_payment: bool  # it asked to end with a payment
    on_reschedule: bool
    yield_ppm: int | None = None  # of an order pegged to it
    held: int = 0
    fills: int = 0


@dataclass
class PlainMarket:
    today: date
    loans: dict[str, PlainLoan] = field(default_factory=dict)
    issued: dict[str, int] = field(default_factory=dict)
    cash: defaultdict[str, int] = field(default_factory=lambda: defaultdict(int))
    faces: dict[str, defaultdict[str, int]] = field(default_factory=dict)  # loan -> account -> face
    costs: defaultdict[tuple[str, str], int] = field(default_factory=lambda: defaultdict(int))  # of (account, loan)
    realised: defaultdict[tuple[str, str], int] = field(default_factory=lambda: defaultdict(int))
    orders: dict[int, PlainOrder] = field(default_factory=dict)
    custody: int = 0
    events: dict[str, ServicingEvent] = field(default_factory=dict)  # booked ones

    # What things cost

    def clean(self, loan_id: str, face: int, price: int) -> int:
        loan = self.loans[loan_id]
        return half_up(Fraction(face * loan.outstanding * price, loan.terms.original_principal * 10_000))

    def share(self, loan_id: str, of_loan: Fraction | int, face: int) -> int:
        return half_up(of_loan * Fraction(face, self.loans[loan_id].terms.original_principal))

    def hold(self, order: PlainOrder) -> int:
        """Clean amount, a full period's accrued interest and the fee; of a sale the face itself."""
        if not order.is_buy:
            return order.leaves
        clean = self.clean(order.loan_id, order.leaves, order.price)
        accrued = self.share(order.loan_id, self.loans[order.loan_id].bound(), order.leaves)
        return clean + accrued + fee(FEES.buyer_fee, clean)

    def free(self, account: str) -> int:
        return self.cash[account] - sum(o.held for o in self.orders.values() if o.is_buy and o.account == account)

    def free_face(self, account: str, loan_id: str) -> int:
        offered = [o for o in self.orders.values() if not o.is_buy and (o.account, o.loan_id) == (account, loan_id)]
        return self.faces[loan_id][account] - sum(order.held for order in offered)

    # What happens

    def issue(self, loan_id: str, face: int) -> None:
        """New face is the originator's, at a cost of par."""
        self.issued[loan_id] = self.issued.get(loan_id, 0) + face
        self.faces.setdefault(loan_id, defaultdict(int))["ORIG"] += face
        self.costs["ORIG", loan_id] += self.clean(loan_id, face, 10_000)

    def trade(self, told: Traded) -> None:
        """Settle a fill at its price, and compare what the venue says it cost."""
        loan_id, face = told.loan_id, int(told.quantity)
        clean = self.clean(loan_id, face, told.price)
        accrued = self.share(loan_id, self.loans[loan_id].accrued(self.today), face)
        buyer_fee = fee(FEES.buyer_fee, clean)
        seller_fee = min(fee(FEES.seller_fee, clean), clean + accrued)
        legs = (told.principal, told.accrued, told.buyer_fee, told.seller_fee)
        same(legs, (clean, accrued, buyer_fee, seller_fee), "the legs of a trade")
        self.cash[told.buyer] -= clean + accrued + buyer_fee
        self.cash[told.seller] += clean + accrued - seller_fee
        self.cash["HOUSE"] += buyer_fee + seller_fee
        sold, bought = (told.seller, loan_id), (told.buyer, loan_id)
        cost = half_up(Fraction(self.costs[sold] * face, self.faces[loan_id][told.seller]))
        self.costs[sold] -= cost
        self.realised[sold] += clean - cost
        self.costs[bought] += clean
        self.faces[loan_id][told.seller] -= face
        self.faces[loan_id][told.buyer] += face
        for order_id in (told.buy_order_id, told.sell_order_id):
            if (order := self.orders.get(order_id)) is not None:
                order.leaves -= face
                order.fills += 1
                order.held = self.hold(order)
                if order.leaves == 0:
                    del self.orders[order_id]

    def serviced(self, event: ServicingEvent, paid: Money, outstanding: int) -> None:
        """Pay the holders of record leg by leg. outstanding: before the event."""
        loan_id, whole = event.loan_id, self.loans[event.loan_id].terms.original_principal
        faces = {account: face for account, face in self.faces[loan_id].items() if face}
        for amount, is_principal in ((paid.interest, False), (paid.principal, True)):
            for account, part in shares(amount, faces, whole).items():
                self.cash[account] += part
                self.custody += part
                if is_principal and amount:
                    claim = account, str(loan_id)
                    cost = half_up(Fraction(self.costs[claim] * amount, outstanding))
                    self.costs[claim] -= cost
                    self.realised[claim] += part - cost
        if event.type is ServicingType.WRITE_OFF:
            for account in faces:
                claim = account, str(loan_id)
                self.realised[claim] -= self.costs.pop(claim, 0)

    def after_event(self, event: ServicingEvent, ended: dict[int, str]) -> None:
        """End the loan's orders that can't stay or did not want to; hold anew for the others."""
        loan, kind = self.loans[event.loan_id], event.type
        mine = [order for order in self.orders.values() if order.loan_id == event.loan_id]
        if kind is ServicingType.DEFAULT or loan.status not in LIVE:
            reason = "loan_defaulted" if loan.status in ("default", "written_off") else "loan_repaid"
            for order in mine:
                self.end(order, reason, ended)
            return
        for order in mine:
            if kind in (ServicingType.PAYMENT, ServicingType.RECOVERY) and order.on_payment:
                self.end(order, "payment", ended)
            elif kind is ServicingType.RESCHEDULE and order.on_reschedule:
                self.end(order, "reschedule", ended)
        self.review([order for order in mine if order.order_id in self.orders], ended)

    def roll(self, ended: dict[int, str]) -> None:
        self.today += timedelta(days=1)
        for order in [order for order in self.orders.values() if order.is_day]:
            self.end(order, "expired", ended)
        for loan in self.loans.values():
            loan.roll(self.today)
        self.review(list(self.orders.values()), ended)

    def review(self, orders: list[PlainOrder], ended: dict[int, str]) -> None:
        """Oldest first: below the yield floor ends, what can't be held any more ends, the rest holds what it must.

        Pegged orders come after these, wherever their yield takes them.
        """
        for order in sorted(orders, key=lambda order: order.order_id):
            if order.yield_ppm is not None:
                continue
            hold = self.hold(order)
            if self.loans[order.loan_id].floor_is_broken(order.price, self.today):
                self.end(order, "yield_floor", ended)
            elif order.is_buy and hold - order.held > self.free(order.account):
                self.end(order, "funds", ended)
            else:
                order.held = hold

    def end(self, order: PlainOrder, reason: str, ended: dict[int, str]) -> None:
        del self.orders[order.order_id]
        ended[order.order_id] = reason

    def check_sums(self, loan_ids: Iterable[str]) -> None:
        same(sum(self.cash.values()), self.custody, "all cash and what the custodian has")
        for loan_id in loan_ids:
            loan = self.loans[loan_id]
            same(sum(self.faces[loan_id].values()), self.issued[loan_id], "all face and what was issued")
            same(sum(row.principal for row in loan.rows), loan.outstanding, "open principal and outstanding")


def fee(rule: FeeRule, clean: int) -> int:
    wanted = max(half_up(Fraction(clean * rule.rate_ppm, 1_000_000)), rule.minimum)
    return wanted if rule.cap is None else min(wanted, rule.cap)


def same(theirs: object, ours: object, what: str) -> None:
    if theirs != ours:
        raise AssertionError(f"{what}: the venue has {theirs}, the plain market {ours}")
