"""Every process of a market replaced, one after the other, while clients trade and read: nothing acknowledged is lost.

Clients go to another gateway when theirs says goodbye, send again under the same id what was not answered, and resume
their executions by number. Every second generation of processes says that it is of the next version of the bus.
"""

import asyncio
import itertools
import signal
import sys
import tempfile
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import asyncpg

from gateway.client import ApiError, ApiKey, Client
from gateway.client.errors import Disconnected, NotSent, Unanswered
from gateway.client.socket import Socket
from market.settlement.check import check
from market.settlement.embedded import EmbeddedPostgres
from market.settlement.migrate import migrate
from tests.e2e.topology import LOAN, Process, Topology, prepare, topology
from tests.redis_server import RedisServer

GONE = (Disconnected, NotSent, Unanswered, aiohttp.ClientError, OSError)
PATIENCE_S = 120.0
AMOUNTS = ("original_principal", "issued_face", "outstanding_principal")  # enough to sell for as long as it may take
STEP_ORDERS = 20  # acknowledged before the next process is replaced

# The next version as an old one meets it: its messages say so and have grown. To be run as `python -c`.
NEXT_VERSION = """
import market.bus.codec as codec
codec.VERSION += 1
class Batch(codec.Batch):
    newer: str = "a field that the version before does not know"
class Sent(codec.Sent):
    newer: int = 7
codec.Batch, codec.Sent = Batch, Sent
from gateway.cli import main
main()
"""


@dataclass
class Told:
    """What clients were told. closes: close codes that they saw."""

    orders: dict[str, str] = field(default_factory=dict)  # order ids by client order id
    executions: list[int] = field(default_factory=list)  # numbers, as one reader had them
    closes: list[int] = field(default_factory=list)
    reasons: set[str] = field(default_factory=set)


class Fleet:
    """The gateways that clients may use now."""

    def __init__(self, market: Topology) -> None:
        self.market = market
        self.gateways: list[tuple[Process, str]] = []
        self.admin_key: ApiKey | None = None
        self._names = itertools.count(1)
        self._generations = itertools.count()

    def start(self, kind: str) -> Process:
        is_next = next(self._generations) % 2 == 1
        command = [sys.executable, "-c", NEXT_VERSION] if is_next else None
        return self.market.start(kind, f"{kind}-{next(self._names)}", command=command)

    async def add_gateway(self) -> None:
        process = self.start("gateway")
        ready = await process.ready()
        self.admin_key = ApiKey(**ready["admin_key"])
        self.gateways.append((process, ready["url"]))

    def url(self, number: int) -> str:
        return self.gateways[number % len(self.gateways)][1]

    async def replace_gateway(self) -> None:
        """Bring up another one first: clients are to have somewhere to go."""
        await self.add_gateway()
        leaving, _ = self.gateways.pop(0)
        leaving.signal(signal.SIGTERM)
        assert await leaving.ends() == 0


async def roll(market: Topology, *, rounds: int, traders: int = 4) -> Told:
    """Replace two gateways and the engine, `rounds` times. The database's orders are for the caller to compare."""
    fleet, told, is_over = Fleet(market), Told(), asyncio.Event()
    leader = fleet.start("engine")
    await leader.says("engine_online")
    standby = fleet.start("standby")
    await asyncio.gather(fleet.add_gateway(), fleet.add_gateway())
    await standby.says("warm_copy_read")
    async with Client(fleet.url(0), fleet.admin_key) as admin:
        keys = await prepare(admin)
        await admin.request("PUT", "/v1/admin/rulebooks/endless", {"max_open_orders": 1_000_000})
        loan = {"loan_id": "L2", "rulebook": "endless", **dict.fromkeys(AMOUNTS, "100000000.00")}
        await admin.post("/v1/admin/loans", LOAN | loan)
    async with AsyncExitStack() as stack:
        work = await stack.enter_async_context(asyncio.TaskGroup())
        for i in range(traders):
            work.create_task(_trade(f"t{i}", i, fleet, keys["ORIG"], told, is_over))
        reading = work.create_task(_read(fleet, keys["ORIG"], told))
        for _ in range(rounds):
            for _ in fleet.gateways[:]:
                await _more_orders(told)
                await fleet.replace_gateway()
            await _more_orders(told)
            leader.signal(signal.SIGTERM)
            assert await leader.ends() == 0
            await standby.says("engine_online")
            leader, standby = standby, fleet.start("standby")
            await standby.says("warm_copy_read")
        await _more_orders(told)
        is_over.set()
        async with asyncio.timeout(PATIENCE_S):
            while len(told.executions) < len(told.orders):
                await asyncio.sleep(0.02)
        reading.cancel()
    return told


async def run_campaign(*, rounds: int) -> None:
    """Run `roll` on servers of its own and compare. AssertionError if anything was lost."""
    with tempfile.TemporaryDirectory() as name, EmbeddedPostgres(Path(name) / "data", durable=False) as postgres:
        await migrate(postgres.dsn)
        folder = Path(name) / "r"
        folder.mkdir()
        redis = RedisServer(folder)
        try:
            async with topology(Path(name), postgres.dsn, redis) as market:
                try:
                    told = await roll(market, rounds=rounds)
                except BaseException:
                    print(market.logs())
                    raise
        finally:
            redis.kill()
        await compared(postgres.dsn, told)
    print(f"rolling restarts: {rounds} rounds, {len(told.orders)} orders acknowledged, none lost")


async def compared(dsn: str, told: Told) -> None:
    """Hold what was told against the tables."""
    assert await lost(dsn, told) == set()
    assert told.executions == list(range(1, len(told.executions) + 1)), "each execution once, in order"
    assert set(told.closes) == {1012}, "each socket was told before"
    assert told.reasons == {"restart"}
    assert (await check(dsn)).ok


async def lost(dsn: str, told: Told) -> set[str]:
    """Return which acknowledged orders are not open, or are another order."""
    connection = await asyncpg.connect(dsn)
    rows = await connection.fetch("SELECT client_order_id, order_id::text FROM market.orders WHERE is_open")
    await connection.close()
    there = dict(rows)
    return {name for name, order_id in told.orders.items() if there.get(name) != order_id.removeprefix("O-")}


async def _more_orders(told: Told) -> None:
    wanted = len(told.orders) + STEP_ORDERS
    async with asyncio.timeout(PATIENCE_S):
        while len(told.orders) < wanted:
            await asyncio.sleep(0.02)


async def _trade(name: str, number: int, fleet: Fleet, key: ApiKey, told: Told, is_over: asyncio.Event) -> None:
    """Place one order after the other in a session that wants to be cancelled when it stays away for a minute."""
    at_end = {"enabled": True, "grace_ms": 60_000}
    order = {"symbol": "L2/CNY", "side": "sell", "order_type": "limit", "limit_price": "97.00", "order_qty": "1.00"}
    count = 0
    while not is_over.is_set():
        number += 1
        with suppress(*GONE):
            async with Client(fleet.url(number), key) as client:
                socket = await client.socket(on_push=lambda message: _hear(message, told))
                try:
                    await socket.login(session=name, cancel_on_disconnect=at_end)
                    while not is_over.is_set():
                        placed = await _placed(socket, {**order, "cl_ord_id": f"{name}-{count}"})
                        told.orders[f"{name}-{count}"] = placed["order_id"]
                        count += 1
                except GONE:
                    told.closes.append(await socket.wait_closed())
                    raise
                finally:
                    await socket.close()
        await asyncio.sleep(0.02)


async def _placed(socket: Socket, order: dict[str, str]) -> dict[str, Any]:
    """Return the answer to an order, sent again under the same id until the market takes it."""
    while True:
        try:
            return await socket.call("add_order", **order)
        except ApiError as e:
            if e.code not in {"unavailable", "busy", "market_mode", "rate_limited"}:
                raise
        await asyncio.sleep(0.02)


def _hear(message: dict[str, Any], told: Told) -> None:
    if message["channel"] == "status" and (reason := message["data"][0].get("reason")):
        told.reasons.add(reason)


async def _read(fleet: Fleet, key: ApiKey, told: Told) -> None:
    """Read all executions of the account, wherever there is a gateway, each number once."""
    for number in itertools.count():
        with suppress(*GONE):
            async with Client(fleet.url(number), key) as client, await client.socket() as socket:
                await socket.login()
                last = told.executions[-1] if told.executions else 0
                async for message in await socket.subscribe("executions", from_seq=last):
                    if message["type"] == "update":
                        told.executions.append(message["sequence"])
        await asyncio.sleep(0.02)
