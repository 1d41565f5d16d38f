"""The socket's contract as tables: what each method takes and answers, and what each channel tells, row by row.

From these the AsyncAPI document is made (asyncapi.py). The models of requests are those that check them; the models of
results and rows are never used at run time: the end-to-end tests read every reply and every push back through them,
undeclared keys refused.
"""

from dataclasses import dataclass
from typing import Any, Literal

from pydantic import BaseModel

from gateway.answers.board import LoanPart
from gateway.answers.fields import Checksum, Count, Factor, Moment, Money, OrderIdOut, TradeIdOut, Ytm
from gateway.answers.loans import Loan, LoanInfo
from gateway.answers.market import PartitionState
from gateway.answers.orders import ExecutionFields, FeeOut, Order, PricedOrder
from gateway.answers.prices import CandleRow, PriceLevel, PublicTrade
from gateway.answers.socket import (
    AckedBatch,
    Armed,
    Counted,
    FencedId,
    LoggedIn,
    Nothing,
    OrderAcked,
    ProtectionReset,
    ProtectionSet,
    Quoted,
    ResolvedOrder,
    Subscribed,
    Unblocked,
)
from gateway.requests.access import Scope
from gateway.requests.fields import Request as Params
from gateway.ws.board import BoardChoice, BoardSubscription
from gateway.ws.methods import (
    BatchAdd,
    BatchCancel,
    CancelAfter,
    GetOrder,
    Login,
    Private,
    ResolveParams,
    SocketAmend,
    SocketCancel,
    SocketCancelAll,
    SocketOrder,
)
from gateway.ws.quotes import MassQuoteParams, QuoteCancelParams, ResetMmpParams, SetMmpParams
from gateway.ws.subscriptions import Choice, Subscription
from market.commands import Mode
from market.orderbook.order import Side


class StateRow(BaseModel):
    """conflated: so many updates were merged into this row, because the reader was slow, or away."""

    conflated: Count | None = None


class StatusRow(BaseModel):
    """The first of a connection has its id and the challenge for `login`; that of a web session says whose it is.

    partitions: of a market that has several; epoch and engine_seq are those of partition 0 then.
    """

    system: Literal["online", "cancel_only", "post_only", "maintenance"]
    mode: Mode
    api_version: Literal["v2"]
    epoch: Count
    engine_seq: Count
    business_date: str
    server_time: Moment
    connection_id: str | None = None
    challenge: str | None = None
    account: str | None = None
    scopes: list[Scope] | None = None
    reason: str | None = None
    partitions: list[PartitionState] | None = None


class BookRow(StateRow):
    """Absolute sizes, `0.00` removes. prev_seq: of updates only; apply one if it is your last `seq`.

    seq: of the command that last changed what is shown, so numbers have gaps.
    """

    symbol: str
    epoch: Count
    seq: Count
    prev_seq: Count | None = None
    bids: list[PriceLevel]
    asks: list[PriceLevel]
    checksum: Checksum
    digest: Checksum
    timestamp: Moment


class BestRow(StateRow):
    symbol: str
    bid: Money | None
    bid_qty: Money | None
    ask: Money | None
    ask_qty: Money | None
    timestamp: Moment


class TickerRow(BestRow):
    """volume to change_pct: of the last 24 hours.  ytm_*: of buying at that price today."""

    last: Money | None
    volume: Money
    vwap: Money | None
    low: Money | None
    high: Money | None
    change: Money | None
    change_pct: Money | None
    ytm_bid: Ytm | None
    ytm_ask: Ytm | None
    ytm_last: Ytm | None
    accrued: Money
    factor: Factor


class OhlcRow(CandleRow, StateRow):
    """A candle as it is now: it replaces what was told of its `interval_begin`."""


class InstrumentRow(LoanInfo, StateRow):
    """Terms and state of a loan; without its prices, which are in `ticker` and `board`."""


class BoardRow(Loan, StateRow):
    """A loan with its best prices, as in `GET /v1/loans`."""


class BoardPartRow(LoanPart, StateRow):  # type: ignore[misc]
    """What was asked for by `fields` of a loan."""


class LeavingRow(StateRow):
    """A loan that is no longer among the rows of the board."""

    symbol: str
    loan_id: str
    removed: Literal[True]


class ExecutionRow(ExecutionFields):
    """From trade_id on: of trades only."""

    trade_id: TradeIdOut | None = None
    last_qty: Money | None = None
    last_price: Money | None = None
    principal: Money | None = None
    accrued: Money | None = None
    dirty: Money | None = None
    fee: Money | None = None
    currency: str | None = None
    ytm: Ytm | None = None
    liquidity_ind: Literal["m", "t"] | None = None
    cost: Money | None = None
    fees: list[FeeOut] | None = None


class BalanceRow(StateRow):
    """asset: a currency or a loan."""

    asset: str
    balance: Money
    available: Money
    held: Money


class QuoteRow(StateRow):
    """One side of a quote. reason: why it is gone, null while it stands."""

    symbol: str
    quote_set: str
    side: Side
    order_id: OrderIdOut
    price: Money
    qty: Money
    cum_qty: Money
    status: str
    reason: str | None
    mmp_group: str | None
    timestamp: Moment


@dataclass(frozen=True, slots=True)
class MethodDoc:
    """results: what a success may bear."""

    params: type[BaseModel]
    results: tuple[type[BaseModel], ...]
    summary: str
    replies: Literal["one", "one per symbol", "one per order"] = "one"


@dataclass(frozen=True, slots=True)
class ChannelDoc:
    """rows: their types.  more: keys of its messages beside channel, type and data."""

    rows: tuple[type[BaseModel], ...]
    summary: str
    is_private: bool = False
    more: tuple[str, ...] = ()


METHOD_DOCS = {
    "ping": MethodDoc(Params, (Nothing,), "Answered by `pong`"),
    "login": MethodDoc(Login, (LoggedIn,), "Prove a key by signing this connection's challenge"),
    "logout": MethodDoc(Params, (Nothing,), "Forget the login and every private stream"),
    "subscribe": MethodDoc(Subscription, (Subscribed,), "Subscribe to a channel", "one per symbol"),
    "unsubscribe": MethodDoc(Choice, (Subscribed,), "End a subscription", "one per symbol"),
    "resync": MethodDoc(Choice, (Subscribed,), "Have a fresh snapshot of what is subscribed to", "one per symbol"),
    "add_order": MethodDoc(SocketOrder, (OrderAcked, PricedOrder), "Place an order"),
    "batch_add": MethodDoc(BatchAdd, (AckedBatch,), "Place up to 50 orders; each is judged by itself"),
    "batch_cancel": MethodDoc(BatchCancel, (AckedBatch,), "Cancel up to 50 orders"),
    "amend_order": MethodDoc(SocketAmend, (OrderAcked,), "Change an order's quantity or price"),
    "cancel_order": MethodDoc(SocketCancel, (OrderAcked,), "Cancel orders by id or client id", "one per order"),
    "cancel_all": MethodDoc(
        SocketCancelAll, (Counted,), "Cancel all orders, or some; with `block` nothing new is taken"
    ),
    "cancel_all_orders_after": MethodDoc(
        CancelAfter, (Armed,), "Cancel all orders unless told again in time; 0 disarms"
    ),
    "unblock": MethodDoc(Private, (Unblocked,), "Take orders again after `cancel_all` with `block`"),
    "mass_quote": MethodDoc(MassQuoteParams, (Quoted,), "Move up to 500 two-sided quotes"),
    "quote_cancel": MethodDoc(QuoteCancelParams, (Counted,), "Withdraw quotes"),
    "set_mmp": MethodDoc(SetMmpParams, (ProtectionSet,), "Limit what a group of quotes may trade in a window of time"),
    "reset_mmp": MethodDoc(
        ResetMmpParams, (ProtectionReset,), "Take a group's quotes again after its protection has fired"
    ),
    "get_order": MethodDoc(GetOrder, (Order,), "One order as it is"),
    "resolve_order": MethodDoc(
        ResolveParams, (ResolvedOrder, FencedId), "A final answer about a client order id after a timeout"
    ),
}
BOARD_DOCS = {  # of the channel `board`, which is chosen by other words
    "subscribe": MethodDoc(
        BoardSubscription, (Subscribed,), "Subscribe to the board: filter and order as in `GET /v1/loans`"
    ),
    "unsubscribe": MethodDoc(BoardChoice, (Subscribed,), "End a subscription to a board"),
    "resync": MethodDoc(BoardChoice, (Subscribed,), "Have a fresh snapshot of a board"),
}

CHANNEL_DOCS = {
    "status": ChannelDoc((StatusRow,), "How the market is; everybody gets it"),
    "heartbeat": ChannelDoc((), "Every second once subscribed to anything"),
    "book": ChannelDoc((BookRow,), "Price levels to a depth: a snapshot, then steps numbered without a gap"),
    "bbo": ChannelDoc((BestRow,), "Best bid and offer"),
    "ticker": ChannelDoc((TickerRow,), "Best prices with their yields, last trade, 24 hours of trading"),
    "trade": ChannelDoc((PublicTrade,), "Every trade"),
    "ohlc": ChannelDoc((OhlcRow,), "Candles, as trades change them"),
    "instrument": ChannelDoc((InstrumentRow,), "Terms and state of loans, when they change"),
    "board": ChannelDoc(
        (BoardRow, BoardPartRow, LeavingRow), "The best of all loans by filter and order", more=("board",)
    ),
    "executions": ChannelDoc(
        (ExecutionRow,),
        "One's own orders and fills, numbered per account",
        True,
        ("sequence", "prev_sequence", "partition"),
    ),
    "balances": ChannelDoc((BalanceRow,), "One's own cash and claims", True),
    "quotes": ChannelDoc((QuoteRow,), "One's own quotes", True),
}
MORE: dict[str, dict[str, Any]] = {
    "board": {"type": "string", "description": "which of the boards that the socket looks at, as acknowledged"},
    "sequence": {"type": "integer", "minimum": 0},
    "prev_sequence": {"type": "integer", "minimum": 0, "description": "of updates"},
    "partition": {"type": "integer", "minimum": 0, "description": "that counts them, in a market of several"},
}
