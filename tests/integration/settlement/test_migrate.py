"""Migrations: forward only, once each, by whoever comes first."""

import asyncio

import pytest

from market.settlement import migrate as migrations
from market.settlement.migrate import MigrationError, available, migrate
from tests.integration.settlement.recording import execute, fetchval
from tests.postgres import DatabaseServer


async def test_a_second_run_does_nothing(postgres: DatabaseServer) -> None:
    dsn = await postgres.create_database()
    steps: list[str] = []
    assert await migrate(dsn, steps.append) == list(available()) == steps
    assert await migrate(dsn, steps.append) == []
    assert steps == list(available())
    await postgres.drop_database(dsn)


async def test_of_many_at_once_one_works_and_the_others_wait(postgres: DatabaseServer) -> None:
    dsns = [await postgres.create_database() for _ in range(2)]
    done = await asyncio.gather(*(migrate(dsn) for dsn in dsns * 3))
    assert sorted(filter(None, done)) == [list(available())] * 2
    for dsn in dsns:
        await postgres.drop_database(dsn)


async def test_a_migration_that_was_changed_after_it_was_applied_is_an_error(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    changed = {name: sql + "\n" for name, sql in available().items()}
    monkeypatch.setattr(migrations, "available", lambda: changed)
    with pytest.raises(MigrationError, match="changed after it was applied"):
        await migrate(database)


async def test_a_database_of_a_newer_version_is_left_alone(database: str) -> None:
    await execute(database, "INSERT INTO market.migration (name, sha256) VALUES ('9999_future', '')")
    with pytest.raises(MigrationError, match="9999_future"):
        await migrate(database)


async def test_a_migration_that_fails_leaves_nothing(postgres: DatabaseServer, monkeypatch: pytest.MonkeyPatch) -> None:
    dsn = await postgres.create_database()
    broken = {"0001_a": "CREATE TABLE market.a (x int)", "0002_b": "CREATE TABLE market.b (x int); SELECT 1 / 0"}
    monkeypatch.setattr(migrations, "available", lambda: broken)
    with pytest.raises(Exception, match="division by zero"):
        await migrate(dsn)
    assert await fetchval(dsn, "SELECT array_agg(name) FROM market.migration") == ["0001_a"]
    assert await fetchval(dsn, "SELECT to_regclass('market.b')") is None
    await postgres.drop_database(dsn)
