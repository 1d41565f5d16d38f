"""The engine of one partition in a process of its own: it sends cash to the other one all the time, until it is killed.

usage: python -m tests.integration.faults.ledger_worker DSN PARTITION SEED SENDS

Writes one line to stdout for each move that it was told is durable: `S move_id`; `I` once it serves. SENDS: how many
moves it tries to send before it goes on only receiving.
"""

import asyncio
import os
import random
import sys
import time

from market.commands import AccountKind, OpenMarket
from market.engine import Engine
from market.errors import InsufficientFunds
from market.settlement.catching_up import CatchUp
from market.settlement.receiving import Receiver
from market.settlement.writer import PostgresStore
from tests.builders import DAY, deposit, open_account, send_cash

ACCOUNTS = ["A", "B", "C"]
PAID_IN = 5_000_00  # of each account, at the first partition
AT_ONCE = 16


async def main(dsn: str, partition: int, seed: int, sends: int) -> None:
    engine = Engine(store=PostgresStore(dsn, partition=partition), clock=time.time_ns, reopen_s=0)
    running = asyncio.create_task(engine.run())
    await asyncio.wait({running, asyncio.create_task(engine.online())}, return_when=asyncio.FIRST_COMPLETED)
    if running.done():
        running.result()
    if partition:
        catch_up = CatchUp(dsn, engine, partition)
        await catch_up.begin()
        receiver = Receiver(dsn, engine, partition, on_unknown_account=catch_up.now, poll_s=0.05)
    else:
        await engine.submit(OpenMarket(business_date=DAY), actor="t")
        await engine.submit(open_account("HOUSE", AccountKind.HOUSE), actor="t")
        for account in ACCOUNTS:
            await engine.submit(open_account(account), actor="t")
            await engine.submit(deposit(account, PAID_IN), actor="t")
        receiver = Receiver(dsn, engine, partition, poll_s=0.05)
    receiving = asyncio.create_task(receiver.run())
    _say("I")
    rng, slots = random.Random(f"{partition} {seed}"), asyncio.Semaphore(AT_ONCE)

    async def send(i: int) -> None:
        move = send_cash(rng.choice(ACCOUNTS), rng.randint(1, 300_00), 1 - partition, f"m-{partition}-{seed}-{i}")
        try:
            await engine.submit(move, actor="t")
            _say(f"S {move.move_id}")
        except InsufficientFunds:
            await asyncio.sleep(0.01)  # until the other one sends some
        finally:
            slots.release()

    for i in range(sends):
        await slots.acquire()
        asyncio.create_task(send(i))  # noqa: RUF006
    await asyncio.wait({running, receiving})


def _say(line: str) -> None:
    os.write(1, f"{line}\n".encode())


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], *map(int, sys.argv[2:5])))
