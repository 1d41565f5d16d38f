"""The rules of a market as data: what one loan's book admits. Two are shipped: `OPEN`, the default, and `CN_STRICT`.

Field names are those of the API; units are integers here: prices and percents in basis points, rates in millionths,
money and face in minor units. A rulebook that contradicts itself can't be made, from wherever it is loaded.
"""

import re
from dataclasses import dataclass
from decimal import Decimal

from market.claims.loan import LIVE_STATUSES, LoanStatus
from market.errors import InvalidArguments
from market.ids import Face, Minor, PriceBp
from market.money import div_half_up

NAME = re.compile(r"[A-Za-z0-9._-]{1,32}")
RISK_CLASSES = ("c1", "c2", "c3", "c4", "c5")  # of investors, from cautious to daring
AMOUNT_MAX = 2**46  # as of one order
PRICE_MAX = PriceBp(100_000)  # times AMOUNT_MAX it fits 64 bits
DAYS_MAX = 36_500
HOURS_MAX = 87_600
ORDERS_MAX = 1_000_000
CENT, MILLION = 100, 1_000_000


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
class Limits:
    """How much of it one investor may have, in current face, open buys included. None: as much as he likes.

    per_grade_bp: of the loan's grade, as a share of his portfolio: his cash and current face in the loan's currency.
    """

    per_loan: Minor | None = None
    per_borrower: Minor | None = None
    per_grade_bp: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Rulebook:
    """collar_bp: how far an order may be from the reference price (last trade, else par), in basis points of it.

    min_holding_days: how long whoever bought a claim keeps it before he may sell; face as issued does not wait.
    blackout_days: no order on a due date, nor so many days before it; 0 for no such rule.
    max_transfers: how often a claim may be assigned in its life.
    order_life_hours: how long an order rests at most, None for ever.
    suitability: per grade the lowest risk class of an investor who may buy it, by grade; grades not named are for all.
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
    min_holding_days: int = 0
    blackout_days: int = 0
    max_transfers: int | None = None
    order_life_hours: int | None = None
    tradable_statuses: frozenset[LoanStatus] = LIVE_STATUSES
    transferable: bool = True
    buyer_fee: FeeRule = FeeRule()
    seller_fee: FeeRule = FeeRule()
    limits: Limits = Limits()
    suitability: tuple[tuple[str, str], ...] = ()
    max_open_orders: int = 20_000

    def __post_init__(self) -> None:
        """Raises InvalidArguments, naming the field by its name in the API."""
        _require(NAME.fullmatch(self.name), "name", "1 to 32 of A-Z a-z 0-9 . _ -")
        _within(self.tick, "tick", 1, PRICE_MAX, CENT)
        _within(self.lot, "lot", 1, AMOUNT_MAX, CENT)
        _within(self.min_face, "min_face", 0, AMOUNT_MAX, CENT)
        _within(self.min_consideration, "min_consideration", 1, AMOUNT_MAX, CENT)
        _within(self.price_min, "price_min", 1, self.price_max, CENT)
        _within(self.price_max, "price_max", self.tick, PRICE_MAX, CENT)
        _within(self.collar_bp, "collar_pct", 0, PRICE_MAX, CENT)
        _within(self.max_discount_bp, "max_discount_pct", 0, 10_000, CENT)
        _within(self.yield_floor_ppm, "yield_floor", -999_999, 10_000_000, MILLION)
        _within(self.grace_days, "grace_days", 0, DAYS_MAX)
        _within(self.min_holding_days, "min_holding_days", 0, DAYS_MAX)
        _within(self.blackout_days, "blackout_days", 0, DAYS_MAX)
        _within(self.max_transfers, "max_transfers", 1, DAYS_MAX)
        _within(self.order_life_hours, "order_life_hours", 1, HOURS_MAX)
        _require(self.tradable_statuses, "tradable_statuses", "at least one")
        _require(self.tradable_statuses <= LIVE_STATUSES, "tradable_statuses", f"of {', '.join(sorted(LIVE_STATUSES))}")
        for side, fee in (("buyer", self.buyer_fee), ("seller", self.seller_fee)):
            _within(fee.rate_ppm, f"fees.{side}.rate", 0, 1_000_000, MILLION)
            _within(fee.minimum, f"fees.{side}.min", 0, AMOUNT_MAX, CENT)
            _within(fee.cap, f"fees.{side}.cap", fee.minimum, AMOUNT_MAX, CENT)
        _within(self.limits.per_loan, "limits.per_loan", 1, AMOUNT_MAX, CENT)
        _within(self.limits.per_borrower, "limits.per_borrower", 1, AMOUNT_MAX, CENT)
        _within(self.limits.per_grade_bp, "limits.per_grade_pct", 1, 10_000, CENT)
        grades = [grade for grade, _ in self.suitability]
        _require(grades == sorted(set(grades)), "suitability", "one class per grade, sorted by grade")
        for _, risk_class in self.suitability:
            _require(risk_class in RISK_CLASSES, "suitability", f"of {', '.join(RISK_CLASSES)}")
        _within(self.max_open_orders, "max_open_orders", 1, ORDERS_MAX)

    def risk_class_for(self, grade: str) -> str | None:
        """Return the lowest risk class that may buy the grade, None if anybody may."""
        return next((lowest for named, lowest in self.suitability if named == grade), None)


def _require(holds: object, field: str, what: str) -> None:
    if not holds:
        raise InvalidArguments(f"{field} must be {what}", field=field)


def _within(value: int | None, field: str, lowest: int, highest: int, unit: int = 1) -> None:
    """None says that there is no such rule, and is always right: where there must be one the type says so.

    unit: how many of the smallest unit make what the API calls 1.
    """
    if value is not None and not lowest <= value <= highest:
        bounds = f"{Decimal(lowest) / unit:f} to {Decimal(highest) / unit:f}"
        raise InvalidArguments(f"{field} must be {bounds}", field=field)


OPEN = Rulebook(name="open")
CN_STRICT = Rulebook(
    name="cn-strict",
    lot=Face(1_00),
    min_face=Face(100_00),
    premium_allowed=False,
    max_discount_bp=500,
    min_holding_days=30,
    blackout_days=5,
    max_transfers=10,
    order_life_hours=72,
    tradable_statuses=frozenset({LoanStatus.CURRENT}),
    seller_fee=FeeRule(rate_ppm=3_000),
)
SHIPPED = {rules.name: rules for rules in (OPEN, CN_STRICT)}
