"""Orders as they are asked for: placed, amended, canceled."""

import re
from typing import Annotated, Any, Literal

from pydantic import Field, StringConstraints

from gateway.requests.fields import LimitYield, Name, Price, Quantity, Request, Time, Word, require
from gateway.wire import parse_order_id, printable
from market.commands import AmendOrder, CancelAll, CancelOrder, PlaceOrder
from market.errors import UnknownOrder
from market.ids import AccountId, ClientOrderId, LoanId, Nanos, OrderId
from market.orderbook.order import IMMEDIATE, OrderType, SelfTradePrevention, Side, TimeInForce

CLIENT_ORDER_ID = r"[A-Za-z0-9._:-]{1,36}"
ClientOrderIdText = Annotated[str, StringConstraints(pattern=f"^{CLIENT_ORDER_ID}$")]


class OrderParams(Request):
    """An order, but for the loan: that is `symbol` on the socket and `loan_id` in REST."""

    side: Word[Side]
    order_type: Word[OrderType] = OrderType.LIMIT
    limit_price: Price | None = None
    order_qty: Quantity
    time_in_force: Word[TimeInForce] | None = None
    expire_time: Time | None = None
    post_only: bool = False
    min_qty: Quantity | None = None
    display_qty: Quantity | None = None
    stp_type: Word[SelfTradePrevention] = SelfTradePrevention.CANCEL_NEWEST
    cancel_on_disconnect: bool = False
    cancel_on_payment: bool = False
    cancel_on_reschedule: bool = False
    deadline: Time | None = None
    tag: Name | None = None
    cl_ord_id: ClientOrderIdText | None = None
    limit_yield: LimitYield | None = None
    peg: Literal["yield"] | None = None
    if_book_seq: Annotated[int, Field(ge=0, lt=2**63)] | None = None
    check_only: bool = Field(False, alias="validate")

    def to_command(
        self,
        account_id: AccountId,
        loan_id: LoanId,
        *,
        now: Nanos,
        session: str | None = None,
        if_book: int | None = None,
    ) -> PlaceOrder:
        """Raises InvalidArguments for fields that contradict each other.

        now: when it was received.  if_book: the digest that if_book_seq stands for.
        """
        self._check_words(now)
        return PlaceOrder(
            account_id=account_id,
            loan_id=loan_id,
            side=self.side,
            quantity=self.order_qty,
            order_type=self.order_type,
            price=self.limit_price,
            time_in_force=self._time_in_force,
            expire_at=self.expire_time,
            post_only=self.post_only,
            min_quantity=self.min_qty,
            display_quantity=self.display_qty,
            stp=self.stp_type,
            cancel_on_disconnect=self.cancel_on_disconnect,
            cancel_on_payment=self.cancel_on_payment,
            cancel_on_reschedule=self.cancel_on_reschedule,
            client_order_id=None if self.cl_ord_id is None else ClientOrderId(self.cl_ord_id),
            session=session,
            tag=self.tag,
            deadline=self.deadline,
            if_book=if_book,
            limit_yield_ppm=self.limit_yield,
            pegged=self.peg is not None,
        )

    @property
    def _time_in_force(self) -> TimeInForce:
        if self.time_in_force is not None:
            return self.time_in_force
        return TimeInForce.IOC if self.order_type is OrderType.MARKET else TimeInForce.GTC

    def _check_words(self, now: Nanos) -> None:
        """Refuse what contradicts itself, whatever the market is like."""
        is_market, lasts = self.order_type is OrderType.MARKET, self._time_in_force
        is_limit, by_yield = self.order_type is OrderType.LIMIT, self.order_type is OrderType.YIELD
        require(self.limit_price is not None or not is_limit, "limit_price", "a limit order needs one")
        require(self.limit_price is None or is_limit, "limit_price", f"a {self.order_type} order has none")
        require(self.limit_yield is not None or not by_yield, "limit_yield", "a yield order needs one")
        require(self.limit_yield is None or by_yield, "limit_yield", "only a yield order has one")
        require(self.peg is None or by_yield, "peg", "only a yield order can be pegged to its yield")
        require(self.peg is None or lasts not in IMMEDIATE, "peg", "this order never rests")
        require(not is_market or lasts is TimeInForce.IOC, "time_in_force", "a market order is ioc")
        require(lasts is not TimeInForce.GTD or self.expire_time is not None, "expire_time", "gtd needs one")
        require(lasts is TimeInForce.GTD or self.expire_time is None, "expire_time", "only gtd has one")
        require(self.expire_time is None or self.expire_time > now, "expire_time", "must be in the future")
        require(not self.post_only or lasts not in IMMEDIATE, "post_only", "an order that never rests can't be")
        require(self.display_qty is None or lasts not in IMMEDIATE, "display_qty", "this order never rests")


class RestOrder(OrderParams):
    loan_id: Name


class RestBatch(Request):
    """Each order is read by itself, so that one refusal is not that of all."""

    orders: Annotated[list[dict[str, Any]], Field(min_length=1, max_length=50)]


class AmendParams(Request):
    order_qty: Quantity | None = None
    limit_price: Price | None = None
    if_version: Annotated[int, Field(ge=0, lt=2**31)] | None = None
    deadline: Time | None = None

    def to_command(
        self,
        account_id: AccountId,
        *,
        order_id: OrderId | None = None,
        client_order_id: ClientOrderId | None = None,
    ) -> AmendOrder:
        require(self.order_qty is not None or self.limit_price is not None, "order_qty", "nothing to change")
        return AmendOrder(
            account_id=account_id,
            order_id=order_id,
            client_order_id=client_order_id,
            quantity=self.order_qty,
            price=self.limit_price,
            if_version=self.if_version,
            deadline=self.deadline,
        )


class CancelAllParams(Request):
    side: Word[Side] | None = None
    session: Name | None = None
    tag: Name | None = None
    block: bool = False

    def to_command(self, account_id: AccountId, loan_id: LoanId | None) -> CancelAll:
        return CancelAll(
            account_id=account_id,
            loan_id=loan_id,
            side=self.side,
            session=self.session,
            tag=self.tag,
            block=self.block,
        )


class RestCancelAll(CancelAllParams):
    loan_id: Name | None = None


def client_order_id(text: str) -> ClientOrderId:
    """Return the client order id that a path says. Raises UnknownOrder for a text that can't be one."""
    if not re.fullmatch(CLIENT_ORDER_ID, text):
        raise UnknownOrder("no order can have this cl_ord_id", field="cl_ord_id")
    return ClientOrderId(text)


def cancel_command(account_id: AccountId, order_id: str) -> CancelOrder:
    """Raises UnknownOrder for a text that is no order's id."""
    number = parse_order_id(order_id)
    if number is None:
        raise UnknownOrder(f"no order {printable(order_id)}", field="order_id")
    return CancelOrder(account_id=account_id, order_id=number)
