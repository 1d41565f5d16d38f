"""Rebuilds the venue from the tables, as of the last commit: they alone are the truth, the log is for proof.

Accounts and loans come in the order in which they were registered, so that the rebuilt venue goes on exactly as the one
before it would have.
"""

import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import fields
from enum import StrEnum
from functools import lru_cache
from typing import Any

import asyncpg
import msgspec

from market.claims.loan import (
    ClaimType,
    Coverage,
    DayCount,
    Document,
    Guarantee,
    GuaranteeKind,
    LoanStatus,
    LoanTerms,
    RepaymentMethod,
)
from market.claims.schedule import Schedule
from market.claims.servicing import ServicingType
from market.commands import AccountKind, Mode
from market.events import (
    AccountChanged,
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
    RulebookChanged,
    ScheduleChanged,
    Serviced,
)
from market.ids import Face, Minor, Seq, TradeId
from market.orderbook.order import CancelReason, OrderStatus
from market.partitions import PARTITIONS_MAX
from market.settlement.codec import loads
from market.settlement.journal import CUSTODY, ISSUE, TRANSIT
from market.venue.cash_lines import SENT_MAX
from market.venue.lots import Lot
from market.venue.rulebook import Rulebook
from market.venue.venue import Venue

ORDER_COLUMNS = ", ".join(OrderState.__struct_fields__)

OUTSIDE = [CUSTODY, TRANSIT]  # ledger accounts that stand outside of the market

SEQ = "SELECT seq FROM lease"
LAST_TRADE = "SELECT coalesce((SELECT max(trade_id) FROM trade), origin) FROM lease"
MARKET = "SELECT mode, business_date FROM market_state"
ACCOUNTS = """
    SELECT a.account_id, kind, name, owner_group, risk_class, frozen, digest,
           coalesce((SELECT blocked FROM kill_switch k WHERE k.account_id = a.account_id), false) AS blocked,
           (SELECT rulebook FROM default_rulebook d WHERE d.account_id = a.account_id) AS default_rulebook,
           coalesce((SELECT max(sequence) FROM execution e WHERE e.account_id = a.account_id), 0) AS exec_seq
    FROM account a ORDER BY since_seq, account_id
"""
RULEBOOKS = "SELECT rules FROM rulebook ORDER BY name"
LOANS = "SELECT * FROM loan ORDER BY since_seq, loan_id"
CUSTODY_MOVEMENTS = "SELECT custody_ref, account_id, currency, amount, digest FROM custody_movement ORDER BY seq"
SERVICING_COLUMNS = ", ".join(Serviced.__struct_fields__)
SERVICING = f"SELECT {SERVICING_COLUMNS} FROM servicing_event ORDER BY nr"
SCHEDULES = "SELECT loan_id, schedule FROM loan_schedule"
CASH = """
    SELECT account_id, currency, total, coalesce(moved, 0) AS moved
    FROM cash_balance LEFT JOIN cash_line USING (account_id, currency) WHERE account_id <> ALL($1)
"""
MOVE_COLUMNS = 'move_id, account_id, currency, amount, to_partition AS "to"'
CASH_SENT = f"""
    SELECT {MOVE_COLUMNS} FROM (SELECT * FROM cash_move ORDER BY seq DESC LIMIT {SENT_MAX}) latest ORDER BY seq
"""
RECEIPT_COLUMNS = "sender, move_id, account_id, currency, amount, sent_seq, all_before"
CASH_RECEIVED = f"""
    SELECT {RECEIPT_COLUMNS} FROM generate_series(0, {PARTITIONS_MAX - 1}) AS of
    CROSS JOIN LATERAL (SELECT max(all_before) AS before FROM cash_receipt WHERE sender = of) known
    CROSS JOIN LATERAL (SELECT * FROM cash_receipt WHERE sender = of AND sent_seq >= before) remembered ORDER BY seq
"""
CLAIMS = """
    SELECT account_id, loan_id, face, cost, realised, acquired, transfers, faces
    FROM position LEFT JOIN lots USING (account_id, loan_id) WHERE account_id <> $1
"""
FIRST_ANSWERS = """
    SELECT order_id, account_id, client_order_id, accepted_digest, accepted_status, accepted_filled, accepted_reason
    FROM orders WHERE accepted_digest IS NOT NULL ORDER BY order_id
"""
FENCED_IDS = "SELECT account_id, client_order_id FROM fenced_id ORDER BY seq"
MMP_GROUPS = """
    SELECT account_id, mmp_group AS "group", max_fills, max_face, window_ns AS window, frozen
    FROM mmp ORDER BY since_seq, account_id, mmp_group
"""
OPEN_ORDERS = f"SELECT {ORDER_COLUMNS} FROM orders WHERE is_open"


def _words(enum: type[StrEnum]) -> Callable[[str | None], Any]:
    """Return what turns a column's text into its enum: a dict, since a call of the enum costs ten times as much."""
    words: dict[str | None, Any] = {None: None, **{member.value: member for member in enum}}
    return words.__getitem__


_STATUS, _REASON = _words(OrderStatus), _words(CancelReason)

_WORDS_IN_TERMS = {"repayment_method", "day_count", "claim_type", "guarantee", "documents"}
_PLAIN_TERMS = [field.name for field in fields(LoanTerms) if field.name not in _WORDS_IN_TERMS]


def order_state(row: asyncpg.Record) -> OrderState:
    """Return the order of a row that begins with ORDER_COLUMNS. Some 5 us, for a hundred thousand rest."""
    return msgspec.convert(dict(zip(OrderState.__struct_fields__, row.values(), strict=False)), OrderState)


def market_changed(row: asyncpg.Record) -> MarketChanged:
    return MarketChanged(mode=Mode(row["mode"]), business_date=row["business_date"])


def account_changed(row: asyncpg.Record) -> AccountChanged:
    return AccountChanged(**{**row, "kind": AccountKind(row["kind"])})


def serviced(row: asyncpg.Record) -> Serviced:
    """Return the event of a row of SERVICING_COLUMNS."""
    return Serviced(**{**row, "type": ServicingType(row["type"]), "status": LoanStatus(row["status"])})


def claim_changed(row: asyncpg.Record) -> ClaimChanged:
    account_id, loan_id, face, cost, realised, acquired, transfers, faces = row
    return ClaimChanged(
        account_id=account_id,
        loan_id=loan_id,
        total=face,
        held=Face(0),
        cost=cost,
        realised=realised,
        lots=() if faces is None else tuple(map(Lot, acquired, transfers, faces)),
    )


def _schedule(row: asyncpg.Record) -> ScheduleChanged:
    return ScheduleChanged(loan_id=row["loan_id"], schedule=loads(Schedule, row["schedule"]))


def first_answer(row: asyncpg.Record) -> OrderAccepted:
    order_id, account_id, client_order_id, digest, status, filled, reason = row
    return OrderAccepted(
        order_id=order_id,
        account_id=account_id,
        client_order_id=client_order_id,
        digest=digest,
        order_status=_STATUS(status),
        filled=filled,
        cancel_reason=_REASON(reason),
    )


def loan_changed(row: asyncpg.Record) -> LoanChanged:
    """Return the loan of a whole row of the table."""
    terms = {name: row[name] for name in _PLAIN_TERMS}
    return LoanChanged(
        terms=LoanTerms(
            **terms,
            repayment_method=RepaymentMethod(row["repayment_method"]),
            day_count=DayCount(row["day_count"]),
            claim_type=ClaimType(row["claim_type"]),
            guarantee=Guarantee(
                kind=GuaranteeKind(row["guarantee_kind"]),
                name=row["guarantee_name"],
                trigger_days=row["guarantee_trigger_days"],
                coverage=Coverage(row["guarantee_coverage"]),
            ),
            documents=loads(tuple[Document, ...], row["documents"]),
        ),
        status=LoanStatus(row["status"]),
        outstanding=row["outstanding"],
        issued=row["issued"],
        paid=row["paid"],
        halt_reason=row["halt_reason"],
        rulebook=_rulebook(row["rulebook"]),
        last_price=row["last_price"],
        digest=row["digest"],
    )


@lru_cache(maxsize=256)
def _rulebook(text: str) -> Rulebook:
    return loads(Rulebook, text)  # thousands of loans share a handful of rulebooks


async def recover(connection: asyncpg.Connection) -> Venue:
    """Rebuild the venue. The caller's transaction must be REPEATABLE READ: all tables as of one commit."""
    with _collector_at_rest():
        events = await _snapshot(connection)
        seq = Seq(await connection.fetchval(SEQ))
        last_trade_id = TradeId(await connection.fetchval(LAST_TRADE))
        return Venue.restore(seq, events, last_trade_id=last_trade_id)


@contextmanager
def _collector_at_rest() -> Iterator[None]:
    """Nothing of a rebuild is garbage until its end, and looking for it takes longer than the rebuild."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


async def _snapshot(connection: asyncpg.Connection) -> list[Event]:
    events: list[Event] = []
    for query, arguments, event_of in (
        (MARKET, (), market_changed),
        (RULEBOOKS, (), lambda row: RulebookChanged(rulebook=_rulebook(row["rules"]))),
        (ACCOUNTS, (), account_changed),
        (LOANS, (), loan_changed),
        (SCHEDULES, (), _schedule),
        (SERVICING, (), serviced),
        (CUSTODY_MOVEMENTS, (), lambda row: CustodyMoved(**row)),
        (CASH_SENT, (), lambda row: CashSent(**row)),
        (CASH_RECEIVED, (), lambda row: CashReceived(**row)),
        (CASH, (OUTSIDE,), lambda row: CashChanged(**row, held=Minor(0))),
        (CLAIMS, (ISSUE,), claim_changed),
        (FIRST_ANSWERS, (), first_answer),
        (FENCED_IDS, (), lambda row: IdFenced(**row)),
        (MMP_GROUPS, (), lambda row: MmpChanged(**row)),
        (OPEN_ORDERS, (), lambda row: OpenOrder(order=order_state(row))),
    ):
        events.extend(map(event_of, await connection.fetch(query, *arguments)))
    return events
