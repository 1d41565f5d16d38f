"""The market as a whole: time, status, limits, fees, audit."""

from typing import Literal

from pydantic import BaseModel

from gateway.answers.fields import Count, DayText, Factor, Moment, Money, RateText, Sha256
from market.commands import Mode
from market.port import Phase


class TimeNow(BaseModel):
    server_time: Moment
    business_date: DayText


class PartitionState(BaseModel):
    """The writer of one partition of loans, and the last of its commands that was told."""

    partition: Count
    epoch: Count
    engine_seq: Count


class Status(BaseModel):
    """time_zone: the market's, IANA name: its days end at midnight there.

    simulated: whether its money is, which newcomers are given.  sign_up: whether strangers may open an account.
    partitions, engines: of a market that has several; epoch and engine_seq are those of partition 0 then.
    """

    system: Literal["online", "cancel_only", "post_only", "maintenance"]
    mode: Mode
    api_version: Literal["v2"]
    epoch: Count
    engine_seq: Count
    business_date: DayText
    server_time: Moment
    time_zone: str
    engine: Phase
    partitions: list[PartitionState] | None = None
    engines: list[Phase] | None = None
    simulated: bool
    sign_up: bool


class BucketLimit(BaseModel):
    """Requests per second of one account, and how many it may save up."""

    per_s: Count
    burst: Count


class RateClasses(BaseModel):
    orders: BucketLimit
    amends: BucketLimit
    cancels: BucketLimit
    queries: BucketLimit
    subscriptions: BucketLimit


class Limits(BaseModel):
    body_bytes_max: Count
    page_default: Count
    page_max: Count
    signature_window_ms: Count
    ws_token_s: Count
    order_qty_max: Money
    rates: RateClasses


class Fee(BaseModel):
    rate: RateText
    min: Money
    cap: Money | None


class RulebookFees(BaseModel):
    rulebook: str
    buyer: Fee
    seller: Fee


class CurrencyInfo(BaseModel):
    currency: str
    decimals: Literal[2]


class CashAudit(BaseModel):
    """difference: accounts less custody; anything but 0.00 is an alarm."""

    currency: str
    accounts_total: Money
    custody_total: Money
    difference: Money


class LoanViolation(BaseModel):
    loan_id: str
    positions: Money
    issued_face: Money
    original_principal: Money


class LoansAudit(BaseModel):
    checked: Count
    violations: list[LoanViolation]


class BalanceCoefficient(BaseModel):
    """coefficient: lent / transferred, never below 1 (平衡系数); null as long as nothing is transferred."""

    originator: str
    currency: str
    lent: Money
    transferred: Money
    coefficient: Factor | None


class TitlesAudit(BaseModel):
    """links: of all loans.  root: a hash over the last link of every loan's chain of title."""

    links: Count
    root: Sha256


class Audit(BaseModel):
    engine_seq: Count
    log_head: Sha256
    cash: list[CashAudit]
    loans: LoansAudit
    balance_coefficient: list[BalanceCoefficient]
    titles: TitlesAudit


class Health(BaseModel):
    """partitions: of a market that has several, how far the engine of each is."""

    status: str
    epoch: int | None = None
    partitions: list[Phase] | None = None
