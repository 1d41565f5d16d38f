"""The whole service in this process: real PostgreSQL, engine, views, application on a free port of 127.0.0.1."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import asyncpg
from aiohttp import web

from gateway.access.auth import KeyRing
from gateway.access.rates import Rates
from gateway.app import build_gateway
from gateway.client import ApiKey
from gateway.process.config import Settings
from gateway.process.lifecycle import runner_of
from gateway.process.metrics import Metrics
from gateway.process.tracing import Tracing
from gateway.reads.views import Views
from gateway.requests.access import NewApiKey
from gateway.ws.hub import Hub
from gateway.ws.session import SocketLimits
from market.commands import AccountKind, Command, OpenMarket, Result
from market.engine import Engine
from market.ids import AccountId
from market.port import Phase
from market.settlement.writer import PostgresStore
from tests.builders import DAY, deposit, open_account, register
from tests.patience import until

SCOPES = ("read", "trade")
POOL = {"role": "debt_market_gateway", "application_name": "gateway", "search_path": "market"}


@dataclass(kw_only=True)
class Stack:
    engine: Engine
    views: Views
    hub: Hub
    keys: KeyRing
    pool: Any
    metrics: Metrics
    dsn: str
    url: str
    rates: Rates
    app: web.Application

    @property
    def ws_url(self) -> str:
        return self.url.replace("http", "ws", 1) + "/ws/v2"

    async def do(self, *commands: Command) -> Result:
        """Carry out commands in order, each durable; return the last result."""
        for command in commands:
            answer = await self.engine.submit(command, actor="test")
        return answer.result

    async def cut_engine_off(self) -> None:
        """Cut every connection to the database but the gateway's; return when the engine has rebuilt its memory.

        An engine learns of a cut only later, and until then still answers as if nothing had happened.
        """
        epoch = self.engine.epoch
        connection = await asyncpg.connect(self.dsn)
        try:
            await connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() "
                "AND pid <> pg_backend_pid() AND application_name <> 'gateway'"
            )
        finally:
            await connection.close()
        await until(lambda: self.engine.epoch > epoch and self.engine.phase is Phase.ONLINE, "a rebuild")

    @asynccontextmanager
    async def engine_kept_off(self) -> AsyncIterator[None]:
        """Cut the engine off and hold it there: inside the block it refuses all, after it it has rebuilt its memory."""
        connection = await asyncpg.connect(self.dsn, server_settings={"application_name": "gateway"})
        try:
            async with connection.transaction():
                await connection.execute("LOCK TABLE market.lease IN EXCLUSIVE MODE")  # no epoch can begin
                cutting = asyncio.create_task(self.cut_engine_off())
                await until(lambda: self.engine.phase is not Phase.ONLINE, "a rebuild")
                yield
            await cutting
        finally:
            await connection.close()

    async def key(self, account_id: str, *scopes: str) -> ApiKey:
        wanted = NewApiKey.parse({"scopes": list(scopes or SCOPES)})
        made = await self.keys.create(AccountId(account_id), wanted, created_by="test")
        return ApiKey(made.key, made.secret)

    async def investor(self, account_id: str, cash: int = 1_000_000_00, *scopes: str) -> ApiKey:
        """Open an account with cash in USD, and return a key of it."""
        await self.do(open_account(account_id), deposit(account_id, cash))
        return await self.key(account_id, *scopes)


@asynccontextmanager
async def running_stack(
    dsn: str,
    *,
    limits: SocketLimits | None = None,
    loans: int = 2,
    settings: Settings | None = None,
    clock: Callable[[], int] = time.time_ns,
    tracing: Tracing | None = None,
) -> AsyncIterator[Stack]:
    """A market of the business date DAY with an originator ORIG, who holds all of the loans L1, L2, ..."""
    metrics, settings = Metrics(), settings or Settings(ws_echo=True, ws_behind_s_max=600)
    engine = Engine(store=PostgresStore(dsn, wait_s=5.0), clock=clock, metrics=metrics, tracer=tracing)
    pool = await asyncpg.create_pool(dsn, min_size=1, max_size=4, server_settings=POOL)
    keys = KeyRing(pool, clock=clock)
    await keys.load()
    gateway = build_gateway(
        settings=settings,
        engine=engine,
        pool=pool,
        keys=keys,
        metrics=metrics,
        clock=clock,
        limits=limits,
        tracing=tracing,
    )
    running = asyncio.create_task(engine.run())
    await engine.online()
    runner = runner_of(gateway.app, settings)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    stack = Stack(
        engine=engine,
        views=gateway.views,
        hub=gateway.hub,
        keys=keys,
        pool=pool,
        metrics=metrics,
        dsn=dsn,
        url=f"http://127.0.0.1:{port}",
        rates=gateway.rates,
        app=gateway.app,
    )
    try:
        await stack.do(OpenMarket(business_date=DAY), open_account("HOUSE", AccountKind.HOUSE))
        await stack.do(open_account("ORIG", AccountKind.ORIGINATOR))
        for n in range(1, loans + 1):
            await stack.do(register(f"L{n}"))
        yield stack
    finally:
        await runner.cleanup()
        engine.stop()
        await running
        await pool.close()
