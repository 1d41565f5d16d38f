"""What a trade would cost: priced against the committed book, or at a price or yield that the asker names.

Roundings are those of a real fill, each figure once and half up (market/venue/amounts.py). The public book tells totals
by price: a level is taken as one fill, so where several orders share a level the true cost may differ by a minor unit
for each, and hidden quantity is not counted. Left out: collar, yield floor and who may trade.
"""

from dataclasses import dataclass
from datetime import date
from typing import Any

from gateway.reads.loan_view import LoanView
from gateway.wire import minor_or_none, minor_text, yield_text
from gateway.ws.rows import level_rows
from market.claims.loan import LIVE_STATUSES
from market.claims.yields import (
    modified_duration,
    nominal_from_effective,
    price_for_yield,
    remaining_flows,
    remaining_principal,
    total_cash,
    weighted_life,
)
from market.errors import BelowMinimum, InvalidPrice, InvalidQuantity, LoanClosed, PriceOutOfBand
from market.ids import Face, PriceBp
from market.money import div_half_up
from market.orderbook.order import Side
from market.venue.amounts import fill_cost
from market.venue.rulebook import Rulebook

PPM = 1_000_000
Level = tuple[PriceBp, Face]


@dataclass(frozen=True, slots=True)
class Asked:
    """A question. price, yield_ppm: at most one of them; neither for what the book offers."""

    side: Side
    quantity: Face
    price: PriceBp | None = None
    yield_ppm: int | None = None


def quote(loan: LoanView, asked: Asked, on: date) -> dict[str, Any]:
    """Return the answer as it is told. price: the average of the fills, half up; null without any.

    total: what a buyer pays or a seller gets.  on: the business date.
    duration: modified, in years.  weighted_life: mean time to the principal that is still to come, in years.
    total_cash: all that the contract still owes on what is filled, half up.
    ytm_conservative: the yield if all that is overdue is never paid; it has a value for late loans, too, whose `ytm`
    is null because they trade flat.
    """
    _check(loan, asked)
    fills = _fills(loan, asked, on)
    filled = sum(quantity for _, quantity in fills)
    price = PriceBp(div_half_up(sum(p * q for p, q in fills), filled)) if filled else None
    costs = [fill_cost(loan.state, loan.accrued(on), quantity, price) for price, quantity in fills]
    is_buy = asked.side is Side.BUY
    ytm = None if price is None else loan.ytm_at(price)
    flows = remaining_flows(loan.schedule, on)
    return {
        "price": minor_or_none(price),
        "qty": minor_text(asked.quantity),
        "current_face": minor_text(sum(cost.current_face for cost in costs)),
        "principal": minor_text(sum(cost.principal for cost in costs)),
        "accrued": minor_text(sum(cost.accrued for cost in costs)),
        "dirty": minor_text(sum(cost.dirty for cost in costs)),
        "fee": minor_text(sum(cost.buyer_fee if is_buy else cost.seller_fee for cost in costs)),
        "total": minor_text(sum(cost.buyer_pays if is_buy else cost.seller_gets for cost in costs)),
        "ytm": yield_text(ytm),
        "ytm_nominal": None if ytm is None else yield_text(nominal_from_effective(ytm)),
        "ytm_conservative": None if price is None else yield_text(loan.ytm_conservative_at(price)),
        "duration": None if ytm is None else yield_text(modified_duration(flows, ytm)),
        "weighted_life": yield_text(weighted_life(remaining_principal(loan.schedule, on))) if filled else None,
        "total_cash": minor_text(div_half_up(total_cash(flows) * filled, loan.state.terms.original_principal)),
        "fills": level_rows(fills),
        "unfilled_qty": minor_text(asked.quantity - filled),
    }


def _check(loan: LoanView, asked: Asked) -> None:
    rules = loan.state.rulebook
    if loan.state.status not in LIVE_STATUSES:
        raise LoanClosed(f"loan {loan.loan_id} is {loan.state.status}", loan_status=loan.state.status)
    if asked.price is not None:
        if asked.price <= 0 or asked.price % rules.tick:
            raise InvalidPrice(
                "the price must be a positive multiple of the tick", field="price", rule="tick", bound=rules.tick
            )
        _check_band(rules, asked.price, "price")
    if asked.quantity <= 0 or asked.quantity % rules.lot:
        raise InvalidQuantity(
            "the quantity must be a positive multiple of the lot", field="qty", rule="lot", bound=rules.lot
        )
    if asked.quantity < rules.min_face:
        least = rules.min_face
        raise BelowMinimum(
            "the quantity is below the minimum face", field="qty", rule="min_face", bound=least, need=least
        )


def _check_band(rules: Rulebook, price: PriceBp, field: str) -> None:
    if not rules.price_min <= price <= rules.price_max:
        rule, bound = ("price_min", rules.price_min) if price < rules.price_min else ("price_max", rules.price_max)
        raise PriceOutOfBand("the price is outside the band", field=field, rule=rule, bound=bound)


def _fills(loan: LoanView, asked: Asked, on: date) -> list[Level]:
    if asked.price is not None:
        return [(asked.price, asked.quantity)]
    if asked.yield_ppm is not None:
        return [(_price_of(loan, asked, asked.yield_ppm, on), asked.quantity)]
    fills: list[Level] = []
    left = int(asked.quantity)
    for price, quantity in loan.book.rows(asked.side.opposite):
        if left == 0:
            break
        fills.append((price, Face(min(quantity, left))))
        left -= fills[-1][1]
    return fills


def _price_of(loan: LoanView, asked: Asked, yield_ppm: int, on: date) -> PriceBp:
    rules = loan.state.rulebook
    price = None
    if not loan.is_flat:
        flows = remaining_flows(loan.schedule, on)
        accrued, outstanding = loan.accrued(on), loan.state.outstanding
        price = price_for_yield(
            flows, yield_ppm / PPM, accrued=accrued, outstanding=outstanding, side=asked.side, tick=rules.tick
        )
    if price is None:
        raise InvalidPrice("no price has this yield", field="yield")
    _check_band(rules, price, "yield")
    return price
