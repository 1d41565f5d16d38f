"""An engine under load in a process of its own, made to be killed.

usage: python -m tests.integration.faults.worker DSN SEED FIRST [--die-at-await N] [--retry NAME,NAME,...]

Writes one line to stdout for each fact it was told, after it was told it and before anything else happens:
`A name order_id status duplicate` an answer, `R name class` a refusal, `T trade_id` a public trade,
`X account sequence` an execution message. --die-at-await kills the process at the N-th suspension inside
Store.commit, whatever it waits for.
"""

import argparse
import asyncio
import os
import signal
import time
from collections.abc import Generator, Mapping, Sequence
from typing import Any

from market.engine import NOTHING_CONSUMED, Engine
from market.errors import MarketError
from market.events import Event, Executed, LogEntry, Traded
from market.ids import Seq
from market.port import Answer
from market.settlement.writer import PostgresStore
from tests.integration.faults import load

OUTSTANDING = 64


class Suspensions:
    """Drives an awaitable step by step and kills the process at the n-th step, counted over all that it drives."""

    def __init__(self, deadly: int) -> None:
        self.deadly = deadly
        self.seen = 0

    async def drive(self, awaitable: Any) -> Any:
        return await _Counted(awaitable, self)

    def step(self) -> None:
        self.seen += 1
        if self.seen == self.deadly:
            os.kill(os.getpid(), signal.SIGKILL)


class _Counted:
    def __init__(self, awaitable: Any, suspensions: Suspensions) -> None:
        self._awaitable, self._suspensions = awaitable, suspensions

    def __await__(self) -> Generator[Any, Any, Any]:
        inner = self._awaitable.__await__()
        try:
            self._suspensions.step()
            waits_for = next(inner)
            while True:
                self._suspensions.step()
                sent = yield waits_for
                self._suspensions.step()
                waits_for = inner.send(sent)
        except StopIteration as done:
            self._suspensions.step()
            return done.value


class MortalStore(PostgresStore):
    suspensions: Suspensions | None = None

    async def commit(self, entries: Sequence[LogEntry], consumed: Mapping[str, str] = NOTHING_CONSUMED) -> None:
        if self.suspensions is None:
            await super().commit(entries, consumed)
        else:
            await self.suspensions.drive(super().commit(entries, consumed))


class Teller:
    """Tells the parent of everything that the engine tells, unbuffered: a line written is a line read."""

    def on_snapshot(self, epoch: int, seq: Seq, events: Sequence[Event]) -> None:
        _say(f"S {epoch} {seq}")

    def on_entry(self, entry: LogEntry) -> None:
        for event in entry.events:
            if isinstance(event, Traded):
                _say(f"T {event.trade_id}")
            elif isinstance(event, Executed):
                _say(f"X {event.account_id} {event.sequence}")

    def on_batch_end(self) -> None: ...


def _say(line: str) -> None:
    os.write(1, f"{line}\n".encode())


async def main(arguments: argparse.Namespace) -> None:
    store = MortalStore(arguments.dsn, holder=f"worker {os.getpid()}")
    engine = Engine(store=store, clock=time.time_ns, reopen_s=0)
    engine.listen(Teller())
    running = asyncio.create_task(engine.run())
    await asyncio.wait({running, asyncio.create_task(engine.online())}, return_when=asyncio.FIRST_COMPLETED)
    if running.done():
        running.result()
    for name in filter(None, arguments.retry.split(",")):
        seed, i = name.split("-")
        await _send(engine, load.order(int(seed), int(i)))
    if arguments.die_at_await:
        store.suspensions = Suspensions(arguments.die_at_await)
    slots = asyncio.Semaphore(OUTSTANDING)
    for i in range(arguments.first, arguments.first + 100_000):
        await slots.acquire()
        if i % 10 == 0:
            engine.send(load.quotes(arguments.seed, i), actor="load", reply=lambda _told: None)
        task = asyncio.create_task(_send(engine, load.order(arguments.seed, i)))
        task.add_done_callback(lambda _: slots.release())


async def _send(engine: Engine, command: Any) -> None:
    name = load.name_of(command)

    def reply(told: Answer | MarketError) -> None:
        if isinstance(told, MarketError):
            _say(f"R {name} {type(told).__name__}")
        else:
            _say(load.answer_of(name, told.result))
        done.set()

    done = asyncio.Event()
    engine.send(command, actor="load", reply=reply)
    await done.wait()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("dsn")
    parser.add_argument("seed", type=int)
    parser.add_argument("first", type=int)
    parser.add_argument("--die-at-await", type=int, default=0)
    parser.add_argument("--retry", default="")
    asyncio.run(main(parser.parse_args()))
