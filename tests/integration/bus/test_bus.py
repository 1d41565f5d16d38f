"""Commands and commits between processes: once, in order, and healed after every loss."""

import asyncio
import random
import signal
from collections.abc import Iterator
from contextlib import suppress
from itertools import count
from typing import Any

import pytest

from market.bus import broadcast
from market.bus.remote import RemoteEngine
from market.commands import AccountKind, Command, OpenMarket, OrderAck
from market.errors import InsufficientFunds, MarketError, OutcomeUnknown, Unavailable
from market.events import Event
from market.port import Answer
from tests.builders import DAY, buy, deposit, open_account, register, sell
from tests.integration.bus.wiring import running_engine, running_gateway, shown
from tests.patience import PATIENCE_S, until
from tests.redis_server import RedisServer

GENESIS: list[Command] = [
    OpenMarket(business_date=DAY),
    open_account("HOUSE", AccountKind.HOUSE),
    open_account("ORIG", AccountKind.ORIGINATOR),
    register(),
    open_account("BUYER"),
    deposit("BUYER", 500_000_00),
]


async def prepare(engine: Any) -> None:
    for command in GENESIS:
        await engine.submit(command, actor="test")


def random_order(rng: random.Random, name: str) -> Command:
    make, account = rng.choice([(buy, "BUYER"), (sell, "ORIG")])
    return make(account, rng.randint(9_650, 9_750), rng.randint(1, 20) * 100, client_order_id=name)


async def test_a_command_is_carried_out_and_answered_and_readers_see_what_it_did(
    database: str, redis_server: RedisServer
) -> None:
    async with running_engine(database, redis_server.url) as engine:
        await prepare(engine)
        async with running_gateway(redis_server.url) as (one, views), running_gateway(redis_server.url) as (_, others):
            answer = await one.submit(sell("ORIG", 9_700, 100_00), actor="t")
            assert isinstance(answer.result, OrderAck)
            with pytest.raises(InsufficientFunds) as refusal:
                await one.submit(buy("BUYER", 9_700, 90_000_000_00), actor="t")
            assert refusal.value.details["need"] > refusal.value.details["have"]
            await until(lambda: views.engine_seq == others.engine_seq == answer.seq)
            assert views.loans["L1"].best_ask == (9_700, 100_00)
            assert shown(views) == shown(others)


async def test_a_gateway_that_comes_late_sees_what_the_others_see(database: str, redis_server: RedisServer) -> None:
    rng = random.Random(1)
    async with running_engine(database, redis_server.url) as engine:
        await prepare(engine)
        async with running_gateway(redis_server.url) as (one, views):
            for i in range(50):
                await one.submit(random_order(rng, f"a{i}"), actor="t")
            waiting = [asyncio.create_task(one.submit(random_order(rng, f"b{i}"), actor="t")) for i in range(300)]
            async with running_gateway(redis_server.url) as (_, late):  # in the middle of it
                await asyncio.gather(*waiting)
                await until(lambda: views.engine_seq == late.engine_seq == engine.seq)
                assert shown(views) == shown(late)


async def test_the_market_goes_on_while_its_state_is_described(
    database: str, redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(broadcast, "SLICE_EVENTS", 1)
    monkeypatch.setattr(broadcast, "CHUNK_EVENTS", 10)
    rng, seen = random.Random(2), list[int]()
    async with running_engine(database, redis_server.url) as engine:
        await prepare(engine)
        async with running_gateway(redis_server.url) as (one, views):
            await asyncio.gather(
                *(one.submit(sell("ORIG", 9_800, 1_00, client_order_id=f"o{i}"), actor="t") for i in range(300))
            )
            outline = engine.outline

            def watched() -> Iterator[Event]:
                for event in outline():
                    seen.append(engine.seq)
                    yield event

            monkeypatch.setattr(engine, "outline", watched)
            trading = asyncio.create_task(_trade(one, rng))
            async with running_gateway(redis_server.url) as (_, late):
                trading.cancel()
                await asyncio.wait([trading])
                await until(lambda: one.pending == 0 and views.engine_seq == late.engine_seq == engine.seq)
                assert len(set(seen)) > 1, "commands were carried out meanwhile"
                assert shown(views) == shown(late)


async def _trade(gateway: RemoteEngine, rng: random.Random) -> None:
    for i in count():
        with suppress(MarketError):
            await gateway.submit(random_order(rng, f"t{i}"), actor="t")


@pytest.mark.parametrize("harm", ["flushall", "kill", "stop"])
async def test_whatever_happens_to_redis_no_answer_is_false_and_no_book_is_wrong(
    database: str, redis_server: RedisServer, harm: str
) -> None:
    """What was acknowledged is there; what is unknown is there once or not at all; trading goes on by itself."""
    rng = random.Random(2)
    told: dict[str, Answer | MarketError] = {}

    async def place(port: Any, name: str) -> None:
        try:
            told[name] = await port.submit(random_order(rng, name), actor="t")
        except MarketError as e:
            told[name] = e

    async with running_engine(database, redis_server.url) as engine:
        await prepare(engine)
        async with (
            running_gateway(redis_server.url, reply_timeout_s=3.0) as (one, views),
            running_gateway(redis_server.url, reply_timeout_s=3.0) as (_, others),
        ):
            loads = [asyncio.create_task(place(one, f"before-{i}")) for i in range(200)]
            await asyncio.sleep(0.02)
            await hurt(redis_server, harm)
            loads += [asyncio.create_task(place(one, f"during-{i}")) for i in range(50)]
            await asyncio.gather(*loads)
            async with asyncio.timeout(PATIENCE_S):
                while not (isinstance(told.get("after"), Answer)):
                    await asyncio.sleep(0.05)
                    await place(one, "after")
            await until(lambda: views.engine_seq == others.engine_seq == engine.seq)
            assert shown(views) == shown(others)
            accepted = engine._venue.state
            for name, outcome in told.items():
                there = [name in account.first_answers for account in accepted.accounts.values()]
                if isinstance(outcome, Answer):
                    assert any(there), f"{name} was acknowledged"
                elif not isinstance(outcome, OutcomeUnknown):
                    assert not any(there), f"{name} was refused: {outcome!r}"
                    assert isinstance(outcome, Unavailable | InsufficientFunds | MarketError)
            engine._venue.state.check_invariants()


async def hurt(server: RedisServer, harm: str) -> None:
    if harm == "flushall":
        from redis.asyncio import Redis  # noqa: PLC0415

        async with Redis(unix_socket_path=str(server.socket)) as client:
            await client.flushall()
    elif harm == "kill":
        server.kill()
        await asyncio.sleep(0.3)
        server.start()
    else:
        server.signal(signal.SIGSTOP)
        await asyncio.sleep(2.5)
        server.signal(signal.SIGCONT)


async def test_commands_that_an_engine_left_unfinished_are_carried_out_once_by_the_next(
    database: str, redis_server: RedisServer
) -> None:
    rng = random.Random(3)
    orders = {f"o{i}": random_order(rng, f"o{i}") for i in range(600)}
    told: dict[str, Answer | MarketError] = {}

    async def place(port: Any, name: str) -> None:
        try:
            told[name] = await port.submit(orders[name], actor="t")
        except MarketError as e:
            told[name] = e

    async with running_engine(database, redis_server.url) as engine:
        await prepare(engine)
    async with running_engine(database, redis_server.url, batch_max=7) as engine:
        gateway = running_gateway(redis_server.url, reply_timeout_s=PATIENCE_S)
        one, views = await gateway.__aenter__()
        loads = [asyncio.create_task(place(one, name)) for name in orders]
        await until(lambda: len(told) > 50)
    assert len(told) < 600
    async with running_engine(database, redis_server.url) as engine:
        await asyncio.gather(*loads)
        state = engine._venue.state
        for name in orders:
            there = sum(name in account.first_answers for account in state.accounts.values())
            outcome = told[name]
            if isinstance(outcome, Answer):
                assert there == 1
            elif not isinstance(outcome, OutcomeUnknown):
                assert there == 0
        assert not any(isinstance(outcome, OutcomeUnknown) for outcome in told.values())
        await until(lambda: views.engine_seq == engine.seq)
        state.check_invariants()
        await gateway.__aexit__(None, None, None)
