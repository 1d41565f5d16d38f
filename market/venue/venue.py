"""The deterministic state machine: stamped commands in, events out. No I/O, no clock, no randomness.

`apply` is all or nothing: a refused command raises a MarketError before anything has changed. The same commands in the
same order give the same state, in any process: `state_hash` proves it.
"""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, overload

from msgspec.structs import replace

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
    ReceiveCash,
    RegisterLoan,
    ResetMmp,
    ResolveOrder,
    Result,
    RollDay,
    SendCash,
    ServiceLoan,
    SetDefaultRulebook,
    SetMmp,
    SetMode,
    Unblock,
    Withdraw,
)
from market.errors import InvariantViolation
from market.events import (
    BookChanged,
    Event,
    IdFenced,
    LevelChange,
    LoanChanged,
    MarketChanged,
    OpenOrder,
    QuotesChanged,
    RulebookChanged,
)
from market.ids import Nanos, Seq, TradeId
from market.orderbook.order import Order, Side
from market.partitions import seq_before
from market.venue import administration, cash_lines, protection, quotes, restoring, rulemaking, servicing, trading
from market.venue.changes import Changes, account_changed, cash_changed, claim_changed, order_state, quote_state
from market.venue.state import Loan, State

HANDLERS: dict[type[Any], Callable[[State, Any, Changes], Result]] = {
    OpenMarket: administration.open_market,
    OpenAccount: administration.open_account,
    FreezeAccount: administration.freeze_account,
    Deposit: administration.move_cash,
    Withdraw: administration.move_cash,
    SendCash: cash_lines.send_cash,
    ReceiveCash: cash_lines.receive_cash,
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

    def __init__(self, partition: int = 0) -> None:
        """partition: which part of a market cut in several it is; its numbers begin there."""
        self.seq = seq_before(partition)
        self.state = State(last_trade_id=TradeId(self.seq))

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
        return list(self.describe())

    def describe(self) -> Iterator[Event]:
        """Yield the events of a snapshot, which must be taken before the venue changes."""
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
        yield from state.sent.values()
        yield from state.received.values()
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
            yield _open(order, state)
        for loan in state.loans.values():
            yield from _levels(loan)

    def outline(self) -> Iterator[Event]:
        """Yield what readers see of the state, each thing as it is in its turn: the venue may change between two.

        Followed by the events of all commands since the first one was yielded, in order, it is the state after them:
        each event says how a thing is, not how it has changed.
        """
        state = self.state
        if state.business_date is not None:
            yield MarketChanged(mode=state.mode, business_date=state.business_date)
        yield from [RulebookChanged(rulebook=rules) for rules in state.rulebooks.values()]
        accounts, loans = list(state.accounts.values()), list(state.loans.values())
        for account in accounts:
            yield account_changed(account)
        for loan in loans:
            yield loan.changed()
            if loan.is_serviced:
                yield loan.schedule_changed()
        for account in accounts:
            yield from [cash_changed(account, currency) for currency in account.cash]
            yield from [claim_changed(account, loan_id) for loan_id in account.claims]
        for order in list(state.orders.values()):
            if order.order_id in state.orders:
                yield _open(order, state)
        for loan in loans:
            yield from _levels(loan)

    @classmethod
    def restore(cls, seq: Seq, events: Iterable[Event], *, last_trade_id: TradeId) -> "Venue":
        """Rebuild a venue from a snapshot's events, as `restoring.restore` says."""
        venue = cls()
        venue.seq, venue.state.last_trade_id = seq, last_trade_id
        restoring.restore(venue.state, events)
        return venue

    def move_on(self, seq: Seq, events: Iterable[Event], *, last_trade_id: TradeId) -> None:
        """Take over what others committed up to `seq`, as `restoring.move_on` says: to follow tables, not to trade."""
        self.seq, self.state.last_trade_id = seq, last_trade_id
        restoring.move_on(self.state, events)

    def state_hash(self) -> bytes:
        """Return SHA-256 over the whole state in canonical order, the same in every process that has the same state."""
        digest = hashlib.sha256()
        lines = [_canonical(event) for event in self.describe() if not isinstance(event, BookChanged)]
        for line in sorted(lines):
            digest.update(line.encode())
        digest.update(f"{self.seq} {self.state.last_trade_id}".encode())
        return digest.digest()


class Description(Sequence[Event]):
    """A snapshot's events, made when somebody looks: a reader that wants the first of them does not wait for all."""

    def __init__(self, events: Iterator[Event]) -> None:
        self._made: list[Event] = []
        self._rest = events

    def __iter__(self) -> Iterator[Event]:
        yield from self._made
        for event in self._rest:
            self._made.append(event)
            yield event

    def __len__(self) -> int:
        return len(self._all())

    @overload
    def __getitem__(self, index: int) -> Event: ...

    @overload
    def __getitem__(self, index: slice) -> list[Event]: ...

    def __getitem__(self, index: int | slice) -> Event | list[Event]:
        return self._all()[index]

    def close(self) -> None:
        """From now on the venue may change: what was not made is not told."""
        self._rest = iter(())

    def _all(self) -> list[Event]:
        self._made.extend(self._rest)
        return self._made


@contextmanager
def described(venue: Venue) -> Iterator[Description]:
    """The venue's description as long as the body lasts, in which it must not change."""
    description = Description(venue.describe())
    try:
        yield description
    finally:
        description.close()


def _open(order: Order, state: State) -> OpenOrder | QuotesChanged:
    currency = state.loans[order.loan_id].terms.currency
    if order.quote is None:
        return OpenOrder(order=order_state(order, currency))
    return QuotesChanged(account_id=order.account_id, quotes=(quote_state(order, currency),))


def _levels(loan: Loan) -> list[BookChanged]:
    """Return the book's levels as one event, none if it is empty."""
    levels = [LevelChange(side, price, quantity) for side in Side for price, quantity in loan.book.levels(side)]
    return [BookChanged(loan_id=loan.terms.loan_id, changes=tuple(levels))] if levels else []


def _canonical(event: Event) -> str:
    """Return the event in words that are the same in every process: a set's order is not."""
    if isinstance(event, LoanChanged | RulebookChanged):
        statuses = event.rulebook.tradable_statuses
        return repr(event).replace(repr(statuses), repr(sorted(statuses)))
    return repr(event)
