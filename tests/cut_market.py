"""A market cut into partitions within one process: engines over ledgers in lists, a router and views in front of them.

What a receiving engine does by itself in a process of its own, a courier does here: it carries cash that was sent.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from itertools import count, islice
from typing import Any

from gateway.reads.views import Views
from market.commands import Command, ReceiveCash
from market.engine import NOTHING_CONSUMED, Doubtful, Engine
from market.errors import MarketError
from market.events import CashSent, Event, LogEntry
from market.ids import AccountId, Currency, LoanId, Seq
from market.partitions import home_of, partition_of, seq_before
from market.port import Answer, Committed, EnginePort
from market.routing.router import Router
from market.venue.quotes import drop_quotes
from market.venue.venue import Venue

USD = Currency("USD")


def loan_at(partition: int, partitions: int = 2, nr: int = 0) -> LoanId:
    """Return the name of a loan that is registered in a partition."""
    names = (LoanId(f"L{n}") for n in count())
    return next(islice((name for name in names if home_of(name, partitions) == partition), nr, None))


class ListStore:
    """The ledger of one partition. is_doubtful: the next commit happens, but that is not said."""

    def __init__(self, partition: int) -> None:
        self.partition = partition
        self.epoch = 0
        self.on_lost: Callable[[], None] = lambda: None
        self.consumed: dict[str, str] = {}
        self.log: list[LogEntry] = []
        self.is_doubtful = False

    async def open(self) -> None:
        self.epoch += 1

    async def recover(self) -> Venue:
        venue = Venue(self.partition)
        for entry in self.log:
            venue.apply(entry.seq, entry.at, entry.command)
        drop_quotes(venue.state)  # no table would hold them
        return venue

    async def commit(self, entries: Sequence[LogEntry], consumed: Mapping[str, str] = NOTHING_CONSUMED) -> None:
        self.log += entries
        self.consumed |= consumed
        if self.is_doubtful:
            self.is_doubtful = False
            raise Doubtful("nobody knows")

    async def resolve(self) -> Seq:
        self.epoch += 1
        return self.log[-1].seq if self.log else seq_before(self.partition)

    async def quarantine(self, entry: LogEntry, error: str) -> None:
        raise AssertionError(f"{entry} was refused: {error}")

    async def close(self) -> None: ...


class Courier:
    """A listener that has what was sent received, a turn of the loop later. is_away: it keeps it until `come_back`."""

    def __init__(self, engines: Sequence[Engine]) -> None:
        self._engines = engines
        self.is_away = False
        self.carried = 0
        self._kept: list[CashSent] = []
        self._tasks: set[asyncio.Task[Any]] = set()

    def come_back(self) -> None:
        self.is_away = False
        kept, self._kept = self._kept, []
        for sent in kept:
            self._carry(sent)

    def on_snapshot(self, epoch: int, seq: Seq, events: Sequence[Event]) -> None: ...

    def on_epoch(self, epoch: int, seq: Seq) -> None: ...

    def on_entry(self, entry: Committed) -> None:
        for event in entry.events:
            if isinstance(event, CashSent):
                self._carry(event)

    def on_batch_end(self) -> None: ...

    def _carry(self, sent: CashSent) -> None:
        if self.is_away:
            self._kept.append(sent)
            return
        self.carried += 1
        [sender] = [engine for engine in self._engines if sent.move_id in engine._venue.state.sent]
        receipt = ReceiveCash(
            account_id=sent.account_id,
            currency=sent.currency,
            amount=sent.amount,
            sender=self._engines.index(sender),
            move_id=sent.move_id,
        )
        task = asyncio.create_task(self._engines[sent.to].submit(receipt, actor="courier"))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


class CutMarket:
    def __init__(self, partitions: int) -> None:
        self.stores = [ListStore(partition) for partition in range(partitions)]
        self._ticks = iter(range(1, 10_000_000))
        self.engines = [
            Engine(store=store, clock=lambda: next(self._ticks), reopen_s=0.0, resolve_timeout_s=0.2)
            for store in self.stores
        ]
        self.views = Views(partitions=partitions)
        self.courier = Courier(self.engines)
        self.port: EnginePort = self.engines[0] if partitions == 1 else Router(self.engines, arrive_s=0.5)
        self.port.listen(self.views)
        self.port.listen(self.courier)

    async def do(self, command: Command) -> Answer:
        return await self.port.submit(command, actor="test")

    async def outcome(self, command: Command) -> Answer | MarketError:
        try:
            return await self.do(command)
        except MarketError as refusal:
            return refusal

    def line(self, partition: int, account_id: str) -> tuple[int, int]:
        """(total, held) of an account in one ledger."""
        cash = self.engines[partition]._venue.state.accounts[AccountId(account_id)].cash[USD]
        return cash.total, cash.held

    def cash(self, account_id: str) -> tuple[int, int]:
        """(total, held) as a reader sees it."""
        cash = self.views.account(AccountId(account_id)).cash[USD]
        return cash.total, cash.held

    def partition_of_answer(self, answer: Answer) -> int:
        return partition_of(answer.seq)


@asynccontextmanager
async def cut_market(partitions: int, genesis: Sequence[Command] = ()) -> AsyncIterator[CutMarket]:
    market = CutMarket(partitions)
    tasks = [asyncio.create_task(engine.run()) for engine in market.engines]
    try:
        await market.port.online()
        for command in genesis:
            await market.do(command)
        yield market
        if isinstance(market.port, Router):
            await market.port.stop()
        for engine in market.engines:
            engine.stop()
        await asyncio.wait_for(asyncio.gather(*tasks), 5)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
