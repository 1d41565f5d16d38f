"""What a fill costs and what an order reserves. Each figure is rounded once, half up, as PROTOCOL (Money) says.

Because every fill is rounded by itself, many small fills can cost a few minor units more than one large one: the hold
of an order is exact for one fill of it all, and matching.py takes the odd unit from available cash or ends the order.
"""

from dataclasses import dataclass
from typing import Protocol

from market.claims.accrual import Accrued, share
from market.claims.loan import LoanTerms
from market.ids import Face, Minor, PriceBp
from market.money import div_half_up
from market.orderbook.order import Side
from market.venue.rulebook import Rulebook
from market.venue.state import PAR, Loan, LoanDay


@dataclass(frozen=True, slots=True)
class FillCost:
    """The cash legs of one fill, in minor units of the loan's currency."""

    current_face: Minor
    principal: Minor  # the clean amount
    accrued: Minor
    buyer_fee: Minor
    seller_fee: Minor

    @property
    def dirty(self) -> int:
        return self.principal + self.accrued

    @property
    def buyer_pays(self) -> int:
        return self.dirty + self.buyer_fee

    @property
    def seller_gets(self) -> int:
        return self.dirty - self.seller_fee


class Priced(Protocol):
    """What a price is applied to: a loan in the venue, or as events tell of it."""

    @property
    def terms(self) -> LoanTerms: ...
    @property
    def outstanding(self) -> Minor: ...
    @property
    def rulebook(self) -> Rulebook: ...


def principal_of(loan: Priced, quantity: Face, price: PriceBp) -> Minor:
    """round_half_up(quantity x factor x price), the factor as the exact pair outstanding / original."""
    return Minor(div_half_up(quantity * loan.outstanding * price, loan.terms.original_principal * PAR))


def fill_cost(loan: Priced, accrued_now: Accrued, quantity: Face, price: PriceBp) -> FillCost:
    """Return the legs of one fill. accrued_now: of the whole loan, today.

    A seller's fee never exceeds what the sale brings: selling can't put an account into debt.
    """
    principal = principal_of(loan, quantity, price)
    accrued = share(accrued_now, quantity=quantity, original_principal=loan.terms.original_principal)
    return FillCost(
        current_face=principal_of(loan, quantity, PAR),
        principal=principal,
        accrued=accrued,
        buyer_fee=loan.rulebook.buyer_fee.of(principal),
        seller_fee=Minor(min(loan.rulebook.seller_fee.of(principal), principal + accrued)),
    )


def buy_hold(loan: Loan, day: LoanDay, quantity: Face, price: PriceBp) -> int:
    """Return the cash that covers a buy: clean amount at the limit, the whole period's accrued, and the fee."""
    principal = principal_of(loan, quantity, price)
    accrued = share(day.bound, quantity=quantity, original_principal=loan.terms.original_principal)
    return principal + accrued + loan.rulebook.buyer_fee.of(principal)


def hold_of(loan: Loan, day: LoanDay, side: Side, quantity: Face, price: PriceBp) -> int:
    """Return what an order with `quantity` open reserves: cash for a buy, the face itself for a sale."""
    return buy_hold(loan, day, quantity, price) if side is Side.BUY else quantity
