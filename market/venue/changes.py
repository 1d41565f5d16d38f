"""What one command changed, collected while it is carried out and turned into events at its end.

Touched balances, books and loans are named once and described by their final, absolute values; execution rows of one
account are grouped into messages so that no message mixes trades with anything else.
"""

from collections.abc import Iterator
from itertools import count

from msgspec.structs import replace

from market.commands import Command, ServiceLoan
from market.errors import InvariantViolation
from market.events import (
    AccountChanged,
    BookChanged,
    CashChanged,
    ClaimChanged,
    Event,
    Executed,
    ExecutionRow,
    Fill,
    HoldChanged,
    MarketChanged,
    OrderState,
    Posted,
    QuotesChanged,
    QuoteState,
)
from market.ids import AccountId, Currency, Face, LoanId, Minor, Nanos, OrderId, Seq
from market.orderbook.order import CancelReason, ExecType, Order
from market.settlement.journal import EntryKind, JournalEntry, Posting
from market.venue.state import Account, Loan, State


class Changes:
    """Collects the events of one command. `numbers` gives ever-growing ids within it: priorities and entry ids."""

    def __init__(self, state: State, seq: Seq, at: Nanos, command: Command) -> None:
        self.state = state
        self.seq = seq
        self.at = at
        self.command = command
        self.numbers = count(seq << 20)
        self.facts: list[Event] = []  # trades, postings and the like, in order
        self._exec_ids = count(1)
        self._messages: list[tuple[Account, bool, list[ExecutionRow]]] = []
        self._open_message: dict[AccountId, tuple[bool, list[ExecutionRow]]] = {}
        self._cash: dict[tuple[AccountId, Currency], None] = {}  # dicts as ordered sets
        self._claims: dict[tuple[AccountId, LoanId], None] = {}
        self._holds: dict[int, Order] = {}
        self._quotes: dict[OrderId, tuple[Order, CancelReason | None]] = {}
        self._books: dict[LoanId, Loan] = {}
        self._loans: dict[LoanId, Loan] = {}
        self._accounts: dict[AccountId, Account] = {}
        self.market_changed = False

    def execution(
        self, order: Order, exec_type: ExecType, *, fill: Fill | None = None, reason: CancelReason | None = None
    ) -> None:
        """Tell the owner of a step in the order's life. Of a quote only its trades are executions."""
        if order.quote is not None:
            self.quote(order, reason)
            if fill is None:
                return
        order.exec_id, order.exec_type = f"E{self.seq}-{next(self._exec_ids)}", exec_type
        state = order_state(order, self.state.loans[order.loan_id].terms.currency, reason)
        row = ExecutionRow(exec_id=order.exec_id, exec_type=exec_type, order=state, fill=fill)
        is_trade = fill is not None
        message = self._open_message.get(order.account_id)
        if message is None or message[0] is not is_trade:
            message = self._open_message[order.account_id] = (is_trade, [])
            self._messages.append((self.state.accounts[order.account_id], *message))
        message[1].append(row)

    def refresh(self, order: Order) -> None:
        """Let the order's last row tell how it rests now: what it holds and shows is known only after matching."""
        if order.quote is not None:
            return
        currency = self.state.loans[order.loan_id].terms.currency
        for account, _, rows in reversed(self._messages):
            if account.account_id != order.account_id:
                continue
            for i in range(len(rows) - 1, -1, -1):
                if rows[i].order.order_id == order.order_id:
                    rows[i] = replace(rows[i], order=order_state(order, currency))
                    return
        raise InvariantViolation(f"order {order.order_id} has no row to refresh")

    def post(self, kind: EntryKind, reference: str, *postings: Posting) -> None:
        """Record a movement; legs of amount zero say nothing and are left out."""
        legs = tuple(posting for posting in postings if posting.amount)
        self.facts.append(Posted(entry=JournalEntry(next(self.numbers), kind, reference, legs)))

    def cash(self, account: Account, currency: Currency) -> None:
        self._cash[account.account_id, currency] = None

    def claim(self, account: Account, loan_id: LoanId) -> None:
        self._claims[account.account_id, loan_id] = None

    def hold(self, order: Order) -> None:
        if order.quote is None:
            self._holds[order.order_id] = order

    def quote(self, order: Order, reason: CancelReason | None = None) -> None:
        """Tell how a side of a quote stands in the end. reason: why it is gone, if it is."""
        self._quotes[order.order_id] = order, reason

    def book(self, loan: Loan) -> None:
        self._books[loan.terms.loan_id] = loan

    def loan(self, loan: Loan) -> None:
        self._loans[loan.terms.loan_id] = loan

    def account(self, account: Account) -> None:
        self._accounts[account.account_id] = account

    def events(self) -> tuple[Event, ...]:
        """Return everything, private before public: executions, facts, balances, then books and loans."""
        events: list[Event] = []
        for account, _, rows in self._messages:
            account.exec_seq += 1
            events.append(Executed(account_id=account.account_id, sequence=account.exec_seq, rows=tuple(rows)))
        events += self.facts
        events += self._quotes_changed()
        for order in self._holds.values():
            if order.order_id not in self.state.orders:  # ended later in the same command
                continue
            events.append(HoldChanged(order_id=order.order_id, account_id=order.account_id, hold=order.hold))
        for account in self._accounts.values():
            events.append(account_changed(account))
        accounts = self.state.accounts
        for account_id, currency in self._cash:
            events.append(cash_changed(accounts[account_id], currency))
        for account_id, loan_id in self._claims:
            events.append(claim_changed(accounts[account_id], loan_id))
        for loan in self._loans.values():
            events.append(loan.changed())
            if loan.is_serviced and type(self.command) is ServiceLoan:
                events.append(loan.schedule_changed())
        for loan_id, loan in self._books.items():
            if changes := loan.book.take_changes():
                events.append(BookChanged(loan_id=loan_id, changes=tuple(changes)))
        if self.market_changed:
            events.append(MarketChanged(mode=self.state.mode, business_date=self.state.today))
        return tuple(events)

    def _quotes_changed(self) -> Iterator[QuotesChanged]:
        by_account: dict[AccountId, list[QuoteState]] = {}
        for order, reason in self._quotes.values():
            currency = self.state.loans[order.loan_id].terms.currency
            by_account.setdefault(order.account_id, []).append(quote_state(order, currency, reason))
        for account_id, quotes in by_account.items():
            yield QuotesChanged(account_id=account_id, quotes=tuple(quotes))


def account_changed(account: Account) -> AccountChanged:
    return AccountChanged(
        account_id=account.account_id,
        kind=account.kind,
        name=account.name,
        owner_group=account.owner_group,
        risk_class=account.risk_class,
        frozen=account.frozen,
        blocked=account.blocked,
        exec_seq=account.exec_seq,
        digest=account.digest,
        default_rulebook=account.default_rulebook,
    )


def cash_changed(account: Account, currency: Currency) -> CashChanged:
    cash = account.cash[currency]
    return CashChanged(
        account_id=account.account_id,
        currency=currency,
        total=Minor(cash.total),
        held=Minor(cash.held),
        moved=cash.moved,
    )


def claim_changed(account: Account, loan_id: LoanId) -> ClaimChanged:
    claim = account.claims[loan_id]
    return ClaimChanged(
        account_id=account.account_id,
        loan_id=loan_id,
        total=Face(claim.total),
        held=Face(claim.held),
        cost=Minor(claim.cost),
        realised=claim.realised,
        lots=tuple(claim.lots),
    )


def order_state(order: Order, currency: Currency, reason: CancelReason | None = None) -> OrderState:
    return OrderState(
        order_id=order.order_id,
        account_id=order.account_id,
        owner=order.owner,
        loan_id=order.loan_id,
        currency=currency,
        client_order_id=order.client_order_id,
        side=order.side,
        order_type=order.order_type,
        time_in_force=order.time_in_force,
        expire_at=order.expire_at,
        price=order.price,
        quantity=order.quantity,
        filled=order.filled,
        leaves=order.leaves,
        shown=order.shown,
        cum_cost=order.cum_cost,
        turnover=order.turnover,
        hold=order.hold,
        post_only=order.post_only,
        min_quantity=order.min_quantity,
        display_quantity=order.display_quantity,
        stp=order.stp,
        cancel_on_disconnect=order.cancel_on_disconnect,
        cancel_on_payment=order.cancel_on_payment,
        cancel_on_reschedule=order.cancel_on_reschedule,
        session=order.session,
        tag=order.tag,
        status=order.status,
        cancel_reason=reason,
        version=order.version,
        priority=order.priority,
        created_at=order.created_at,
        exec_id=order.exec_id,
        exec_type=order.exec_type,
        limit_yield_ppm=order.limit_yield_ppm,
        pegged=order.pegged,
    )


def quote_state(order: Order, currency: Currency, reason: CancelReason | None = None) -> QuoteState:
    """Raises InvariantViolation for an order that is no quote."""
    if order.quote is None:
        raise InvariantViolation(f"order {order.order_id} is no quote")
    return QuoteState(
        order.order_id,
        order.account_id,
        order.loan_id,
        currency,
        order.side,
        order.price,
        order.quantity,
        order.filled,
        order.leaves,
        order.cum_cost,
        order.turnover,
        order.hold,
        order.status,
        reason,
        order.version,
        order.priority,
        order.created_at,
        order.expire_at,
        order.quote,
    )
