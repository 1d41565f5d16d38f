"""Two engines on one database: exactly one writes, also while one takes over from the other under load."""

import asyncio
import time

import pytest

from market.engine import Engine, LeaseLost
from market.errors import MarketError
from market.port import Answer
from market.settlement.writer import PostgresStore
from tests.integration.faults import load
from tests.integration.faults.campaign import prepare
from tests.integration.faults.witness import Told, Witness
from tests.patience import PATIENCE_S


async def test_a_second_engine_does_not_start_beside_a_living_one(database: str) -> None:
    await prepare(database)
    first = Engine(store=PostgresStore(database, holder="first"), clock=time.time_ns)
    running = asyncio.create_task(first.run())
    await first.online()
    second = Engine(store=PostgresStore(database, holder="second", wait_s=0.1), clock=time.time_ns)
    with pytest.raises(LeaseLost, match="first"):
        await second.run()
    assert isinstance(await first.submit(load.order(1, 0), actor="t"), Answer)
    first.stop()
    await running


async def test_a_takeover_under_load_leaves_one_writer_and_loses_nothing_told(database: str) -> None:
    await prepare(database)
    told = Told()
    first = Engine(store=PostgresStore(database, holder="first"), clock=time.time_ns, reopen_s=0)
    second = Engine(
        store=PostgresStore(database, holder="second", wait_s=0.1, takeover=True), clock=time.time_ns, reopen_s=0
    )
    running = asyncio.create_task(first.run())
    await first.online()
    answers = {"first": 0, "second": 0}

    async def ask(engine: Engine, name: str, seed: int, i: int) -> None:
        command = load.order(seed, i)
        try:
            answer = await engine.submit(command, actor=name)
        except MarketError:
            return
        answers[name] += 1
        told.hear(load.answer_of(load.name_of(command), answer.result))

    async def work(engine: Engine, name: str, seed: int) -> None:
        for i in range(0, 600, 20):
            await asyncio.gather(*(ask(engine, name, seed, i + k) for k in range(20)))

    working = asyncio.create_task(work(first, "first", 1))
    while answers["first"] < 40:
        await asyncio.sleep(0.001)
    taking_over = asyncio.create_task(second.run())
    await asyncio.wait_for(second.online(), PATIENCE_S)
    with pytest.raises(LeaseLost):
        await asyncio.wait_for(running, PATIENCE_S)
    await working
    await work(second, "second", 2)
    second.stop()
    await taking_over
    assert answers["second"] > 0
    await Witness(database).verify(told)
