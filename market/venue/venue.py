"""The deterministic state machine: stamped commands in, events out. No I/O, no clock, no randomness.

`apply` is all or nothing: a refused command raises a MarketError before anything has changed. The same commands in the
same order give the same state, in any process: `state_hash` proves it.
"""

import hashlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from market.claims.schedule import recast, schedule_of
from market.commands import (
    AmendOrder,
    AssignRulebook,
    CancelAll,
    CancelOrder,
    CancelQuotes,
    CheckOrder,
    Command,
    DefineRulebook,
    Deposit,
    ExpireOrders,
    FreezeAccount,
    HaltLoan,
    IssueFace,
    MassQuote,
    OpenAccount,
    OpenMarket,
    PlaceOrder,
    RegisterLoan,
    ResetMmp,
    ResolveOrder,
    Result,
    RollDay,
    ServiceLoan,
    SetDefaultRulebook,
    SetMmp,
    SetMode,
    Unblock,
    Withdraw,
)
from market.errors import InvariantViolation
from market.events import (
    AccountChanged,
    BookChanged,
    CashChanged,
    ClaimChanged,
    CustodyMoved,
    Event,
    IdFenced,
    LevelChange,
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
from market.ids import Nanos, Seq, TradeId
from market.orderbook.book import OrderBook
from market.orderbook.order import Order, Side
from market.venue import administration, protection, quotes, rulemaking, servicing, trading
from market.venue.changes import Changes, account_changed, cash_changed, claim_changed, order_state, quote_state
from market.venue.guard import Guard
from market.venue.lifecycle import remember
from market.venue.state import Account, Loan, State

HANDLERS: dict[type[Any], Callable[[State, Any, Changes], Result]] = {
    OpenMarket: administration.open_market,
    OpenAccount: administration.open_account,
    FreezeAccount: administration.freeze_account,
    Deposit: administration.move_cash,
    Withdraw: administration.move_cash,
    RegisterLoan: administration.register_loan,
    IssueFace: administration.issue_face,
    HaltLoan: administration.halt_loan,
    DefineRulebook: rulemaking.define_rulebook,
    SetDefaultRulebook: rulemaking.set_default_rulebook,
    AssignRulebook: rulemaking.assign_rulebook,
    ServiceLoan: servicing.service_loan,
    SetMode: administration.set_mode,
    RollDay: administration.roll_day,
    ExpireOrders: administration.expire_orders,
    PlaceOrder: trading.place,
    CheckOrder: trading.check,
    AmendOrder: trading.amend,
    CancelOrder: trading.cancel,
    CancelAll: trading.cancel_all,
    MassQuote: quotes.mass_quote,
    CancelQuotes: quotes.cancel_quotes,
    SetMmp: protection.set_mmp,
    ResetMmp: protection.reset_mmp,
    Unblock: trading.unblock,
    ResolveOrder: trading.resolve,
}


@dataclass(frozen=True, slots=True)
class Applied:
    """The outcome of a command. No events: nothing changed, and the command uses up no sequence number."""

    result: Result
    events: tuple[Event, ...]


class Venue:
    """All books, balances and rules of one market. seq: of the last command that changed something."""

    def __init__(self) -> None:
        self.seq = Seq(0)
        self.state = State()

    def apply(self, seq: Seq, at: Nanos, command: Command) -> Applied:
        """Carry out `command` as number `seq`, which is self.seq + 1, at time `at`, which never goes back.

        Raises a MarketError if it is refused: nothing has changed then.
        """
        if seq != self.seq + 1:
            raise InvariantViolation(f"command {seq} does not follow {self.seq}")
        changes = Changes(self.state, seq, at, command)
        result = HANDLERS[type(command)](self.state, command, changes)
        events = changes.events()
        if events:
            self.seq = seq
        return Applied(result, events)

    def next_expiry(self) -> Nanos | None:
        """When the next good-till-date order ends: the moment to send ExpireOrders."""
        return self.state.expiries[0][0] if self.state.expiries else None

    def drop_quotes(self) -> None:
        """Forget what no table holds, as if memory had just been rebuilt: quotes, and the fills that protection counts.

        Nothing is told of it: whoever rebuilds memory takes a new epoch, which ends every quote.
        """
        quotes.drop_quotes(self.state)

    def snapshot(self) -> list[Event]:
        """Return the whole state as events, in an order in which a reader can take them in one pass."""
        return list(self._describe())

    def _describe(self) -> Iterator[Event]:
        state = self.state
        if state.business_date is not None:
            yield MarketChanged(mode=state.mode, business_date=state.business_date)
        for rules in state.rulebooks.values():
            yield RulebookChanged(rulebook=rules)
        for account in state.accounts.values():
            yield account_changed(account)
        for loan in state.loans.values():
            yield loan.changed()
            if loan.is_serviced:
                yield loan.schedule_changed()
        yield from state.custody.values()
        yield from state.servicing.values()
        for account in state.accounts.values():
            for currency in account.cash:
                yield cash_changed(account, currency)
            for loan_id in account.claims:
                yield claim_changed(account, loan_id)
            yield from account.first_answers.values()
            for client_order_id in sorted(account.fenced_ids):
                yield IdFenced(account_id=account.account_id, client_order_id=client_order_id)
            for guard in account.guards.values():
                yield replace(protection.mmp_changed(guard), fills=tuple(guard.fills))
        for order in sorted(state.orders.values(), key=lambda order: order.priority):
            currency = state.loans[order.loan_id].terms.currency
            if order.quote is None:
                yield OpenOrder(order=order_state(order, currency))
            else:
                yield QuotesChanged(account_id=order.account_id, quotes=(quote_state(order, currency),))
        for loan_id, loan in state.loans.items():
            levels = tuple(
                LevelChange(side, price, quantity) for side in Side for price, quantity in loan.book.levels(side)
            )
            if levels:
                yield BookChanged(loan_id=loan_id, changes=levels)

    @classmethod
    def restore(cls, seq: Seq, events: Iterable[Event], *, last_trade_id: TradeId) -> "Venue":
        """Rebuild a venue from a snapshot's events: accounts and loans before what belongs to them.

        Orders may come in any order. Levels and held amounts are ignored: they follow from the orders.
        """
        venue = cls()
        venue.seq = seq
        state = venue.state
        state.last_trade_id = last_trade_id
        orders: list[Order] = []
        for event in events:
            match event:
                case MarketChanged():
                    state.mode, state.business_date = event.mode, event.business_date
                case RulebookChanged():
                    state.rulebooks[event.rulebook.name] = event.rulebook
                case AccountChanged():
                    state.accounts[event.account_id] = _account(event)
                case LoanChanged():
                    state.add_loan(_loan(event))
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
                    state.accounts[event.account_id].cash[event.currency].total = event.total
                case ClaimChanged():
                    claim = state.accounts[event.account_id].claims[event.loan_id]
                    claim.total, claim.cost, claim.realised = event.total, event.cost, event.realised
                    claim.lots = list(event.lots)
                    state.loans[event.loan_id].holders.add(event.account_id)
                case OrderAccepted():
                    state.accounts[event.account_id].first_answers[event.client_order_id] = event
                case IdFenced():
                    state.accounts[event.account_id].fenced_ids.add(event.client_order_id)
                case OpenOrder():
                    orders.append(_order(event.order))
                case QuotesChanged():
                    owner = state.accounts[event.account_id].owner
                    orders += [_quote(quote, owner) for quote in event.quotes]
                case MmpChanged():
                    state.accounts[event.account_id].guards[event.group] = _guard(event)
                case BookChanged():
                    pass
                case _:
                    raise InvariantViolation(f"{type(event).__name__} is not part of a snapshot")
        _restore_orders(state, orders)
        return venue

    def state_hash(self) -> bytes:
        """Return SHA-256 over the whole state in canonical order, the same in every process that has the same state."""
        digest = hashlib.sha256()
        lines = [_canonical(event) for event in self._describe() if not isinstance(event, BookChanged)]
        for line in sorted(lines):
            digest.update(line.encode())
        digest.update(f"{self.seq} {self.state.last_trade_id}".encode())
        return digest.digest()


def _canonical(event: Event) -> str:
    """Return the event in words that are the same in every process: a set's order is not."""
    if isinstance(event, LoanChanged | RulebookChanged):
        statuses = event.rulebook.tradable_statuses
        return repr(event).replace(repr(statuses), repr(sorted(statuses)))
    return repr(event)


def _account(event: AccountChanged) -> Account:
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


def _loan(event: LoanChanged) -> Loan:
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


def _restore_orders(state: State, restored: list[Order]) -> None:
    """Queue the orders by priority; list them by age, as they were before."""
    for order in sorted(restored, key=lambda order: order.priority):
        state.loans[order.loan_id].book.restore(order)
    for loan in state.loans.values():
        loan.book.take_changes()
    for order in sorted(restored, key=lambda order: order.order_id):
        account, loan = state.accounts[order.account_id], state.loans[order.loan_id]
        remember(state, account, order)
        if order.side is Side.BUY:
            account.cash[loan.terms.currency].held += order.hold
        else:
            account.claims[order.loan_id].held += order.hold


def _order(state: OrderState) -> Order:
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


def _quote(state: QuoteState, owner: str) -> Order:
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


def _guard(event: MmpChanged) -> Guard:
    return Guard(
        account_id=event.account_id,
        group=event.group,
        max_fills=event.max_fills,
        max_face=event.max_face,
        window=event.window,
        frozen=event.frozen,
        fills=deque(event.fills),
    )
