"""What a process says to those who watch over it: /metrics, /healthz and /readyz, for engines on a port of their own.

A gateway has the three beside its API (metrics.py, rest/public.py); an engine serves no API, so it listens for them
where `--metrics-port` says. Alive is who answers. Ready is who can do the work now, which of engine and standby is the
one that writes.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import Any, Final

import asyncpg
from aiohttp import web

from gateway.process.config import Settings
from gateway.process.lifecycle import BACKLOG, address_of, bound_socket
from gateway.process.metrics import METRICS, Metrics, get_metrics
from gateway.wire import dump_json
from market.engine import Engine
from market.port import EnginePort, Phase

log = logging.getLogger(__name__)

READY: Final = "ready"
DATABASE_ANSWERS_S: Final = 1.0  # a balancer asks every second or so, and must not wait for the pool's own limit

Readiness = Callable[[], Awaitable[str]]  # "ready", or in one or two words what is missing


async def readiness(engine: EnginePort, pool: "asyncpg.Pool[asyncpg.Record]") -> str:
    """Tell whether a gateway can serve: it follows an engine that takes commands, and reads from the database.

    Where there are several partitions, one whose engine takes commands is enough: the others' loans wait.
    """
    if engine.phase is not Phase.ONLINE:
        return engine.phase
    try:
        async with asyncio.timeout(DATABASE_ANSWERS_S):
            await pool.fetchval("SELECT 1")
    except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError):
        return "no database"
    return READY if engine.phase is Phase.ONLINE else engine.phase


def health(state: str, epoch: int, phases: Sequence[Phase] = ()) -> tuple[dict[str, Any], HTTPStatus]:
    """Return what /readyz answers. epoch: of the engine that is followed.  phases: of all partitions' engines."""
    more = {"partitions": list(phases)} if len(phases) > 1 else {}
    if state != READY:
        return {"status": state, **more}, HTTPStatus.SERVICE_UNAVAILABLE
    return {"status": READY, "epoch": epoch, **more}, HTTPStatus.OK


@asynccontextmanager
async def engine_monitored(engine: Engine, metrics: Metrics, settings: Settings) -> AsyncIterator[None]:
    """Answer the three on a port of their own as long as the context lasts, if the settings name one."""
    if settings.metrics_port is None:
        yield
        return

    async def alive(_: web.Request) -> web.Response:
        return _answer({"status": "alive"}, HTTPStatus.OK)

    async def ready(_: web.Request) -> web.Response:
        return _answer(*health(READY if engine.phase is Phase.ONLINE else engine.phase, engine.epoch))

    app = web.Application()
    app[METRICS] = metrics
    app.router.add_get("/metrics", get_metrics)
    app.router.add_get("/healthz", alive)
    app.router.add_get("/readyz", ready)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=settings.shutdown_timeout_s)
    with bound_socket(settings.metrics_host, settings.metrics_port) as listening:
        try:
            await runner.setup()
            await web.SockSite(runner, listening, backlog=BACKLOG).start()
            log.info("monitoring url=%s", address_of(settings.metrics_host, listening.getsockname()[1]))
            yield
        finally:
            await runner.cleanup()


def _answer(body: dict[str, Any], status: HTTPStatus) -> web.Response:
    return web.Response(body=dump_json(body), status=status, content_type="application/json", charset="utf-8")
