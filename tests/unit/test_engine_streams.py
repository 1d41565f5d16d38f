"""Commands that come from a stream outside: how far it was consumed is durable with them, and doubt tells nobody."""

import asyncio
from collections.abc import Sequence

from market.engine import Doubtful, NotCommitted, Origin
from market.errors import InsufficientFunds, MarketMode, Unavailable
from market.events import LogEntry
from tests.builders import buy, sell
from tests.unit.test_engine import MemoryStore, running, until


def at(position: str) -> Origin:
    return Origin("commands", position)


async def test_how_far_the_stream_was_consumed_is_part_of_the_batch() -> None:
    store = MemoryStore()
    async with running(store) as (engine, ear):
        store.gate.clear()
        engine.send(sell("ORIG", 9_700, 100_00), actor="t", reply=ear.reply("a"), origin=at("1-0/0"))
        await asyncio.sleep(0.01)
        engine.send(buy("BUYER", 9_700, 10_00), actor="t", reply=ear.reply("b"), origin=at("1-0/1"))
        engine.send(buy("BUYER", 9_700, 10_00), actor="t", reply=ear.reply("c"), origin=at("2-0/0"))
        store.gate.set()
        await until(lambda: ear.told("c") != [])
        assert store.consumed == {"commands": "2-0/0"}
        assert store.batches[-2:] == [1, 2]


async def test_a_refusal_is_told_only_once_it_is_durable_that_its_command_was_consumed() -> None:
    """Else the engine after a crash would carry out what its sender was told to be refused."""
    store = MemoryStore()
    async with running(store) as (engine, ear):
        store.gate.clear()
        too_much = buy("BUYER", 9_700, 9_000_00)
        engine.send(too_much, actor="t", reply=ear.reply("refused"), origin=at("1-0/0"))
        await asyncio.sleep(0.01)
        assert ear.told("refused") == []
        store.gate.set()
        await until(lambda: ear.told("refused") == [InsufficientFunds])
        assert store.consumed == {"commands": "1-0/0"}
        assert len(store.log) == 6


async def test_what_a_failure_left_open_is_told_to_nobody_because_it_is_read_again() -> None:
    store = MemoryStore()
    async with running(store) as (engine, ear):

        def fail_once(_entries: Sequence[LogEntry], _done: bool) -> None:
            store.fail = lambda _e, _d: None
            raise Doubtful("the link is cut")

        store.fail = fail_once
        engine.send(buy("BUYER", 9_700, 1_00), actor="t", reply=ear.reply("streamed"), origin=at("1-0/0"))
        engine.send(buy("BUYER", 9_700, 1_00), actor="t", reply=ear.reply("here"))
        await until(lambda: ear.told("here") == [Unavailable])
        await engine.online()
        assert ear.told("streamed") == []
        assert engine.consumed == {}


async def test_a_command_that_the_ledger_refuses_is_consumed_with_its_quarantine() -> None:
    store = MemoryStore()
    async with running(store) as (engine, ear):

        def refuse(entries: Sequence[LogEntry], done: bool) -> None:
            if entries and not done:
                raise NotCommitted("a constraint", permanent=True)

        store.fail = refuse
        engine.send(buy("BUYER", 9_700, 1_00), actor="t", reply=ear.reply("poison"), origin=at("7-0/0"))
        await until(lambda: ear.told("poison") == [Unavailable])
        await engine.online()
        assert store.consumed == {"commands": "7-0/0"}
        assert len(store.quarantined) == 1


async def test_while_the_market_reopens_an_order_of_a_stream_is_refused_in_its_turn() -> None:
    store = MemoryStore()
    async with running(store, reopen_s=60.0) as (engine, ear):
        store.on_lost()
        await until(lambda: ear.tape[-1] == ("snapshot", 2, 6))
        await engine.online()
        engine.send(buy("BUYER", 9_700, 1_00), actor="t", reply=ear.reply("early"), origin=at("1-0/0"))
        await until(lambda: ear.told("early") == [MarketMode])
        assert store.consumed == {"commands": "1-0/0"}
