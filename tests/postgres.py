"""A real PostgreSQL for the tests: a private one in a temporary folder, or the server that the environment names.

Every test gets a database of its own, copied from one in which the migrations were applied once per session.
"""

import os
import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import asyncpg

from market.settlement.embedded import EmbeddedPostgres

SERVER_VARIABLE = "DEBT_MARKET_TEST_DATABASE_URL"  # address of any database of a server where we may make others


class DatabaseServer:
    """Makes and drops databases. `dsn`: of a database that exists and is not touched."""

    def __init__(self, dsn: str) -> None:
        self.dsn = dsn
        self._migrated: str | None = None

    async def create_database(self, template: str | None = None) -> str:
        """Make a database and return its DSN. template: DSN of one to copy, to which nobody is connected."""
        name = f"debt_market_test_{secrets.token_hex(6)}"  # several workers may share one server
        source = database_of(template) if template else "template0"
        await self._execute(f'CREATE DATABASE "{name}" TEMPLATE "{source}" STRATEGY FILE_COPY')  # several times faster
        return with_database(self.dsn, name)

    async def create_migrated_database(self) -> str:
        """Make a database with the schema of today and return its DSN."""
        if self._migrated is None:
            from market.settlement.migrate import migrate  # noqa: PLC0415  tests of the server itself need no schema

            empty = await self.create_database()
            await migrate(empty)
            self._migrated = empty
        return await self.create_database(template=self._migrated)

    async def drop_database(self, dsn: str) -> None:
        """Drop a database that create_database made, and cut who is still connected to it."""
        await self._execute(f'DROP DATABASE "{database_of(dsn)}" WITH (FORCE)')

    async def close(self) -> None:
        if self._migrated is not None:
            await self.drop_database(self._migrated)
            self._migrated = None

    async def _execute(self, statement: str) -> None:
        connection = await asyncpg.connect(self.dsn)
        try:
            await connection.execute(statement)
        finally:
            await connection.close()


def with_database(dsn: str, name: str) -> str:
    """Return the DSN of another database of the same server."""
    return re.sub(r"^(\w+://[^/?]*)(/[^?]*)?", rf"\g<1>/{name}", dsn)


def database_of(dsn: str) -> str:
    found = re.match(r"^\w+://[^/?]*/([^?]+)", dsn)
    if found is None:
        raise ValueError(f"{dsn} names no database")
    return found.group(1)


@contextmanager
def running_server(data_dir: Path) -> Iterator[DatabaseServer]:
    """The server that the environment names, else a private one in `data_dir`."""
    if dsn := os.environ.get(SERVER_VARIABLE):
        yield DatabaseServer(dsn)
    else:
        with EmbeddedPostgres(data_dir, durable=False) as embedded:
            yield DatabaseServer(embedded.dsn)
