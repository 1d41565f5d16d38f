"""A link between a process and a server that a test can cut (connections end, none begin) or silence (bytes stop)."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from enum import Enum
from functools import partial
from pathlib import Path
from urllib.parse import parse_qs, urlsplit, urlunsplit

from tests.redis_server import RedisServer

Connect = Callable[[], Awaitable[tuple[asyncio.StreamReader, asyncio.StreamWriter]]]

READ_BYTES = 1 << 16


class State(Enum):
    OPEN = "open"
    SILENT = "silent"
    CUT = "cut"


class Link:
    """Listens on a port of 127.0.0.1 and carries bytes to and from a server. url: of the server through the link."""

    def __init__(self, connect: Connect) -> None:
        self._connect = connect
        self._is_open = asyncio.Event()
        self._is_open.set()
        self._state = State.OPEN
        self._ends: set[asyncio.Transport] = set()
        self.port = 0
        self.url = ""

    def harm(self, state: State) -> None:
        self._state = state
        self._is_open.clear()
        if state is State.CUT:
            for end in list(self._ends):
                end.abort()

    def heal(self) -> None:
        self._state = State.OPEN
        self._is_open.set()

    async def carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._state is State.CUT:
            writer.transport.abort()
            return
        below_reader, below_writer = await self._connect()
        ends = {writer.transport, below_writer.transport}
        self._ends |= ends
        try:
            await asyncio.gather(self._pump(reader, below_writer), self._pump(below_reader, writer))
        finally:
            self._ends -= ends

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(READ_BYTES):
                await self._is_open.wait()
                writer.write(data)
                await writer.drain()
        writer.transport.abort()


@contextlib.asynccontextmanager
async def link_to(connect: Connect) -> AsyncIterator[Link]:
    link = Link(connect)
    tasks: set[asyncio.Task[None]] = set()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.ensure_future(link.carry(reader, writer))
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    link.port = server.sockets[0].getsockname()[1]
    try:
        yield link
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


@contextlib.asynccontextmanager
async def link_to_postgres(dsn: str) -> AsyncIterator[Link]:
    url = urlsplit(dsn)
    folder = parse_qs(url.query).get("host")
    if folder:
        connect: Connect = partial(asyncio.open_unix_connection, Path(folder[0]) / ".s.PGSQL.5432")
    else:
        connect = partial(asyncio.open_connection, url.hostname, url.port or 5432)
    async with link_to(connect) as link:
        user = url.netloc.rpartition("@")[0]
        link.url = urlunsplit(url._replace(netloc=f"{user}@127.0.0.1:{link.port}", query=""))
        yield link


@contextlib.asynccontextmanager
async def link_to_redis(server: RedisServer) -> AsyncIterator[Link]:
    async with link_to(partial(asyncio.open_unix_connection, server.socket)) as link:
        link.url = f"redis://127.0.0.1:{link.port}/0"
        yield link
