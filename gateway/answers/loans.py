"""Loans: terms, state, schedule, payments, title, and the rulebook that they trade by."""

from typing import Literal

from pydantic import BaseModel

from gateway.answers.fields import (
    Count,
    DayText,
    Factor,
    Moment,
    Money,
    RateText,
    Sha256,
    TradeIdOut,
    Ytm,
    YtmConservative,
)
from gateway.answers.market import Fee
from market.claims.loan import ClaimType, Coverage, DayCount, GuaranteeKind, LoanStatus, RepaymentMethod
from market.claims.servicing import ServicingType


class DocumentRef(BaseModel):
    name: str
    sha256: str


class GuaranteeOut(BaseModel):
    kind: GuaranteeKind
    name: str | None
    trigger_days: int | None
    coverage: Coverage


class NextDue(BaseModel):
    n: Count
    date: DayText
    payment: Money
    interest: Money
    principal: Money


class LoanHistory(BaseModel):
    never_late: bool
    instalments_paid: Count
    instalments: Count


class FeesOut(BaseModel):
    buyer: Fee
    seller: Fee


class RulebookLimits(BaseModel):
    per_loan: Money | None
    per_borrower: Money | None
    per_grade_pct: Money | None


class RulebookOut(BaseModel):
    name: str
    tick: Money
    lot: Money
    min_face: Money
    min_consideration: Money
    price_min: Money
    price_max: Money
    collar_pct: Money | None
    premium_allowed: bool
    max_discount_pct: Money | None
    yield_floor: RateText | None
    grace_days: Count
    min_holding_days: Count
    blackout_days: Count
    max_transfers: Count | None
    order_life_hours: Count | None
    tradable_statuses: list[LoanStatus]
    transferable: bool
    fees: FeesOut
    limits: RulebookLimits
    suitability: dict[str, str] | None
    max_open_orders: Count | None


class LoanInfo(BaseModel):
    """A loan's terms, its state, its history and the rules it trades by."""

    loan_id: str
    symbol: str
    originator: str
    currency: str
    original_principal: Money
    outstanding_principal: Money
    issued_face: Money
    factor: Factor
    annual_rate: RateText
    repayment_method: RepaymentMethod
    term_months: Count
    months_per_period: Count
    issue_date: DayText
    first_due_date: DayText
    maturity_date: DayText
    remaining_months: Count
    day_count: DayCount
    grade: str
    claim_type: ClaimType
    guarantee: GuaranteeOut
    borrower_ref: str
    purpose: str
    region: str
    documents: list[DocumentRef]
    transferable: bool
    status: LoanStatus
    halted: bool
    halt_reason: str | None
    next_due: NextDue | None
    history: LoanHistory
    rulebook: RulebookOut


class Loan(LoanInfo):
    """accrued: what a buyer of the whole loan would pay today.  ytm_*: of buying at that price today.

    ytm_conservative: of buying at the best ask.
    """

    accrued: Money
    bid: Money | None
    bid_qty: Money | None
    ask: Money | None
    ask_qty: Money | None
    ytm_bid: Ytm | None
    ytm_ask: Ytm | None
    ytm_conservative: YtmConservative | None
    last: Money | None
    ytm_last: Ytm | None


class ScheduleRow(BaseModel):
    """received: what was paid of it, null if nothing was, or before the loan came here."""

    n: Count
    due_date: DayText
    payment: Money
    interest: Money
    principal: Money
    balance: Money
    status: Literal["paid", "due", "late", "future"]
    paid_date: DayText | None
    received: Money | None


class Payment(BaseModel):
    """A servicing event as it was booked; amounts are of the whole loan."""

    event_id: str
    loan_id: str
    type: ServicingType
    value_date: DayText
    amount: Money
    interest: Money
    principal: Money
    costs: Money
    capitalised: Money
    distributed: Money
    currency: str
    outstanding_principal: Money
    factor: Factor
    loan_status: LoanStatus
    engine_seq: Count
    timestamp: Moment


class Assignment(BaseModel):
    """A link of a loan's chain of title (docs/register.md says how it is hashed). Parties: pseudonyms in this loan.

    assignor: null where the face was issued.
    """

    loan_id: str
    n: Count
    kind: Literal["issuance", "trade"]
    trade_id: TradeIdOut | None
    assignor: Sha256 | None
    assignee: Sha256
    face: Money
    effective_between_parties_at: Moment
    previous_hash: Sha256
    hash: Sha256


class TitleParty(BaseModel):
    """Who the caller is in a loan's chain: party = sha256(opening, line feed, account id). Whoever is shown the opening
    can tell."""

    loan_id: str
    party: Sha256
    opening: Sha256
