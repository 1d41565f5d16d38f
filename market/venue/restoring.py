"""A state from the events that describe it: whole, as a snapshot tells it, or moved on by what differs since.

Both come to the same state, down to the order in which orders queue and are listed: what a command does then must not
depend on how memory came to be. Only orders are moved on while they rest: each stays where it stands in its queue
unless its priority says otherwise. Levels and held amounts are never told: they follow from the orders.
"""

from collections import deque
from collections.abc import Iterable

from msgspec.structs import replace

from market.claims.schedule import recast, schedule_of
from market.errors import InvariantViolation
from market.events import (
    AccountChanged,
    BookChanged,
    CashChanged,
    CashReceived,
    CashSent,
    ClaimChanged,
    CustodyMoved,
    Event,
    IdFenced,
    LoanChanged,
    MarketChanged,
    MmpChanged,
    OpenOrder,
    OrderAccepted,
    OrderState,
    QuotesChanged,
    QuoteState,
    RulebookChanged,
    ScheduleChanged,
    Serviced,
)
from market.ids import Face
from market.orderbook.book import OrderBook
from market.orderbook.level import level_of
from market.orderbook.order import FINAL_STATUSES, Order
from market.venue.cash_lines import remember_received, remember_sent
from market.venue.guard import Guard
from market.venue.lifecycle import forget, remember, reserve
from market.venue.state import Account, Loan, State

LINKS = ("level", "prev", "next")
ORDER_DATA = tuple(name for name in Order.__slots__ if name not in LINKS)


def restore(state: State, events: Iterable[Event]) -> None:
    """Fill an empty state from a snapshot's events: accounts and loans before what belongs to them.

    Orders may come in any order. InvariantViolation for an event that is no part of a snapshot.
    """
    orders: list[Order] = []
    for event in events:
        match event:
            case OpenOrder():
                orders.append(order_of(event.order))
            case QuotesChanged():
                owner = state.accounts[event.account_id].owner
                orders += [quote_of(quote, owner) for quote in event.quotes]
            case _:
                _take(state, event)
    _queue_all(state, orders)


def move_on(state: State, events: Iterable[Event]) -> None:
    """Bring a state without quotes to where `events` say that it differs now; an order that has ended is told so.

    Of loans only the last price may differ: what servicing, a new day or new rules do to orders comes with a restore.
    """
    orders: list[OrderState] = []
    for event in events:
        match event:
            case OpenOrder():
                orders.append(event.order)
            case LoanChanged() if event.terms.loan_id in state.loans:
                loan = state.loans[event.terms.loan_id]
                if replace(loan.changed(), last_price=event.last_price) != event:
                    raise InvariantViolation(f"more than the last price of {event.terms.loan_id} changed")
                loan.last_price = event.last_price
            case QuotesChanged():
                raise InvariantViolation("quotes are in no table: a state that follows the tables has none")
            case _:
                _take(state, event)
    _move_orders(state, orders)


def _take(state: State, event: Event) -> None:
    """Make one thing that is no order what the event says that it is."""
    match event:
        case MarketChanged():
            state.mode, state.business_date = event.mode, event.business_date
        case RulebookChanged():
            state.rulebooks[event.rulebook.name] = event.rulebook
        case AccountChanged():
            known = state.accounts.get(event.account_id)
            if known is None:
                state.accounts[event.account_id] = account_of(event)
            else:
                known.frozen, known.blocked, known.exec_seq = event.frozen, event.blocked, event.exec_seq
                known.default_rulebook = event.default_rulebook
        case LoanChanged():
            state.add_loan(loan_of(event))
        case CustodyMoved():
            state.custody[event.custody_ref] = event
            state.custody_totals[event.currency] += event.amount
        case ScheduleChanged():
            loan = state.loans[event.loan_id]
            loan.schedule, loan.is_serviced = event.schedule, True
        case Serviced():
            state.servicing[event.event_id] = event
            state.custody_totals[event.currency] += event.distributed
        case CashChanged():
            line = state.accounts[event.account_id].cash[event.currency]
            state.moved[event.currency] += event.moved - line.moved
            line.total, line.moved = event.total, event.moved
        case CashSent():
            remember_sent(state, event)
        case CashReceived():
            remember_received(state, event)
        case ClaimChanged():
            claim = state.accounts[event.account_id].claims[event.loan_id]
            claim.total, claim.cost, claim.realised = event.total, event.cost, event.realised
            claim.lots = list(event.lots)
            state.loans[event.loan_id].holders.add(event.account_id)
        case OrderAccepted():
            state.accounts[event.account_id].first_answers[event.client_order_id] = event
        case IdFenced():
            state.accounts[event.account_id].fenced_ids.add(event.client_order_id)
        case MmpChanged():
            state.accounts[event.account_id].guards[event.group] = guard_of(event)
        case BookChanged():
            pass
        case _:
            raise InvariantViolation(f"{type(event).__name__} is not part of a snapshot")


def _move_orders(state: State, told: list[OrderState]) -> None:
    """Let orders leave, change where they stand, or queue anew: these behind all others, as their priorities are."""
    opened: list[Order] = []
    queueing: list[Order] = []
    for new in told:
        order = state.orders.get(new.order_id)
        if order is None:
            if new.status not in FINAL_STATUSES:
                opened.append(order_of(new))
        elif new.status in FINAL_STATUSES:
            state.loans[order.loan_id].book.remove(order)
            reserve(state, order, -order.hold)
            forget(state, state.accounts[order.account_id], order)
        else:
            if (order.priority, order.price) == (new.priority, new.price):
                level = level_of(order)
                level.shown = Face(level.shown + new.shown - order.shown)
            else:
                state.loans[order.loan_id].book.remove(order)
                queueing.append(order)
            reserve(state, order, new.hold - order.hold)
            _become(state, order, order_of(new))
    for order in sorted(opened, key=lambda order: order.order_id):
        reserve(state, order, order.hold)
        remember(state, state.accounts[order.account_id], order)
    for order in sorted(opened + queueing, key=lambda order: order.priority):
        state.loans[order.loan_id].book.restore(order)
    for loan_id in {new.loan_id for new in told}:
        state.loans[loan_id].book.take_changes()


def _become(state: State, order: Order, new: Order) -> None:
    """Give a listed order the data of `new`, and leave it where it is listed and linked."""
    if order.expire_at != new.expire_at:
        if order.expire_at is not None:
            state.expiries.discard((order.expire_at, order.order_id))
        if new.expire_at is not None:
            state.expiries.add((new.expire_at, order.order_id))
    for name in ORDER_DATA:
        setattr(order, name, getattr(new, name))


def account_of(event: AccountChanged) -> Account:
    return Account(
        account_id=event.account_id,
        kind=event.kind,
        name=event.name,
        owner_group=event.owner_group,
        risk_class=event.risk_class,
        digest=event.digest,
        frozen=event.frozen,
        blocked=event.blocked,
        exec_seq=event.exec_seq,
        default_rulebook=event.default_rulebook,
    )


def loan_of(event: LoanChanged) -> Loan:
    schedule = schedule_of(event.terms)
    if (schedule.paid, event.outstanding) != (event.paid, event.terms.outstanding_at_registration):
        schedule = recast(event.terms, schedule, paid=event.paid, outstanding=event.outstanding)
    return Loan(
        terms=event.terms,
        digest=event.digest,
        status=event.status,
        outstanding=event.outstanding,
        issued=event.issued,
        schedule=schedule,
        rulebook=event.rulebook,
        book=OrderBook(event.terms.loan_id),
        halt_reason=event.halt_reason,
        last_price=event.last_price,
    )


def _queue_all(state: State, restored: list[Order]) -> None:
    """Queue the orders by priority; list them by age, as they were before."""
    for order in sorted(restored, key=lambda order: order.priority):
        state.loans[order.loan_id].book.restore(order)
    for loan in state.loans.values():
        loan.book.take_changes()
    for order in sorted(restored, key=lambda order: order.order_id):
        remember(state, state.accounts[order.account_id], order)
        reserve(state, order, order.hold)


def order_of(state: OrderState) -> Order:
    order = Order(
        order_id=state.order_id,
        account_id=state.account_id,
        owner=state.owner,
        loan_id=state.loan_id,
        client_order_id=state.client_order_id,
        side=state.side,
        order_type=state.order_type,
        time_in_force=state.time_in_force,
        expire_at=state.expire_at,
        price=state.price,
        quantity=state.quantity,
        post_only=state.post_only,
        min_quantity=state.min_quantity,
        display_quantity=state.display_quantity,
        stp=state.stp,
        cancel_on_disconnect=state.cancel_on_disconnect,
        cancel_on_payment=state.cancel_on_payment,
        cancel_on_reschedule=state.cancel_on_reschedule,
        session=state.session,
        tag=state.tag,
        priority=state.priority,
        created_at=state.created_at,
        limit_yield_ppm=state.limit_yield_ppm,
        pegged=state.pegged,
    )
    order.leaves, order.filled, order.shown = state.leaves, state.filled, state.shown
    order.cum_cost, order.turnover = state.cum_cost, state.turnover
    order.hold, order.status = state.hold, state.status
    order.version, order.exec_id, order.exec_type = state.version, state.exec_id, state.exec_type
    return order


def quote_of(state: QuoteState, owner: str) -> Order:
    order = Order(
        order_id=state.order_id,
        account_id=state.account_id,
        owner=owner,
        loan_id=state.loan_id,
        side=state.side,
        price=state.price,
        quantity=state.quantity,
        priority=state.priority,
        session=state.quote.session,
        created_at=state.created_at,
        expire_at=state.expire_at,
        quote=state.quote,
    )
    order.leaves, order.filled, order.shown = state.leaves, state.filled, state.leaves
    order.cum_cost, order.turnover = state.cum_cost, state.turnover
    order.hold, order.status, order.version = state.hold, state.status, state.version
    return order


def guard_of(event: MmpChanged) -> Guard:
    return Guard(
        account_id=event.account_id,
        group=event.group,
        max_fills=event.max_fills,
        max_face=event.max_face,
        window=event.window,
        frozen=event.frozen,
        fills=deque(event.fills),
    )
