"""The rules of a market as data: what one loan's book admits. Two are shipped: `OPEN`, the default, and `CN_STRICT`.

Field names are those of the API; units are integers here: prices and percents in basis points, rates in millionths,
money and face in minor units.
"""

from dataclasses import dataclass, field

from market.claims.loan import LIVE_STATUSES, LoanStatus
from market.ids import Face, Minor, PriceBp
from market.money import div_half_up


@dataclass(frozen=True, slots=True, kw_only=True)
class FeeRule:
    """rate_ppm of the clean amount, half up, then at least minimum and at most cap (None: no cap)."""

    rate_ppm: int = 0
    minimum: Minor = Minor(0)
    cap: Minor | None = None

    def of(self, principal: Minor) -> Minor:
        fee = max(div_half_up(principal * self.rate_ppm, 1_000_000), self.minimum)
        return Minor(fee if self.cap is None else min(fee, self.cap))


@dataclass(frozen=True, slots=True, kw_only=True)
class Rulebook:
    """collar_bp: how far an order may be from the reference price (last trade, else par), in basis points of it.

    blackout_days: no order on a due date, nor so many days before it; 0 for no such rule.
    order_life_hours: how long an order rests at most, None for ever.
    max_open_orders: per account over the whole market.
    """

    name: str
    tick: PriceBp = PriceBp(1)
    lot: Face = Face(1)
    min_face: Face = Face(100)
    min_consideration: Minor = Minor(1)
    price_min: PriceBp = PriceBp(1)
    price_max: PriceBp = PriceBp(20_000)
    collar_bp: int = 5_000
    premium_allowed: bool = True
    max_discount_bp: int | None = None
    yield_floor_ppm: int | None = 0
    grace_days: int = 15
    blackout_days: int = 0
    order_life_hours: int | None = None
    tradable_statuses: frozenset[LoanStatus] = field(default=LIVE_STATUSES)
    buyer_fee: FeeRule = FeeRule()
    seller_fee: FeeRule = FeeRule()
    max_open_orders: int = 20_000


OPEN = Rulebook(name="open")
CN_STRICT = Rulebook(
    name="cn-strict",
    lot=Face(1_00),
    min_face=Face(100_00),
    premium_allowed=False,
    max_discount_bp=500,
    blackout_days=5,
    order_life_hours=72,
    tradable_statuses=frozenset({LoanStatus.CURRENT}),
    seller_fee=FeeRule(rate_ppm=3_000),
)
SHIPPED = {rules.name: rules for rules in (OPEN, CN_STRICT)}
