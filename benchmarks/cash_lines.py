"""What it costs to bring an account's cash from one partition's ledger to another's, on a durable private PostgreSQL.

    python benchmarks/cash_lines.py [--smoke]

Two engines in this process, each with its ledger. Prints the time of one move, from the command to where the other
engine could trade with it, in deposits at the same engine, which are one commit each; and how many are carried at once,
as a share of deposits. About 10 s, smoke under 10.
"""

import argparse
import asyncio
import statistics
import tempfile
import time
from collections.abc import Sequence
from datetime import date
from pathlib import Path

from settlement_commit import machine

from market.commands import AccountKind, Command, Deposit, OpenAccount, OpenMarket, SendCash
from market.engine import Engine
from market.events import CashReceived, Event, LogEntry
from market.ids import AccountId, Currency, Minor, Seq
from market.settlement.catching_up import CatchUp
from market.settlement.embedded import EmbeddedPostgres
from market.settlement.migrate import migrate
from market.settlement.receiving import Receiver
from market.settlement.writer import PostgresStore

USD, ACCOUNT = Currency("USD"), AccountId("A")


class Arrivals:
    """An engine listener that counts moves as they are received."""

    def __init__(self) -> None:
        self.count = 0
        self.came = asyncio.Event()

    def on_snapshot(self, epoch: int, seq: Seq, events: Sequence[Event]) -> None: ...

    def on_entry(self, entry: LogEntry) -> None:
        self.count += sum(isinstance(event, CashReceived) for event in entry.events)
        self.came.set()

    def on_batch_end(self) -> None: ...

    async def reach(self, count: int) -> None:
        while self.count < count:
            self.came.clear()
            await self.came.wait()


def deposit(number: int) -> Command:
    return Deposit(account_id=ACCOUNT, currency=USD, amount=Minor(1_00), custody_ref=f"d-{number}")


def move(number: int) -> Command:
    return SendCash(account_id=ACCOUNT, currency=USD, amount=Minor(1), to=1, move_id=f"m-{number}")


async def measure(dsn: str, rounds: int, at_once: int) -> None:
    engines = [Engine(store=PostgresStore(dsn, partition=partition), clock=time.time_ns) for partition in (0, 1)]
    arrivals = Arrivals()
    engines[1].listen(arrivals)  # type: ignore[arg-type]
    running = [asyncio.create_task(engine.run()) for engine in engines]
    for engine in engines:
        await engine.online()
    first, second = engines
    await first.submit(OpenMarket(business_date=date(2024, 1, 15)), actor="bench")
    await first.submit(OpenAccount(account_id=AccountId("HOUSE"), kind=AccountKind.HOUSE), actor="bench")
    await first.submit(OpenAccount(account_id=ACCOUNT, kind=AccountKind.INVESTOR), actor="bench")
    catch_up = CatchUp(dsn, second, 1)
    await catch_up.begin()
    receiving = asyncio.create_task(Receiver(dsn, second, 1, on_unknown_account=catch_up.now).run())

    commits, moves = [], []
    for number in range(rounds):
        began = time.perf_counter()
        await first.submit(deposit(number), actor="bench")
        commits.append(time.perf_counter() - began)
        began = time.perf_counter()
        await first.submit(move(number), actor="bench")
        await arrivals.reach(number + 1)
        moves.append(time.perf_counter() - began)
    began = time.perf_counter()
    await asyncio.gather(*(first.submit(deposit(rounds + n), actor="bench") for n in range(at_once)))
    deposits_s = time.perf_counter() - began
    began = time.perf_counter()
    await asyncio.gather(*(first.submit(move(rounds + n), actor="bench") for n in range(at_once)))
    await arrivals.reach(rounds + at_once)
    moves_s = time.perf_counter() - began
    receiving.cancel()
    for engine in engines:
        engine.stop()
    await asyncio.gather(*running)

    commit, moved = statistics.median(commits[rounds // 5 :]), statistics.median(moves[rounds // 5 :])
    print(f"a deposit is durable after {commit * 1e3:.1f} ms, a move has arrived after {moved * 1e3:.1f} ms (medians)")
    print(f"a move takes {moved / commit:.1f} commits")
    print(f"{at_once:,} at once: {at_once / deposits_s:,.0f} deposits/s, {at_once / moves_s:,.0f} moves/s")
    print(f"moves are carried {deposits_s / moves_s:.2f} times as fast as deposits")


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--smoke", action="store_true", help="a short run that only shows that it works")
    options = parser.parse_args()
    rounds, at_once = (10, 100) if options.smoke else (200, 5_000)
    print(machine())
    with tempfile.TemporaryDirectory() as folder, EmbeddedPostgres(Path(folder)) as postgres:
        await migrate(postgres.dsn, partitions=2)
        await measure(postgres.dsn, rounds, at_once)


if __name__ == "__main__":
    asyncio.run(main())
