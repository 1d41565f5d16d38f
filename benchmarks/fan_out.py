"""Deliveries per second to many sockets: feeds and outboxes, between frame by frame and what the machine can write.

    python benchmarks/fan_out.py [--sockets 100] [--turns 200] [--per-turn 10] [--smoke]

TCP over loopback, read by a process of its own. A loop turn has steps of so many books, each for all sockets. Ours: a
step is encoded and framed once, and what a turn has for a socket leaves in one write. Beside it in the same run, by
turns: aiohttp's send_frame for each socket and step; and one bare `transport.write` per socket and turn of bytes that
were made beforehand, which nothing above a socket can beat. The claim, in CPU of the sending process, which says the
same on a busy machine: a delivery costs at most a third of the first and twice the second. About 15 s.
"""

import argparse
import asyncio
import multiprocessing
import os
import platform
import selectors
import socket
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from multiprocessing.sharedctypes import Synchronized
from typing import Any

import uvloop
from aiohttp.base_protocol import BaseProtocol
from aiohttp.http_websocket import WebSocketWriter

from gateway.wire import dump_json
from gateway.ws.feeds import StateFeed
from gateway.ws.frames import Message
from gateway.ws.outbox import Outbox, OutboxLimits

READ_BYTES = 1 << 18
TURNS_AHEAD = 20  # before the readers are waited for
RUNS = 5

Json = dict[str, Any]
Send = Callable[[list[Json]], Awaitable[None]]
Way = Callable[[list[asyncio.Transport], list[BaseProtocol]], Send]


class Steps(StateFeed):
    """A feed like that of a book, without the book."""

    channel = "book"


def book_step(number: int) -> Json:
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


def by_frame(transports: list[asyncio.Transport], protocols: list[BaseProtocol]) -> Send:
    """What `WebSocketResponse.send_str` does with a text that was encoded once."""
    writers = [WebSocketWriter(p, t, use_mask=False) for p, t in zip(protocols, transports, strict=True)]

    async def send(steps: list[Json]) -> None:
        for step in steps:
            text = dump_json(step)
            for writer in writers:
                await writer.send_frame(text, 1)

    return send


def by_feed(transports: list[asyncio.Transport], _: list[BaseProtocol]) -> Send:
    written: set[Outbox] = set()
    outboxes = [
        Outbox(each, limits=OutboxLimits(), numbers=False, on_slow=lambda: None, on_written=written.add)
        for each in transports
    ]
    feeds: list[Steps] = []  # a batch changes a book once, so the steps of a turn are of as many books

    async def send(steps: list[Json]) -> None:
        while len(feeds) < len(steps):
            feeds.append(Steps(f"B-{len(feeds)}"))
            feeds[-1].readers.update(dict.fromkeys(outboxes))
        for feed, step in zip(feeds, steps, strict=True):
            feed.publish(Message(step))

    return send


def by_bare_write(transports: list[asyncio.Transport], _: list[BaseProtocol]) -> Send:
    made: dict[int, bytes] = {}

    async def send(steps: list[Json]) -> None:
        data = made.get(len(steps))
        if data is None:
            data = made[len(steps)] = b"".join(Message(step).frame(numbers=False) for step in steps)
        for transport in transports:
            transport.write(data)

    return send


WAYS: dict[str, Way] = {"send_frame": by_frame, "feed": by_feed, "bare write": by_bare_write}


async def measure(way: Way, sockets: int, turns: int, per_turn: int) -> tuple[float, float]:
    """Return deliveries per second, counted until the readers have every byte, and CPU seconds per delivery."""
    loop = asyncio.get_running_loop()
    with readers(sockets) as (near, received):
        made = [await loop.create_connection(lambda: BaseProtocol(loop), sock=each) for each in near]
        send = way([transport for transport, _ in made], [protocol for _, protocol in made])
        size = len(Message(book_step(10**6)).frame(numbers=False)) * per_turn * sockets
        began, used = time.perf_counter(), time.process_time()
        for turn in range(turns):
            await send([book_step(10**6 + turn * per_turn + n) for n in range(per_turn)])
            await asyncio.sleep(0)  # the end of the turn: what is due leaves
            await have(received, (turn - TURNS_AHEAD) * size)
        used = time.process_time() - used
        await have(received, turns * size)
        took_s = time.perf_counter() - began
        assert received.value == turns * size, (received.value, turns * size)
        for transport, _ in made:
            transport.abort()
        await asyncio.sleep(0)
    deliveries = sockets * turns * per_turn
    return deliveries / took_s, used / deliveries


async def have(received: "Synchronized[int]", size: int) -> None:
    while received.value < size:  # noqa: ASYNC110  # counted in another process
        await asyncio.sleep(0.0002)


@contextmanager
def readers(count: int) -> Iterator[tuple[list[socket.socket], "Synchronized[int]"]]:
    """Start a process that reads so many sockets; yield our ends of them and the bytes that it has read."""
    context = multiprocessing.get_context("spawn")
    received = context.Value("Q", 0)
    with socket.create_server(("127.0.0.1", 0), backlog=count) as server:
        process = context.Process(target=read, args=(server.getsockname(), count, received), daemon=True)
        process.start()
        near = [server.accept()[0] for _ in range(count)]
    for each in near:
        each.setblocking(False)
    try:
        yield near, received
    finally:
        process.join(timeout=30)


def read(address: tuple[str, int], count: int, received: "Synchronized[int]") -> None:
    """Read until all have been closed."""
    with selectors.DefaultSelector() as selector:
        for _ in range(count):
            selector.register(socket.create_connection(address), selectors.EVENT_READ)
        buffer, total, raw = bytearray(READ_BYTES), 0, received.get_obj()
        while selector.get_map():
            for key, _ in selector.select():
                try:
                    size = key.fileobj.recv_into(buffer)  # type: ignore[union-attr]
                except ConnectionError:
                    size = 0
                total += size
                if not size:
                    selector.unregister(key.fileobj)
            raw.value = total


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sockets", type=int, default=100)
    parser.add_argument("--turns", type=int, default=200)
    parser.add_argument("--per-turn", type=int, default=10)
    parser.add_argument("--smoke", action="store_true", help="a few sockets and turns, only to show that it works")
    options = parser.parse_args()
    shape = (4, 3, 2) if options.smoke else (options.sockets, options.turns, options.per_turn)
    sockets, turns, per_turn = shape
    print(f"machine     {platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}")
    print(f"input       {sockets} sockets, {turns} turns of {per_turn} messages for each")
    rates: dict[str, list[float]] = {name: [] for name in WAYS}
    used: dict[str, list[float]] = {name: [] for name in WAYS}
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        for _ in range(1 if options.smoke else RUNS):
            for name, way in WAYS.items():
                rate, cpu = runner.run(measure(way, *shape))
                rates[name].append(rate)
                used[name].append(cpu)
    for name in WAYS:
        print(f"{name:10}  {max(rates[name]):10,.0f} deliveries/s, {min(used[name]) * 1e6:5.2f} us of CPU each")
    cost = {name: min(each) for name, each in used.items()}
    ratio = f"{cost['feed'] / cost['bare write']:.2f} of a bare write"
    print(f"feed costs  {cost['feed'] / cost['send_frame']:.2f} of send_frame, {ratio}")


if __name__ == "__main__":
    main()
