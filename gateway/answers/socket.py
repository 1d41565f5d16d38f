"""What the socket's methods answer: the `result` of a success, and what a reply has beside it.

Like the rows of ws/contract.py these are never used at run time: the document is made from them, and the end-to-end
tests read every reply back through them, undeclared keys refused.
"""

from typing import Literal

from pydantic import BaseModel

from gateway.access.rates import Bucket
from gateway.answers.fields import Count, Moment, Money, OrderIdOut
from gateway.answers.orders import ErrorDetail, Order, PricedOrder, RefusedOrder
from gateway.requests.access import Scope
from market.orderbook.order import CancelReason, OrderStatus


class RateLeft(BaseModel):
    """What is left of the bucket that a private request drew on. reset_ms: until it is full."""

    bucket: Bucket
    remaining: Count
    reset_ms: Count


class Nothing(BaseModel):
    """There is nothing to say beside the success."""


class LoggedIn(BaseModel):
    """last_exec_seq: number of the account's last message in `executions`.  session: the name that orders bear.

    last_exec_seqs: in a market of several partitions, of each; last_exec_seq is that of partition 0 then.
    """

    account: str
    scopes: list[Scope]
    last_exec_seq: Count
    last_exec_seqs: dict[str, Count] | None = None
    session: str


class Subscribed(BaseModel):
    """The acknowledgement of one symbol, or of a channel without any; the other fields are of some channels only.

    resumed: of a book that goes on from `from_seq`.  board: its name in what is pushed.
    """

    channel: str
    symbol: str | None = None
    depth: Count | None = None
    interval: Count | None = None
    snapshot: bool | None = None
    resumed: bool | None = None
    board: str | None = None
    limit: Count | None = None
    account: str | None = None
    last_exec_seq: Count | None = None
    last_exec_seqs: dict[str, Count] | None = None


class OrderAcked(BaseModel):
    """An order right after the request took effect. duplicate: this is the first answer again.

    priority_kept: of an amendment.
    """

    order_id: OrderIdOut
    cl_ord_id: str | None
    order_status: OrderStatus
    cum_qty: Money
    version: Count
    engine_seq: Count
    duplicate: bool
    cancel_reason: CancelReason | None = None
    priority_kept: bool | None = None


class AckedBatch(BaseModel):
    """Each order's result or error, in order."""

    orders: list[OrderAcked | PricedOrder | RefusedOrder]


class Counted(BaseModel):
    """count: orders that were canceled.  quotes: sides of quotes that were withdrawn."""

    count: Count
    quotes: Count


class Armed(BaseModel):
    """trigger_time: when all is cancelled unless told again; null if disarmed."""

    current_time: Moment
    trigger_time: Moment | None


class Unblocked(BaseModel):
    """duplicate: it was not blocked."""

    duplicate: bool


class QuotedSides(BaseModel):
    """bid, ask: `ok`, the `error` text of a refusal, or null where nothing is quoted.  *_detail: of a refusal."""

    symbol: str
    bid: str | None
    ask: str | None
    bid_detail: ErrorDetail | None = None
    ask_detail: ErrorDetail | None = None


class Quoted(BaseModel):
    """accepted: sides."""

    quote_set: str
    accepted: Count
    quotes: list[QuotedSides]


class ProtectionSet(BaseModel):
    group: str
    max_fills: Count | None
    max_face: Money | None
    window_ms: Count


class ProtectionReset(BaseModel):
    group: str


class ResolvedOrder(Order):
    exists: Literal[True]
    fenced: Literal[False]


class FencedId(BaseModel):
    """There is no such order, and there never will be: a late copy is refused."""

    exists: Literal[False]
    fenced: Literal[True]
