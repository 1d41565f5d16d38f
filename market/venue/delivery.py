"""Delivery versus payment of one fill: claim against cash, fees to the house, all of it in one journal entry."""

from collections.abc import Iterator

from market.claims.yields import remaining_flows, yield_at_price
from market.ids import Face, PriceBp
from market.money import div_half_up
from market.settlement.journal import HOUSE, Leg, Posting, Unit
from market.venue.amounts import FillCost
from market.venue.changes import Changes
from market.venue.lots import add, take
from market.venue.state import Account, Loan, State


def deliver(loan: Loan, buyer: Account, seller: Account, quantity: Face, cost: FillCost, changes: Changes) -> None:
    """The claim's leg, out of the seller's eligible lots, oldest first: for the buyer they count one transfer more.

    The seller's cost leaves at its average, half up, so that nothing of it is left behind at 0.
    """
    loan_id = loan.terms.loan_id
    sold, bought = seller.claims[loan_id], buyer.claims[loan_id]
    cost_out = div_half_up(sold.cost * quantity, sold.total)
    sold.total -= quantity
    sold.cost -= cost_out
    sold.realised += cost.principal - cost_out
    bought.total += quantity
    bought.cost += cost.principal
    today = changes.state.today
    for lot in take(sold.lots, quantity, loan.rulebook, today):
        add(bought.lots, today, lot.transfers + 1, lot.face)
    loan.holders.add(buyer.account_id)
    changes.claim(seller, loan_id)
    changes.claim(buyer, loan_id)


def pay(state: State, loan: Loan, buyer: Account, seller: Account, cost: FillCost, changes: Changes) -> None:
    """The cash leg: dirty price from buyer to seller, fees of both to the house."""
    currency = loan.terms.currency
    buyer.cash[currency].total -= cost.buyer_pays
    seller.cash[currency].total += cost.seller_gets
    changes.cash(buyer, currency)
    changes.cash(seller, currency)
    if fees := cost.buyer_fee + cost.seller_fee:
        house = state.accounts[HOUSE]
        house.cash[currency].total += fees
        changes.cash(house, currency)


def dvp_postings(loan: Loan, buyer: Account, seller: Account, quantity: Face, cost: FillCost) -> Iterator[Posting]:
    currency, loan_id = loan.terms.currency, loan.terms.loan_id
    for account, sign, fee in ((buyer, -1, cost.buyer_fee), (seller, 1, cost.seller_fee)):
        yield Posting(account.account_id, Unit.CASH, currency, Leg.PRINCIPAL, sign * cost.principal)
        yield Posting(account.account_id, Unit.CASH, currency, Leg.ACCRUED, sign * cost.accrued)
        yield Posting(account.account_id, Unit.CASH, currency, Leg.FEE, -fee)
        yield Posting(account.account_id, Unit.FACE, loan_id, Leg.CLAIM, -sign * quantity)
    yield Posting(HOUSE, Unit.CASH, currency, Leg.FEE, cost.buyer_fee + cost.seller_fee)


def ytm_ppm(state: State, loan: Loan, price: PriceBp) -> int | None:
    """Effective annual yield of buying at `price` today, in millionths, None where it is undefined (flat loans)."""
    if loan.is_flat or loan.next_instalment is None:
        return None
    day = loan.on(state.today)
    if price not in day.yields_ppm:
        flows = remaining_flows(loan.schedule, state.today)
        found = yield_at_price(flows, price, accrued=day.accrued, outstanding=loan.outstanding)
        day.yields_ppm[price] = None if found is None else round(found * 1_000_000)
    return day.yields_ppm[price]
