"""What the reconciliation costs that the writing engine shows in its metrics: cash and claims of a large market.

    python benchmarks/reconciliation.py [--loans 10000] [--smoke]

A ledger of a few traded loans is multiplied in the tables: so many loans, ten holders of each, a deposit for each.
Prints the time of one reconciliation, and the time of a commit of one order beside it and without. The claim: a second
at most for a hundred thousand positions, and commits that take less than half as long again. About a minute.
"""

import argparse
import asyncio
import statistics
import tempfile
import time
from pathlib import Path

import asyncpg
from settlement_commit import Flow, cut, machine

from gateway.reads.audit import reconcile
from market.settlement.embedded import EmbeddedPostgres
from market.settlement.migrate import migrate
from market.settlement.writer import PostgresStore

# One row, again and again under other names; of what adds up the copies add up too.
COPY = """
    INSERT INTO market.{table} SELECT (jsonb_populate_record(NULL::market.{table}, to_jsonb(original) || changed)).*
    FROM (SELECT * FROM market.{table} ORDER BY 1 LIMIT 1) original, LATERAL (SELECT * FROM ({copies}) copies) copies
"""
ISSUED = "(SELECT issued FROM market.loan ORDER BY 1 LIMIT 1)"
MULTIPLY = {
    "loan": "SELECT jsonb_build_object('loan_id', 'COPY-' || n) AS changed FROM generate_series(1, $1::int) n",
    "position": f"""
        SELECT jsonb_build_object(
            'loan_id', 'COPY-' || n, 'account_id', 'HOLDER-' || k, 'face', {ISSUED} / 10, 'held', 0
        ) AS changed
        FROM generate_series(1, $1::int) n, generate_series(1, 10) k
    """,
    "cash_balance": """
        SELECT jsonb_build_object('account_id', 'HOLDER-' || n, 'total', 100, 'held', 0) AS changed
        FROM generate_series(1, $1::int) n
    """,
    "custody_movement": """
        SELECT jsonb_build_object('custody_ref', 'copy-' || n, 'account_id', 'HOLDER-' || n, 'amount', 100) AS changed
        FROM generate_series(1, $1::int) n
    """,
}


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--loans", type=int, default=10_000)
    parser.add_argument("--smoke", action="store_true", help="500 loans, only to show that it works")
    options = parser.parse_args()
    loans, commits = (500, 5) if options.smoke else (options.loans, 100)
    with tempfile.TemporaryDirectory() as folder, EmbeddedPostgres(Path(folder)) as postgres:
        await migrate(postgres.dsn)
        flow, store = Flow(), PostgresStore(postgres.dsn)
        await store.open()
        for batch in cut(flow.take(), 1_000):
            await store.commit(batch)
        connection = await asyncpg.connect(postgres.dsn, server_settings={"search_path": "market"})
        await connection.execute("SET session_replication_role = replica")
        for table, copies in MULTIPLY.items():
            await connection.execute(COPY.format(table=table, copies=copies), loans)
        await connection.execute("ANALYZE")
        positions = await connection.fetchval("SELECT count(*) FROM market.position")
        print(f"{machine()}; {loans} loans, {positions} positions")

        async def commit_ms(until: "asyncio.Task[None] | None" = None) -> list[float]:
            took = []
            while len(took) < commits if until is None else not until.done():
                flow.order(spread=1)
                batch = flow.take()
                began = time.perf_counter()
                await store.commit(batch)
                took.append((time.perf_counter() - began) * 1e3)
            return took

        async def reconciled() -> None:
            for _ in range(3):
                began = time.perf_counter()
                found = await reconcile(connection)
                print(f"one reconciliation: {time.perf_counter() - began:.2f} s, even: {found.is_even}")

        alone = statistics.median(await commit_ms())
        beside = statistics.median(await commit_ms(asyncio.create_task(reconciled())))
        print(f"a commit: {alone:.1f} ms alone, {beside:.1f} ms beside it: {beside / alone:.2f} times")
        await connection.close()
        await store.close()


if __name__ == "__main__":
    asyncio.run(main())
