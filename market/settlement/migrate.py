"""Brings a database to this version's schema: numbered SQL files, forward only, each in a transaction of its own.

What was applied is recorded with its hash; a file that was changed afterwards, or is missing here, is an error: the
schema would not be what the code believes. Any number of processes may start at once: an advisory lock lets one work
at a time.
"""

import hashlib
from collections.abc import Callable
from pathlib import Path

import asyncpg

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


class MigrationError(Exception):
    """The database can't be brought to this version; the message says what to do."""


def available() -> dict[str, str]:
    """Return the SQL of every migration by name, in order."""
    return {file.stem: file.read_text(encoding="utf-8") for file in sorted(MIGRATIONS.glob("[0-9]*.sql"))}


async def migrate(dsn: str, on_step: Callable[[str], None] | None = None) -> list[str]:
    """Apply what is missing and return the names of it, in order; `on_step` hears each name before it is applied.

    Raises MigrationError if the database is not a predecessor of this version or the server is too old.
    """
    connection = await asyncpg.connect(dsn)
    try:
        if int(await connection.fetchval("SHOW server_version_num")) < OLDEST_SERVER:
            raise MigrationError("PostgreSQL 15 or newer is needed")
        await connection.execute("SELECT pg_advisory_lock($1, $2)", ADVISORY_SPACE, MIGRATION_LOCK)  # until we hang up
        return await _apply_missing(connection, on_step)
    finally:
        await connection.close()


async def _apply_missing(connection: asyncpg.Connection, on_step: Callable[[str], None] | None) -> list[str]:
    # A read first: whoever finds everything in place needs no right to create a schema.
    if await connection.fetchval("SELECT to_regclass('market.migration')") is None:
        await connection.execute(BOOTSTRAP)
    applied = dict(await connection.fetch("SELECT name, sha256 FROM market.migration"))
    files = available()
    if unknown := applied.keys() - files.keys():
        raise MigrationError(
            f"the database is of a newer version than this program: it has {', '.join(sorted(unknown))}"
        )
    done = []
    for name, sql in files.items():
        sha256 = hashlib.sha256(sql.encode()).hexdigest()
        if name not in applied:
            if on_step:
                on_step(name)
            async with connection.transaction():
                await connection.execute(sql)
                await connection.execute("INSERT INTO market.migration (name, sha256) VALUES ($1, $2)", name, sha256)
            done.append(name)
        elif applied[name] != sha256:
            raise MigrationError(f"migration {name} was changed after it was applied: add a new one instead")
    return done
