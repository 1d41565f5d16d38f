"""Brings a database to this version's schema: numbered SQL files, forward only, each in a transaction of its own.

What was applied is recorded with its hash; a file that was changed afterwards, or is missing here, is an error: the
schema would not be what the code believes. Any number of processes may start at once: an advisory lock lets one work
at a time.

A market that is cut into partitions has one ledger each, made by the same files under another schema's name, and the
views of all of them together (merged.py). There it is all or nothing: who reads the views never sees half of them.
"""

import hashlib
import re
from collections.abc import Callable, Mapping
from pathlib import Path

import asyncpg

from market.partitions import PARTITIONS_MAX, schema_of, seq_before
from market.settlement.merged import MERGED, ledgers_of, merge

MIGRATIONS = Path(__file__).parent / "migrations"
ADVISORY_SPACE = 0x44454254  # "DEBT": first half of the keys of all our advisory locks
MIGRATION_LOCK = 1
OLDEST_SERVER = 150_000

BOOTSTRAP = """
CREATE SCHEMA IF NOT EXISTS market;
CREATE TABLE IF NOT EXISTS market.migration (
    name       text PRIMARY KEY,
    sha256     text NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT now()
);
"""
SCHEMA_NAMED = re.compile(
    r"\b(market(?=\.)|(?<=SCHEMA )market\b|(?<=SCHEMA IF NOT EXISTS )market\b|(?<=SCHEMA = ')market\b)"
)
# A new ledger counts from where its partition begins. Accounts have the same pseudonyms in all of them.
BEGIN_PARTITION = """
    UPDATE market.lease SET origin = {origin}, seq = {origin};
    ALTER TABLE market.title_secret DISABLE TRIGGER append_only;
    UPDATE market.title_secret SET secret = (SELECT secret FROM {first}.title_secret);
    ALTER TABLE market.title_secret ENABLE TRIGGER append_only;
"""


class MigrationError(Exception):
    """The database can't be brought to this version; the message says what to do."""


def available() -> dict[str, str]:
    """Return the SQL of every migration by name, in order."""
    return {file.stem: file.read_text(encoding="utf-8") for file in sorted(MIGRATIONS.glob("[0-9]*.sql"))}


def sql_for(partition: int, sql: str) -> str:
    """Return what was written for the schema `market`, for that of a partition."""
    return sql if partition == 0 else SCHEMA_NAMED.sub(schema_of(partition), sql)


async def migrate(
    dsn: str, on_step: Callable[[str], None] | None = None, *, partitions: int | None = None
) -> list[str]:
    """Apply what is missing and return the names of it, in order; `on_step` hears each name before it is applied.

    partitions: how many ledgers there are to be, at least as many as there are; None: those that there are, or one.
    Raises MigrationError if the database is not a predecessor of this version or the server is too old.
    """
    connection = await asyncpg.connect(dsn)
    try:
        if int(await connection.fetchval("SHOW server_version_num")) < OLDEST_SERVER:
            raise MigrationError("PostgreSQL 15 or newer is needed")
        await connection.execute("SELECT pg_advisory_lock($1, $2)", ADVISORY_SPACE, MIGRATION_LOCK)  # until we hang up
        present = len(await ledgers_of(connection))
        wanted = max(present, 1) if partitions is None else partitions
        if not present <= wanted <= PARTITIONS_MAX:
            raise MigrationError(f"the market is cut into {present} partitions: there can't be {wanted}")
        if wanted == 1:
            return await _apply_missing(connection, available(), 0, on_step)
        async with connection.transaction():
            return await _apply_to_all(connection, wanted, on_step)
    finally:
        await connection.close()


async def _apply_to_all(
    connection: asyncpg.Connection, partitions: int, on_step: Callable[[str], None] | None
) -> list[str]:
    done: list[str] = []
    files, ledgers = available(), await ledgers_of(connection)
    applied = [await _applied(connection, partition) for partition in ledgers]
    if len(ledgers) == partitions and all(names.keys() == files.keys() for names in applied):
        for partition in ledgers:
            await _apply_missing(connection, files, partition, on_step)  # it says so where hashes differ
        return done
    await connection.execute(f"DROP SCHEMA IF EXISTS {MERGED} CASCADE")  # a view keeps its tables from changing
    for partition in range(partitions):
        done += await _apply_missing(connection, files, partition, on_step)
    await merge(connection, partitions)
    return done


async def _applied(connection: asyncpg.Connection, partition: int) -> Mapping[str, str]:
    return dict(await connection.fetch(f"SELECT name, sha256 FROM {schema_of(partition)}.migration"))


async def _apply_missing(
    connection: asyncpg.Connection, files: Mapping[str, str], partition: int, on_step: Callable[[str], None] | None
) -> list[str]:
    schema = schema_of(partition)
    # A read first: whoever finds everything in place needs no right to create a schema.
    is_new = await connection.fetchval("SELECT to_regclass($1)", f"{schema}.migration") is None
    if is_new:
        await connection.execute(sql_for(partition, BOOTSTRAP))
    applied = await _applied(connection, partition)
    if unknown := applied.keys() - files.keys():
        raise MigrationError(
            f"the database is of a newer version than this program: it has {', '.join(sorted(unknown))}"
        )
    done = []
    for name, sql in files.items():
        sha256 = hashlib.sha256(sql.encode()).hexdigest()
        if name not in applied:
            shown = name if partition == 0 else f"{schema}: {name}"
            if on_step:
                on_step(shown)
            async with connection.transaction():
                await connection.execute(sql_for(partition, sql))
                await connection.execute(f"INSERT INTO {schema}.migration (name, sha256) VALUES ($1, $2)", name, sha256)
            done.append(shown)
        elif applied[name] != sha256:
            raise MigrationError(f"migration {name} was changed after it was applied: add a new one instead")
    if is_new and partition:
        begin = sql_for(partition, BEGIN_PARTITION)
        await connection.execute(begin.format(origin=seq_before(partition), first=schema_of(0)))
    return done
