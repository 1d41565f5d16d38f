"""What statistics cost: a month of 1,000,000 trades in 10,000 loans, by grade and discount, with waiting times.

    python benchmarks/market_statistics.py [--trades 1000000] [--smoke]

The claim: the first look adds up a month; every later one only what came and what left each window since, which takes
milliseconds, and who asks in between is told what is known. For comparison, `anew` is the first look each time, and
`sorted` finds exact percentiles by grade alone, by sorting every wait in PostgreSQL. Filling the tables takes half a
minute; smoke: 2,000 trades.
"""

import argparse
import asyncio
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import asyncpg
from settlement_commit import machine

from gateway.reads.statistics import DAY_S, SECOND, By, Statistics
from market.ids import LoanId
from market.settlement.embedded import EmbeddedPostgres
from market.settlement.migrate import migrate

LOANS, ASKED, LOOKS = 10_000, 2_000, 21
NOW = 1_700_000_000 * SECOND
MONTH = 30 * DAY_S * SECOND

# Straight into the tables, without the ledger's triggers: an order of each trade's seller, three in five of which
# waited, mostly for hours, at most for five days.
FILL = (
    "SET session_replication_role = replica",
    """INSERT INTO market.loan
       SELECT 'L' || i, 'ORIG', CASE WHEN i % 3 = 0 THEN 'USD' ELSE 'CNY' END, 1000000, 1000000, 120000, 'annuity', 12,
              1, '2024-01-15', '2024-02-15', 'period', substr('ABCDEFG', 1 + i % 7, 1), 'unsecured', 'none', NULL, NULL,
              'principal', 'b', 'p', 'r', '[]', true, true, 'current', 1000000, 1000000, 0, NULL, '{}', NULL, '\\x00', i
       FROM generate_series(1, $1::int) i""",
    """INSERT INTO market.orders (order_id, account_id, owner, loan_id, currency, side, order_type, time_in_force,
           price, quantity, filled, leaves, shown, cum_cost, turnover, hold, post_only, stp, cancel_on_disconnect,
           cancel_on_payment, cancel_on_reschedule, status, version, priority, created_at, exec_id, exec_type, is_open,
           engine_seq, updated_at)
       SELECT i, 'S', 'S', 'L' || 1 + i * 7919 % $1::bigint, 'CNY', 'sell', 'limit', 'gtc', 9800, 1000, 1000, 0, 0, 1,
              1, 0, false, 'cancel_newest', false, false, false, 'filled', 1, i,
              $2::bigint + i * $3::bigint - (random() ^ 3 * 432000)::bigint * 1000000000, 'x', 'trade', false, i, 1
       FROM generate_series(1, $4::bigint) i""",
    """INSERT INTO market.trade
       SELECT i << 20, 'L' || 1 + i * 7919 % $1::bigint, 'CNY', 9000 + (random() * 1100)::int,
              100 * (1 + (random() * 100)::int), CASE WHEN random() < 0.6 THEN 'buy' ELSE 'sell' END, 'limit',
              i + $4::bigint, i, 'B', 'S', 100, 100, 0, 0, 0, 100000, '2024-01-15', i, $2::bigint + i * $3::bigint
       FROM generate_series(1, $4::bigint) i""",
    "ANALYZE market.loan, market.orders, market.trade",
)
SORTED = f"""
    SELECT l.currency, l.grade, percentile_disc(ARRAY[0.5, 0.9]) WITHIN GROUP (ORDER BY t.at - o.created_at)
    FROM market.trade t JOIN market.loan l USING (loan_id) JOIN market.orders o ON o.order_id = t.sell_order_id
    WHERE t.taker_side = 'buy' AND t.at >= {NOW - MONTH} GROUP BY 1, 2
"""


async def fill(dsn: str, trades: int) -> None:
    connection = await asyncpg.connect(dsn)
    values = (LOANS, NOW - MONTH, MONTH // (trades + 1), trades)
    for statement in FILL:
        await connection.execute(statement, *values[: max((n for n in range(1, 5) if f"${n}" in statement), default=0)])
    await connection.close()


async def best_of(runs: int, work: Callable[[], Awaitable[object]]) -> float:
    times = []
    for _ in range(runs):
        started = time.perf_counter()
        await work()
        times.append(time.perf_counter() - started)
    return min(times)


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trades", type=int, default=1_000_000)
    parser.add_argument("--smoke", action="store_true", help="2,000 trades, only to show that it works")
    options = parser.parse_args()
    trades = 2_000 if options.smoke else options.trades
    with tempfile.TemporaryDirectory() as folder, EmbeddedPostgres(Path(folder), durable=False) as postgres:
        await migrate(postgres.dsn)
        await fill(postgres.dsn, trades)
        pool = await asyncpg.create_pool(
            postgres.dsn, min_size=1, max_size=2, server_settings={"search_path": "market"}
        )
        print(f"{machine()}; {trades:,} trades in {LOANS:,} loans")

        now = NOW

        def fresh() -> Statistics:
            return Statistics(pool, clock=lambda: now, age_s_max=0.0)

        statistics = fresh()
        rows = (await statistics.of_market()).rows[frozenset(By)]
        assert sum(row.traded[-1].trades for row in rows) == trades
        anew_s = await best_of(3, lambda: fresh().of_market())
        sorted_s = await best_of(3, lambda: pool.fetch(SORTED))
        loan_s = await best_of(3, lambda: fresh().of_loan(LoanId("L17")))
        times = []
        for _ in range(LOOKS):
            now += 15 * SECOND
            times.append(await best_of(1, statistics.of_market))
        kept = Statistics(pool, clock=lambda: NOW, age_s_max=3_600.0)
        await kept.of_market()
        started = time.perf_counter()
        for _ in range(ASKED):
            await kept.of_market()
        asked_s = (time.perf_counter() - started) / ASKED
        await pool.close()
    later_s = sorted(times)[LOOKS // 2]
    print(f"first look    {anew_s * 1e3:8.1f} ms, {len(rows)} rows by grade and discount")
    print(f"later looks   {later_s * 1e3:8.1f} ms each, 15 s apart, median of {LOOKS}: 1/{anew_s / later_s:.0f}")
    print(f"in between    {asked_s * 1e6:8.1f} us")
    print(f"one loan      {loan_s * 1e3:8.1f} ms at the first look")
    print(f"sorted        {sorted_s * 1e3:8.1f} ms, {sorted_s / later_s:.0f} times a later look")


if __name__ == "__main__":
    asyncio.run(main())
