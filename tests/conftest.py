"""Fixtures that every folder of tests may use."""

import asyncio
from collections.abc import AsyncIterator, Iterator

import pytest

from tests.postgres import DatabaseServer, running_server
from tests.redis_server import RedisServer


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DatabaseServer]:
    """One PostgreSQL per session, or per worker of one."""
    with running_server(tmp_path_factory.mktemp("postgres")) as server:
        yield server
        asyncio.run(server.close())


@pytest.fixture
async def database(postgres: DatabaseServer) -> AsyncIterator[str]:
    """DSN of a fresh database with the schema of today."""
    dsn = await postgres.create_migrated_database()
    yield dsn
    await postgres.drop_database(dsn)


@pytest.fixture
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """A Redis of the test's own, without persistence."""
    server = RedisServer(tmp_path_factory.mktemp("redis"))
    yield server
    server.kill()
