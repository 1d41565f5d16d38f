"""Fixtures that every folder of tests may use."""

import asyncio
import os
import shutil
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tests.postgres import DatabaseServer, running_server
from tests.redis_server import RedisServer

FOLDERS = Path(__file__).parent
OF_SERVERS = (FOLDERS / "integration", FOLDERS / "e2e", FOLDERS / "browser")
IN_MEMORY = Path("/dev/shm")  # most of the time of a database that lives for one test is its files' on a disk
ROOM = 6 << 30  # bytes; the tests need less than 2

if IN_MEMORY.is_dir() and os.access(IN_MEMORY, os.W_OK) and shutil.disk_usage(IN_MEMORY).free >= ROOM:
    os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(IN_MEMORY))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A failed test of servers, sockets or pages is run once more: a machine may stand still amid one.

    The run tells each with its first failure: one that passes only then is a fault to be found, not a success.
    """
    for item in items:
        if any(folder in item.path.parents for folder in OF_SERVERS):
            item.add_marker(pytest.mark.flaky(reruns=1))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    for report in terminalreporter.stats.get("rerun", []):
        terminalreporter.section(f"run once more: {report.nodeid}")
        terminalreporter.line(report.longreprtext)
        for title, content in report.sections:
            terminalreporter.section(title, "-")
            terminalreporter.line(content)


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
