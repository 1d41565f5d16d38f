"""The methods of the socket but for subscriptions: login, orders, questions.

Orders go to the engine without waiting: the reply is queued from within its callback, so that it precedes what the
order caused on the same socket. A socket that is gone by then loses the reply, not the order.
"""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import Annotated, Any, TypeVar

from pydantic import Field

from gateway.access.auth import Principal
from gateway.access.rates import Bucket
from gateway.errors import AuthInvalidSignature, answer_of
from gateway.reads.schemas import order_object, priced_row
from gateway.requests.access import Scope
from gateway.requests.fields import Name, OrderIdText
from gateway.requests.fields import Request as Params
from gateway.requests.orders import AmendParams, CancelAllParams, ClientOrderIdText, OrderParams
from gateway.together import TOGETHER_MAX, Told, command_or_refusal, error_row, send_together
from gateway.wire import SECOND, minor_text, order_id_text, printable, time_text
from gateway.ws.dead_man import DEAD_MAN_S_MAX
from gateway.ws.quotes import mass_quote, quote_cancel, reset_mmp, set_mmp
from gateway.ws.session import CLOSE_AUTH, DATABASE_TROUBLE, NOTHING, Method, Request, Session
from gateway.ws.subscriptions import last_seqs, resync, subscribe, unsubscribe
from market.commands import (
    AmendOrder,
    CancelOrder,
    CheckOrder,
    Command,
    CountAck,
    Done,
    Fenced,
    OrderAck,
    OrderPriced,
    QuoteAck,
    ResolveOrder,
    Result,
    ServicingAck,
    Unblock,
)
from market.errors import InvalidArguments, InvariantViolation, MarketError, UnknownLoan, UnknownOrder
from market.ids import AccountId, ClientOrderId, LoanId, Nanos, OrderId
from market.port import Answer

T = TypeVar("T")

CANCELS_MAX = 1_000

Token = Annotated[str, Field(max_length=512)]


class CancelOnDisconnect(Params):
    enabled: bool
    grace_ms: Annotated[int, Field(ge=0, le=60_000)] = 0


class Login(Params):
    api_key: str
    challenge: str
    sig: str
    session: Name | None = None
    cancel_on_disconnect: CancelOnDisconnect | None = None


class SymbolOrder(OrderParams):
    symbol: Name


class SocketOrder(SymbolOrder):
    token: Token | None = None


class SocketAmend(AmendParams):
    order_id: OrderIdText | None = None
    cl_ord_id: ClientOrderIdText | None = None
    token: Token | None = None


class SocketCancel(Params):
    order_id: Annotated[list[OrderIdText], Field(max_length=CANCELS_MAX)] | OrderIdText | None = None
    cl_ord_id: Annotated[list[ClientOrderIdText], Field(max_length=CANCELS_MAX)] | ClientOrderIdText | None = None
    token: Token | None = None

    @property
    def count(self) -> int:
        return len(as_list(self.order_id)) + len(as_list(self.cl_ord_id))

    def to_commands(self, account_id: AccountId) -> list[CancelOrder]:
        named: list[CancelOrder] = []
        for order_id in as_list(self.order_id):
            named.append(CancelOrder(account_id=account_id, order_id=order_id))
        for client_order_id in as_list(self.cl_ord_id):
            named.append(CancelOrder(account_id=account_id, client_order_id=ClientOrderId(client_order_id)))
        if not named:
            raise InvalidArguments("order_id: which order?", field="order_id")
        return named


def as_list(one_or_many: T | list[T] | None) -> list[T]:
    if isinstance(one_or_many, list):
        return one_or_many
    return [] if one_or_many is None else [one_or_many]


class BatchAdd(Params):
    """symbol: of the orders that name none. Each order is read by itself, so that one refusal is not that of all."""

    orders: Annotated[list[dict[str, Any]], Field(min_length=1, max_length=TOGETHER_MAX)]
    symbol: Name | None = None
    token: Token | None = None


class NamedOrder(Params):
    order_id: OrderIdText | None = None
    cl_ord_id: ClientOrderIdText | None = None


class BatchCancel(Params):
    orders: list[NamedOrder | OrderIdText] = Field([])
    order_id: list[OrderIdText] = Field([])
    cl_ord_id: list[ClientOrderIdText] = Field([])
    token: Token | None = None

    @property
    def count(self) -> int:
        return len(self.orders) + len(self.order_id) + len(self.cl_ord_id)

    def to_commands(self, account_id: AccountId) -> list[CancelOrder]:
        """Raises InvalidArguments for no order at all, or for too many."""
        named: list[tuple[OrderId | None, str | None]] = [
            (each.order_id, each.cl_ord_id) if isinstance(each, NamedOrder) else (each, None) for each in self.orders
        ]
        named += [(order_id, None) for order_id in self.order_id]
        named += [(None, cl_ord_id) for cl_ord_id in self.cl_ord_id]
        if not 0 < len(named) <= TOGETHER_MAX:
            raise InvalidArguments(f"orders: from 1 to {TOGETHER_MAX} orders", field="orders")
        return [_cancel(account_id, *each) for each in named]


def _cancel(account_id: AccountId, order_id: OrderId | None, cl_ord_id: str | None) -> CancelOrder:
    require_one(order_id, cl_ord_id)
    client_order_id = None if cl_ord_id is None else ClientOrderId(cl_ord_id)
    return CancelOrder(account_id=account_id, order_id=order_id, client_order_id=client_order_id)


class SocketCancelAll(CancelAllParams):
    symbol: Name | None = None
    token: Token | None = None


class Private(Params):
    token: Token | None = None


class CancelAfter(Private):
    """timeout: seconds."""

    timeout: Annotated[int, Field(ge=0, le=DEAD_MAN_S_MAX)]


class ResolveParams(Private):
    cl_ord_id: ClientOrderIdText


class GetOrder(Params):
    order_id: OrderIdText | None = None
    cl_ord_id: ClientOrderIdText | None = None
    token: Token | None = None


async def ping(session: Session, request: Request) -> None:
    Params.parse(request.params)
    session.pong(request)


async def login(session: Session, request: Request) -> None:
    """Prove the key by signing this connection's challenge. The third failure ends the connection."""
    asked = Login.parse(request.params)
    gate = session.gate
    try:
        if asked.challenge != session.challenge:
            raise AuthInvalidSignature("this is not the challenge of this connection", field="challenge")
        who = gate.keys.of_login(
            key=asked.api_key,
            signature=asked.sig,
            connection_id=session.connection_id,
            challenge=session.challenge,
            peer=session.peer,
        )
    except MarketError as error:
        session.refuse(request, error)
        session.failed_logins += 1
        if session.failed_logins >= gate.limits.failed_logins_max:
            session.close(CLOSE_AUTH, "too many failed logins")
        return
    at_end = asked.cancel_on_disconnect
    session.log_in(who, asked.session, at_end.grace_ms / 1_000 if at_end is not None and at_end.enabled else None)
    if asked.session is not None:
        await gate.attachments.told()  # it may have a connection elsewhere, which may end now
    told = {"account": who.account_id, "scopes": sorted(who.scopes), **last_seqs(gate.hub.executions(who.account_id))}
    session.reply(request, told | {"session": session.name})


async def logout(session: Session, request: Request) -> None:
    Params.parse(request.params)
    session.log_out()
    session.reply(request, {})


async def add_order(session: Session, request: Request) -> None:
    asked = SocketOrder.parse(request.params)
    who = session.payer(request, asked.token, Scope.TRADE, Bucket.ORDERS)
    send(session, request, who, order_command(session, request, who, asked))


async def batch_add(session: Session, request: Request) -> None:
    """One reply for all: each order's result or error, in order."""
    asked = BatchAdd.parse(request.params)
    who = session.payer(request, asked.token, Scope.TRADE, Bucket.ORDERS, len(asked.orders))

    def command_of(body: dict[str, Any]) -> Command:
        order = SymbolOrder.parse(body if asked.symbol is None else {"symbol": asked.symbol, **body})
        return order_command(session, request, who, order)

    reply_together(session, request, who, [command_or_refusal(partial(command_of, body)) for body in asked.orders])


async def batch_cancel(session: Session, request: Request) -> None:
    """One reply for all: first `orders`, then `order_id`, then `cl_ord_id`."""
    asked = BatchCancel.parse(request.params)
    who = session.payer(request, asked.token, Scope.TRADE, Bucket.CANCELS, asked.count)
    reply_together(session, request, who, asked.to_commands(who.account_id))


async def amend_order(session: Session, request: Request) -> None:
    asked = SocketAmend.parse(request.params)
    who = session.payer(request, asked.token, Scope.TRADE, Bucket.AMENDS)
    require_one(asked.order_id, asked.cl_ord_id)
    command = asked.to_command(
        who.account_id,
        order_id=asked.order_id,
        client_order_id=None if asked.cl_ord_id is None else ClientOrderId(asked.cl_ord_id),
    )
    send(session, request, who, command)


async def cancel_order(session: Session, request: Request) -> None:
    """One reply for each order named."""
    asked = SocketCancel.parse(request.params)
    who = session.payer(
        request, asked.token, Scope.TRADE, Bucket.CANCELS, len(as_list(asked.order_id)) + len(as_list(asked.cl_ord_id))
    )
    named = [
        {name: printable(text)} for name in ("order_id", "cl_ord_id") for text in as_list(request.params.get(name))
    ]
    for command, about in zip(asked.to_commands(who.account_id), named, strict=True):
        try:
            send(session, request, who, command, about)
        except MarketError as error:
            session.refuse(request, error, about)


async def cancel_all(session: Session, request: Request) -> None:
    asked = SocketCancelAll.parse(request.params)
    who = session.payer(request, asked.token, Scope.TRADE, Bucket.CANCELS, 0)
    loan_id = None if asked.symbol is None else session.gate.views.loan_of_symbol(asked.symbol).loan_id
    send(session, request, who, asked.to_command(who.account_id, loan_id))


async def unblock(session: Session, request: Request) -> None:
    asked = Private.parse(request.params)
    who = session.payer(request, asked.token, Scope.TRADE, Bucket.CANCELS, 0)
    send(session, request, who, Unblock(account_id=who.account_id))


async def cancel_all_orders_after(session: Session, request: Request) -> None:
    asked = CancelAfter.parse(request.params)
    who, gate = session.payer(request, asked.token, Scope.TRADE, Bucket.CANCELS, 0), session.gate
    gate.dead_man.arm(who.account_id, asked.timeout, actor=who.key, engine=gate.engine, spawn=gate.hub.spawn)
    now = gate.clock()
    fires_at = time_text(now + asked.timeout * SECOND) if asked.timeout else None
    session.reply(request, {"current_time": time_text(now), "trigger_time": fires_at})


async def resolve_order(session: Session, request: Request) -> None:
    """Answer for good: the order, or that there is none and never will be one of this id."""
    asked = ResolveParams.parse(request.params)
    who, gate = session.payer(request, asked.token, Scope.TRADE, Bucket.QUERIES), session.gate
    wanted = ClientOrderId(asked.cl_ord_id)
    answer = await gate.engine.submit(ResolveOrder(account_id=who.account_id, client_order_id=wanted), actor=who.key)
    if isinstance(answer.result, Fenced):
        session.reply(request, {"exists": False, "fenced": True})
        return
    found = await gate.history.order_of_client(who.account_id, wanted)
    shown = order_object(found.state, engine_seq=found.engine_seq, updated_at=found.updated_at)
    session.reply(request, {"exists": True, "fenced": False, **shown})


async def get_order(session: Session, request: Request) -> None:
    asked = GetOrder.parse(request.params)
    who = session.payer(request, asked.token, Scope.READ, Bucket.QUERIES)
    require_one(asked.order_id, asked.cl_ord_id)
    history = session.gate.history
    if asked.order_id is not None:
        found = await history.order(who.account_id, asked.order_id)
    else:
        assert asked.cl_ord_id is not None
        found = await history.order_of_client(who.account_id, ClientOrderId(asked.cl_ord_id))
    session.reply(request, order_object(found.state, engine_seq=found.engine_seq, updated_at=found.updated_at))


def private(scope: Scope, method: Method) -> Method:
    """Ask who it is before anything else is looked at: a stranger learns nothing of what a request lacks."""

    async def authenticated(session: Session, request: Request) -> None:
        token = request.params.get("token")
        session.principal(token if isinstance(token, str) else None, scope)
        await method(session, request)

    return authenticated


METHODS: dict[str, Method] = {
    "ping": ping,
    "login": login,
    "logout": logout,
    "subscribe": subscribe,
    "unsubscribe": unsubscribe,
    "resync": resync,
    "add_order": private(Scope.TRADE, add_order),
    "batch_add": private(Scope.TRADE, batch_add),
    "batch_cancel": private(Scope.TRADE, batch_cancel),
    "amend_order": private(Scope.TRADE, amend_order),
    "cancel_order": private(Scope.TRADE, cancel_order),
    "cancel_all": private(Scope.TRADE, cancel_all),
    "cancel_all_orders_after": private(Scope.TRADE, cancel_all_orders_after),
    "unblock": private(Scope.TRADE, unblock),
    "mass_quote": private(Scope.TRADE, mass_quote),
    "quote_cancel": private(Scope.TRADE, quote_cancel),
    "set_mmp": private(Scope.TRADE, set_mmp),
    "reset_mmp": private(Scope.TRADE, reset_mmp),
    "get_order": private(Scope.READ, get_order),
    "resolve_order": private(Scope.TRADE, resolve_order),
}


def loan_of(session: Session, symbol: str) -> LoanId:
    """Return the symbol's loan. One that names none stays whole: the venue refuses it, in its order of checks."""
    try:
        return session.gate.views.loan_of_symbol(symbol).loan_id
    except UnknownLoan:
        return LoanId(symbol)


def order_command(session: Session, request: Request, who: Principal, asked: SymbolOrder) -> Command:
    loan_id = loan_of(session, asked.symbol)
    order = asked.to_command(
        who.account_id,
        loan_id,
        now=Nanos(request.time_in),
        session=session.name,
        if_book=session.gate.views.condition(loan_id, asked.if_book_seq),
    )
    if asked.check_only:
        return CheckOrder(order=order)
    if asked.cancel_on_disconnect:
        session.asked_for_cancel[who.account_id] = who
    if session.grace_s is not None and who == session.login:
        order = replace(order, cancel_on_disconnect=True)  # said of the session, it must outlive a crash of the service
    return order


def require_one(order_id: OrderId | None, client_order_id: str | None) -> None:
    """Raises InvalidArguments unless exactly one of the two names the order."""
    if (order_id is None) == (client_order_id is None):
        raise InvalidArguments("order_id or cl_ord_id: exactly one of the two", field="order_id")


def send(
    session: Session, request: Request, who: Principal, command: Command, about: Mapping[str, str] = NOTHING
) -> None:
    """Give a command to the engine; its reply follows when it is durable. Raises what the engine refuses at once.

    about: what a refusal is of, where the request names several (see Session.refuse).
    """
    gate = session.gate

    def told(answer: Answer | MarketError) -> None:
        if not isinstance(answer, MarketError):
            gate.metrics.count_order("accepted")
            session.reply(request, result_of(answer.result))
        elif isinstance(answer, UnknownOrder) and isinstance(command, AmendOrder | CancelOrder):
            gate.hub.spawn(refuse_unknown(session, request, command, answer, about))
        else:
            gate.metrics.count_order(answer_of(answer).code)
            session.refuse(request, answer, about)

    gate.engine.send(command, actor=who.key, reply=told)


def reply_together(session: Session, request: Request, who: Principal, asked: Sequence[Command | MarketError]) -> None:
    """Give several commands to the engine; one reply follows when all are durable or refused."""
    gate = session.gate

    def done(answers: list[Told]) -> None:
        if any(isinstance(answer, UnknownOrder) for answer in answers):
            gate.hub.spawn(explain_and_reply(session, request, asked, answers))
        else:
            session.reply(request, {"orders": [told_row(session, answer) for answer in answers]})

    send_together(gate.engine, asked, actor=who.key, done=done)


async def explain_and_reply(
    session: Session, request: Request, asked: Sequence[Command | MarketError], answers: list[Told]
) -> None:
    """As `refuse_unknown`, for several."""
    rows = []
    for command, answer in zip(asked, answers, strict=True):
        told = answer
        if isinstance(answer, UnknownOrder) and isinstance(command, CancelOrder):
            with suppress(*DATABASE_TROUBLE):
                told = await session.gate.history.why_unknown(answer, command)
        rows.append(told_row(session, told))
    session.reply(request, {"orders": rows})


def told_row(session: Session, told: Told) -> dict[str, Any]:
    if isinstance(told, MarketError):
        session.gate.metrics.count_order(answer_of(told).code)
        return error_row(told)
    session.gate.metrics.count_order("accepted")
    return result_of(told.result)


async def refuse_unknown(
    session: Session,
    request: Request,
    command: AmendOrder | CancelOrder,
    error: MarketError,
    about: Mapping[str, str],
) -> None:
    """Say of an order that the venue does not know whether it ended, which only the database can tell."""
    with suppress(*DATABASE_TROUBLE):
        error = await session.gate.history.why_unknown(error, command)
    session.gate.metrics.count_order(answer_of(error).code)
    session.refuse(request, error, about)


def result_of(result: Result) -> dict[str, Any]:
    match result:
        case OrderAck():
            return ack_row(result)
        case OrderPriced():
            return priced_row(result)
        case CountAck():
            return {"count": result.count, "quotes": result.quotes}
        case ServicingAck():
            return {"duplicates": list(result.duplicates)}
        case QuoteAck():
            raise InvariantViolation("a mass quote is answered with its symbols")
        case Fenced():
            return {"exists": False, "fenced": True}
        case Done():
            return {"duplicate": result.duplicate}


def ack_row(ack: OrderAck) -> dict[str, Any]:
    row: dict[str, Any] = {
        "order_id": order_id_text(ack.order_id),
        "cl_ord_id": ack.client_order_id,
        "order_status": ack.order_status,
        "cum_qty": minor_text(ack.filled),
        "version": ack.version,
        "engine_seq": ack.engine_seq,
        "duplicate": ack.duplicate,
    }
    if ack.cancel_reason is not None:
        row["cancel_reason"] = ack.cancel_reason
    if ack.priority_kept is not None:
        row["priority_kept"] = ack.priority_kept
    return row
