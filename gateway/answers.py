"""What is answered, as types: one model per object of REST, from which the published contract is generated.

Nothing is rendered with these at run time (schemas.py does that); the end-to-end tests read every answer back through
the model that its route declares, so the two can't drift apart. Keys may be added later: a client must pass over what
it does not know.
"""

from typing import Annotated, Generic, Literal, TypeVar

from pydantic import BaseModel, Field

from gateway.requests import Scope
from gateway.statements import StatementLeg
from market.claims.loan import ClaimType, Coverage, DayCount, GuaranteeKind, LoanStatus, RepaymentMethod
from market.claims.servicing import ServicingType
from market.commands import AccountKind, Mode
from market.orderbook.order import (
    CancelReason,
    ExecType,
    OrderStatus,
    OrderType,
    SelfTradePrevention,
    Side,
    TimeInForce,
)
from market.port import Phase
from market.settlement.journal import EntryKind, Unit

Money = Annotated[str, Field(pattern=r"^-?(0|[1-9][0-9]*)\.[0-9]{2}$", examples=["1234.50"])]
Yield = Annotated[str, Field(pattern=r"^-?(0|[1-9][0-9]*)\.[0-9]{6}$", examples=["0.128412"])]
Ytm = Annotated[
    Yield,
    Field(
        description="Effective annual yield (XIRR, actual/365F) of the remaining contractual instalments against the "
        "dirty amount. Assumed: each instalment is paid in full on its due date, one that is overdue on the next day, "
        "nobody prepays or defaults. Null where undefined, as for loans that trade flat."
    ),
]
YtmNominal = Annotated[Yield, Field(description="12 x ((1 + ytm)^(1/12) - 1), of the same assumptions as `ytm`.")]
YtmConservative = Annotated[
    Yield,
    Field(
        description="As `ytm`, but what is overdue is never paid; without arrears equal to `ytm`. A late loan has one "
        "though it trades flat, a loan in default has none."
    ),
]
MoneyWeighted = Annotated[
    Yield,
    Field(
        description="Money-weighted return: the effective annual rate (XIRR, actual/365F) at which all cash flows so "
        "far and today's market value with accrued interest are worth nothing in sum. Null where undefined."
    ),
]
Factor = Annotated[str, Field(pattern=r"^(0|[1-9][0-9]*)\.[0-9]{8}$", examples=["0.91666667"])]
RateText = Annotated[str, Field(pattern=r"^-?(0|[1-9][0-9]*)\.[0-9]{2,6}$", examples=["0.003"])]
Moment = Annotated[
    str,
    Field(
        pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{6}Z$",
        json_schema_extra={"format": "date-time"},
        examples=["2024-05-01T12:00:00.000000Z"],
    ),
]
DayText = Annotated[
    str,
    Field(pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$", json_schema_extra={"format": "date"}, examples=["2024-05-01"]),
]
OrderIdOut = Annotated[str, Field(pattern=r"^[OQ]-[1-9][0-9]*$", examples=["O-1"])]
TradeIdOut = Annotated[str, Field(pattern=r"^T-[0-9]+$", examples=["T-1048577"])]
Count = Annotated[int, Field(ge=0)]
Sha256 = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
Checksum = Annotated[int, Field(ge=0, lt=2**32)]

T = TypeVar("T")


class Page(BaseModel, Generic[T]):
    """next_cursor: what to pass as `cursor` for the rest, null at the end."""

    items: list[T]
    next_cursor: str | None


class FieldError(BaseModel):
    field: str
    message: str


class Refusal(BaseModel):
    """outcome: whether it may have been executed all the same. From `have` on: what a client may act on."""

    code: str
    outcome: Literal["not_executed", "unknown"]
    retryable: bool
    have: Money | None = None
    need: Money | None = None
    bound: Money | None = None
    rule: str | None = None
    mode: Mode | None = None
    version: int | None = None
    loan_status: LoanStatus | None = None
    order_status: OrderStatus | None = None


class Problem(Refusal):
    """A refusal as a problem document (RFC 9457)."""

    type: str
    title: str
    status: int
    detail: str
    instance: str | None
    errors: list[FieldError]
    skew_ms: int | None = None
    retry_after_ms: int | None = None
    cancel_reason: CancelReason | None = None
    event_id: str | None = None
    index: str | None = None
    reason: str | None = None


# The market


class TimeNow(BaseModel):
    server_time: Moment
    business_date: DayText


class Status(BaseModel):
    """simulated: whether its money is, which newcomers are given.  sign_up: whether strangers may open an account."""

    system: Literal["online", "cancel_only", "post_only", "maintenance"]
    mode: Mode
    api_version: Literal["v2"]
    epoch: Count
    engine_seq: Count
    business_date: DayText
    server_time: Moment
    engine: Phase
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
    status: str


# Loans


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


class PriceLevel(BaseModel):
    price: Money
    qty: Money


class Book(BaseModel):
    """Best first. `epoch`, `seq`, `checksum` and `digest` are those of the feed of the same depth."""

    symbol: str
    loan_id: str
    epoch: Count
    seq: Count
    bids: list[PriceLevel]
    asks: list[PriceLevel]
    checksum: Checksum
    digest: Checksum
    timestamp: Moment


class PublicTrade(BaseModel):
    """side: of the taker."""

    symbol: str
    side: Side
    price: Money
    qty: Money
    ord_type: OrderType
    trade_id: TradeIdOut
    accrued: Money
    ytm: Ytm | None
    timestamp: Moment


class CandleRow(BaseModel):
    """What was traded within `interval` minutes.  timestamp: of the last trade in it."""

    symbol: str
    open: Money
    high: Money
    low: Money
    close: Money
    trades: Count
    volume: Money
    vwap: Money
    interval: Count
    interval_begin: Moment
    timestamp: Moment


class Quote(BaseModel):
    """price: the average of the fills.  total: what a buyer pays or a seller gets.

    duration: modified, in years.  weighted_life: mean time to the principal to come, in years.  total_cash: all that
    the contract still owes on what is filled.  ytm_conservative: the yield if all that is overdue is never paid.
    """

    price: Money | None
    qty: Money
    current_face: Money
    principal: Money
    accrued: Money
    dirty: Money
    fee: Money
    total: Money
    ytm: Ytm | None
    ytm_nominal: YtmNominal | None
    ytm_conservative: YtmConservative | None
    duration: Yield | None
    weighted_life: Yield | None
    total_cash: Money
    fills: list[PriceLevel]
    unfilled_qty: Money


# Orders and an account's own affairs


class ExecutionFields(BaseModel):
    """What one client is told about its own order; the last ten are there if `exec_type` is `trade`."""

    exec_id: str
    exec_type: ExecType
    order_id: OrderIdOut
    cl_ord_id: str | None
    order_status: OrderStatus
    symbol: str
    side: Side
    order_type: OrderType
    time_in_force: TimeInForce
    order_qty: Money
    limit_price: Money | None
    cum_qty: Money
    cum_cost: Money | None
    leaves_qty: Money
    avg_price: Money | None
    version: Count
    limit_yield: Yield | None = None
    peg: Literal["yield"] | None = None
    cancel_reason: CancelReason | None = None
    engine_seq: Count
    timestamp: Moment


class FeeOut(BaseModel):
    """A fee in the shape that existing clients read."""

    asset: str
    qty: Money


class ExecutionOut(ExecutionFields):
    """A fill of one's own. sequence: the number of its message in the private stream."""

    sequence: Count
    trade_id: TradeIdOut
    last_qty: Money
    last_price: Money
    principal: Money
    accrued: Money
    dirty: Money
    fee: Money
    currency: str
    ytm: Ytm | None
    liquidity_ind: Literal["m", "t"]
    cost: Money
    fees: list[FeeOut]


class Order(ExecutionFields):
    """held: cash of a buy, face of a sale that is kept for it."""

    loan_id: str
    currency: str
    post_only: bool
    min_qty: Money | None
    display_qty: Money | None
    stp_type: SelfTradePrevention
    expire_time: Moment | None
    cancel_on_disconnect: bool
    cancel_on_payment: bool
    cancel_on_reschedule: bool
    session: str | None
    tag: str | None
    held: Money
    created_at: Moment
    updated_at: Moment


class PlacedOrder(Order):
    """The order as it was right after it was placed. duplicate: this is the first answer again."""

    duplicate: bool


class AmendedOrder(Order):
    priority_kept: bool | None


class PricedOrder(BaseModel):
    """What an order with `validate` would do now. leaves_qty: what would be left of it."""

    valid: Literal[True]
    cl_ord_id: str | None
    limit_price: Money
    order_qty: Money
    cum_qty: Money
    leaves_qty: Money
    avg_price: Money | None
    principal: Money
    accrued: Money
    dirty: Money
    fee: Money


class ErrorDetail(Refusal):
    message: str
    field: str | None = None


class RefusedOrder(BaseModel):
    error: str
    error_detail: ErrorDetail


class PlacedBatch(BaseModel):
    orders: list[PlacedOrder | PricedOrder | RefusedOrder]


class CanceledOrders(BaseModel):
    """count: orders.  quotes: sides of mass quotes."""

    count: Count
    quotes: Count
    engine_seq: Count


class Acted(BaseModel):
    duplicate: bool
    engine_seq: Count


class OwnTrade(BaseModel):
    trade_id: TradeIdOut
    order_id: OrderIdOut
    symbol: str
    loan_id: str
    side: Side
    price: Money
    qty: Money
    current_face: Money
    principal: Money
    accrued: Money
    dirty: Money
    fee: Money
    currency: str
    ytm: Ytm | None
    liquidity_ind: Literal["m", "t"]
    business_date: DayText
    engine_seq: Count
    timestamp: Moment


class CashBalance(BaseModel):
    currency: str
    total: Money
    available: Money
    held: Money


class ClaimBalance(BaseModel):
    loan_id: str
    total: Money
    available: Money
    held: Money
    current_face: Money


class Balances(BaseModel):
    cash: list[CashBalance]
    claims: list[ClaimBalance]


class LotOut(BaseModel):
    """transfers: how often this part of a claim has been assigned."""

    acquired: DayText
    transfers: Count
    face: Money


class Position(BaseModel):
    """market_price: the last one, else the best bid, null once the loan ended: then it is worth nothing.

    realised: clean result of what was sold, repaid or written off.  unrealised: market value less cost, both clean.
    sellable: what the rulebook lets be sold now of the lots, less what open sells hold.
    """

    loan_id: str
    symbol: str
    currency: str
    total: Money
    available: Money
    held: Money
    sellable: Money
    lots: list[LotOut]
    current_face: Money
    cost: Money
    cost_price: Money | None
    market_price: Money | None
    market_value: Money | None
    accrued: Money
    ytm: Ytm | None
    realised: Money
    unrealised: Money | None
    xirr: MoneyWeighted | None


class Performance(BaseModel):
    """The result of all claims that the account ever had in a currency (docs/statements.md).

    claims: held now.  unpriced: those of them without a market price, taken at what they cost.
    paid_in, paid_out: for claims and from them, with accrued interest and fees.  interest: received less accrued paid.
    result: realised + unrealised + interest + accrued - fees.
    """

    currency: str
    business_date: DayText
    claims: Count
    unpriced: Count
    cost: Money
    market_value: Money
    accrued: Money
    paid_in: Money
    paid_out: Money
    realised: Money
    unrealised: Money
    interest: Money
    fees: Money
    result: Money
    xirr: MoneyWeighted | None


class CashflowTotal(BaseModel):
    """What is expected on a date in a currency, of all claims together."""

    due_date: DayText
    interest: Money
    principal: Money
    amount: Money
    currency: str


class CashflowOut(CashflowTotal):
    """A claim's share of one instalment. n: its number in the loan."""

    loan_id: str
    n: Count
    status: Literal["due", "late", "future"]


class StatementRow(BaseModel):
    """One leg. amount: signed from the account's view; cash rows sum to the balance, face rows to the position.

    principal: of a trade, at par (the current face); discount or premium: what the price made of it.
    business_date: of the market when it was booked.  reference: the trade's number, event id or custody reference.
    """

    row_id: str
    timestamp: Moment
    business_date: DayText
    engine_seq: Count
    kind: EntryKind
    reference: str
    trade_id: TradeIdOut | None
    event_id: str | None
    loan_id: str | None
    leg: StatementLeg
    unit: Unit
    amount: Money
    currency: str


class Token(BaseModel):
    """expires: seconds from now."""

    token: str
    expires: Count
    expires_at: Moment


class Key(BaseModel):
    key: str
    account_id: str
    scopes: list[Scope]
    ip_allow: list[str]
    expires_at: Moment | None
    created_at: Moment
    created_by: str
    reason: str | None
    label: str | None


class NewKey(Key):
    """secret: shown this once."""

    secret: str


class RevokedKey(BaseModel):
    key: str
    revoked: Literal[True]


class SessionInfo(BaseModel):
    """Who one is. An API key has no login; a session's writes carry csrf_token as X-CSRF-Token."""

    login: str | None
    user_id: str | None
    account_id: str
    kind: AccountKind
    name: str
    scopes: list[Scope]
    csrf_token: str | None
    created_at: Moment | None
    expires_at: Moment | None


class SignedOut(BaseModel):
    signed_out: Literal[True]


# Administration


class NewUserOut(BaseModel):
    user_id: str
    login: str
    account_id: str
    scopes: list[Scope]


class AdminKey(NewKey):
    engine_seq: Count


class Account(BaseModel):
    account_id: str
    kind: AccountKind
    name: str
    owner_group: str | None
    risk_class: str | None
    default_rulebook: str | None
    frozen: bool
    blocked: bool
    open_orders: Count
    last_exec_seq: Count


class OpenedAccount(Acted):
    account_id: str
    kind: AccountKind
    name: str


class FrozenAccount(Acted):
    account_id: str
    frozen: bool


class MovedCash(Acted):
    account_id: str
    currency: str
    custody_ref: str


class RegisteredLoan(Acted):
    loan_id: str
    status: LoanStatus


class IssuedFace(Acted):
    loan_id: str


class DefinedRulebook(Acted):
    name: str


class DefaultRulebookSet(Acted):
    account_id: str
    default_rulebook: str | None


class AssignedRulebook(Acted):
    loan_id: str
    rulebook: str


class HaltedLoan(Acted):
    loan_id: str
    halted: bool


class ServicedEvent(BaseModel):
    event_id: str
    loan_id: str
    type: ServicingType
    duplicate: bool


class ServicedOne(ServicedEvent):
    engine_seq: Count


class ServicedList(BaseModel):
    """duplicate: every one of them was booked before."""

    items: list[ServicedEvent]
    duplicate: bool
    engine_seq: Count


class ModeSet(Acted):
    mode: Mode


class RolledDay(Acted):
    business_date: DayText
