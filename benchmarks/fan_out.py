"""Deliveries per second to many sockets: outboxes, against aiohttp's send_str frame by frame.

    python benchmarks/fan_out.py [--sockets 100] [--turns 200] [--per-turn 10] [--smoke]

Real connected sockets, read by a thread of the same machine. A loop turn has so many messages, each for all sockets.
Ours: a message is encoded and framed once, and what a turn has for a socket leaves in one write. The claim: at least
twice as many deliveries as one encoded message that is framed and written for each socket anew. The readers' thread
takes its part of the interpreter from both, so the ratio is too low rather than too high. About 15 s.
"""

import argparse
import asyncio
import os
import platform
import selectors
import socket
import threading
import time
from collections.abc import Awaitable, Callable

import uvloop
from aiohttp.base_protocol import BaseProtocol
from aiohttp.http_websocket import WebSocketWriter

from gateway.wire import dump_json
from gateway.ws.frames import Message
from gateway.ws.outbox import Outbox, OutboxLimits

READ_BYTES = 1 << 18
LIMITS = OutboxLimits(backlog_bytes_max=1 << 30, conflate_bytes=1 << 29, behind_s_max=60.0)  # nobody is slow here
TURNS_AHEAD = 20  # before the readers are waited for

Send = Callable[[list[dict[str, object]]], Awaitable[None]]


class Readers:
    """The far ends of all sockets: a thread that reads and counts, as clients elsewhere would."""

    def __init__(self, ends: list[socket.socket]) -> None:
        self.received = 0
        self._ends = ends
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    async def have(self, size: int) -> None:
        while self.received < size:  # noqa: ASYNC110  # counted in another thread
            await asyncio.sleep(0.0002)

    def stop(self) -> None:
        self._over.set()
        self._thread.join()

    def _read(self) -> None:
        with selectors.DefaultSelector() as selector:
            for end in self._ends:
                selector.register(end, selectors.EVENT_READ)
            while not self._over.is_set():
                for key, _ in selector.select(0.05):
                    self.received += len(key.fileobj.recv(READ_BYTES))  # type: ignore[union-attr]


def message(number: int) -> dict[str, object]:
    """A step of a book with two levels."""
    row = {
        "prev_seq": number,
        "symbol": "LC18-00042/USD",
        "epoch": 41,
        "seq": number + 1,
        "bids": [{"price": "97.25", "qty": "1250.00"}],
        "asks": [{"price": "98.50", "qty": "0.00"}],
        "checksum": 3_141_592_653,
        "digest": 2_718_281_828,
        "timestamp": "2024-01-20T12:00:00.123456Z",
    }
    return {"channel": "book", "type": "update", "data": [row]}


async def deliveries_per_s(sockets: int, turns: int, per_turn: int, *, ours: bool) -> float:
    """Return deliveries per second, counted until the readers have every byte."""
    loop = asyncio.get_running_loop()
    pairs = [socket.socketpair() for _ in range(sockets)]
    transports = []
    protocols = []
    for near, far in pairs:
        far.setblocking(False)
        transport, protocol = await loop.create_connection(lambda: BaseProtocol(loop), sock=near)
        transports.append(transport)
        protocols.append(protocol)
    send = by_outbox(transports) if ours else by_frame(transports, protocols)
    readers = Readers([far for _, far in pairs])
    size = len(Message(message(10**6)).frame(numbers=False)) * per_turn * sockets
    began = time.perf_counter()
    for turn in range(turns):
        await send([message(10**6 + turn * per_turn + n) for n in range(per_turn)])
        await readers.have((turn - TURNS_AHEAD) * size)
    await readers.have(turns * size)
    took_s = time.perf_counter() - began
    readers.stop()
    assert readers.received == turns * size, (readers.received, turns * size)
    for transport in transports:
        transport.abort()
    await asyncio.sleep(0)
    for _, far in pairs:
        far.close()
    return sockets * turns * per_turn / took_s


def by_outbox(transports: list[asyncio.Transport]) -> Send:
    outboxes = [
        Outbox(each, limits=LIMITS, numbers=False, on_slow=lambda: None, on_written=lambda _: None)
        for each in transports
    ]

    async def send(bodies: list[dict[str, object]]) -> None:
        for body in bodies:
            told = Message(body)
            for outbox in outboxes:
                outbox.send(told)
        await asyncio.sleep(0)  # the end of the turn: the outboxes write

    return send


def by_frame(transports: list[asyncio.Transport], protocols: list[BaseProtocol]) -> Send:
    """What `WebSocketResponse.send_str` does with a text that was encoded once."""
    writers = [WebSocketWriter(p, t, use_mask=False) for p, t in zip(protocols, transports, strict=True)]

    async def send(bodies: list[dict[str, object]]) -> None:
        for body in bodies:
            text = dump_json(body)
            for writer in writers:
                await writer.send_frame(text, 1)
        await asyncio.sleep(0)

    return send


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sockets", type=int, default=100)
    parser.add_argument("--turns", type=int, default=200)
    parser.add_argument("--per-turn", type=int, default=10)
    parser.add_argument("--smoke", action="store_true", help="a few sockets and turns, only to show that it works")
    options = parser.parse_args()
    shape = (4, 3, 2) if options.smoke else (options.sockets, options.turns, options.per_turn)
    sockets, turns, per_turn = shape
    print(f"machine    {platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}")
    print(f"input      {sockets} sockets, {turns} turns of {per_turn} messages for each")
    best = {True: 0.0, False: 0.0}
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        for _ in range(1 if options.smoke else 3):
            for ours, before in best.items():
                best[ours] = max(before, runner.run(deliveries_per_s(*shape, ours=ours)))
    print(f"send_str   {best[False]:10,.0f} deliveries/s, frame by frame")
    print(f"outboxes   {best[True]:10,.0f} deliveries/s, {best[True] / best[False]:.1f} times as many")


if __name__ == "__main__":
    main()
