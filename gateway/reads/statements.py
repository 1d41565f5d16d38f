"""An account's statement: every posting of it as typed, signed legs, with the ids of what they belong to.

A trade's clean amount is shown as two legs, the principal at par (the current face that was bought) and what the price
made of it, a discount or a premium, so that each is told by itself and their sum is what was posted. This is done here
and not in the journal: what was posted before reads the same way.
Invariants: cash legs of a currency sum to the account's balance, face legs of a loan to its position.
"""

import csv
import io
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from typing import Any

import asyncpg

from gateway.reads.history import Span
from gateway.wire import minor_text, time_text, trade_id_text
from market.ids import AccountId, LoanId, Nanos, Seq, TradeId
from market.settlement.journal import EntryKind, Unit


class StatementLeg(StrEnum):
    """The journal's legs, and the two that a trade's clean amount is split into."""

    PRINCIPAL = "principal"
    DISCOUNT = "discount"
    PREMIUM = "premium"
    ACCRUED = "accrued"
    FEE = "fee"
    CLAIM = "claim"
    DEPOSIT = "deposit"
    WITHDRAWAL = "withdrawal"
    ISSUANCE = "issuance"
    INTEREST = "interest"
    REPAYMENT = "repayment"
    BUYBACK = "buyback"
    RECOVERY = "recovery"


# Whatever the planner believes of the tables' sizes: a LIMIT 1 keeps it to one look-up for each posting, and only as
# many postings are looked up as can be needed, each of which makes a row at least; for one loan that is not known.
STATEMENT = """
    SELECT entry_id, leg_no, part.no, kind, reference, unit, asset, part.leg, part.amount, loan_id,
           business_date, seq, at
    FROM (
        SELECT p.*, CASE WHEN p.unit = 'face' THEN p.asset ELSE coalesce(t.loan_id, s.loan_id) END AS loan_id,
               CASE WHEN p.leg = 'principal' THEN sign(p.amount)::bigint * t.current_face END AS par,
               t.principal < t.current_face AS is_discount, d.business_date
        FROM (
            SELECT p.entry_id, p.leg_no, p.unit, p.asset, p.leg, p.amount, e.kind, e.reference, e.seq, e.at
            FROM posting p CROSS JOIN LATERAL (SELECT kind, reference, seq, at FROM journal_entry
                WHERE entry_id = p.entry_id AND seq > $5 AND at >= $6 AND at < $7 LIMIT 1) e
            WHERE p.account_id = $1 AND (p.entry_id, p.leg_no) >= ($2, $3)
            ORDER BY p.entry_id, p.leg_no LIMIT CASE WHEN $8::text IS NULL THEN $9::bigint + 1 END
        ) p LEFT JOIN LATERAL (SELECT loan_id, principal, current_face FROM trade
                WHERE trade_id = CASE p.kind WHEN 'trade' THEN p.reference::bigint END LIMIT 1) t ON true
            LEFT JOIN LATERAL (SELECT loan_id FROM servicing_event
                WHERE event_id = CASE p.kind WHEN 'servicing' THEN p.reference END LIMIT 1) s ON true
            LEFT JOIN LATERAL (SELECT business_date FROM business_day
                WHERE since_seq <= p.seq ORDER BY since_seq DESC LIMIT 1) d ON true
    ) legs CROSS JOIN LATERAL (VALUES
        (0, leg, coalesce(par, amount)), (1, CASE WHEN is_discount THEN 'discount' ELSE 'premium' END, amount - par)
    ) part (no, leg, amount)
    WHERE part.amount <> 0 AND (entry_id, leg_no, part.no) > ($2, $3, $4) AND ($8::text IS NULL OR loan_id = $8)
    ORDER BY entry_id, leg_no, part.no LIMIT $9
"""
COLUMNS = (
    *("row_id", "timestamp", "business_date", "engine_seq", "kind", "reference", "trade_id", "event_id"),
    *("loan_id", "leg", "unit", "amount", "currency"),
)
Place = tuple[int, int, int]
BEGINNING: Place = (0, 0, -1)


@dataclass(frozen=True, slots=True)
class StoredLeg:
    """One leg. place: entry, posting in it, part of that.  loan_id: None for deposits and the like.

    business_date: of the market when it was booked.
    """

    place: Place
    kind: EntryKind
    reference: str
    unit: Unit
    asset: str
    leg: StatementLeg
    amount: int
    loan_id: LoanId | None
    business_date: date
    engine_seq: Seq
    at: Nanos


async def read_statement(
    pool: "asyncpg.Pool[asyncpg.Record]", account_id: AccountId, *, span: Span, after: Place, limit: int
) -> list[StoredLeg]:
    """Return the account's legs behind the place `after`, oldest first."""
    asked = (span.after_seq, span.since, span.until, span.loan_id)
    return [_stored(record) for record in await pool.fetch(STATEMENT, account_id, *after, *asked, limit)]


def _stored(record: asyncpg.Record) -> StoredLeg:
    entry_id, leg_no, part_no, kind, reference, unit, asset, leg, amount, loan_id, business_date, seq, at = record
    return StoredLeg(
        place=(entry_id, leg_no, part_no),
        kind=EntryKind(kind),
        reference=reference,
        unit=Unit(unit),
        asset=asset,
        leg=StatementLeg(leg),
        amount=amount,
        loan_id=loan_id,
        business_date=business_date,
        engine_seq=Seq(seq),
        at=Nanos(at),
    )


def statement_row(leg: StoredLeg, currency_of: Callable[[LoanId], str]) -> dict[str, Any]:
    """Return one leg as it is told, in the order of COLUMNS. amount: signed from the account's view.

    currency: of a cash leg its own, of a face leg that of the loan.
    """
    entry_id, leg_no, part_no = leg.place
    return {
        "row_id": f"{entry_id}-{leg_no}" + (f"-{part_no}" if part_no else ""),
        "timestamp": time_text(leg.at),
        "business_date": leg.business_date.isoformat(),
        "engine_seq": leg.engine_seq,
        "kind": leg.kind,
        "reference": leg.reference,
        "trade_id": trade_id_text(TradeId(int(leg.reference))) if leg.kind is EntryKind.TRADE else None,
        "event_id": leg.reference if leg.kind is EntryKind.SERVICING else None,
        "loan_id": leg.loan_id,
        "leg": leg.leg,
        "unit": leg.unit,
        "amount": minor_text(leg.amount),
        "currency": leg.asset if leg.unit is Unit.CASH else currency_of(LoanId(leg.asset)),
    }


def csv_of(rows: Iterable[dict[str, Any]]) -> str:
    """Return the rows as CSV (RFC 4180) with a header."""
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\r\n")
    writer.writeheader()
    writer.writerows({name: _cell(value) for name, value in row.items()} for row in rows)
    return text.getvalue()


def _cell(value: object) -> object:
    """Return a text that a spreadsheet does not take for a formula: references are of others' making."""
    is_formula = isinstance(value, str) and value[:1] in ("=", "@", "+", "\t")
    return f"'{value}" if is_formula else value
