"""Which loans are halted, why, since when and by whom: the state says which and why, the log of commands the rest."""

from collections.abc import Sequence
from typing import Any

import asyncpg

from gateway.reads.loan_view import LoanView
from gateway.wire import time_or_none

# A halt of a loan that is halted already changes nothing: what counts is the first one after the last resumption.
BEGUN = """
    SELECT halt.at, halt.actor FROM unnest($1::text[]) WITH ORDINALITY AS wanted (loan_id, n) LEFT JOIN LATERAL (
        SELECT at, actor FROM command_log WHERE kind = 'HaltLoan' AND body->>'loan_id' = wanted.loan_id
            AND seq > coalesce((
                SELECT max(seq) FROM command_log
                WHERE kind = 'HaltLoan' AND body->>'loan_id' = wanted.loan_id AND body->>'halted' = 'false'
            ), 0)
        ORDER BY seq LIMIT 1
    ) halt ON true ORDER BY wanted.n
"""


async def halts(pool: "asyncpg.Pool[asyncpg.Record]", loans: Sequence[LoanView]) -> list[dict[str, Any]]:
    """Return a row for each of these halted loans. since, by: null where the log does not tell."""
    begun = await pool.fetch(BEGUN, [loan.state.terms.loan_id for loan in loans])
    return [
        {
            "loan_id": loan.state.terms.loan_id,
            "status": loan.state.status,
            "reason": loan.state.halt_reason,
            "since": time_or_none(row["at"]),
            "by": row["actor"],
        }
        for loan, row in zip(loans, begun, strict=True)
    ]
