"""The market's open self-audit: what must add up, added up from the tables, all of it as of one commit."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import asyncpg

from gateway.wire import factor_text, minor_text

VIOLATIONS_MAX = 100

LEASE = "SELECT seq, encode(log_head, 'hex') AS log_head FROM lease"
CASH = """
    SELECT currency, sum(accounts)::bigint AS accounts, sum(custody)::bigint AS custody FROM (
        SELECT currency, total AS accounts, 0 AS custody FROM cash_balance WHERE account_id <> 'CUSTODY'
        UNION ALL SELECT currency, 0, amount FROM custody_movement
        UNION ALL SELECT currency, 0, distributed FROM servicing_event
    ) parts GROUP BY currency ORDER BY currency
"""
LOANS = """
    SELECT l.loan_id, l.issued, l.original_principal, coalesce(p.held, 0)::bigint AS held
    FROM loan l LEFT JOIN (
        SELECT loan_id, sum(face) AS held FROM position WHERE account_id <> 'ISSUE' GROUP BY loan_id
    ) p USING (loan_id)
    WHERE l.issued <> coalesce(p.held, 0) OR l.issued > l.original_principal ORDER BY l.loan_id LIMIT $1
"""
ORIGINATORS = """
    SELECT originator, currency, sum(original_principal)::bigint AS lent, sum(issued)::bigint AS transferred
    FROM loan GROUP BY originator, currency ORDER BY originator, currency
"""
TITLES = """
    SELECT coalesce(sum(n), 0)::bigint AS links,
           encode(sha256(convert_to(coalesce(string_agg(
               loan_id || ' ' || encode(hash, 'hex') || E'\\n', '' ORDER BY loan_id COLLATE "C"), ''), 'UTF8')), 'hex')
           AS root
    FROM loan l CROSS JOIN LATERAL (
        SELECT n, hash FROM assignment a WHERE a.loan_id = l.loan_id ORDER BY n DESC LIMIT 1
    ) head
"""


async def audit(pool: "asyncpg.Pool[asyncpg.Record]") -> dict[str, Any]:
    """Return cash against the custodian's, positions against issued face, and transferred against lent principal.

    titles: how many links all chains of title have, and one hash over the last link of each (docs/register.md).
    """
    async with pool.acquire() as connection, connection.transaction(isolation="repeatable_read", readonly=True):
        lease = await connection.fetchrow(LEASE)
        cash = await connection.fetch(CASH)
        checked = await connection.fetchval("SELECT count(*) FROM loan")
        violations = await connection.fetch(LOANS, VIOLATIONS_MAX)
        originators = await connection.fetch(ORIGINATORS)
        titles = await connection.fetchrow(TITLES)
    return {
        "engine_seq": lease["seq"],
        "log_head": lease["log_head"],
        "cash": [_cash(row) for row in cash],
        "loans": {"checked": checked, "violations": [_violation(row) for row in violations]},
        "balance_coefficient": [_coefficient(row) for row in originators],
        "titles": {"links": titles["links"], "root": titles["root"]},
    }


@dataclass(frozen=True, slots=True)
class Reconciliation:
    """differences: cash of all accounts less the custodian's, in minor units by currency.  broken_loans: loan ids."""

    differences: Mapping[str, int]
    broken_loans: tuple[str, ...]

    @property
    def is_even(self) -> bool:
        return not self.broken_loans and not any(self.differences.values())


async def reconcile(connection: "asyncpg.pool.PoolConnectionProxy[asyncpg.Record]") -> Reconciliation:
    """Return whether the sums agree, as of one commit: the part of the audit that is watched all the time."""
    async with connection.transaction(isolation="repeatable_read", readonly=True):
        cash = await connection.fetch(CASH)
        broken = await connection.fetch(LOANS, VIOLATIONS_MAX)
    return Reconciliation(
        {row["currency"]: row["accounts"] - row["custody"] for row in cash}, tuple(row["loan_id"] for row in broken)
    )


def _cash(row: asyncpg.Record) -> dict[str, Any]:
    return {
        "currency": row["currency"],
        "accounts_total": minor_text(row["accounts"]),
        "custody_total": minor_text(row["custody"]),
        "difference": minor_text(row["accounts"] - row["custody"]),
    }


def _violation(row: asyncpg.Record) -> dict[str, Any]:
    return {
        "loan_id": row["loan_id"],
        "positions": minor_text(row["held"]),
        "issued_face": minor_text(row["issued"]),
        "original_principal": minor_text(row["original_principal"]),
    }


def _coefficient(row: asyncpg.Record) -> dict[str, Any]:
    return {
        "originator": row["originator"],
        "currency": row["currency"],
        "lent": minor_text(row["lent"]),
        "transferred": minor_text(row["transferred"]),
        "coefficient": factor_text(row["lent"], row["transferred"]) if row["transferred"] else None,
    }
