"""A batch of log entries as the rows that it writes: the arguments of market.commit_batch, in the columns' order.

Of what a batch says several times about one order, account or loan only the last word is written. Balances are not
among the rows: the database adds up the postings by itself and compares with the totals given here.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from market.claims.loan import Guarantee, LoanTerms
from market.commands import CancelAll, SetDefaultRulebook, Unblock
from market.events import (
    AccountChanged,
    CashChanged,
    CashReceived,
    CashSent,
    ClaimChanged,
    CustodyMoved,
    Executed,
    HoldChanged,
    IdFenced,
    LoanChanged,
    LogEntry,
    MarketChanged,
    MmpChanged,
    OrderAccepted,
    OrderState,
    Posted,
    RulebookChanged,
    ScheduleChanged,
    Serviced,
    Traded,
)
from market.ids import FIRST_QUOTE_ID
from market.orderbook.order import FINAL_STATUSES
from market.settlement.codec import dump_rows, dumps, values_of
from market.settlement.journal import Unit
from market.settlement.log import chain, encode
from market.venue.lots import Lot
from market.venue.rulebook import Rulebook

Row = tuple[Any, ...]

_order_values = values_of(OrderState)
_YIELD_AT = len(OrderState.__struct_fields__) - 2  # the two columns that stand behind the first answer in the table
_trade_values = values_of(Traded)
_serviced_values = values_of(Serviced)
_sent_values = values_of(CashSent)
_received_values = values_of(CashReceived)
_terms_values = values_of(LoanTerms)
_GUARANTEE_AT = LoanTerms.__slots__.index("guarantee")
_DOCUMENTS_AT = LoanTerms.__slots__.index("documents")


@dataclass(slots=True)
class Rows:
    """What one batch writes. Dicts keep the last row per key, in order of first mention."""

    epoch: int
    head: bytes  # hash of the last log line
    log: list[Row] = field(default_factory=list)
    market: list[Row] = field(default_factory=list)
    accounts: dict[str, Row] = field(default_factory=dict)
    loans: dict[str, Row] = field(default_factory=dict)
    custody: list[Row] = field(default_factory=list)
    orders: dict[int, tuple[Row, Row]] = field(default_factory=dict)
    accepted: dict[int, Row] = field(default_factory=dict)
    holds: dict[int, Row] = field(default_factory=dict)
    trades: list[Row] = field(default_factory=list)
    entries: list[Row] = field(default_factory=list)
    postings: list[Row] = field(default_factory=list)
    executions: list[Row] = field(default_factory=list)
    cash: dict[tuple[str, str], Row] = field(default_factory=dict)
    claims: dict[tuple[str, str], Row] = field(default_factory=dict)
    servicing: list[Row] = field(default_factory=list)
    schedules: dict[str, Row] = field(default_factory=dict)
    lots: dict[tuple[str, str], Row] = field(default_factory=dict)
    rulebooks: dict[str, Row] = field(default_factory=dict)
    defaults: dict[str, Row] = field(default_factory=dict)
    switches: dict[str, Row] = field(default_factory=dict)
    fenced: list[Row] = field(default_factory=list)
    mmp: dict[tuple[str, str], Row] = field(default_factory=dict)
    sent: list[Row] = field(default_factory=list)
    received: list[Row] = field(default_factory=list)
    moved: bool = False  # whether the entry at hand posted something: else totals and costs are as they were
    faces: set[tuple[str, str]] = field(default_factory=set)  # (account, loan) of which it moved face: else lots are

    def controls(self) -> tuple[list[Row], ...]:
        """Return the array arguments of market.commit_controls."""
        return list(self.switches.values()), self.fenced

    def protection(self) -> list[Row]:
        """Return the array argument of market.commit_mmp."""
        return list(self.mmp.values())

    def holdings(self) -> tuple[list[Row], ...]:
        """Return the array arguments of market.commit_lots: lots that moved, and claims that must be made of theirs."""
        return list(self.lots.values()), list(self.claims.values())

    def rules(self) -> tuple[list[Row], ...]:
        """Return the array arguments of market.commit_rules."""
        return list(self.rulebooks.values()), list(self.defaults.values())

    def moves(self) -> tuple[list[Row], ...]:
        """Return the array arguments of market.commit_moves."""
        return self.sent, self.received

    def arguments(self) -> tuple[list[Row], ...]:
        """Return the array arguments of market.commit_batch."""
        none_accepted = (None, None, None, None)
        orders = [
            row + self.accepted.get(order_id, none_accepted) + by_yield
            for order_id, (row, by_yield) in self.orders.items()
        ]
        return (
            self.log,
            self.market,
            list(self.accounts.values()),
            list(self.loans.values()),
            self.custody,
            orders,
            list(self.holds.values()),
            self.trades,
            self.entries,
            self.postings,
            self.executions,
            list(self.cash.values()),
            list(self.claims.values()),
            self.servicing,
            list(self.schedules.values()),
        )


def rows_of(entries: Sequence[LogEntry], *, epoch: int, head: bytes) -> Rows:
    """Return what `entries` write, chained to the log line with hash `head`. Pure; about 30 us per order.

    Raises ValueError for text that no database can hold (a lone surrogate).
    """
    rows = Rows(epoch, head)
    for entry in entries:
        kind, body = encode(entry.command)
        rows.head = chain(rows.head, entry.seq, entry.at, entry.actor, kind, body)
        rows.log.append((entry.seq, epoch, entry.at, entry.actor, kind, body, rows.head))
        _add_events(rows, entry)
    return rows


def _add_events(rows: Rows, entry: LogEntry) -> None:
    rows.moved = False
    rows.faces.clear()
    for event in entry.events:
        add = ADDERS.get(type(event))
        if add is not None:
            add(rows, event, entry)


def _add_executed(rows: Rows, message: Executed, entry: LogEntry) -> None:
    is_trade = message.rows[0].fill is not None
    text = dump_rows(message.rows)
    rows.executions.append((message.account_id, message.sequence, entry.seq, entry.at, is_trade, text))
    for row in message.rows:
        order = row.order
        if order.order_id >= FIRST_QUOTE_ID:
            continue
        values = _order_values(order)
        state = (*values[:_YIELD_AT], order.status not in FINAL_STATUSES, entry.seq, entry.at)
        rows.orders[order.order_id] = state, values[_YIELD_AT:]
        rows.holds.pop(order.order_id, None)  # an earlier word


def _add_accepted(rows: Rows, event: OrderAccepted, _entry: LogEntry) -> None:
    rows.accepted[event.order_id] = (event.digest, event.order_status, event.filled, event.cancel_reason)


def _add_hold(rows: Rows, event: HoldChanged, _entry: LogEntry) -> None:
    rows.holds[event.order_id] = (event.order_id, event.hold)


def _add_trade(rows: Rows, event: Traded, entry: LogEntry) -> None:
    rows.trades.append((*_trade_values(event), entry.seq, entry.at))


def _add_posted(rows: Rows, event: Posted, entry: LogEntry) -> None:
    rows.moved = True
    e = event.entry
    rows.entries.append((e.entry_id, e.kind, e.reference, entry.seq, entry.at))
    for i, p in enumerate(e.postings):
        rows.postings.append((p.account_id, e.entry_id, i, p.unit, p.asset, p.leg, p.amount))
        if p.unit is Unit.FACE:
            rows.faces.add((p.account_id, p.asset))


def _add_cash(rows: Rows, event: CashChanged, _entry: LogEntry) -> None:
    if rows.moved:
        rows.cash[event.account_id, event.currency] = (event.account_id, event.currency, event.total)


def _add_claim(rows: Rows, event: ClaimChanged, _entry: LogEntry) -> None:
    if rows.moved:
        claim = (event.account_id, event.loan_id)
        rows.claims[claim] = (*claim, event.total, event.cost, event.realised)
        if claim in rows.faces:
            rows.lots[claim] = (*claim, *_lot_columns(event.lots))


def _add_custody(rows: Rows, event: CustodyMoved, entry: LogEntry) -> None:
    moved_by = (event.custody_ref, event.account_id, event.currency)
    rows.custody.append((*moved_by, event.amount, event.digest, entry.seq, entry.at))


def _add_sent(rows: Rows, event: CashSent, entry: LogEntry) -> None:
    rows.sent.append((*_sent_values(event), entry.seq, entry.at))


def _add_received(rows: Rows, event: CashReceived, entry: LogEntry) -> None:
    rows.received.append((*_received_values(event), entry.seq, entry.at))


def _add_serviced(rows: Rows, event: Serviced, entry: LogEntry) -> None:
    rows.moved = True
    place = entry.seq << 20 | len(rows.servicing)  # grows within a command and from one to the next
    rows.servicing.append((*_serviced_values(event), entry.seq, entry.at, place))


def _add_schedule(rows: Rows, event: ScheduleChanged, _entry: LogEntry) -> None:
    rows.schedules[event.loan_id] = (event.loan_id, dumps(event.schedule))


def _add_account(rows: Rows, event: AccountChanged, entry: LogEntry) -> None:
    rows.accounts[event.account_id] = _account_row(event, entry.seq)
    if isinstance(entry.command, CancelAll | Unblock):
        rows.switches[event.account_id] = (event.account_id, event.blocked, entry.seq)
    elif isinstance(entry.command, SetDefaultRulebook):
        rows.defaults[event.account_id] = (event.account_id, event.default_rulebook, entry.seq)


def _add_rulebook(rows: Rows, event: RulebookChanged, entry: LogEntry) -> None:
    rules = event.rulebook
    rows.rulebooks[rules.name] = (rules.name, _rulebook_text(rules), entry.seq)


def _add_fenced(rows: Rows, event: IdFenced, entry: LogEntry) -> None:
    rows.fenced.append((event.account_id, event.client_order_id, entry.seq))


def _add_mmp(rows: Rows, event: MmpChanged, entry: LogEntry) -> None:
    guard = (event.account_id, event.group)
    rows.mmp[guard] = (*guard, event.max_fills, event.max_face, event.window, event.frozen, entry.seq)


def _add_loan(rows: Rows, event: LoanChanged, entry: LogEntry) -> None:
    rows.loans[event.terms.loan_id] = _loan_row(event, entry.seq)


def _add_market(rows: Rows, event: MarketChanged, _entry: LogEntry) -> None:
    rows.market = [(True, event.mode, event.business_date)]


# Books are in the orders; quotes are in no table. A table, since there are ten events to an order.
ADDERS: dict[type[Any], Callable[[Rows, Any, LogEntry], None]] = {
    Executed: _add_executed,
    OrderAccepted: _add_accepted,
    HoldChanged: _add_hold,
    Traded: _add_trade,
    Posted: _add_posted,
    CashChanged: _add_cash,
    ClaimChanged: _add_claim,
    CustodyMoved: _add_custody,
    CashSent: _add_sent,
    CashReceived: _add_received,
    Serviced: _add_serviced,
    ScheduleChanged: _add_schedule,
    AccountChanged: _add_account,
    RulebookChanged: _add_rulebook,
    IdFenced: _add_fenced,
    MmpChanged: _add_mmp,
    LoanChanged: _add_loan,
    MarketChanged: _add_market,
}


def _lot_columns(lots: tuple[Lot, ...]) -> tuple[list[Any], ...]:
    """Return faces, dates and transfers: each column is an array, so that a claim is one row."""
    return [lot.face for lot in lots], [lot.acquired for lot in lots], [lot.transfers for lot in lots]


def _account_row(a: AccountChanged, seq: int) -> Row:
    return (a.account_id, a.kind, a.name, a.owner_group, a.risk_class, a.frozen, a.digest, seq)


@lru_cache(maxsize=256)
def _rulebook_text(rulebook: Rulebook) -> str:
    return dumps(rulebook)  # a loan is written after each new last price, its rulebook hardly ever differs


def _loan_row(loan: LoanChanged, seq: int) -> Row:
    """Return the terms column by column, the guarantee's fields in its place, then the state that moves."""
    terms = list(_terms_values(loan.terms))
    terms[_DOCUMENTS_AT] = dumps(loan.terms.documents)
    terms[_GUARANTEE_AT : _GUARANTEE_AT + 1] = values_of(Guarantee)(loan.terms.guarantee)
    state = (loan.status, loan.outstanding, loan.issued, loan.paid, loan.halt_reason, _rulebook_text(loan.rulebook))
    return (*terms, *state, loan.last_price, loan.digest, seq)
