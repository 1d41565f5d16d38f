"""A rulebook as it is asked for: the fields that a loan shows under `rulebook`, each with the default of `open`."""

from typing import Annotated, Literal

from pydantic import Field, StringConstraints, field_validator

from gateway.requests.fields import Amount, Name, Rate, Request, Text, Word
from market.claims.loan import LIVE_STATUSES, LoanStatus
from market.commands import DefineRulebook, SetDefaultRulebook
from market.errors import InvalidArguments
from market.ids import AccountId, Face, Minor, PriceBp
from market.venue.rulebook import OPEN, FeeRule, Limits, Rulebook

Grade = Annotated[str, StringConstraints(max_length=16)]
RiskClass = Literal["c1", "c2", "c3", "c4", "c5"]


class FeeBody(Request):
    rate: Rate = 0
    min: Amount = Minor(0)
    cap: Amount | None = None

    def to_rule(self) -> FeeRule:
        return FeeRule(rate_ppm=self.rate, minimum=self.min, cap=self.cap)


class FeesBody(Request):
    buyer: FeeBody = FeeBody()
    seller: FeeBody = FeeBody()


class LimitsBody(Request):
    """per_grade_pct: of the investor's cash and claims."""

    per_loan: Amount | None = None
    per_borrower: Amount | None = None
    per_grade_pct: Amount | None = None


class RulebookBody(Request):
    """The whole of a rulebook: a field that is left out has the value that it has in `open` as shipped."""

    name: Name | None = None
    tick: Amount = Minor(OPEN.tick)
    lot: Amount = Minor(OPEN.lot)
    min_face: Amount = Minor(OPEN.min_face)
    min_consideration: Amount = OPEN.min_consideration
    price_min: Amount = Minor(OPEN.price_min)
    price_max: Amount = Minor(OPEN.price_max)
    collar_pct: Amount = Minor(OPEN.collar_bp)
    premium_allowed: bool = OPEN.premium_allowed
    max_discount_pct: Amount | None = None
    yield_floor: Rate | None = OPEN.yield_floor_ppm
    grace_days: int = OPEN.grace_days
    min_holding_days: int = OPEN.min_holding_days
    blackout_days: int = OPEN.blackout_days
    max_transfers: int | None = None
    order_life_hours: int | None = None
    tradable_statuses: list[Word[LoanStatus]] = Field(sorted(LIVE_STATUSES), max_length=16)
    transferable: bool = True
    fees: FeesBody = FeesBody()
    limits: LimitsBody = LimitsBody()
    suitability: dict[Grade, RiskClass] = Field({}, max_length=256)
    max_open_orders: int = OPEN.max_open_orders
    reason: Text | None = None

    @field_validator("limits", "suitability", mode="before")
    @classmethod
    def _null_is_none(cls, value: object) -> object:
        return {} if value is None else value

    def to_command(self, name: str) -> DefineRulebook:
        """Raises InvalidArguments for a rulebook that contradicts itself, or the path that it is put to."""
        if self.name not in (None, name):
            raise InvalidArguments(f"name must be {name}, as the path says", field="name")
        return DefineRulebook(rulebook=self._rulebook(name), reason=self.reason)

    def _rulebook(self, name: str) -> Rulebook:
        limits = self.limits
        return Rulebook(
            name=name,
            tick=PriceBp(self.tick),
            lot=Face(self.lot),
            min_face=Face(self.min_face),
            min_consideration=self.min_consideration,
            price_min=PriceBp(self.price_min),
            price_max=PriceBp(self.price_max),
            collar_bp=self.collar_pct,
            premium_allowed=self.premium_allowed,
            max_discount_bp=self.max_discount_pct,
            yield_floor_ppm=self.yield_floor,
            grace_days=self.grace_days,
            min_holding_days=self.min_holding_days,
            blackout_days=self.blackout_days,
            max_transfers=self.max_transfers,
            order_life_hours=self.order_life_hours,
            tradable_statuses=frozenset(self.tradable_statuses),
            transferable=self.transferable,
            buyer_fee=self.fees.buyer.to_rule(),
            seller_fee=self.fees.seller.to_rule(),
            limits=Limits(
                per_loan=limits.per_loan, per_borrower=limits.per_borrower, per_grade_bp=limits.per_grade_pct
            ),
            suitability=tuple(sorted(self.suitability.items())),
            max_open_orders=self.max_open_orders,
        )


class DefaultRulebook(Request):
    """rulebook: null for the market's own default.  move_loans: put loans that are registered under it as well."""

    rulebook: Name | None
    move_loans: bool = False
    reason: Text | None = None

    def to_command(self, account_id: str) -> SetDefaultRulebook:
        return SetDefaultRulebook(
            account_id=AccountId(account_id), rulebook=self.rulebook, move=self.move_loans, reason=self.reason
        )
