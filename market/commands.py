"""What may be asked of the venue: one frozen dataclass per command, plain values only.

A command carries everything that its outcome depends on but the state itself; its sequence number, time and actor are
stamped on it by the engine. The log stores commands, and replaying them from empty gives the same state.
"""

from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from typing import NamedTuple

from market.claims.loan import LoanStatus, LoanTerms
from market.claims.servicing import ServicingEvent
from market.errors import MarketError
from market.ids import AccountId, ClientOrderId, Currency, Face, LoanId, Minor, Nanos, OrderId, PriceBp, Seq
from market.orderbook.order import CancelReason, OrderType, SelfTradePrevention, Side, TimeInForce
from market.venue.rulebook import Rulebook

QUOTES_MAX = 500  # of one MassQuote


class AccountKind(StrEnum):
    INVESTOR = "investor"
    MARKET_MAKER = "market_maker"
    ORIGINATOR = "originator"
    HOUSE = "house"


class Mode(StrEnum):
    """What the whole market admits. Cancels work in every mode."""

    OPEN = "open"
    CANCEL_ONLY = "cancel_only"
    POST_ONLY = "post_only"
    HALTED = "halted"


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenMarket:
    """The first command of every log: gives the market its business date."""

    business_date: date


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenAccount:
    account_id: AccountId
    kind: AccountKind
    name: str = ""
    owner_group: str | None = None  # accounts of one group never trade with each other
    risk_class: str | None = None  # c1 to c5
    reason: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class FreezeAccount:
    account_id: AccountId
    frozen: bool
    reason: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Deposit:
    """Cash that the custodian confirmed; custody_ref makes it idempotent over the whole market."""

    account_id: AccountId
    currency: Currency
    amount: Minor
    custody_ref: str
    reason: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Withdraw:
    account_id: AccountId
    currency: Currency
    amount: Minor
    custody_ref: str
    reason: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SendCash:
    """Take available cash out of this partition's ledger, to be received in that of partition `to`.

    move_id: 1 to 64 characters; makes it idempotent in this ledger, and the receipt in the other one.
    """

    account_id: AccountId
    currency: Currency
    amount: Minor
    to: int
    move_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceiveCash:
    """Add what the ledger of partition `sender` sent here. Submitted only by who has read it there.

    sent_seq: the sender's command that sent it.  all_before: what earlier commands than that one, at most `sent_seq`,
    sent here is received; so it need not be remembered.
    """

    account_id: AccountId
    currency: Currency
    amount: Minor
    sender: int
    move_id: str
    sent_seq: Seq = Seq(0)
    all_before: Seq = Seq(0)


@dataclass(frozen=True, slots=True, kw_only=True)
class RegisterLoan:
    """issued_face goes to the originator's account; 0 for a finished loan, or one registered ahead of its claims.

    rulebook: None for the originator's default, `open` unless one was set.
    """

    terms: LoanTerms
    issued_face: Face
    status: LoanStatus = LoanStatus.CURRENT
    rulebook: str | None = None
    reason: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class IssueFace:
    loan_id: LoanId
    face: Face
    reason: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class HaltLoan:
    loan_id: LoanId
    halted: bool
    reason: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DefineRulebook:
    """Create one of the market's rulebooks, or replace it: every loan under it trades by the new rules at once."""

    rulebook: Rulebook
    reason: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SetDefaultRulebook:
    """Give an originator's loans that name no rulebook this one from now on; None: `open` again.

    move: put his loans that can be traded under it as well.
    """

    account_id: AccountId
    rulebook: str | None
    move: bool = False
    reason: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AssignRulebook:
    """Put a loan under another of the market's rulebooks. Orders that it does not admit end at once."""

    loan_id: LoanId
    rulebook: str
    reason: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceLoan:
    """What a servicer reports, in order; all of it or nothing. Each event's id makes it idempotent."""

    events: tuple[ServicingEvent, ...]
    reason: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SetMode:
    mode: Mode
    reason: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RollDay:
    """Move the business date forward, through every day in between."""

    to: date
    reason: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PlaceOrder:
    """price: the limit, None for a market order and one by yield.

    limit_yield_ppm: of an order by yield, effective annual, in millionths.  pegged: it keeps that yield, not its price.

    deadline: refuse it from this time on.  if_book: refuse it unless this is the digest of the ten best levels.
    """

    account_id: AccountId
    loan_id: LoanId
    side: Side
    quantity: Face
    order_type: OrderType = OrderType.LIMIT
    price: PriceBp | None = None
    time_in_force: TimeInForce = TimeInForce.GTC
    expire_at: Nanos | None = None
    post_only: bool = False
    min_quantity: Face | None = None
    display_quantity: Face | None = None
    stp: SelfTradePrevention = SelfTradePrevention.CANCEL_NEWEST
    cancel_on_disconnect: bool = False
    cancel_on_payment: bool = False
    cancel_on_reschedule: bool = False
    client_order_id: ClientOrderId | None = None
    session: str | None = None
    tag: str | None = None
    deadline: Nanos | None = None
    if_book: int | None = None
    limit_yield_ppm: int | None = None
    pegged: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckOrder:
    """Judge and price an order as it would be placed now. Changes nothing."""

    order: PlaceOrder


@dataclass(frozen=True, slots=True, kw_only=True)
class AmendOrder:
    """By order_id or client_order_id. quantity: the new total, filled part included; None keeps it."""

    account_id: AccountId
    order_id: OrderId | None = None
    client_order_id: ClientOrderId | None = None
    quantity: Face | None = None
    price: PriceBp | None = None
    if_version: int | None = None
    deadline: Nanos | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CancelOrder:
    account_id: AccountId
    order_id: OrderId | None = None
    client_order_id: ClientOrderId | None = None
    if_version: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CancelAll:
    """Every open order of the account that matches all filters given, and every quote: those have no tag.

    cancel_on_disconnect: what an order asked for; quotes are no matter of it.

    block: the kill switch; the account places and amends nothing until it is unblocked.
    """

    account_id: AccountId
    loan_id: LoanId | None = None
    side: Side | None = None
    session: str | None = None
    tag: str | None = None
    cancel_on_disconnect: bool | None = None
    cause: CancelReason = CancelReason.USER
    block: bool = False


class Quote(NamedTuple):
    """What is wanted in one loan. A side without a price, or of quantity 0, is not wanted: it is withdrawn."""

    loan_id: LoanId
    bid: PriceBp | None = None
    bid_quantity: Face = Face(0)
    ask: PriceBp | None = None
    ask_quantity: Face = Face(0)


@dataclass(frozen=True, slots=True, kw_only=True)
class MassQuote:
    """Each quote replaces the account's former one in that loan and set; each side is judged by itself.

    connection: the quotes live no longer than it.  mmp_group: whose protection watches over them.
    """

    account_id: AccountId
    quote_set: str
    quotes: tuple[Quote, ...]
    connection: str
    session: str | None = None
    mmp_group: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CancelQuotes:
    """Withdraw every quote of the account that matches all filters given."""

    account_id: AccountId
    loan_ids: tuple[LoanId, ...] | None = None
    quote_set: str | None = None
    connection: str | None = None
    cause: CancelReason = CancelReason.USER


@dataclass(frozen=True, slots=True, kw_only=True)
class SetMmp:
    """Watch over a group of the account's quotes: after max_fills fills, or fills of max_face, within the window
    (nanoseconds) all of them are withdrawn, and none is taken any more until ResetMmp.
    """

    account_id: AccountId
    group: str
    max_fills: int | None = None
    max_face: Face | None = None
    window: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ResetMmp:
    account_id: AccountId
    group: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Unblock:
    """Undo the kill switch."""

    account_id: AccountId


@dataclass(frozen=True, slots=True, kw_only=True)
class ResolveOrder:
    """Say for good whether there is an order of this id. If there is none there never will be: the id is used up."""

    account_id: AccountId
    client_order_id: ClientOrderId


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpireOrders:
    """Sent by the engine itself when the earliest expiry has passed; the command's time decides what expires."""


Command = (
    OpenMarket
    | OpenAccount
    | FreezeAccount
    | Deposit
    | Withdraw
    | SendCash
    | ReceiveCash
    | RegisterLoan
    | IssueFace
    | HaltLoan
    | DefineRulebook
    | SetDefaultRulebook
    | AssignRulebook
    | ServiceLoan
    | SetMode
    | RollDay
    | PlaceOrder
    | CheckOrder
    | AmendOrder
    | CancelOrder
    | CancelAll
    | MassQuote
    | CancelQuotes
    | SetMmp
    | ResetMmp
    | Unblock
    | ResolveOrder
    | ExpireOrders
)


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderAck:
    """The answer to PlaceOrder, AmendOrder and CancelOrder: the order right after the command.

    A repeat of a PlaceOrder returns the first answer with duplicate=True.
    """

    order_id: OrderId
    client_order_id: ClientOrderId | None
    order_status: str
    filled: Face
    cancel_reason: CancelReason | None
    version: int
    engine_seq: int
    priority_kept: bool | None = None  # amends only
    duplicate: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderPriced:
    """The answer to CheckOrder: what the order would do now. price: its limit, the collar's for a market order.

    filled: at once, for `principal` (clean), `accrued` and `fee`; turnover over filled is its average price.
    """

    client_order_id: ClientOrderId | None
    price: PriceBp
    quantity: Face
    filled: Face
    turnover: int
    principal: Minor
    accrued: Minor
    fee: Minor


@dataclass(frozen=True, slots=True, kw_only=True)
class Fenced:
    """The answer to ResolveOrder if there is no such order; if there is, its first answer is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CountAck:
    """The answer to CancelAll and CancelQuotes: how many orders it ended, how many sides of quotes it withdrew."""

    count: int
    quotes: int = 0


class Refusal(NamedTuple):
    """A MarketError as a plain value: of one part of a command whose other parts went through. error: its class."""

    error: str
    message: str
    field: str | None
    details: tuple[tuple[str, int | str | None], ...]

    def to_error(self) -> MarketError:
        [kind] = [kind for kind in MarketError.__subclasses__() if kind.__name__ == self.error]
        return kind(self.message, field=self.field, **dict(self.details))


class QuoteOutcome(NamedTuple):
    """What became of one quote's sides: True, what refused it, or None where nothing was wanted."""

    bid: Refusal | bool | None
    ask: Refusal | bool | None


@dataclass(frozen=True, slots=True, kw_only=True)
class QuoteAck:
    """The answer to MassQuote, in its order. A side that was refused is not quoted: its former one is gone, too."""

    quotes: tuple[QuoteOutcome, ...]

    @property
    def accepted(self) -> int:
        """How many sides were."""
        return sum(side is True for quote in self.quotes for side in quote)


@dataclass(frozen=True, slots=True, kw_only=True)
class ServicingAck:
    """The answer to ServiceLoan. duplicates: of each event, whether it had been booked before."""

    duplicates: tuple[bool, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """The answer to every other command. duplicate: it had been done before, nothing changed."""

    duplicate: bool = False


Result = OrderAck | OrderPriced | Fenced | CountAck | QuoteAck | ServicingAck | Done
