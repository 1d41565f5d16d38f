"""How long a rebuild of memory takes: a ledger with 100,000 open orders, from the tables to a venue that can trade.

    python benchmarks/recovery.py [--orders 100000] [--smoke]

The claim: 100,000 open orders in about a second. Filling the ledger first takes half a minute; smoke: 2,000 orders.
"""

import argparse
import asyncio
import gc
import tempfile
import time
from pathlib import Path

from settlement_commit import Flow, cut, machine

from market.settlement.embedded import EmbeddedPostgres
from market.settlement.migrate import migrate
from market.settlement.writer import PostgresStore


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--orders", type=int, default=100_000)
    parser.add_argument("--smoke", action="store_true", help="2,000 orders, only to show that it works")
    options = parser.parse_args()
    orders = 2_000 if options.smoke else options.orders
    with tempfile.TemporaryDirectory() as folder, EmbeddedPostgres(Path(folder), durable=False) as postgres:
        await migrate(postgres.dsn)
        flow, store = Flow(), PostgresStore(postgres.dsn)
        await store.open()
        for _ in range(orders):
            flow.order(spread=1)
        started = time.perf_counter()
        for batch in cut(flow.take(), 1_000):
            await store.commit(batch)
        print(f"{machine()}; filled with {orders} open orders in {time.perf_counter() - started:.1f} s")
        gc.freeze()
        for _ in range(3):
            started = time.perf_counter()
            venue = await store.recover()
            took_s = time.perf_counter() - started
            assert len(venue.state.orders) == orders
            print(f"rebuilt in {took_s:.2f} s: {took_s / orders * 1e6:.1f} us per open order")
        assert venue.state_hash() == flow.venue.state_hash()
        await store.close()


if __name__ == "__main__":
    asyncio.run(main())
