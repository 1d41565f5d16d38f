"""Orders: place, look at, amend, cancel. Success is answered once it is durable."""

import asyncio
import hashlib
import re
from collections.abc import Sequence
from functools import partial
from http import HTTPStatus
from typing import Any

from aiohttp import web
from msgspec.structs import replace

from gateway.answers.fields import Acted, Page
from gateway.answers.orders import AmendedOrder, CanceledOrders, Order, PlacedBatch, PlacedOrder, PricedOrder
from gateway.reads.history import StoredOrder
from gateway.reads.schemas import order_object, priced_row
from gateway.requests.fields import Empty
from gateway.requests.orders import CLIENT_ORDER_ID, AmendParams, RestBatch, RestCancelAll, RestOrder, client_order_id
from gateway.rest.api import PAGE, Access, Call, Doc, Route, cursor_of, page, reply, told_after_commit
from gateway.together import Told, command_or_refusal, error_row, send_together
from gateway.wire import order_id_text, parse_order_id, printable
from gateway.ws.executions import engine_seq_of
from market.commands import (
    AmendOrder,
    CancelOrder,
    CheckOrder,
    Command,
    CountAck,
    Done,
    OrderAck,
    OrderPriced,
    PlaceOrder,
    Unblock,
)
from market.errors import (
    AccountFrozen,
    BelowMinimum,
    DeadlineElapsed,
    DuplicateId,
    FokUnfilled,
    InsufficientClaims,
    InsufficientFunds,
    InvalidArguments,
    InvalidPrice,
    InvalidQuantity,
    InvariantViolation,
    KillSwitch,
    LoanClosed,
    LoanHalted,
    MarketError,
    MarketMode,
    MinQuantityUnfilled,
    NotEligible,
    NotTransferable,
    OrderClosed,
    PostOnlyCross,
    PriceOutOfBand,
    RuleViolation,
    StaleBook,
    UnknownLoan,
    UnknownOrder,
    VersionMismatch,
    YieldFloor,
)
from market.ids import Face, LoanId, OrderId
from market.orderbook.order import FINAL_STATUSES, OrderStatus
from market.port import Answer


async def place(call: Call) -> web.Response:
    """201 with Location the first time, 200 with `duplicate` for a repeat: the first answer again.

    200 for one that is only to be checked.
    """
    order = call.parsed(RestOrder)
    order = order.model_copy(update={"cl_ord_id": _client_order_id(call, order.cl_ord_id)})
    command = _command_of(call, order)
    answer = await call.submit(CheckOrder(order=command) if order.check_only else command)
    if isinstance(answer.result, OrderPriced):
        return reply(priced_row(answer.result))
    ack = _order_ack(answer)
    stored = await _after(call, answer)
    headers = {"Location": f"/v1/orders/{order_id_text(ack.order_id)}", "ETag": _etag(ack.version)}
    status = HTTPStatus.OK if ack.duplicate else HTTPStatus.CREATED
    return reply(_first_answer(stored, command, ack), status=status, headers=headers)


async def place_batch(call: Call) -> web.Response:
    """Each order's result or error, in order. One that is refused does not keep the others out."""

    def command_of(body: dict[str, Any]) -> Command:
        order = RestOrder.parse(body)
        command = _command_of(call, order)
        return CheckOrder(order=command) if order.check_only else command

    orders = _named(call, call.parsed(RestBatch).orders)
    asked = [command_or_refusal(partial(command_of, body)) for body in orders]
    rows = [
        error_row(told) if isinstance(told, MarketError) else await _placed(call, command, told)
        for command, told in zip(asked, await submitted_together(call, asked), strict=True)
    ]
    return reply({"orders": rows})


async def submitted_together(call: Call, asked: Sequence[Command | MarketError]) -> list[Told]:
    future: asyncio.Future[list[Told]] = asyncio.get_running_loop().create_future()

    def done(answers: list[Told]) -> None:
        if not future.done():  # the client may have gone; its orders stand
            future.set_result(answers)

    send_together(call.api.engine, asked, actor=call.principal.key, done=done)
    return await future


async def _placed(call: Call, command: Command | MarketError, answer: Answer) -> dict[str, Any]:
    if isinstance(answer.result, OrderPriced):
        return priced_row(answer.result)
    order = command.order if isinstance(command, CheckOrder) else command
    if not isinstance(order, PlaceOrder):
        raise InvariantViolation(f"an order was sent as {command}")
    return _first_answer(await _after(call, answer), order, _order_ack(answer))


def _command_of(call: Call, order: RestOrder) -> PlaceOrder:
    loan_id = LoanId(order.loan_id)
    if_book = call.api.views.condition(loan_id, order.if_book_seq)
    return order.to_command(call.principal.account_id, loan_id, now=call.now, if_book=if_book)


def _client_order_id(call: Call, given: str | None) -> str | None:
    """The Idempotency-Key names the order if cl_ord_id does not."""
    key = call.request.headers.get("Idempotency-Key")
    if key is None or key == given:
        return given
    if given is not None:
        raise InvalidArguments("Idempotency-Key and cl_ord_id differ", field="cl_ord_id")
    return RestOrder.parse({**call.body, "cl_ord_id": key}).cl_ord_id


def _named(call: Call, orders: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The Idempotency-Key and an order's place in the batch name it if it has no cl_ord_id.

    Hashed, since a key may be as long as an id.
    """
    key = call.request.headers.get("Idempotency-Key")
    if key is None:
        return list(orders)
    if not re.fullmatch(CLIENT_ORDER_ID, key):
        raise InvalidArguments("Idempotency-Key: no order can have this id", field="cl_ord_id")
    stem = hashlib.sha256(key.encode()).hexdigest()[:32]
    return [
        body if body.get("cl_ord_id") is not None else {**body, "cl_ord_id": f"{stem}.{n}"}
        for n, body in enumerate(orders)
    ]


def _first_answer(stored: StoredOrder, command: PlaceOrder, ack: OrderAck) -> dict[str, Any]:
    """Return the order as it was right after it was placed, whatever has become of it since.

    What its first fills cost is null once others were added to it.
    """
    if int(stored.engine_seq) == ack.order_id:  # an order's number is that of the command that placed it
        shown = _shown(stored)
    else:
        status = OrderStatus(ack.order_status)
        first = replace(
            stored.state,
            quantity=command.quantity,
            price=stored.state.price if command.price is None else command.price,
            filled=ack.filled,
            leaves=Face(0 if status in FINAL_STATUSES else command.quantity - ack.filled),
            status=status,
            cancel_reason=ack.cancel_reason,
            version=ack.version,
        )
        shown = order_object(first, engine_seq=ack.order_id, updated_at=first.created_at)
        if stored.state.filled != ack.filled:
            shown |= {"cum_cost": None, "avg_price": None}
    return {**shown, "engine_seq": ack.engine_seq, "duplicate": ack.duplicate}


async def get(call: Call) -> web.Response:
    return _one(await call.api.history.order(call.principal.account_id, _order_id(call)))


async def get_by_client_id(call: Call) -> web.Response:
    wanted = client_order_id(call.path("cid"))
    return _one(await call.api.history.order_of_client(call.principal.account_id, wanted))


async def find(call: Call) -> web.Response:
    """Newest first; open ones unless `status` says otherwise."""
    limit = call.query.limit()
    found, more = await call.api.history.orders(
        call.principal.account_id,
        statuses=_statuses(call.query.text("status")),
        span=call.query.span(),
        below=call.query.cursor(*[int] * call.api.views.partitions) or (),
        limit=limit,
    )
    return page([_shown(order) for order in found], None if more is None else cursor_of(*more))


def _statuses(text: str | None) -> frozenset[OrderStatus] | None:
    """Return the states that are asked for, None for the open ones."""
    if text in (None, "open"):
        return None
    if text == "all":
        return frozenset(OrderStatus)
    if text == "closed":
        return FINAL_STATUSES
    if text == "rejected":
        return frozenset()  # a refused order leaves no trace
    try:
        return frozenset({OrderStatus(text)})
    except ValueError as e:
        raise InvalidArguments("status: must be open, closed, all or a state", field="status") from e


async def amend(call: Call) -> web.Response:
    params = call.parsed(AmendParams)
    if (version := _version_wanted(call)) is not None:
        if params.if_version not in (None, version):
            raise InvalidArguments("If-Match and if_version differ", field="if_version")
        params = params.model_copy(update={"if_version": version})
    command = params.to_command(call.principal.account_id, order_id=_order_id(call))
    answer = await _submitted(call, command)
    ack, stored = _order_ack(answer), await _after(call, answer)
    body = {**_shown(stored), "engine_seq": ack.engine_seq, "priority_kept": ack.priority_kept}
    return reply(body, headers={"ETag": _etag(stored.state.version)})


async def cancel(call: Call) -> web.Response:
    command = CancelOrder(
        account_id=call.principal.account_id, order_id=_order_id(call), if_version=_version_wanted(call)
    )
    return _one(await _after(call, await _submitted(call, command)))


async def cancel_all(call: Call) -> web.Response:
    params = call.parsed(RestCancelAll)
    loan_id = None if params.loan_id is None else call.api.views.loan(LoanId(params.loan_id)).loan_id
    answer = await call.submit(params.to_command(call.principal.account_id, loan_id))
    if not isinstance(answer.result, CountAck):
        raise InvariantViolation(f"cancel-all was answered with {answer.result}")
    return reply({"count": answer.result.count, "quotes": answer.result.quotes, "engine_seq": answer.seq})


async def unblock(call: Call) -> web.Response:
    """Undo the kill switch that cancel-all with `block` is."""
    call.parsed(Empty)
    answer = await call.submit(Unblock(account_id=call.principal.account_id))
    if not isinstance(answer.result, Done):
        raise InvariantViolation(f"unblock was answered with {answer.result}")
    return reply({"duplicate": answer.result.duplicate, "engine_seq": answer.seq})


async def _submitted(call: Call, command: AmendOrder | CancelOrder) -> Answer:
    try:
        return await call.submit(command)
    except MarketError as error:
        raise await call.api.history.why_unknown(error, command) from None


async def _after(call: Call, answer: Answer) -> StoredOrder:
    """Return the order that a command was about, now that it is durable: from the committed view if it is open.

    There the last execution's id tells whether the command was the last to change it.
    """
    order_id = _order_ack(answer).order_id
    state = call.account.open_orders.get(order_id)
    if state is not None and engine_seq_of(state.exec_id) == answer.seq:
        return StoredOrder(state, answer.seq, answer.at)
    return await told_after_commit(call.api.history.order(call.principal.account_id, order_id))


def _order_id(call: Call) -> OrderId:
    """Return the order that the path names. A name that is no order's is one that the account does not have."""
    text = call.path("order_id")
    order_id = parse_order_id(text)
    if order_id is None:
        raise UnknownOrder(f"no order {printable(text)}")
    return order_id


def _version_wanted(call: Call) -> int | None:
    """Return the version in If-Match; None if there is none or any will do."""
    text = call.request.headers.get("If-Match")
    if text is None or text == "*":
        return None
    digits = text.removeprefix("W/").strip('"')
    if not (digits.isascii() and digits.isdigit() and len(digits) < 10):
        raise VersionMismatch("If-Match is no version of this order")
    return int(digits)


def _order_ack(answer: Answer) -> OrderAck:
    if not isinstance(answer.result, OrderAck):
        raise InvariantViolation(f"an order was answered with {answer.result}")
    return answer.result


def _one(stored: StoredOrder) -> web.Response:
    return reply(_shown(stored), headers={"ETag": _etag(stored.state.version)})


def _shown(stored: StoredOrder) -> dict[str, Any]:
    return order_object(stored.state, engine_seq=stored.engine_seq, updated_at=stored.updated_at)


def _etag(version: int) -> str:
    return f'"{version}"'


SPAN = frozenset({"after_seq", "since", "until", "loan_id"})

ORDER_EXAMPLE = {
    "loan_id": "LC18-00042",
    "side": "sell",
    "order_type": "limit",
    "limit_price": "98.75",
    "order_qty": "5000.00",
    "time_in_force": "gtc",
    "post_only": True,
    "cl_ord_id": "mm1-42",
}
LOAN_REFUSALS = (UnknownLoan, LoanClosed, LoanHalted, NotTransferable, MarketMode)
PRICE_REFUSALS = (InvalidPrice, PriceOutOfBand, YieldFloor, InvalidQuantity, BelowMinimum, RuleViolation)
HOLD_REFUSALS = (NotEligible, InsufficientFunds, InsufficientClaims)
BOOK_REFUSALS = (PostOnlyCross, FokUnfilled, MinQuantityUnfilled, StaleBook, DeadlineElapsed)
ACCOUNT_REFUSALS = (AccountFrozen, KillSwitch)
PLACE_REFUSALS = (
    *(DuplicateId, *ACCOUNT_REFUSALS),
    *(*LOAN_REFUSALS, *PRICE_REFUSALS, *HOLD_REFUSALS, *BOOK_REFUSALS),
)
CHANGE_REFUSALS = (UnknownOrder, OrderClosed, VersionMismatch)
AMEND_REFUSALS = (*CHANGE_REFUSALS, *ACCOUNT_REFUSALS, *LOAN_REFUSALS, *PRICE_REFUSALS, *HOLD_REFUSALS, *BOOK_REFUSALS)

ROUTES = (
    Route(
        "POST",
        "/v1/orders",
        Access.TRADE,
        place,
        doc=Doc(
            summary="Place an order; it is durable when this is answered",
            body=RestOrder,
            example=ORDER_EXAMPLE,
            answers={201: PlacedOrder, 200: PlacedOrder | PricedOrder},
            refusals=PLACE_REFUSALS,
            takes=("Idempotency-Key",),
            gives=("Location", "ETag"),
        ),
    ),
    Route(
        "GET",
        "/v1/orders",
        Access.READ,
        find,
        PAGE | SPAN | {"status"},
        doc=Doc(summary="Own orders, newest first; the open ones unless `status` is given", answers={200: Page[Order]}),
    ),
    Route(
        "POST",
        "/v1/orders/batch",
        Access.TRADE,
        place_batch,
        doc=Doc(
            summary="Place up to fifty orders; each succeeds or fails by itself",
            body=RestBatch,
            example={"orders": [ORDER_EXAMPLE]},
            answers={200: PlacedBatch},
            takes=("Idempotency-Key",),
        ),
    ),
    Route(
        "POST",
        "/v1/orders/cancel-all",
        Access.TRADE,
        cancel_all,
        doc=Doc(
            summary="Cancel all orders, or those that fit; `block` is the kill switch",
            body=RestCancelAll,
            example={"loan_id": "LC18-00042", "side": "sell"},
            answers={200: CanceledOrders},
            refusals=(UnknownLoan,),
        ),
    ),
    Route(
        "POST",
        "/v1/orders/unblock",
        Access.TRADE,
        unblock,
        doc=Doc(
            summary="Undo the kill switch", body=Empty, example={"reason": "checked by hand"}, answers={200: Acted}
        ),
    ),
    Route(
        "GET",
        "/v1/orders/by-client-id/{cid}",
        Access.READ,
        get_by_client_id,
        doc=Doc(
            summary="One own order by the client's id", answers={200: Order}, refusals=(UnknownOrder,), gives=("ETag",)
        ),
    ),
    Route(
        "GET",
        "/v1/orders/{order_id}",
        Access.READ,
        get,
        doc=Doc(summary="One own order", answers={200: Order}, refusals=(UnknownOrder,), gives=("ETag",)),
    ),
    Route(
        "PATCH",
        "/v1/orders/{order_id}",
        Access.TRADE,
        amend,
        doc=Doc(
            summary="Change quantity or price; a smaller quantity keeps its place in the queue",
            body=AmendParams,
            example={"order_qty": "4000.00", "if_version": 1},
            answers={200: AmendedOrder},
            refusals=AMEND_REFUSALS,
            takes=("If-Match",),
            gives=("ETag",),
        ),
    ),
    Route(
        "DELETE",
        "/v1/orders/{order_id}",
        Access.TRADE,
        cancel,
        doc=Doc(
            summary="Cancel an order",
            answers={200: Order},
            refusals=CHANGE_REFUSALS,
            takes=("If-Match",),
            gives=("ETag",),
        ),
    ),
)
