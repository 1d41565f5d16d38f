"""What a second partition adds on the way of clients' orders: from a gateway's router over Redis to engines and back.

    python benchmarks/through_a_router.py [--orders 20000] [--smoke]

A market of one partition, then of two: engines that are processes of it, one PostgreSQL, one Redis. The orders of
`two_engines` go through a gateway's router, which keeps books and board for its readers and brings cash to where it
lacks. All cash is paid in at the first partition, so that the first orders of every account wait for it: those are
placed before anything is measured. Left out is what a gateway pays for REST and sockets (`gateway_reply`,
`readers_and_orders`), which more gateways would share. Prints orders per second. All share this machine: where its
processors are used up, a second engine adds nothing.
"""

import argparse
import asyncio
import statistics
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from settlement_commit import Flow, machine
from takeover import Process, running_redis
from two_engines import send_all

from gateway.reads.board import CommittedBoard
from gateway.reads.views import Views
from market.bus.connect import connected
from market.bus.names import Names
from market.bus.remote import RemoteEngine
from market.commands import OpenAccount, OpenMarket
from market.port import EnginePort
from market.routing.router import Router
from market.settlement.embedded import EmbeddedPostgres

WARM_UP = 4_000  # orders that are placed before the measured ones
PATIENCE_S = 60.0  # with an engine on a machine that has other work: it is not what is measured


@asynccontextmanager
async def routed(folder: Path, dsn: str, redis_url: str, engines: int) -> AsyncIterator[EnginePort]:
    """A gateway's way to engines in processes of their own, and all that hears of commits there."""
    flags = ("--database-url", dsn, "--redis-url", redis_url, "--business-date", "2024-01-15")
    flags = (*flags, "--partitions", str(engines), "--audit-every-s", "0")
    processes = []
    try:
        for partition in range(engines):
            name = f"engine-{engines}-{partition}"
            processes.append(Process(folder, "engine", name, *flags, "--partition", str(partition)))
            await processes[-1].said_at("engine_online")
        async with connected(redis_url, Names()) as redis:
            remotes = [
                RemoteEngine(redis, Names("debt-market", partition), reply_timeout_s=PATIENCE_S, quiet_s=PATIENCE_S)
                for partition in range(engines)
            ]
            port: EnginePort = remotes[0] if engines == 1 else Router(remotes)
            views = Views(partitions=engines)
            for listener in (views, CommittedBoard(views)):
                port.listen(listener)
            running = [asyncio.create_task(remote.run()) for remote in remotes]
            await asyncio.wait_for(port.online(), 30)
            yield port
            for task in running:
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)
    finally:
        for process in processes:
            process.end()


async def through_a_router(folder: Path, *, engines: int, orders: int, warm_up: int) -> float:
    """Return how many orders per second a gateway's router has answered by so many engines."""
    flow = Flow()
    before = [entry.command for entry in flow.take()]
    for _ in range(warm_up + orders):
        flow.order(spread=-12)
    commands = [entry.command for entry in flow.take()]
    with EmbeddedPostgres(folder / "data") as postgres, running_redis(folder) as redis_url:
        async with routed(folder, postgres.dsn, redis_url, engines) as port:
            accounts = [command for command in before if isinstance(command, OpenMarket | OpenAccount)]
            await send_all(port, accounts)  # in all partitions, before anything else is theirs
            await send_all(port, [command for command in before if command not in accounts])
            await send_all(port, commands[:warm_up])
            began = time.perf_counter()
            await send_all(port, commands[warm_up:])
            return orders / (time.perf_counter() - began)


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--orders", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--smoke", action="store_true", help="a short run that only shows that it works")
    options = parser.parse_args()
    orders, warm_up, rounds = (500, 100, 1) if options.smoke else (options.orders, WARM_UP, options.rounds)
    print(f"{machine()}; {orders} orders after {warm_up}, median of {rounds}")
    found: dict[int, list[float]] = {1: [], 2: []}
    for _ in range(rounds):
        for engines, rates in found.items():
            with tempfile.TemporaryDirectory() as folder:
                rates.append(await through_a_router(Path(folder), engines=engines, orders=orders, warm_up=warm_up))
    one, two = (statistics.median(found[engines]) for engines in (1, 2))
    print(f"{one:,.0f} orders/s with one partition, {two:,.0f} with two: {two / one:.2f} times")


if __name__ == "__main__":
    asyncio.run(main())
