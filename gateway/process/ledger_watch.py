"""What the writing process reads from PostgreSQL for the metrics: whether the sums still agree, and how far copies lag.

It only reads, over a session of its own, and nothing depends on it: a question that fails is logged and asked again.
The time of the last reconciliation is a metric too, so that silence is noticed.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, Final

import asyncpg
from prometheus_client import Gauge

from gateway.process.metrics import Metrics
from gateway.reads.audit import reconcile
from market.partitions import schema_of

log = logging.getLogger(__name__)

POLL_S: Final = 0.5
REPLICATION_S: Final = 5.0
QUESTION_S_MAX: Final = 60.0  # sums over all accounts and loans of a large market take seconds
SESSION: Final = {
    "application_name": "debt-market watch",
    "default_transaction_read_only": "on",
}
TROUBLE: Final = (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError)

# Of a copy that has replayed everything the delay is null. Who may not see the copies' places sees null for those too.
REPLICATION: Final = """
    SELECT coalesce(nullif(application_name, ''), pid::text) AS standby,
           extract(epoch FROM coalesce(replay_lag, interval '0'))::float8 AS seconds,
           pg_wal_lsn_diff(pg_current_wal_lsn(), replay_lsn)::float8 AS bytes
    FROM pg_stat_replication
"""


class LedgerMetrics:
    """Gauges of what was last read. A copy that has gone is forgotten."""

    def __init__(self, metrics: Metrics, partition: int) -> None:
        def gauge(name: str, help_text: str, *labels: str) -> Gauge:
            return Gauge(name, help_text, labels, registry=metrics.registry)

        self._here = here = str(partition)

        self._difference = gauge(
            "market_reconciliation_difference_minor_units",
            "Cash of all accounts less what the custodian holds",
            "partition",
            "currency",
        )
        self._broken_loans = gauge(
            "market_reconciliation_broken_loans",
            "Loans whose positions are not what was issued, 100 at most",
            "partition",
        ).labels(here)
        self._reconciled_at = gauge(
            "market_reconciled_timestamp_seconds", "When the sums were last compared", "partition"
        ).labels(here)
        self._lag_s = gauge("market_replication_lag_seconds", "Delay until a copy has replayed a commit", "standby")
        self._lag_bytes = gauge("market_replication_lag_bytes", "Log that a copy has not replayed yet", "standby")
        self._standbys = gauge("market_replication_standbys", "Copies that are connected to PostgreSQL")

    async def reconcile(self, connection: Any, now_s: float) -> None:
        found = await reconcile(connection)
        for currency, difference in found.differences.items():
            self._difference.labels(self._here, currency).set(difference)
        self._broken_loans.set(len(found.broken_loans))
        self._reconciled_at.set(now_s)
        if not found.is_even:
            log.critical("reconciliation_differs cash=%s loans=%s", found.differences, found.broken_loans)

    async def look_at_copies(self, connection: Any) -> None:
        rows = await connection.fetch(REPLICATION)
        self._lag_s.clear()
        self._lag_bytes.clear()
        self._standbys.set(len(rows))
        for row in rows:
            if row["bytes"] is not None:
                self._lag_s.labels(row["standby"]).set(row["seconds"])
                self._lag_bytes.labels(row["standby"]).set(row["bytes"])


@asynccontextmanager
async def ledger_watched(
    dsn: str,
    metrics: Metrics,
    *,
    clock: Callable[[], int],
    every_s: float,
    is_writing: Callable[[], bool],
    copies_every_s: float = REPLICATION_S,
    partition: int = 0,
) -> AsyncIterator[None]:
    """Keep the gauges up to date while the body lasts and this process is the one that writes.

    every_s: between two reconciliations; 0 for none.  copies_every_s: between two looks at the copies.
    clock: nanoseconds since 1970.  partition: whose ledger it is.
    """
    async with asyncpg.create_pool(
        dsn,
        min_size=0,
        max_size=1,
        command_timeout=QUESTION_S_MAX,
        server_settings={**SESSION, "search_path": schema_of(partition)},
    ) as pool:
        watch = _watch(pool, LedgerMetrics(metrics, partition), clock, every_s, copies_every_s, is_writing)
        task = asyncio.create_task(watch, name="watch over the ledger")
        try:
            yield
        finally:
            task.cancel()
            await asyncio.wait({task})


async def _watch(
    pool: Any,
    gauges: LedgerMetrics,
    clock: Callable[[], int],
    every_s: float,
    copies_every_s: float,
    is_writing: Callable[[], bool],
) -> None:
    now = asyncio.get_running_loop().time
    reconcile_at = copies_at = 0.0
    while True:
        sums_are_due = bool(every_s) and now() >= reconcile_at
        copies_are_due = now() >= copies_at
        if is_writing() and (sums_are_due or copies_are_due):
            try:
                async with pool.acquire() as connection:
                    if sums_are_due:
                        await gauges.reconcile(connection, clock() / 1e9)
                        reconcile_at = now() + every_s
                    if copies_are_due:
                        await gauges.look_at_copies(connection)
                        copies_at = now() + copies_every_s
            except TROUBLE as e:
                log.warning("ledger_unwatched error=%s", e or type(e).__name__)
        await asyncio.sleep(POLL_S)
