"""A market whose commands are kept as the log entries that an engine would have committed."""

import random
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import asyncpg
import pytest

from market.commands import (
    CancelAll,
    Command,
    DefineRulebook,
    HaltLoan,
    ResolveOrder,
    SetDefaultRulebook,
    SetMmp,
    Withdraw,
)
from market.errors import MarketError
from market.events import LogEntry
from market.settlement.writer import PostgresStore
from market.venue.rulebook import Rulebook
from market.venue.venue import Applied
from tests.builders import Market, buy, register, sell, service, servicing
from tests.property import test_venue_random_world as worlds


class RecordingMarket(Market):
    def __init__(self, *, loans: tuple[str, ...] = ("L1",), partition: int = 0) -> None:
        self.entries: list[LogEntry] = []
        super().__init__(loans=loans, partition=partition)

    def do(self, command: Command) -> Applied:
        applied = super().do(command)
        if applied.events:
            entry = LogEntry(
                seq=self.venue.seq,
                at=self.at,
                actor="tester",
                command=command,
                events=applied.events,
                result=applied.result,
            )
            self.entries.append(entry)
        return applied

    def take(self) -> list[LogEntry]:
        """Return what was recorded since the last call."""
        taken, self.entries = self.entries, []
        return taken


class RecordedWorld(worlds.World):
    """The random world of the venue's property test, recorded."""

    def __init__(self, seed: int, commands: int) -> None:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(worlds, "Market", RecordingMarket)
            super().__init__(seed)
        assert isinstance(self.market, RecordingMarket)
        self.recording = self.market
        self.go_on(commands)

    def go_on(self, commands: int) -> None:
        for _ in range(commands):
            with suppress(MarketError):  # a refused command is not part of any log
                self.market.do(self.command())


def batches(entries: list[LogEntry], seed: int) -> Iterator[list[LogEntry]]:
    """Cut `entries` into batches of 1 to 100."""
    rng, start = random.Random(seed), 0
    while start < len(entries):
        size = rng.choice([1, 2, 10, 40, 100])
        yield entries[start : start + size]
        start += size


@asynccontextmanager
async def opened(dsn: str, **options: object) -> AsyncIterator[PostgresStore]:
    store = PostgresStore(dsn, **{"wait_s": 0.2, "reconnect_s": 5.0, **options})  # type: ignore[arg-type]
    await store.open()
    try:
        yield store
    finally:
        await store.close()


LEDGER = {"search_path": "market"}  # of a connection that is given to the code under test


async def execute(dsn: str, *statements: str) -> None:
    """Run statements in one transaction as the database's owner, triggers and all."""
    connection = await asyncpg.connect(dsn)
    try:
        async with connection.transaction():
            for statement in statements:
                await connection.execute(statement)
    finally:
        await connection.close()


async def fetchval(dsn: str, query: str, *arguments: object) -> Any:
    connection = await asyncpg.connect(dsn)
    try:
        return await connection.fetchval(query, *arguments)
    finally:
        await connection.close()


def traded_market() -> RecordingMarket:
    """A market with a trade, orders on both sides, a client order id, a halt, a withdrawal, a payment, a fence."""
    market = RecordingMarket()
    market.investor("A", cash=5_000_00)
    market.investor("B", cash=1_000_00)
    market.do(sell("ORIG", 9_800, 3_000_00, client_order_id="first"))
    market.do(buy("A", 9_800, 1_000_00, client_order_id="one"))
    market.do(buy("B", 9_700, 500_00, tag="q"))
    market.do(CancelAll(account_id="A", block=True))  # type: ignore[arg-type]
    market.do(SetMmp(account_id="B", group="g", max_fills=1, window=1))  # type: ignore[arg-type]
    market.do(ResolveOrder(account_id="B", client_order_id="never"))  # type: ignore[arg-type]
    market.do(Withdraw(account_id="B", currency="USD", amount=1_00, custody_ref="out-1"))  # type: ignore[arg-type]
    market.do(register("L2", issued=0))
    market.do(HaltLoan(loan_id="L2", halted=True, reason="test"))  # type: ignore[arg-type]
    market.do(service(servicing("payment", market.venue.state.today, 900_00)))
    market.do(DefineRulebook(rulebook=Rulebook(name="own", max_transfers=5)))
    market.do(SetDefaultRulebook(account_id="ORIG", rulebook="own", move=True))  # type: ignore[arg-type]
    return market
