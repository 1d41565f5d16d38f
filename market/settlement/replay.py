"""Proof that log and tables tell the same: the log is applied from empty, then compared with what the tables hold."""

from collections.abc import Callable
from dataclasses import dataclass

import asyncpg

from market.errors import MarketError
from market.ids import Nanos, Seq
from market.partitions import schema_of
from market.settlement.log import decode
from market.settlement.merged import ledgers_of
from market.settlement.recovery import recover
from market.venue.venue import Venue

LINES_AT_ONCE = 2_000


class ReplayFailed(Exception):
    """The log can't have made the state: a line of it is refused, changes nothing, or is missing."""


@dataclass(frozen=True, slots=True)
class ReplayReport:
    """seq: the last command.  Equal hashes: the same state, bit for bit."""

    state_hash_log: bytes
    state_hash_tables: bytes
    seq: Seq

    @property
    def ok(self) -> bool:
        return self.state_hash_log == self.state_hash_tables


async def replay(
    dsn: str, on_progress: Callable[[int, int], None] | None = None, *, partition: int = 0
) -> ReplayReport:
    """Apply the command log from empty and compare; memory is that of the venue, whatever the log's length.

    A new epoch in the log is a rebuild from the tables, which know no quotes: they are dropped there, and at the end.

    on_progress: hears (lines applied, lines in all) every LINES_AT_ONCE.  Raises ReplayFailed.
    """
    connection = await asyncpg.connect(dsn, server_settings={"search_path": schema_of(partition)})
    try:
        async with connection.transaction(isolation="repeatable_read", readonly=True):
            from_log = await _from_log(connection, Venue(partition), on_progress or (lambda _done, _all: None))
            from_tables = await recover(connection)
    finally:
        await connection.close()
    return ReplayReport(from_log.state_hash(), from_tables.state_hash(), from_tables.seq)


async def replay_all(dsn: str) -> list[ReplayReport]:
    """Do so for every ledger of the market, one after the other."""
    connection = await asyncpg.connect(dsn)
    try:
        partitions = await ledgers_of(connection)
    finally:
        await connection.close()
    return [await replay(dsn, partition=partition) for partition in partitions]


async def _from_log(connection: asyncpg.Connection, venue: Venue, on_progress: Callable[[int, int], None]) -> Venue:
    origin = venue.seq
    lines = await connection.fetchval("SELECT count(*) FROM command_log")
    cursor = await connection.cursor("SELECT seq, epoch, at, kind, body FROM command_log ORDER BY seq")
    last_epoch = 0
    while batch := await cursor.fetch(LINES_AT_ONCE):
        for seq, epoch, at, kind, body in batch:
            if epoch != last_epoch:
                venue.drop_quotes()
                last_epoch = epoch
            _apply(venue, Seq(seq), Nanos(at), kind, body)
        on_progress(venue.seq - origin, lines)
    venue.drop_quotes()
    return venue


def _apply(venue: Venue, seq: Seq, at: Nanos, kind: str, body: str) -> None:
    if seq != venue.seq + 1:
        raise ReplayFailed(f"line {seq} follows line {venue.seq}")
    try:
        venue.apply(seq, at, decode(kind, body))
    except (MarketError, ValueError) as e:
        raise ReplayFailed(f"line {seq} ({kind}) is refused: {type(e).__name__}: {e}") from e
    if venue.seq != seq:
        raise ReplayFailed(f"line {seq} ({kind}) changes nothing")
