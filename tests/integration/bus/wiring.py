"""An engine and gateways joined by a real Redis, over a real PostgreSQL, in this process."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from gateway.reads.views import Views
from market.bus.broadcast import Broadcast
from market.bus.connect import connected
from market.bus.intake import Intake
from market.bus.names import Names
from market.bus.remote import RemoteEngine
from market.engine import Engine
from market.settlement.writer import PostgresStore
from tests.patience import PATIENCE_S

NAMES = Names("test")


@asynccontextmanager
async def beside(*works: Any) -> AsyncIterator[list[asyncio.Task[None]]]:
    tasks = [asyncio.create_task(work) for work in works]
    try:
        yield tasks
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


@asynccontextmanager
async def running_engine(dsn: str, redis_url: str, **options: Any) -> AsyncIterator[Engine]:
    """An engine that takes its commands from the bus. It ends as if it were killed: nothing is drained."""
    engine = Engine(store=PostgresStore(dsn, wait_s=5.0), clock=time.time_ns, reopen_s=0.0, **options)
    async with connected(redis_url, NAMES) as redis:
        broadcast = Broadcast(redis, engine, NAMES)
        intake = Intake(redis, engine, broadcast, NAMES, outstanding_max=500)
        engine.listen(intake)
        engine.listen(broadcast)
        async with beside(engine.run(), broadcast.run(), intake.run()):
            await engine.online()
            yield engine


@asynccontextmanager
async def running_gateway(redis_url: str, **options: Any) -> AsyncIterator[tuple[RemoteEngine, Views]]:
    async with connected(redis_url, NAMES) as redis:
        remote, views = RemoteEngine(redis, NAMES, **options), Views()
        remote.listen(views)
        async with beside(remote.run()):
            await asyncio.wait_for(remote.online(), PATIENCE_S)
            yield remote, views


def shown(views: Views) -> dict[str, Any]:
    """What a reader can see of the market, for comparing."""
    return {
        "seq": views.engine_seq,
        "mode": views.mode,
        "date": views.business_date,
        "loans": {
            loan_id: (loan.state.status, loan.state.outstanding, loan.state.last_price, loan.book.view(500).snapshot())
            for loan_id, loan in views.loans.items()
        },
        "accounts": {
            account_id: (account.cash, account.claims, account.open_orders, account.exec_seq)
            for account_id, account in views.accounts.items()
        },
    }
