"""Facts: what happened, as frozen values. Settlement writes them, the gateway shows them; neither reads the venue.

State events carry absolute values (the new total, the whole order), so the last one wins and a reader can join at any
time from `Venue.snapshot()`, which describes the whole state in the same events.
"""

from datetime import date
from typing import NamedTuple

import msgspec

from market.claims.loan import LoanStatus, LoanTerms
from market.claims.schedule import Schedule
from market.claims.servicing import ServicingType
from market.commands import AccountKind, Command, Mode, Result
from market.ids import AccountId, ClientOrderId, Currency, Face, LoanId, Minor, Nanos, OrderId, PriceBp, Seq, TradeId
from market.orderbook.order import (
    CancelReason,
    ExecType,
    OrderStatus,
    OrderType,
    QuoteOf,
    SelfTradePrevention,
    Side,
    TimeInForce,
)
from market.settlement.journal import JournalEntry
from market.venue.lots import Lot
from market.venue.rulebook import Rulebook


class Fact(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """A frozen value. Several are made for each order, so it is what costs least to make, to write and to collect.

    gc: values hold no cycles, so the collector need not look at them.  omit_defaults: of what is written, so
    a default is part of what is stored and never changes.
    """


class LevelChange(Fact, frozen=True):
    """One price of one side of a book: its new visible total, 0 when the level is gone."""

    side: Side
    price: PriceBp
    quantity: Face


class OrderState(Fact, frozen=True, kw_only=True):
    """An order in full at one moment; all that a client or a rebuild needs."""

    order_id: OrderId
    account_id: AccountId
    owner: str
    loan_id: LoanId
    currency: Currency
    client_order_id: ClientOrderId | None
    side: Side
    order_type: OrderType
    time_in_force: TimeInForce
    expire_at: Nanos | None
    price: PriceBp
    quantity: Face
    filled: Face
    leaves: Face
    shown: Face
    cum_cost: Minor  # sum of principal of its fills
    turnover: int  # sum of price x quantity of its fills: over `filled`, their average price
    hold: int
    post_only: bool
    min_quantity: Face | None
    display_quantity: Face | None
    stp: SelfTradePrevention
    cancel_on_disconnect: bool
    cancel_on_payment: bool
    cancel_on_reschedule: bool
    session: str | None
    tag: str | None
    status: OrderStatus
    cancel_reason: CancelReason | None
    version: int
    priority: int
    created_at: Nanos
    exec_id: str  # of its last execution row
    exec_type: ExecType  # of that row
    limit_yield_ppm: int | None = None  # of an order by yield
    pegged: bool = False  # its price follows that yield


class Fill(Fact, frozen=True, kw_only=True):
    """One side's view of a trade."""

    trade_id: TradeId
    quantity: Face
    price: PriceBp
    principal: Minor
    accrued: Minor
    fee: Minor
    ytm_ppm: int | None  # effective annual, millionths
    is_maker: bool


class ExecutionRow(Fact, frozen=True, kw_only=True):
    exec_id: str
    exec_type: ExecType
    order: OrderState
    fill: Fill | None = None


class Executed(Fact, frozen=True, kw_only=True):
    """One message of an account's private stream. sequence: 1, 2, 3, ... per account without a gap.

    All rows are trades, or none is.
    """

    account_id: AccountId
    sequence: int
    rows: tuple[ExecutionRow, ...]


class OrderAccepted(Fact, frozen=True, kw_only=True):
    """The first answer to an order, kept for its client order id's lifetime. digest: of the order's content."""

    order_id: OrderId
    account_id: AccountId
    client_order_id: ClientOrderId
    digest: bytes
    order_status: OrderStatus
    filled: Face
    cancel_reason: CancelReason | None


class IdFenced(Fact, frozen=True, kw_only=True):
    """A client order id that is used up without an order."""

    account_id: AccountId
    client_order_id: ClientOrderId


class OpenOrder(Fact, frozen=True, kw_only=True):
    """An order that is open, as part of a snapshot."""

    order: OrderState


class QuoteState(NamedTuple):
    """One side of a quote in full at one moment. A thousand come at once, so it is a plain tuple."""

    order_id: OrderId
    account_id: AccountId
    loan_id: LoanId
    currency: Currency
    side: Side
    price: PriceBp
    quantity: Face
    filled: Face
    leaves: Face
    cum_cost: Minor
    turnover: int
    hold: int
    status: OrderStatus
    cancel_reason: CancelReason | None
    version: int
    priority: int
    created_at: Nanos
    expire_at: Nanos | None  # at the end of the life that the loan's rulebook gives it
    quote: QuoteOf


class QuotesChanged(Fact, frozen=True, kw_only=True):
    """Sides of an account's quotes. They are in no table: a rebuild has none."""

    account_id: AccountId
    quotes: tuple[QuoteState, ...]


class MmpChanged(Fact, frozen=True, kw_only=True):
    """A group's protection. frozen: triggered, and not reset yet.

    fills: time and face of those that count; told in a snapshot alone, and like quotes gone after a rebuild.
    """

    account_id: AccountId
    group: str
    max_fills: int | None
    max_face: Face | None
    window: int
    frozen: bool
    fills: tuple[tuple[Nanos, Face], ...] = ()


class HoldChanged(Fact, frozen=True, kw_only=True):
    """A reservation that moved without its order doing so: factor or accrued bound changed."""

    order_id: OrderId
    account_id: AccountId
    hold: int


class Traded(Fact, frozen=True, kw_only=True):
    trade_id: TradeId
    loan_id: LoanId
    currency: Currency
    price: PriceBp
    quantity: Face
    taker_side: Side
    taker_order_type: OrderType
    buy_order_id: OrderId
    sell_order_id: OrderId
    buyer: AccountId
    seller: AccountId
    current_face: Minor  # of the quantity, half up
    principal: Minor
    accrued: Minor
    buyer_fee: Minor
    seller_fee: Minor
    ytm_ppm: int | None
    business_date: date


class Posted(Fact, frozen=True, kw_only=True):
    entry: JournalEntry


class CustodyMoved(Fact, frozen=True, kw_only=True):
    """A deposit (amount > 0) or withdrawal (amount < 0) that the custodian confirmed."""

    custody_ref: str
    account_id: AccountId
    currency: Currency
    amount: int
    digest: bytes


class CashSent(Fact, frozen=True, kw_only=True):
    """Cash that left for the ledger of partition `to`."""

    move_id: str
    account_id: AccountId
    currency: Currency
    amount: Minor
    to: int


class CashReceived(Fact, frozen=True, kw_only=True):
    """Cash that arrived from the ledger of partition `sender`. sent_seq, all_before: as ReceiveCash said them."""

    sender: int
    move_id: str
    account_id: AccountId
    currency: Currency
    amount: Minor
    sent_seq: Seq = Seq(0)
    all_before: Seq = Seq(0)


class CashChanged(Fact, frozen=True, kw_only=True):
    """moved: of the total, what came here from other partitions less what went there: < 0 if more was sent.

    What an account has in the whole market is the sum of total - moved, whatever is on the way meanwhile.
    """

    account_id: AccountId
    currency: Currency
    total: Minor
    held: Minor
    moved: int = 0


class ClaimChanged(Fact, frozen=True, kw_only=True):
    """cost: clean amount paid for what is held (average cost).  realised: result of what was sold. Minor units.

    lots: of what acquisitions `total` is made, by date and transfers.
    """

    account_id: AccountId
    loan_id: LoanId
    total: Face
    held: Face
    cost: Minor
    realised: int
    lots: tuple[Lot, ...]


class BookChanged(Fact, frozen=True, kw_only=True):
    """seq: of the last command that changed the book, where that is not the one that is told of: in a state."""

    loan_id: LoanId
    changes: tuple[LevelChange, ...]
    seq: int | None = None


class AccountChanged(Fact, frozen=True, kw_only=True):
    account_id: AccountId
    kind: AccountKind
    name: str
    owner_group: str | None
    risk_class: str | None
    frozen: bool
    blocked: bool  # by its own kill switch
    exec_seq: int  # sequence of the last Executed message
    digest: bytes  # of the opening command's content
    default_rulebook: str | None = None  # of an originator: what his loans get that name none


class LoanChanged(Fact, frozen=True, kw_only=True):
    """paid: how many instalments of the schedule are paid.  halt_reason: None while trading."""

    terms: LoanTerms
    status: LoanStatus
    outstanding: Minor
    issued: Face
    paid: int
    halt_reason: str | None
    rulebook: Rulebook
    last_price: PriceBp | None
    digest: bytes  # of the registering command's content


class ScheduleChanged(Fact, frozen=True, kw_only=True):
    """What a loan's borrower owes, once servicing has touched it; before that it follows from the loan's terms."""

    loan_id: LoanId
    schedule: Schedule


class Serviced(Fact, frozen=True, kw_only=True):
    """A servicing event as it was booked; amounts are of the whole loan, in minor units.

    capitalised: unpaid interest that a new schedule made principal.  distributed: cash that reached the accounts here.
    outstanding, status: of the loan after it.  digest: of the event's content.
    """

    event_id: str
    loan_id: LoanId
    type: ServicingType
    value_date: date
    currency: Currency
    interest: Minor
    principal: Minor
    costs: Minor
    capitalised: Minor
    distributed: Minor
    outstanding: Minor
    status: LoanStatus
    digest: bytes


class RulebookChanged(Fact, frozen=True, kw_only=True):
    rulebook: Rulebook


class MarketChanged(Fact, frozen=True, kw_only=True):
    mode: Mode
    business_date: date


Event = (
    Executed
    | OrderAccepted
    | IdFenced
    | OpenOrder
    | QuotesChanged
    | MmpChanged
    | HoldChanged
    | Traded
    | Posted
    | CustodyMoved
    | CashSent
    | CashReceived
    | CashChanged
    | ClaimChanged
    | BookChanged
    | AccountChanged
    | LoanChanged
    | ScheduleChanged
    | Serviced
    | RulebookChanged
    | MarketChanged
)


class LogEntry(Fact, frozen=True, kw_only=True):
    """One command that changed the state, as stamped and applied. This is what settlement makes durable."""

    seq: Seq
    at: Nanos
    actor: str
    command: Command
    events: tuple[Event, ...]
    result: Result
