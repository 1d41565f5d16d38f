"""What a commit costs the nodes of a Redis Cluster when it is told by a sharded channel, and when by a plain one.

    python benchmarks/sharded_channels.py [--smoke]

Three masters on 127.0.0.1, joined by `redis-cli --cluster create`, and one Redis alone. Two gateways listen to the
channel of one partition, the engine's messages are published ten at a time, and every one must arrive. Prints how much
processor time all nodes together need for a message, less what they need at rest, and how many times that of a plain
channel at the Redis alone. About 40 s, smoke under 10.
"""

import argparse
import asyncio
import shutil
import socket
import statistics
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Iterator, Sequence
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import RedisError
from settlement_commit import machine

from market.bus.connect import client_of
from market.bus.names import Names

NAMES = Names()
MESSAGE = b"x" * 600  # a batch of a few orders
AT_ONCE = 10
GATEWAYS = 2
PATIENCE_S = 60.0
REST_S = 0.5


@contextmanager
def nodes(folder: Path, count: int, *flags: str) -> Iterator[list[int]]:
    """Run servers and yield their ports."""
    with ExitStack() as stack:
        with ExitStack() as taken:
            free = [taken.enter_context(socket.socket()) for _ in range(2 * count)]
            for each in free:
                each.bind(("127.0.0.1", 0))
            ports = [each.getsockname()[1] for each in free]
        for port, bus_port in zip(ports[:count], ports[count:], strict=True):
            (folder / str(port)).mkdir()
            command = ["redis-server", "--bind", "127.0.0.1", "--port", str(port), "--save", "", *flags]
            command += ["--cluster-port", str(bus_port), "--dir", str(folder / str(port)), "--logfile", "log"]
            process = subprocess.Popen(command)
            stack.callback(process.wait)
            stack.callback(process.kill)
        yield ports[:count]


async def answering(ports: Sequence[int]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        for port in ports:
            async with Redis(port=port) as redis:
                while True:
                    try:
                        await redis.ping()
                        break
                    except (RedisError, OSError):
                        await asyncio.sleep(0.02)


@asynccontextmanager
async def clients(url: str) -> AsyncIterator[tuple[Redis, list[Any]]]:
    """An engine's connection, and those of gateways that listen."""
    async with AsyncExitStack() as stack:
        redis = await stack.enter_async_context(client_of(url, NAMES, timeout_s=PATIENCE_S))
        channels = []
        for _ in range(GATEWAYS):
            channel = await stack.enter_async_context(redis.pubsub())
            await channel.subscribe(NAMES.events)
            await next_of(channel)  # that it listens
            channels.append(channel)
        yield redis, channels


async def next_of(channel: Any) -> None:
    while await channel.get_message(timeout=1.0) is None:
        pass


async def told(redis: Redis, channels: Sequence[Any], count: int) -> None:
    """Publish so many messages, and hear them all."""

    async def hear(channel: Any) -> None:
        for _ in range(count):
            await next_of(channel)

    async def publish() -> None:
        for _ in range(count // AT_ONCE):
            pipe = redis.pipeline(transaction=False)
            for _ in range(AT_ONCE):
                pipe.publish(NAMES.events, MESSAGE)
            assert await pipe.execute() == [GATEWAYS] * AT_ONCE

    async with asyncio.timeout(PATIENCE_S), asyncio.TaskGroup() as tasks:
        for channel in channels:
            tasks.create_task(hear(channel))
        tasks.create_task(publish())


async def processor_s(ports: Sequence[int]) -> float:
    """Return how much processor time the servers have used."""
    total = 0.0
    for port in ports:
        async with Redis(port=port) as redis:
            cpu = await redis.info("cpu")
            total += cpu["used_cpu_user"] + cpu["used_cpu_sys"]
    return total


async def processor_share(ports: Sequence[int], work: Awaitable[None]) -> float:
    """Return how many cores the servers keep busy meanwhile."""
    before, started = await processor_s(ports), time.perf_counter()
    await work
    return (await processor_s(ports) - before) / (time.perf_counter() - started)


async def measure(folder: Path, *, rounds: int, messages: int) -> None:
    with nodes(folder, 1) as [alone], nodes(folder, 3, "--cluster-enabled", "yes") as cluster:
        await answering([alone, *cluster])
        addresses = [f"127.0.0.1:{port}" for port in cluster]
        create = ["redis-cli", "--cluster", "create", *addresses, "--cluster-yes"]
        await asyncio.to_thread(subprocess.run, create, check=True, stdout=subprocess.DEVNULL)
        ways = {
            "plain channel, one Redis": (f"redis://127.0.0.1:{alone}", [alone]),
            "plain channel, cluster": (f"redis://127.0.0.1:{cluster[0]}", cluster),
            "sharded channel, cluster": ("redis+cluster://" + ",".join(addresses), cluster),
        }
        used: dict[str, list[float]] = {name: [] for name in ways}
        async with AsyncExitStack() as stack:
            ends = {name: await stack.enter_async_context(clients(url)) for name, (url, _) in ways.items()}
            for _ in range(rounds):
                for name, (_, ports) in ways.items():
                    at_rest = await processor_share(ports, asyncio.sleep(REST_S))
                    started = time.perf_counter()
                    working = await processor_share(ports, told(*ends[name], messages))
                    used[name].append((working - at_rest) * (time.perf_counter() - started))
        base = statistics.median(used["plain channel, one Redis"])
        for name, spent in used.items():
            middle = statistics.median(spent)
            print(f"{name:26} {middle / messages * 1e6:6.1f} us a message  {middle / base:5.2f} x")


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--smoke", action="store_true", help="a short run that only shows that it works")
    options = parser.parse_args()
    if shutil.which("redis-server") is None:
        print("no redis-server of version 7 or later here: nothing was measured")
        return
    print(machine())
    with tempfile.TemporaryDirectory() as folder:
        await measure(Path(folder), rounds=1 if options.smoke else 9, messages=100 if options.smoke else 5_000)


if __name__ == "__main__":
    asyncio.run(main())
