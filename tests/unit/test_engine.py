"""The single writer: durable before told, told in order, and what it does when the ledger fails."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest

from market.commands import AccountKind, CancelAll, Command, ExpireOrders, MassQuote, OpenMarket
from market.engine import NOTHING_CONSUMED, Doubtful, Engine, LeaseLost, NotCommitted
from market.errors import Busy, InsufficientFunds, MarketError, MarketMode, OutcomeUnknown, Unavailable
from market.events import Event, LogEntry
from market.ids import AccountId, Nanos, Seq
from market.orderbook.order import TimeInForce
from market.port import Answer
from market.venue.venue import Venue
from tests.builders import DAY, buy, deposit, mass_quote, open_account, quote, register, sell

GENESIS: list[Command] = [
    OpenMarket(business_date=DAY),
    open_account("HOUSE", AccountKind.HOUSE),
    open_account("ORIG", AccountKind.ORIGINATOR),
    register(),
    open_account("BUYER"),
    deposit("BUYER", 5_000_00),
]


class MemoryStore:
    """A ledger in a list. `fail` is asked before and after each commit and may raise; `gate` holds commits back."""

    def __init__(self) -> None:
        self.epoch = 0
        self.on_lost: Callable[[], None] = lambda: None
        self.consumed: dict[str, str] = {}
        self.log: list[LogEntry] = []
        self.batches: list[int] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.fail: Callable[[Sequence[LogEntry], bool], None] = lambda _entries, _done: None
        self.reachable = True
        self.quarantined: list[LogEntry] = []

    async def open(self) -> None:
        self.epoch += 1

    async def recover(self) -> Venue:
        venue = Venue()
        for entry in self.log:
            venue.apply(entry.seq, entry.at, entry.command)
        return venue

    async def commit(self, entries: Sequence[LogEntry], consumed: Mapping[str, str] = NOTHING_CONSUMED) -> None:
        await self.gate.wait()
        self.fail(entries, False)
        assert [entry.seq for entry in entries] == list(range(len(self.log) + 1, len(self.log) + len(entries) + 1))
        self.log += entries
        self.consumed |= consumed
        self.batches.append(len(entries))
        self.fail(entries, True)

    async def resolve(self) -> Seq:
        if not self.reachable:
            raise OSError("no route")
        self.epoch += 1
        return Seq(len(self.log))

    async def quarantine(self, entry: LogEntry, error: str) -> None:
        assert error
        self.quarantined.append(entry)

    async def close(self) -> None:
        self.gate.set()


class Ear:
    """A listener and a collector of replies on one tape, so that their order can be looked at."""

    def __init__(self) -> None:
        self.tape: list[Any] = []

    def on_snapshot(self, epoch: int, seq: Seq, events: Sequence[Event]) -> None:
        assert events or seq == 0
        self.tape.append(("snapshot", epoch, seq))

    def on_entry(self, entry: LogEntry) -> None:
        self.tape.append(("entry", entry.seq))

    def on_batch_end(self) -> None:
        self.tape.append("end")

    def reply(self, name: str) -> Callable[[Answer | MarketError], None]:
        return lambda told: self.tape.append((name, type(told) if isinstance(told, MarketError) else told.seq))

    def told(self, name: str) -> list[Any]:
        return [item[1] for item in self.tape if item[0] == name]


class Tally:
    """The engine's metrics as plain lists."""

    def __init__(self) -> None:
        self.batches: list[int] = []
        self.failures: list[str] = []

    def observe_batch(self, size: int, commit_seconds: float) -> None:
        self.batches.append(size)

    def observe_ack(self, seconds: float) -> None: ...

    def count_failure(self, kind: str) -> None:
        self.failures.append(kind)


@asynccontextmanager
async def running(store: MemoryStore, **options: Any) -> AsyncIterator[tuple[Engine, Ear]]:
    ticks = iter(range(1, 10_000_000))
    options.setdefault("clock", lambda: next(ticks))
    options.setdefault("reopen_s", 0.0)
    engine, ear = Engine(store=store, **options), Ear()
    engine.listen(ear)
    task = asyncio.create_task(engine.run())
    try:
        await engine.online()
        for command in GENESIS:
            await engine.submit(command, actor="test")
        yield engine, ear
        engine.stop()
        await asyncio.wait_for(task, 5)
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def until(condition: Callable[[], bool]) -> None:
    """Let the loop turn until `condition` holds; bounded, so that a test fails instead of hanging."""
    for _ in range(2_000):
        if condition():
            return
        await asyncio.sleep(0.001)
    raise AssertionError("it never happened")


async def test_an_answer_comes_after_the_commit_and_before_the_listeners_hear() -> None:
    store = MemoryStore()
    async with running(store) as (engine, ear):
        ear.tape.clear()
        store.gate.clear()
        engine.send(sell("ORIG", 9_700, 100_00), actor="t", reply=ear.reply("ack"))
        await asyncio.sleep(0.01)
        assert ear.tape == []
        store.gate.set()
        await until(lambda: "end" in ear.tape)
        assert ear.tape == [("ack", 7), ("entry", 7), "end"]


async def test_what_arrives_during_a_commit_is_one_batch_and_is_told_only_after_its_own() -> None:
    store = MemoryStore()
    async with running(store) as (engine, ear):
        store.gate.clear()
        engine.send(sell("ORIG", 9_700, 100_00), actor="t", reply=ear.reply("first"))
        await asyncio.sleep(0.01)
        for _ in range(5):
            engine.send(buy("BUYER", 9_700, 10_00), actor="t", reply=ear.reply("later"))
        await asyncio.sleep(0.01)
        assert ear.told("later") == []
        store.gate.set()
        await until(lambda: len(ear.told("later")) == 5)
        assert store.batches[-2:] == [1, 5]


async def test_joined_commands_are_one_commit_and_answered_before_anybody_hears_of_them() -> None:
    """Also when the batch is full: the limit gives way, the order of telling does not."""
    store = MemoryStore()
    async with running(store, batch_max=2) as (engine, ear):
        ear.tape.clear()
        engine.send(buy("BUYER", 9_700, 10_00), actor="t", reply=ear.reply("before"))
        for n in range(3):
            engine.send(buy("BUYER", 9_700, 10_00), actor="t", reply=ear.reply("joined"), joined=n > 0)
        engine.send(buy("BUYER", 9_700, 10_00), actor="t", reply=ear.reply("after"))
        await until(lambda: ear.told("after") != [])
        acks = [("joined", 8), ("joined", 9), ("joined", 10)]
        entries = [("entry", 8), ("entry", 9), ("entry", 10), "end"]
        assert ear.tape[:9] == [("before", 7), ("entry", 7), *acks, *entries]
        assert store.batches[-2:] == [4, 1]


async def test_a_refusal_waits_for_the_batch_that_it_was_judged_on() -> None:
    """It was judged on state that is not durable yet; were that lost, the refusal would be wrong."""
    store = MemoryStore()
    async with running(store) as (engine, ear):
        store.gate.clear()
        engine.send(buy("BUYER", 9_700, 5_000_00), actor="t", reply=ear.reply("first"))
        await asyncio.sleep(0.01)
        engine.send(buy("BUYER", 9_700, 5_000_00), actor="t", reply=ear.reply("second"))
        await asyncio.sleep(0.01)
        assert ear.told("second") == []
        store.gate.set()
        await until(lambda: ear.told("second") == [InsufficientFunds])


async def test_a_refused_or_repeated_command_uses_no_sequence_number() -> None:
    store = MemoryStore()
    async with running(store) as (engine, _):
        with pytest.raises(InsufficientFunds):
            await engine.submit(buy("BUYER", 9_700, 50_000_00), actor="t")
        first = await engine.submit(buy("BUYER", 9_700, 10_00, client_order_id="c"), actor="t")
        again = await engine.submit(buy("BUYER", 9_700, 10_00, client_order_id="c"), actor="t")
        assert (first.seq, len(store.log)) == (7, 7)
        assert again.result.duplicate  # type: ignore[union-attr]


async def test_not_committed_means_not_executed_and_memory_is_rebuilt() -> None:
    store = MemoryStore()
    async with running(store) as (engine, ear):

        def fail(_entries: Sequence[LogEntry], done: bool) -> None:
            if not done:
                store.fail = lambda _e, _d: None
                raise NotCommitted("deadlock", permanent=False)

        store.fail = fail
        with pytest.raises(Unavailable):
            await engine.submit(buy("BUYER", 9_700, 5_000_00), actor="t")
        await engine.online()
        assert ear.tape[-1][0] == "snapshot"
        answer = await engine.submit(buy("BUYER", 9_700, 5_000_00), actor="t")
        assert answer.seq == 7


@pytest.mark.parametrize("committed", [True, False])
async def test_a_doubtful_commit_is_resolved_before_anybody_is_told(committed: bool) -> None:
    store = MemoryStore()
    async with running(store) as (engine, ear):

        def fail(_entries: Sequence[LogEntry], done: bool) -> None:
            if done is committed:
                store.fail = lambda _e, _d: None
                raise Doubtful("connection lost")

        store.fail = fail
        engine.send(buy("BUYER", 9_700, 10_00, client_order_id="c"), actor="t", reply=ear.reply("ack"))
        await until(lambda: bool(ear.told("ack")))
        assert ear.told("ack") == ([7] if committed else [Unavailable])
        await engine.online()
        again = await engine.submit(buy("BUYER", 9_700, 10_00, client_order_id="c"), actor="t")
        assert again.result.duplicate is committed  # type: ignore[union-attr]
        assert len(store.log) == 7


async def test_a_client_that_waits_too_long_for_the_truth_is_told_unknown() -> None:
    store = MemoryStore()
    async with running(store, resolve_timeout_s=0.02) as (engine, ear):

        def fail(_entries: Sequence[LogEntry], done: bool) -> None:
            if done:
                store.fail = lambda _e, _d: None
                store.reachable = False
                raise Doubtful("connection lost")

        store.fail = fail
        engine.send(buy("BUYER", 9_700, 10_00), actor="t", reply=ear.reply("ack"))
        await until(lambda: ear.told("ack") == [OutcomeUnknown])
        with pytest.raises(Unavailable):
            engine.send(buy("BUYER", 9_700, 10_00), actor="t", reply=ear.reply("late"))
        store.reachable = True
        await engine.online()
        assert engine.seq == 7


async def test_a_poison_command_is_quarantined_and_the_rest_of_its_batch_goes_through() -> None:
    store, tally = MemoryStore(), Tally()
    async with running(store, metrics=tally) as (engine, ear):

        def fail(entries: Sequence[LogEntry], done: bool) -> None:
            if not done and any(getattr(e.command, "quantity", 0) == 13_00 for e in entries):
                raise NotCommitted("violates check constraint", permanent=True)

        store.fail = fail
        store.gate.clear()
        engine.send(sell("ORIG", 9_900, 1_00), actor="t", reply=ear.reply("gate"))
        await asyncio.sleep(0.01)
        for quantity in (12_00, 13_00, 14_00):
            engine.send(buy("BUYER", 9_700, quantity), actor="t", reply=ear.reply(str(quantity)))
        store.gate.set()
        await until(lambda: bool(ear.told("1400")))
        await engine.online()
        assert (ear.told("1200"), ear.told("1300"), ear.told("1400")) == ([8], [Unavailable], [9])
        assert [entry.command.quantity for entry in store.quarantined] == [13_00]  # type: ignore[union-attr]
        assert tally.failures == ["NotCommitted", "Quarantined"]


async def test_a_batch_that_is_tried_one_by_one_takes_no_quotes() -> None:
    """Memory is rebuilt again in the same epoch, so that a replay could not tell where they ended."""
    store = MemoryStore()

    def fail(entries: Sequence[LogEntry], _done: bool) -> None:
        if any(getattr(entry.command, "quantity", 0) == 13_00 for entry in entries):
            raise NotCommitted("check constraint", permanent=True)

    async with running(store) as (engine, ear):
        store.gate.clear()
        engine.send(buy("BUYER", 9_700, 12_00), actor="t", reply=ear.reply("1200"))
        await asyncio.sleep(0)  # commits alone; what follows waits behind it
        await asyncio.sleep(0)
        engine.send(mass_quote("ORIG", quote(None, (9_900, 1_00))), actor="t", reply=ear.reply("quotes"))
        engine.send(buy("BUYER", 9_700, 13_00), actor="t", reply=ear.reply("1300"))
        engine.send(buy("BUYER", 9_700, 14_00), actor="t", reply=ear.reply("1400"))
        store.fail = fail
        store.gate.set()
        await until(lambda: len(ear.told("1400")) == 1)
        assert (ear.told("quotes"), ear.told("1300")) == ([Unavailable], [Unavailable])
        assert not any(isinstance(entry.command, MassQuote) for entry in store.log)
        await engine.online()
        assert (await engine.submit(mass_quote("ORIG", quote(None, (9_900, 1_00))), actor="t")).seq == 9


async def test_after_a_failure_the_market_reopens_through_cancel_only() -> None:
    store, now = MemoryStore(), [1]
    async with running(store, reopen_s=1.0, clock=lambda: now[0]) as (engine, _):
        placed = await engine.submit(buy("BUYER", 9_700, 10_00), actor="t")

        def fail(_entries: Sequence[LogEntry], _done: bool) -> None:
            store.fail = lambda _e, _d: None
            raise NotCommitted("deadlock", permanent=False)

        store.fail = fail
        with pytest.raises(Unavailable):
            await engine.submit(buy("BUYER", 9_700, 10_00), actor="t")
        await engine.online()
        for refused in (buy("BUYER", 9_700, 10_00), mass_quote("BUYER", quote((9_700, 10_00), None))):
            with pytest.raises(MarketMode):
                await engine.submit(refused, actor="t")
        assert placed.seq == 7
        now[0] += 1_000_000_001
        await engine.submit(buy("BUYER", 9_700, 10_00), actor="t")


async def test_a_full_inbox_refuses_at_once() -> None:
    store = MemoryStore()
    async with running(store, inbox_max=3, batch_max=1) as (engine, ear):
        store.gate.clear()
        for _ in range(3):
            engine.send(buy("BUYER", 9_700, 1_00), actor="t", reply=ear.reply("x"))
        assert engine.inbox_depth == 3
        with pytest.raises(Busy):
            engine.send(buy("BUYER", 9_700, 1_00), actor="t", reply=ear.reply("x"))
        engine.send(CancelAll(account_id=AccountId("BUYER")), actor="t", reply=ear.reply("x"))  # never for want of room
        with pytest.raises(Busy):
            engine.send(buy("BUYER", 9_700, 1_00), actor="t", reply=ear.reply("x"))
        store.gate.set()


async def test_a_reply_that_raises_does_not_reach_the_engine() -> None:
    store = MemoryStore()

    def broken(_told: object) -> None:
        raise ConnectionResetError("the client has gone")

    async with running(store) as (engine, _):
        engine.send(buy("BUYER", 9_700, 1_00), actor="t", reply=broken)
        assert (await engine.submit(buy("BUYER", 9_700, 1_00), actor="t")).seq == 8


async def test_the_engine_itself_ends_orders_whose_time_has_come() -> None:
    store = MemoryStore()
    start = 1_700_000_000_000_000_000
    loop = asyncio.get_running_loop()
    zero = loop.time()
    async with running(store, clock=lambda: start + int((loop.time() - zero) * 1e9)) as (engine, _):
        expire_at = Nanos(start + int((loop.time() - zero) * 1e9) + 30_000_000)
        await engine.submit(buy("BUYER", 9_700, 1_00, time_in_force=TimeInForce.GTD, expire_at=expire_at), actor="t")
        await until(lambda: isinstance(store.log[-1].command, ExpireOrders))
        assert store.log[-1].at >= expire_at


async def test_stopping_finishes_what_is_in_the_inbox_and_takes_no_more() -> None:
    store = MemoryStore()
    async with running(store) as (engine, ear):
        for _ in range(20):
            engine.send(buy("BUYER", 9_700, 1_00), actor="t", reply=ear.reply("x"))
        engine.stop()
        with pytest.raises(Unavailable):
            engine.send(buy("BUYER", 9_700, 1_00), actor="t", reply=ear.reply("late"))
    assert len(ear.told("x")) == 20
    assert len(store.log) == 26


async def test_an_idle_engine_notices_that_its_session_ended() -> None:
    store = MemoryStore()
    async with running(store) as (engine, ear):
        store.on_lost()
        await until(lambda: ear.tape[-1] == ("snapshot", 2, 6))
        await engine.online()
        assert (await engine.submit(buy("BUYER", 9_700, 1_00), actor="t")).seq == 7


async def test_a_lost_lease_stops_the_engine_for_good() -> None:
    store = MemoryStore()
    engine, ear = Engine(store=store, clock=lambda: 1), Ear()
    task = asyncio.create_task(engine.run())
    await engine.online()

    def fail(_entries: Sequence[LogEntry], _done: bool) -> None:
        raise LeaseLost("epoch 2 writes")

    store.fail = fail
    engine.send(OpenMarket(business_date=DAY), actor="t", reply=ear.reply("ack"))
    with pytest.raises(LeaseLost):
        await task
    assert ear.told("ack") == [OutcomeUnknown]
    with pytest.raises(Unavailable):
        engine.send(OpenMarket(business_date=DAY), actor="t", reply=ear.reply("late"))
