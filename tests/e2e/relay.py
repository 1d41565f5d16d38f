"""A relay between client and service that breaks each connection after a random number of bytes, wherever that is."""

import asyncio
import random
from contextlib import suppress


class Relay:
    """cuts: connections that were broken so far.  mean_bytes: of both directions together, before it breaks one."""

    def __init__(self, port: int, rng: random.Random, *, mean_bytes: float) -> None:
        self.cuts = 0
        self.is_cutting = True
        self._port = port
        self._rng = rng
        self._mean_bytes = mean_bytes

    async def start(self) -> asyncio.Server:
        return await asyncio.start_server(self._serve, "127.0.0.1", 0)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        up_reader, up_writer = await asyncio.open_connection("127.0.0.1", self._port)
        budget = int(self._rng.expovariate(1 / self._mean_bytes)) if self.is_cutting else None
        spent = 0

        async def pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
            nonlocal spent
            with suppress(ConnectionError):
                while data := await source.read(1 << 16):
                    if budget is not None and spent + len(data) >= budget:
                        sink.write(data[: budget - spent])
                        self.cuts += 1
                        return
                    spent += len(data)
                    sink.write(data)
                    await sink.drain()

        pumps = [asyncio.create_task(pump(reader, up_writer)), asyncio.create_task(pump(up_reader, writer))]
        try:
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in pumps:
                task.cancel()
            for sink in (writer, up_writer):
                sink.transport.abort()
