"""A PostgreSQL link that can be cut after the n-th message: a unix-socket proxy that knows where messages begin."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(slots=True)
class Cut:
    """Armed: lets `after` more messages pass in one direction (True: from the client), then cuts every link at once.

    again: the next one, armed at that moment: it meets the engine while it gets up.
    """

    from_client: bool
    after: int
    again: "Cut | None" = None


@dataclass(slots=True)
class Proxy:
    folder: Path  # what asyncpg takes as host
    armed: Cut | None = None
    cuts: int = 0
    links: set[asyncio.Transport] = field(default_factory=set)

    def passing(self, *, from_client: bool) -> bool:
        """Count a message; False if the link is cut instead of carrying it."""
        if self.armed is None or self.armed.from_client is not from_client:
            return True
        if self.armed.after > 0:
            self.armed.after -= 1
            return True
        self.armed = self.armed.again
        self.cuts += 1
        for link in list(self.links):
            link.abort()
        return False


@contextlib.asynccontextmanager
async def proxy_to(server_socket: Path, folder: Path) -> AsyncIterator[Proxy]:
    """Serve folder/.s.PGSQL.5432 and carry whole messages to and from `server_socket`."""
    proxy = Proxy(folder)
    tasks: set[asyncio.Task[None]] = set()

    async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, from_client: bool) -> None:
        """Messages are a type byte and a length; the client's first one (startup) has no type byte."""
        head = 4 if from_client else 5
        with contextlib.suppress(asyncio.IncompleteReadError, OSError):
            while True:
                start = await reader.readexactly(head)
                body = await reader.readexactly(int.from_bytes(start[-4:], "big") - 4)
                head = 5
                if not proxy.passing(from_client=from_client):
                    break
                writer.write(start + body)
                await writer.drain()
        writer.transport.abort()

    async def link(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        below_reader, below_writer = await asyncio.open_unix_connection(server_socket)
        ends = (writer.transport, below_writer.transport)
        proxy.links.update(ends)
        both = asyncio.gather(
            carry(reader, below_writer, from_client=True), carry(below_reader, writer, from_client=False)
        )
        try:
            await both
        finally:
            proxy.links.difference_update(ends)

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.ensure_future(link(reader, writer))
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    server = await asyncio.start_unix_server(accept, folder / ".s.PGSQL.5432")
    try:
        yield proxy
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
