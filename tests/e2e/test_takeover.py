"""A leader that dies, stops or is cut off, as processes: one epoch at a time commits, clients keep their sockets."""

import asyncio
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from gateway.client import Client
from gateway.client.errors import Disconnected
from market.settlement.check import check
from tests.e2e.topology import Process, Topology, order, placed, prepare, redis_knows, topology
from tests.link import Link, State, link_to_postgres, link_to_redis
from tests.patience import PATIENCE_S, until
from tests.redis_server import RedisServer


@dataclass(frozen=True)
class Harm:
    """What befalls the leader, and what ends it so that it finds out what happened meanwhile."""

    do: Callable[["Ways"], None]
    undo: Callable[["Ways"], None]


@dataclass(frozen=True)
class Ways:
    leader: Process
    postgres: Link
    redis: Link


HARMS = {
    "killed": Harm(lambda to: to.leader.signal(signal.SIGKILL), lambda _: None),
    "stopped": Harm(lambda to: to.leader.signal(signal.SIGSTOP), lambda to: to.leader.signal(signal.SIGCONT)),
    "cut from PostgreSQL": Harm(lambda to: to.postgres.harm(State.CUT), lambda to: to.postgres.heal()),
    "unheard by PostgreSQL": Harm(lambda to: to.postgres.harm(State.SILENT), lambda to: to.postgres.heal()),
    "cut from Redis": Harm(lambda to: to.redis.harm(State.CUT), lambda to: to.redis.heal()),
    "unheard by Redis": Harm(lambda to: to.redis.harm(State.SILENT), lambda to: to.redis.heal()),
}


@asynccontextmanager
async def led(tmp_path: Path, dsn: str, redis: RedisServer) -> AsyncIterator[tuple[Topology, Ways, Client, Process]]:
    """A leader whose ways to PostgreSQL and Redis can be harmed, a gateway and a standby whose ways can't."""
    async with AsyncExitStack() as stack:
        postgres_link = await stack.enter_async_context(link_to_postgres(dsn))
        redis_link = await stack.enter_async_context(link_to_redis(redis))
        market = await stack.enter_async_context(topology(tmp_path, dsn, redis))
        leader = market.start("engine", "leader", dsn=postgres_link.url, redis_url=redis_link.url)
        await leader.says("engine_online")
        standby = market.start("standby", "standby")
        admin = await stack.enter_async_context(await market.gateway("one"))
        await standby.says("warm_copy_read")
        yield market, Ways(leader, postgres_link, redis_link), admin, standby


@pytest.mark.parametrize("harm", HARMS.values(), ids=HARMS)
async def test_one_epoch_at_a_time_commits_and_clients_keep_their_sockets(
    tmp_path: Path, database: str, redis_server: RedisServer, harm: Harm
) -> None:
    told: dict[str, dict[str, Any]] = {}
    async with led(tmp_path, database, redis_server) as (_, ways, admin, standby):
        keys = await prepare(admin)
        is_loading = True

        async def load(client: Client, name: str) -> None:
            count = 0
            while is_loading:
                body = order("sell", f"{name}-{count}", "1.00")
                told[f"{name}-{count}"] = await placed(client, body)
                count += 1

        async with Client(admin.url, keys["ORIG"]) as seller, await seller.socket() as socket:
            epoch = socket.greeting["epoch"]
            statuses = await socket.subscribe("status")
            loads = [asyncio.create_task(load(seller, f"s{i}")) for i in range(4)]
            await until(lambda: len(told) >= 40)
            harm.do(ways)
            await standby.says("engine_online")
            begun = len(told)
            await until(lambda: len(told) >= begun + 40)
            harm.undo(ways)
            assert await ways.leader.ends() in (1, -signal.SIGKILL)  # it found that it is fenced, or was killed
            is_loading = False
            await asyncio.gather(*loads)
            async with asyncio.timeout(PATIENCE_S):
                async for message in statuses:
                    if message["data"][0]["epoch"] > epoch:
                        break
            assert not socket.closed
            assert {each["order_status"] for each in told.values()} == {"new"}
            assert len({each["order_id"] for each in told.values()}) == len(told)
            book = await admin.get("/v1/loans/L1/book")
            assert book["asks"] == [{"price": "97.00", "qty": f"{len(told)}.00"}]
    assert [name for name, wrong in (await _checks(database)).items() if wrong] == []
    epochs = await _epochs(database)
    assert len(epochs) == 2
    assert epochs[0]["last"] < epochs[1]["first"], "an epoch that is over commits nothing"


async def test_quotes_of_a_gateway_that_was_killed_end_and_a_session_with_grace_may_come_back(
    tmp_path: Path, database: str, redis_server: RedisServer
) -> None:
    body = {"symbol": "L1/CNY", "side": "sell", "order_type": "limit", "limit_price": "97.00", "order_qty": "5.00"}
    async with topology(tmp_path, database, redis_server) as market:
        market.start("engine", "engine")
        one, other = await asyncio.gather(market.gateway("one"), market.gateway("other"))
        async with one, other:
            keys = await prepare(other, one)
            async with Client(one.url, keys["ORIG"]) as seller, Client(other.url, keys["ORIG"]) as elsewhere:
                sockets = []
                for session, grace_ms in (("without", 0), ("with", 60_000)):
                    socket = await seller.socket()
                    sockets.append(socket)
                    await socket.login(session=session, cancel_on_disconnect={"enabled": True, "grace_ms": grace_ms})
                    await socket.call("add_order", cl_ord_id=session, **body)
                quote = {"symbol": "L1/CNY", "ask": "96.00", "ask_qty": "7.00"}
                await sockets[0].call("mass_quote", quote_set="a", quotes=[quote])
                await _shown(elsewhere, [("96.00", "7.00"), ("97.00", "10.00")])
                await redis_knows(redis_server, sessions=2)
                market.processes[[each.name for each in market.processes].index("one")].signal(signal.SIGKILL)
                await _shown(elsewhere, [("97.00", "5.00")])
                assert (await elsewhere.get("/v1/orders/by-client-id/with"))["order_status"] == "new"
                for socket in sockets:
                    await socket.close()


async def test_a_gateway_that_stops_in_order_tells_its_sockets_and_leaves_their_orders_for_who_goes_elsewhere(
    tmp_path: Path, database: str, redis_server: RedisServer
) -> None:
    body = {"symbol": "L1/CNY", "side": "sell", "order_type": "limit", "limit_price": "97.00", "order_qty": "5.00"}
    at_end = {"enabled": True, "grace_ms": 0}
    async with topology(tmp_path, database, redis_server) as market:
        market.start("engine", "engine")
        one, other = await asyncio.gather(market.gateway("one"), market.gateway("other"))
        async with one, other:
            keys = await prepare(other, one)
            async with Client(one.url, keys["ORIG"]) as seller, Client(other.url, keys["ORIG"]) as elsewhere:
                sockets = {}
                for session in ("stays-away", "comes-back"):
                    sockets[session] = await seller.socket()
                    await sockets[session].login(session=session, cancel_on_disconnect=at_end)
                    await sockets[session].call("add_order", cl_ord_id=session, **body)
                quote = {"symbol": "L1/CNY", "ask": "96.00", "ask_qty": "7.00"}
                await sockets["comes-back"].call("mass_quote", quote_set="a", quotes=[quote])
                statuses = await sockets["comes-back"].subscribe("status")
                back = await elsewhere.socket()  # there are two seconds to come back
                stopping = market.processes[[each.name for each in market.processes].index("one")]
                stopping.signal(signal.SIGTERM)
                reasons = []
                with suppress(Disconnected):
                    async for message in statuses:
                        reasons.append(message["data"][0].get("reason"))
                assert reasons[-1] == "restart"
                assert await sockets["comes-back"].wait_closed() == 1012
                async with back:
                    await back.login(session="comes-back", cancel_on_disconnect=at_end)
                    assert await stopping.ends() == 0
                    await _shown(elsewhere, [("97.00", "5.00")])
                    assert (await elsewhere.get("/v1/orders/by-client-id/comes-back"))["order_status"] == "new"
                for socket in sockets.values():
                    await socket.close()


async def _shown(client: Client, asks: list[tuple[str, str]]) -> None:
    """Wait until the book's offers are these."""
    wanted = [{"price": price, "qty": qty} for price, qty in asks]
    async with asyncio.timeout(PATIENCE_S):
        while (await client.get("/v1/loans/L1/book"))["asks"] != wanted:
            await asyncio.sleep(0.05)


async def _checks(dsn: str) -> dict[str, tuple[str, ...]]:
    report = await check(dsn)
    return {each.name: each.violations for each in report.checks}


async def _epochs(dsn: str) -> list[asyncpg.Record]:
    """Return the epochs that have written orders, with their first and last lines of the log."""
    connection = await asyncpg.connect(dsn)
    rows: list[asyncpg.Record] = await connection.fetch(
        "SELECT epoch, min(seq) AS first, max(seq) AS last FROM market.command_log GROUP BY epoch ORDER BY epoch"
    )
    await connection.close()
    return rows
