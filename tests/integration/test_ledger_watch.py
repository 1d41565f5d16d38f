"""What the metrics say of the ledger: sums that differ, and copies of the database that lag, on real servers."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg

from gateway.process.ledger_watch import SESSION, ledger_watched
from gateway.process.metrics import Metrics
from market.commands import AccountKind, OpenMarket
from market.engine import Engine
from market.settlement.embedded import EmbeddedPostgres
from market.settlement.migrate import migrate
from market.settlement.writer import PostgresStore
from tests.builders import DAY, deposit, open_account, register
from tests.patience import PATIENCE_S
from tests.replica import running_replica

WATCHING = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND application_name = $1"


async def seen(metrics: Metrics, holds: Callable[[dict[str, float]], bool]) -> dict[str, float]:
    """Wait until the gauges are as wanted; return them by name, with the label's value behind it."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            shown = {
                " ".join([sample.name, *sample.labels.values()]): sample.value
                for family in metrics.registry.collect()
                for sample in family.samples
            }
            if holds(shown):
                return shown
            await asyncio.sleep(0.05)


@asynccontextmanager
async def watched(dsn: str, *, is_writing: bool = True) -> AsyncIterator[Metrics]:
    metrics = Metrics()
    every = {"every_s": 0.1, "copies_every_s": 0.1}
    async with ledger_watched(dsn, metrics, clock=time.time_ns, is_writing=lambda: is_writing, **every):
        yield metrics


async def test_a_difference_to_the_custodian_is_shown(database: str) -> None:
    engine = Engine(store=PostgresStore(database), clock=time.time_ns)
    running = asyncio.create_task(engine.run())
    await engine.online()
    for command in (
        OpenMarket(business_date=DAY),
        open_account("HOUSE", AccountKind.HOUSE),
        open_account("ORIG", AccountKind.ORIGINATOR),
        open_account("A17"),
        deposit("A17", 1_000_00),
        register(),
    ):
        await engine.submit(command, actor="test")
    engine.stop()
    await running
    difference = "market_reconciliation_difference_minor_units 0 USD"
    async with watched(database) as metrics:
        even = await seen(metrics, lambda shown: difference in shown)
        assert even[difference] == 0
        assert even["market_reconciliation_broken_loans 0"] == 0
        assert abs(even["market_reconciled_timestamp_seconds 0"] - time.time()) < PATIENCE_S
        connection = await asyncpg.connect(database)
        try:  # a custodian who has 1.00 more, and a holder with 0.50 of face that nobody issued
            await connection.execute("SET session_replication_role = replica")
            await connection.execute("UPDATE market.custody_movement SET amount = amount + 100")
            await connection.execute("UPDATE market.position SET face = face + 50 WHERE account_id = 'ORIG'")
        finally:
            await connection.close()
        broken = await seen(metrics, lambda shown: shown[difference] != 0)
        assert broken[difference] == -100
        assert broken["market_reconciliation_broken_loans 0"] == 1


async def test_a_process_that_does_not_write_asks_nothing(database: str) -> None:
    async with watched(database, is_writing=False) as metrics:
        connection = await asyncpg.connect(database)
        try:
            for _ in range(5):
                await asyncio.sleep(0.3)
                assert await connection.fetchval(WATCHING, SESSION["application_name"]) == 0
        finally:
            await connection.close()
        shown = await seen(metrics, lambda _: True)
        assert shown["market_reconciled_timestamp_seconds 0"] == 0


async def test_the_lag_of_a_copy_is_shown_until_it_is_gone(tmp_path: Path) -> None:
    with EmbeddedPostgres(tmp_path / "first") as first:
        await migrate(first.dsn)
        async with watched(first.dsn) as metrics:
            with running_replica(first.dsn, tmp_path / "copy") as replica:
                copy = await asyncpg.connect(replica)
                try:
                    lag = "market_replication_lag_bytes walreceiver"
                    level = await seen(metrics, lambda shown: shown.get(lag) == 0)
                    assert level["market_replication_standbys"] == 1
                    assert level["market_replication_lag_seconds walreceiver"] < PATIENCE_S
                    await copy.execute("SELECT pg_wal_replay_pause()")
                    writer = await asyncpg.connect(first.dsn)
                    try:
                        await writer.execute("CREATE TABLE filler AS SELECT generate_series(1, 20000) AS n")
                    finally:
                        await writer.close()
                    behind = await seen(metrics, lambda shown: shown[lag] > 100_000)
                    assert behind["market_replication_lag_seconds walreceiver"] >= 0
                    await copy.execute("SELECT pg_wal_replay_resume()")
                    await seen(metrics, lambda shown: shown[lag] == 0)
                finally:
                    await copy.close()
            gone = await seen(metrics, lambda shown: shown["market_replication_standbys"] == 0)
            assert lag not in gone
