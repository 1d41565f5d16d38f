"""Private calls of the façade that trade: place, amend, edit, cancel.

Orders are written in the façade's words and read as the venue's own requests, so that every check is the same.
"""

from collections.abc import Mapping
from functools import partial
from typing import Any, Final

from gateway.access.rates import Bucket
from gateway.facade.calls import FacadeCall, FacadeRoute, require_fixed
from gateway.facade.public import loan_of
from gateway.facade.rows import Row, description, order_words, userref_of
from gateway.facade.words import error_texts
from gateway.requests.access import Scope
from gateway.requests.orders import AmendParams, CancelAllParams, RestOrder, client_order_id
from gateway.rest.api import Query, told_after_commit
from gateway.rest.orders import submitted_together
from gateway.together import TOGETHER_MAX, Told, command_or_refusal
from gateway.wire import (
    SECOND,
    minor_text,
    order_id_text,
    parse_order_id,
    printable,
    time_text,
)
from gateway.ws.dead_man import DEAD_MAN_S_MAX
from market.commands import AmendOrder, CancelAll, CancelOrder, CheckOrder, Command, CountAck, OrderAck, OrderPriced
from market.errors import InvalidArguments, InvariantViolation, MarketError, UnknownOrder
from market.ids import ClientOrderId, LoanId, Nanos, OrderId
from market.orderbook.order import OrderType
from market.port import Answer

BATCH_MAX: Final = TOGETHER_MAX
ORDER_FIELDS: Final = frozenset(
    {
        *("pair", "type", "ordertype", "volume", "displayvol", "price", "oflags", "timeinforce"),
        *("expiretm", "deadline", "stptype", "cl_ord_id", "userref", "validate"),
    }
)
FIXED_ORDER_FIELDS: Final = {"starttm": ("0",), "leverage": ("none",), "reduce_only": ("false",)}
FLAGS: Final = frozenset({"post", "fciq"})  # fees are in currency anyway
SAME_WORDS: Final = {"type": "side", "volume": "order_qty", "displayvol": "display_qty", "price": "limit_price"}


async def add_order(call: FacadeCall) -> Row:
    order = order_of(call, call.query)
    command = command_of(call, order)
    answer = await call.submit(command)
    return placed(call, order, answer)


async def add_orders(call: FacadeCall) -> Row:
    """Several orders of one pair. One that is refused does not keep the others out."""
    asked = call.body.get("orders")
    if not isinstance(asked, list) or not 0 < len(asked) <= BATCH_MAX or not all(isinstance(e, dict) for e in asked):
        raise InvalidArguments(f"orders: from 1 to {BATCH_MAX} orders", field="orders")
    orders: list[RestOrder | None] = [None] * len(asked)

    def make(i: int, fields: Mapping[str, Any]) -> Command:
        common = {name: call.query.text(name) for name in ("pair", "deadline", "validate")}
        pairs = [(name, value) for name, value in ({**common, **fields}).items() if value is not None]
        if any(isinstance(value, dict | list) for _, value in pairs):
            raise InvalidArguments("orders: plain values only", field="orders")
        texts = [(name, str(value).lower() if isinstance(value, bool) else str(value)) for name, value in pairs]
        query = Query(texts, ORDER_FIELDS | FIXED_ORDER_FIELDS.keys())
        require_fixed(query, FIXED_ORDER_FIELDS)
        order = orders[i] = order_of(call, query)
        return command_of(call, order)

    commands = [command_or_refusal(partial(make, i, fields)) for i, fields in enumerate(asked)]
    told = await submitted_together(call, commands)
    return {"orders": [_placed_or_refused(call, order, each) for order, each in zip(orders, told, strict=True)]}


def order_of(call: FacadeCall, query: Query) -> RestOrder:
    """Return the order that the façade's words say, in the venue's. Raises InvalidArguments and UnknownLoan."""
    ordertype = query.text("ordertype")
    if ordertype not in (OrderType.LIMIT, OrderType.MARKET):
        raise InvalidArguments("ordertype: must be limit or market", field="ordertype")
    said: dict[str, Any] = {ours: query.text(theirs) for theirs, ours in SAME_WORDS.items()}
    expires_at = _expiry(call.now, query.text("expiretm"))
    if (life := query.text("timeinforce")) is not None:
        said["time_in_force"] = life.lower()
    if expires_at is not None:
        said |= {"expire_time": time_text(expires_at), "time_in_force": "gtd"}
    if (stp := query.text("stptype")) is not None:
        said["stp_type"] = stp.replace("-", "_")
    said |= {name: query.text(name) for name in ("cl_ord_id", "deadline")}
    if (userref := query.text("userref")) is not None:
        if userref_of(userref) is None:
            raise InvalidArguments("userref: must be a whole number", field="userref")
        said["tag"] = userref
    flags = set((query.text("oflags") or "").split(",")) - {""}
    if unknown := flags - FLAGS:
        raise InvalidArguments(f"oflags: there is no {printable(min(unknown))} here", field="oflags")
    said |= {"post_only": "post" in flags, "order_type": ordertype, "loan_id": _loan_id(call, query.text("pair"))}
    validate = (query.text("validate") or "false").lower()
    if validate not in ("true", "false", "1", "0"):
        raise InvalidArguments("validate: must be true or false", field="validate")
    if ordertype == OrderType.MARKET:
        said["limit_price"] = None
    said = {name: value for name, value in said.items() if value is not None}
    return RestOrder.parse(said | {"validate": validate in ("true", "1")})


def _loan_id(call: FacadeCall, symbol: str | None) -> str:
    if not symbol:
        raise InvalidArguments("pair: which one?", field="pair")
    return loan_of(call, symbol).loan_id


def _expiry(now: int, text: str | None) -> Nanos | None:
    """Return when an order ends: at a second since 1970, or so many seconds from now if it begins with +."""
    if text in (None, "0"):
        return None
    digits = text.removeprefix("+")
    if not (digits.isascii() and digits.isdigit() and len(digits) <= 10):
        raise InvalidArguments("expiretm: must be a time in seconds", field="expiretm")
    return Nanos(int(digits) * SECOND + (now if text.startswith("+") else 0))


def command_of(call: FacadeCall, order: RestOrder) -> Command:
    command = order.to_command(call.principal.account_id, LoanId(order.loan_id), now=call.now)
    return CheckOrder(order=command) if order.check_only else command


def placed(call: FacadeCall, order: RestOrder, answer: Answer) -> Row:
    result = answer.result
    symbol = call.api.views.loan(LoanId(order.loan_id)).symbol
    words = description(order.side, order.order_qty, symbol, order.order_type, order.limit_price)
    row: Row = {"descr": {"order": words}}
    if isinstance(result, OrderPriced):
        return row
    if not isinstance(result, OrderAck):
        raise InvariantViolation(f"an order was answered with {result}")
    return row | {"txid": [order_id_text(result.order_id)], "cl_ord_id": order.cl_ord_id}


def _placed_or_refused(call: FacadeCall, order: RestOrder | None, told: Told) -> Row:
    if isinstance(told, MarketError) or order is None:
        return {"error": error_texts(told if isinstance(told, MarketError) else InvalidArguments())[0]}
    return placed(call, order, told)


async def amend_order(call: FacadeCall) -> Row:
    """Change an open order in place. Its id stays; what amended it is told as `amend_id`."""
    said = {name: call.query.text(name) for name in ("order_qty", "limit_price", "deadline")}
    params = AmendParams.parse({name: value for name, value in said.items() if value is not None})
    order_id, cl_ord_id = _named_order(call)
    if (symbol := call.query.text("pair")) is not None:
        loan_of(call, symbol)
    command = params.to_command(call.principal.account_id, order_id=order_id, client_order_id=cl_ord_id)
    seq, ack = await _amended(call, command)
    return {"amend_id": f"A-{seq}", "order_id": order_id_text(ack.order_id)}


async def _amended(call: FacadeCall, command: AmendOrder) -> tuple[int, OrderAck]:
    answer = await call.submit(command)
    if not isinstance(answer.result, OrderAck):
        raise InvariantViolation(f"an amend was answered with {answer.result}")
    return answer.seq, answer.result


async def edit_order(call: FacadeCall) -> Row:
    """Change volume and price of an open order, named by its id or by a `userref` that only one open order bears.

    The order is changed in place, so `txid` is its old id, nothing is cancelled, and what is not said stays.
    """
    order_id = _edited(call)
    loan = loan_of(call, call.query.text("pair") or "")
    order = call.account.open_orders.get(order_id)
    if order is not None and order.loan_id != loan.loan_id:
        raise UnknownOrder(f"no such order of {loan.symbol}", field="pair")
    said = {"order_qty": call.query.text("volume"), "limit_price": call.query.text("price")}
    said["deadline"] = call.query.text("deadline")
    params = AmendParams.parse({name: value for name, value in said.items() if value is not None})
    _, ack = await _amended(call, params.to_command(call.principal.account_id, order_id=order_id))
    stored = await told_after_commit(call.api.history.order(call.principal.account_id, ack.order_id))
    txid, state = order_id_text(ack.order_id), stored.state
    return {
        "status": "ok",
        "txid": txid,
        "originaltxid": txid,
        "volume": minor_text(state.quantity),
        "price": minor_text(state.price),
        "price2": "0",
        "orders_cancelled": 0,
        "descr": {"order": order_words(state)},
    }


def _edited(call: FacadeCall) -> OrderId:
    txid = call.query.text("txid") or ""
    if userref_of(txid) is None:
        return _order_id(txid)
    found = [order.order_id for order in call.account.open_orders.values() if order.tag == txid]
    if len(found) > 1:
        raise InvalidArguments("txid: several open orders have this userref", field="txid")
    if not found:
        raise UnknownOrder("no open order has this userref")
    return found[0]


async def cancel_order(call: FacadeCall) -> Row:
    """Cancel one order by its id or client id, or all that bear a `userref`."""
    txid = call.query.text("txid")
    if userref_of(txid) is not None:
        return await _cancel_all(call, CancelAllParams(tag=txid))
    order_id, cl_ord_id = _named_order(call)
    await call.submit(CancelOrder(account_id=call.principal.account_id, order_id=order_id, client_order_id=cl_ord_id))
    return {"count": 1}


async def cancel_orders(call: FacadeCall) -> Row:
    """Cancel up to 50 orders by id or client id; `count` says how many were open."""
    account_id, commands = call.principal.account_id, list[Command | MarketError]()
    named = [*_texts(call, "orders"), *_texts(call, "cl_ord_ids")]
    if not 0 < len(named) <= BATCH_MAX:
        raise InvalidArguments(f"orders: from 1 to {BATCH_MAX} orders", field="orders")
    for text in _texts(call, "orders"):
        commands.append(CancelOrder(account_id=account_id, order_id=_order_id(text)))
    for text in _texts(call, "cl_ord_ids"):
        commands.append(CancelOrder(account_id=account_id, client_order_id=client_order_id(text)))
    told = await submitted_together(call, commands)
    return {"count": sum(not isinstance(each, MarketError) for each in told)}


async def cancel_all(call: FacadeCall) -> Row:
    return await _cancel_all(call, CancelAllParams())


async def _cancel_all(call: FacadeCall, params: CancelAllParams) -> Row:
    command: CancelAll = params.to_command(call.principal.account_id, None)
    answer = await call.submit(command)
    if not isinstance(answer.result, CountAck):
        raise InvariantViolation(f"cancel-all was answered with {answer.result}")
    return {"count": answer.result.count}


async def cancel_all_after(call: FacadeCall) -> Row:
    """Arm the account's dead man's switch: the same one as on the socket. 0 disarms it."""
    seconds, gate, now = call.query.integer("timeout", default=-1, low=0, high=DEAD_MAN_S_MAX), call.gate, call.now
    if seconds < 0:
        raise InvalidArguments("timeout: how many seconds?", field="timeout")
    who = call.principal
    gate.dead_man.arm(who.account_id, seconds, actor=who.key, engine=gate.engine, spawn=gate.hub.spawn)
    ends = time_text(now + seconds * SECOND) if seconds else "0"
    return {"currentTime": time_text(now), "triggerTime": ends}


def _named_order(call: FacadeCall) -> tuple[OrderId | None, ClientOrderId | None]:
    """Return the order's number or its client's id, whichever is given."""
    txid, cl_ord_id = call.query.text("txid"), call.query.text("cl_ord_id")
    if (txid is None) == (cl_ord_id is None):
        raise InvalidArguments("txid or cl_ord_id: exactly one of the two", field="txid")
    if txid is not None:
        return _order_id(txid), None
    return None, client_order_id(cl_ord_id or "")


def _order_id(text: str) -> OrderId:
    order_id = parse_order_id(text)
    if order_id is None:
        raise UnknownOrder(f"no order {printable(text)}")
    return order_id


def _texts(call: FacadeCall, name: str) -> list[str]:
    value = call.body.get(name, [])
    if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
        raise InvalidArguments(f"{name}: must be a list of ids", field=name)
    return value


def _batch_cost(call: FacadeCall) -> int:
    return sum(len(value) for value in call.body.values() if isinstance(value, list)) or 1


ROUTES = (
    FacadeRoute("AddOrder", add_order, ORDER_FIELDS, scope=Scope.TRADE, bucket=Bucket.ORDERS, fixed=FIXED_ORDER_FIELDS),
    FacadeRoute(
        "AddOrderBatch",
        add_orders,
        frozenset({"pair", "deadline", "validate"}),
        scope=Scope.TRADE,
        bucket=Bucket.ORDERS,
        lists=frozenset({"orders"}),
        cost=_batch_cost,
    ),
    FacadeRoute(
        "AmendOrder",
        amend_order,
        frozenset({"txid", "cl_ord_id", "order_qty", "limit_price", "deadline", "pair"}),
        scope=Scope.TRADE,
        bucket=Bucket.AMENDS,
        fixed={"post_only": ("false",)},
    ),
    FacadeRoute(
        "EditOrder",
        edit_order,
        frozenset({"txid", "pair", "volume", "price", "deadline"}),
        scope=Scope.TRADE,
        bucket=Bucket.AMENDS,
        fixed={"oflags": ("",), "validate": ("false",), "cancel_response": ("true", "false")},
    ),
    FacadeRoute(
        "CancelOrder", cancel_order, frozenset({"txid", "cl_ord_id"}), scope=Scope.TRADE, bucket=Bucket.CANCELS
    ),
    FacadeRoute(
        "CancelOrderBatch",
        cancel_orders,
        scope=Scope.TRADE,
        bucket=Bucket.CANCELS,
        lists=frozenset({"orders", "cl_ord_ids"}),
        cost=_batch_cost,
    ),
    FacadeRoute("CancelAll", cancel_all, scope=Scope.TRADE, bucket=Bucket.CANCELS, cost=lambda _: 0),
    FacadeRoute(
        "CancelAllOrdersAfter", cancel_all_after, frozenset({"timeout"}), scope=Scope.TRADE, bucket=Bucket.CANCELS
    ),
)
