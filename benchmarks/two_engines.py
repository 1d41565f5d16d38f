"""What a second engine adds: one ledger, then two side by side, each with a database of its own on one PostgreSQL.

    python benchmarks/two_engines.py [--orders 20000] [--smoke]

A partition of a market by loan is a whole ledger: its loans, books, sequence, log and lease share nothing with the
others. Each engine is a process that is given orders as fast as it takes them, of which about a third trade, and
durably commits them. Prints orders per second, what an order costs the engine and its database in processor time, how
much log it makes there, and what a gateway in another process pays to hear of it. All share this machine: where its
processors are used up, a second engine adds nothing.
About a minute, smoke ten seconds.
"""

import argparse
import asyncio
import multiprocessing
import os
import statistics
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncpg
from settlement_commit import Flow, machine

from gateway.process.lifecycle import spare_the_collector
from gateway.reads.board import CommittedBoard
from gateway.reads.views import Views
from market.bus.codec import Batch, entry_of, framed, told, unframed, unpack
from market.commands import Command
from market.engine import Engine
from market.errors import MarketError
from market.ids import Seq
from market.port import Answer, EnginePort
from market.settlement.embedded import EmbeddedPostgres
from market.settlement.migrate import migrate
from market.settlement.writer import PostgresStore

OUTSTANDING_MAX = 4_000
BATCH = 50  # orders that one commit tells
TICK_S = 1 / os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Run:
    """What one engine did: orders, seconds from first sent to last answered, processor seconds of its process."""

    orders: int
    took_s: float
    own_s: float


@dataclass(frozen=True, slots=True)
class Cost:
    """orders_per_s: of all engines together.  engine_us, database_us, wal_bytes: per order."""

    orders_per_s: float
    engine_us: float
    database_us: float
    wal_bytes: float


def carry_out(dsn: str, orders: int, seed: int, barrier: Any) -> Run:
    return asyncio.run(_carry_out(dsn, orders, seed, barrier))


async def _carry_out(dsn: str, orders: int, seed: int, barrier: Any) -> Run:
    flow = Flow(seed)
    before = [entry.command for entry in flow.take()]
    for _ in range(orders):
        flow.order(spread=-12)
    commands = [entry.command for entry in flow.take()]
    engine = Engine(store=PostgresStore(dsn), clock=time.time_ns)
    running = asyncio.create_task(engine.run())
    await engine.online()
    spare_the_collector()  # as in the process of an engine
    await send_all(engine, before)
    await asyncio.to_thread(barrier.wait)
    began, began_own = time.perf_counter(), time.process_time()
    await send_all(engine, commands)
    run = Run(orders, time.perf_counter() - began, time.process_time() - began_own)
    engine.stop()
    await running
    return run


async def send_all(engine: EnginePort, commands: Sequence[Command]) -> None:
    """Send the commands, so many at a time, until the last one is durable."""
    room = asyncio.Semaphore(OUTSTANDING_MAX)
    refused = 0

    def told(answer: Answer | MarketError) -> None:
        nonlocal refused
        refused += isinstance(answer, MarketError)
        room.release()

    for command in commands:
        await room.acquire()
        engine.send(command, actor="bench", reply=told)
    for _ in range(OUTSTANDING_MAX):
        await room.acquire()
    assert not refused, f"{refused} of {len(commands)} refused"


async def measure(postgres: EmbeddedPostgres, *, engines: int, orders: int) -> Cost:
    """Run so many engines at once, each on a new ledger."""
    control = await asyncpg.connect(postgres.dsn)
    names = [f"ledger_{engines}_{number}" for number in range(engines)]
    addresses = []
    for name in names:
        await control.execute(f"CREATE DATABASE {name}")
        addresses.append(postgres.dsn.replace("/postgres?", f"/{name}?"))
        await migrate(addresses[-1])
    context = multiprocessing.get_context("spawn")
    with context.Manager() as manager, ProcessPoolExecutor(engines + 1, mp_context=context) as pool:
        barrier = manager.Barrier(engines + 1)
        loop = asyncio.get_running_loop()
        work = [loop.run_in_executor(pool, carry_out, dsn, orders, seed, barrier) for seed, dsn in enumerate(addresses)]
        await asyncio.to_thread(barrier.wait)
        wal, used = await control.fetchval("SELECT pg_current_wal_lsn()"), _used_s(postgres.pid)
        runs = await asyncio.gather(*work)
        database_s = _used_s(postgres.pid) - used
    wal_bytes = await control.fetchval("SELECT pg_current_wal_lsn() - $1::pg_lsn", wal)
    await control.close()
    done = sum(run.orders for run in runs)
    return Cost(
        orders_per_s=done / max(run.took_s for run in runs),
        engine_us=sum(run.own_s for run in runs) / done * 1e6,
        database_us=database_s / done * 1e6,
        wal_bytes=float(wal_bytes) / done,
    )


def _used_s(postmaster: int) -> float:
    """Return the processor time of a PostgreSQL server: its own, its processes' and of those that have ended."""
    ticks = 0
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue  # it has just ended
        if int(stat.parent.name) == postmaster:
            ticks += sum(map(int, fields[11:15]))
        elif int(fields[1]) == postmaster:
            ticks += sum(map(int, fields[11:13]))
    return ticks * TICK_S


def followed_us(orders: int) -> float:
    """Return what hearing of an order costs a gateway, in microseconds: from the bytes of the bus to its own books."""
    spare_the_collector()  # as in the process of a gateway
    flow, views = Flow(), Views()
    board = CommittedBoard(views)
    for listener in (views, board):
        listener.on_snapshot(1, Seq(0), ())
    batches = [flow.take()]
    for _ in range(orders // BATCH):
        for _ in range(BATCH):
            flow.order(spread=-12)
        batches.append(flow.take())
    told_of = [framed("batch", Batch(1, Seq(0), Seq(0), tuple(map(entry_of, batch)))) for batch in batches]
    began = time.process_time()
    for number, message in enumerate(told_of):
        if number == 1:  # the loans and accounts are told by then
            began = time.process_time()
        _, body = unframed(message)
        for entry in map(told, unpack(Batch, body).entries):
            views.on_entry(entry)
            board.on_entry(entry)
        views.on_batch_end()
        board.on_batch_end()
    return (time.process_time() - began) / orders * 1e6


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--orders", type=int, default=20_000, help="for each engine")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--smoke", action="store_true", help="a short run that only shows that it works")
    options = parser.parse_args()
    orders, rounds = (500, 1) if options.smoke else (options.orders, options.rounds)
    print(f"{machine()}; {orders} orders for each engine, median of {rounds}")
    costs: dict[int, list[Cost]] = {1: [], 2: []}
    for _ in range(rounds):
        for engines, found in costs.items():
            with tempfile.TemporaryDirectory() as folder, EmbeddedPostgres(Path(folder)) as postgres:
                found.append(await measure(postgres, engines=engines, orders=orders))
    print(f"{'engines':>7} {'orders/s':>9} {'us engine':>10} {'us database':>12} {'log bytes':>10}  per order")
    for engines, found in costs.items():
        middle = [statistics.median(getattr(cost, field) for cost in found) for field in Cost.__slots__]
        print(f"{engines:>7} {middle[0]:>9,.0f} {middle[1]:>10.0f} {middle[2]:>12.0f} {middle[3]:>10,.0f}")
    print(f"a gateway hears of an order in {followed_us(max(orders // BATCH, 1) * BATCH):.0f} us")
    gain = statistics.median(cost.orders_per_s for cost in costs[2]) / statistics.median(
        cost.orders_per_s for cost in costs[1]
    )
    print(
        f"two engines carry {gain:.2f} times what one does, on {os.cpu_count()} cores that they share with the database"
    )


if __name__ == "__main__":
    asyncio.run(main())
