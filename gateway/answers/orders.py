"""Orders and their executions."""

from typing import Literal

from pydantic import BaseModel

from gateway.answers.fields import Count, DayText, Moment, Money, OrderIdOut, Refusal, TradeIdOut, Yield, Ytm
from market.orderbook.order import (
    CancelReason,
    ExecType,
    OrderStatus,
    OrderType,
    SelfTradePrevention,
    Side,
    TimeInForce,
)


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
    """A fill of one's own. sequence: the number of its message in the private stream.

    partition: in a market of several, that counts it.
    """

    sequence: Count
    partition: Count | None = None
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
    """A refusal on the socket: act on its `code`. group: of quotes, that protection holds."""

    message: str
    field: str | None = None
    skew_ms: int | None = None
    retry_after_ms: int | None = None
    cancel_reason: CancelReason | None = None
    reason: str | None = None
    group: str | None = None


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
