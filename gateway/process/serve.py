"""Ways to run: the whole market in one process, or its engine, a standby and gateways as processes joined by Redis.

Start: take the port, so that a taken one is told before anything is touched; start or reach PostgreSQL; migrate; build
the application, whose listeners must hear the engine's first snapshot; run the engine; on the very first start open
the market and its house account; find or make the admin key; listen; say so in the ready file.
Stop: take no more connections, let requests end and tell sockets, drain the engine, stop PostgreSQL.
"""

import asyncio
import logging
import math
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, contextmanager
from datetime import date
from functools import partial

import asyncpg
from redis.asyncio import Redis

from gateway.access.auth import KeyRing
from gateway.access.credentials import follow_credentials
from gateway.access.shared_rates import share_rates
from gateway.app import build_gateway
from gateway.process.config import Settings
from gateway.process.ledger_watch import ledger_watched
from gateway.process.lifecycle import (
    Running,
    StartError,
    beside,
    bound_socket,
    check_ready_file,
    database,
    days_kept,
    engine_running,
    first_admin_key,
    migrated,
    new_engine,
    open_market,
    page_served,
    reached,
    reading_pool,
    shared_replays,
    spare_the_collector,
    stop_on_signals,
    traced,
)
from gateway.process.metrics import Metrics
from gateway.process.monitor import engine_monitored
from gateway.process.partition import Partition
from market.bus.broadcast import Broadcast
from market.bus.connect import connected
from market.bus.intake import Intake
from market.bus.names import Names
from market.bus.presence import Presence, Watch
from market.bus.remote import RemoteEngine
from market.bus.standby import hurry_when_quiet
from market.engine import Engine
from market.events import Event, MarketChanged
from market.ids import Seq
from market.port import Committed, EnginePort, Phase
from market.routing.router import Router
from market.settlement.merged import ledgers_of
from market.settlement.warm import WarmCopy
from market.settlement.writer import PostgresStore

log = logging.getLogger(__name__)

STATE_WAITS_MAX = 10  # times the patience for an engine, while it is heard


@asynccontextmanager
async def running_service(settings: Settings) -> AsyncIterator[Running]:
    """Run the service as long as the context lasts. Raises StartError, also when the engine fails in mid-life."""
    if settings.partitions > 1:
        raise StartError("one process has one engine: run engines and gateways for --partitions")
    check_ready_file(settings.ready_file)
    async with AsyncExitStack() as stack:
        listening = stack.enter_context(bound_socket(settings.host, settings.port))
        dsn = await stack.enter_async_context(database(settings))
        await migrated(dsn)
        metrics, tracing = Metrics(), stack.enter_context(traced(settings, "serve"))
        engine = new_engine(_store(dsn, settings), settings, metrics, tracing)
        pool = await stack.enter_async_context(reading_pool(dsn, settings))
        keys = KeyRing(pool, clock=time.time_ns, replays=await stack.enter_async_context(shared_replays(settings)))
        await reached(keys.load())
        gateway = build_gateway(
            settings=settings,
            engine=engine,
            pool=pool,
            keys=keys,
            metrics=metrics,
            clock=time.time_ns,
            tracing=tracing,
        )
        await stack.enter_async_context(engine_running(engine, settings.drain_timeout_s))
        await open_market(engine, settings)
        if settings.auto_day_roll:
            await stack.enter_async_context(days_kept(engine, lambda: gateway.views.business_date, settings))
        await stack.enter_async_context(_ledger_watched(dsn, engine, metrics, settings))
        admin_key = await first_admin_key(keys)
        yield await stack.enter_async_context(page_served(gateway.app, listening, settings, admin_key))


@asynccontextmanager
async def running_engine(settings: Settings, *, standby: bool = False) -> AsyncIterator[None]:
    """Run the engine for gateways in other processes.

    A standby waits for the lease and for the leader's silence, and has a copy of the tables ready by then.
    """
    async with AsyncExitStack() as stack:
        names = Names(settings.bus_prefix, settings.partition)
        redis = await stack.enter_async_context(_bus(settings, names))
        dsn = await stack.enter_async_context(database(settings))
        await migrated(dsn, settings.partitions)
        today, metrics = Today(), Metrics(of_gateway=False, partition=settings.partition)
        warm = WarmCopy(settings.partition) if standby else None
        store = _store(dsn, settings, warm=warm)
        tracing = stack.enter_context(traced(settings, "engine"))
        engine = new_engine(store, settings, metrics, tracing, takes_over=standby)
        await stack.enter_async_context(engine_monitored(engine, metrics, settings))
        broadcast = Broadcast(redis, engine, names)
        intake = Intake(redis, engine, broadcast, names, outstanding_max=max(settings.inbox_max // 2, 1))
        partition = Partition(dsn, engine, settings, metrics)
        for listener in (today, intake, broadcast):
            engine.listen(listener)
        watch = partial(metrics.watch_partition, settings.partition)
        watch("market_unsent_messages", "Commits and answers that Redis has not taken", lambda: broadcast.depth)
        watch("market_open_intake_commands", "Commands read whose outcome is open", lambda: intake.outstanding)
        waiting: list[Coroutine[None, None, None]] = []
        if warm is not None:
            waiting = [
                hurry_when_quiet(redis, names, store, quiet_s=settings.leader_quiet_s),
                warm.follow(dsn),
            ]
        stack.push_async_callback(broadcast.flush)  # once the engine is drained
        with _in_background(*waiting):
            await stack.enter_async_context(engine_running(engine, settings.drain_timeout_s))
        spare_the_collector()
        await partition.open()
        if settings.auto_day_roll:
            await stack.enter_async_context(days_kept(engine, lambda: today.business_date, settings))
        await stack.enter_async_context(_ledger_watched(dsn, engine, metrics, settings))
        await stack.enter_async_context(_task(broadcast.run(), "the broadcast"))
        await stack.enter_async_context(_task(intake.run(), "the intake"))
        watch_gateways = Watch(redis, names, engine).run()
        await stack.enter_async_context(_task(watch_gateways, "the watch over gateways"))
        for work, what in partition.works():
            await stack.enter_async_context(_task(work, what))
        yield


def running_standby(settings: Settings) -> AbstractAsyncContextManager[None]:
    return running_engine(settings, standby=True)


@asynccontextmanager
async def running_gateway(settings: Settings) -> AsyncIterator[Running]:
    """Run REST, WebSocket and page over an engine in another process."""
    check_ready_file(settings.ready_file)
    async with AsyncExitStack() as stack:
        listening = stack.enter_context(bound_socket(settings.host, settings.port))
        buses = [
            (await stack.enter_async_context(_bus(settings, names)), names)
            for names in (Names(settings.bus_prefix, partition) for partition in range(settings.partitions))
        ]
        dsn = await stack.enter_async_context(database(settings))
        pool = await stack.enter_async_context(reading_pool(dsn, settings, at_once=False))
        remotes = [
            RemoteEngine(
                redis,
                names,
                pending_max=settings.inbox_max,
                reply_timeout_s=settings.resolve_timeout_s,
                quiet_s=settings.leader_quiet_s,
            )
            for redis, names in buses
        ]
        engine: EnginePort = remotes[0]
        if len(remotes) > 1:
            engine = router = Router(remotes)
            stack.push_async_callback(router.stop)
        keys = KeyRing(pool, clock=time.time_ns, replays=await stack.enter_async_context(shared_replays(settings)))
        metrics, tracing = Metrics(of_engine=False), stack.enter_context(traced(settings, "gateway"))
        metrics.watch(
            "gateway_pending_commands",
            "Commands that the engine has not answered",
            lambda: sum(remote.pending for remote in remotes),
        )
        for partition, remote in enumerate(remotes):
            metrics.watch_partition(
                partition, "gateway_engine_quiet_seconds", "Since the engine was last heard", remote.quiet_for_s
            )
        gateway = build_gateway(
            settings=settings,
            engine=engine,
            pool=pool,
            keys=keys,
            metrics=metrics,
            clock=time.time_ns,
            alone=False,
            tracing=tracing,
        )
        presences = [
            Presence(redis, names, remote.gateway, gateway.attached)
            for (redis, names), remote in zip(buses, remotes, strict=True)
        ]
        gateway.attachments.others = presences[0]
        for remote in remotes:
            await stack.enter_async_context(_task(remote.run(), "the way to the engine"))
        await _heard(engine, remotes, settings.reconnect_s)
        await reached(keys.load())  # the engine has migrated by then
        await _cut_as_set(pool, settings)
        await reached(gateway.sessions.load())
        follow = follow_credentials(dsn, keys, gateway.sessions)
        await stack.enter_async_context(_task(follow, "the ear for credentials"))
        sharing = share_rates(*buses[0], remotes[0].gateway, gateway.rates)
        await stack.enter_async_context(_task(sharing, "the word of what accounts spend"))
        admin_key = await first_admin_key(keys)
        running = await stack.enter_async_context(page_served(gateway.app, listening, settings, admin_key))
        stack.callback(gateway.attachments.hand_over)  # before the sockets are closed, as is the last word of presence
        for presence in presences:
            await stack.enter_async_context(_task(presence.run(), "the word that it is there"))
        yield running


async def _cut_as_set(pool: asyncpg.Pool, settings: Settings) -> None:
    """Raises StartError where the market has other partitions than we would show."""
    async with pool.acquire() as connection:
        present = len(await reached(ledgers_of(connection)))
    if present != settings.partitions:
        raise StartError(f"the market is cut into {present} partitions, not into {settings.partitions}: --partitions")


async def _heard(engine: EnginePort, remotes: Sequence[RemoteEngine], wait_s: float) -> None:
    """Wait until the engine is heard and its state is here: of several that a router joins all, or at least one.

    The state of a large market may take longer than `wait_s`; who is silent for so long is not there.
    Raises StartError.
    """
    for _ in range(STATE_WAITS_MAX):
        try:
            await asyncio.wait_for(engine.online(), wait_s)
            return
        except TimeoutError as e:
            if engine.phase is Phase.ONLINE:
                log.warning("partitions_unheard phases=%s", ",".join(engine.phases))
                return
            if all(remote.quiet_for_s() > wait_s for remote in remotes):
                raise StartError(f"no engine was heard over Redis in {wait_s:g} s") from e
            log.warning("state_awaited seconds=%g", wait_s)
    raise StartError(f"an engine is heard over Redis, but its state did not come in {STATE_WAITS_MAX * wait_s:g} s")


Process = Callable[[Settings], AbstractAsyncContextManager[object]]


async def serve(settings: Settings, process: Process = running_service) -> int:
    """Run a process until SIGTERM or SIGINT; return the exit code. Raises StartError."""
    task = asyncio.create_task(_run_forever(process(settings)))
    stop_on_signals(task)
    try:
        await task
    except asyncio.CancelledError:
        log.info("stopped")
    return 0


async def _run_forever(process: AbstractAsyncContextManager[object]) -> None:
    async with process:
        await asyncio.get_running_loop().create_future()


class Today:
    """An engine listener that knows the business date."""

    def __init__(self) -> None:
        self.business_date = date.min

    def on_snapshot(self, _epoch: int, _seq: Seq, events: Sequence[Event]) -> None:
        self._hear(events)

    def on_entry(self, entry: Committed) -> None:
        self._hear(entry.events)

    def on_batch_end(self) -> None: ...

    def _hear(self, events: Sequence[Event]) -> None:
        for event in events:
            if type(event) is MarketChanged:
                self.business_date = event.business_date
                break  # a snapshot names it first


def _store(dsn: str, settings: Settings, *, warm: WarmCopy | None = None) -> PostgresStore:
    """warm: of a standby, which waits for ever."""
    wait_s = settings.lease_wait_s if warm is None else math.inf
    return PostgresStore(
        dsn,
        wait_s=wait_s,
        takeover=settings.takeover,
        reconnect_s=settings.reconnect_s,
        warm=warm,
        partition=settings.partition,
    )


def _ledger_watched(
    dsn: str, engine: Engine, metrics: Metrics, settings: Settings
) -> AbstractAsyncContextManager[None]:
    return ledger_watched(
        dsn,
        metrics,
        clock=time.time_ns,
        every_s=settings.audit_every_s,
        partition=settings.partition,
        is_writing=lambda: engine.phase is Phase.ONLINE,
    )


def _bus(settings: Settings, names: Names) -> AbstractAsyncContextManager[Redis]:
    """A client for what a partition keeps in Redis. Raises StartError where no Redis is set."""
    if settings.redis_url is None:
        raise StartError("engine, standby and gateway are joined by Redis: --redis-url is missing")
    return connected(settings.redis_url, names)


@contextmanager
def _in_background(*works: Coroutine[None, None, None]) -> Iterator[None]:
    """Run `works` while the body lasts."""
    tasks = [asyncio.create_task(work) for work in works]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()


@asynccontextmanager
async def _task(work: Coroutine[None, None, None], what: str) -> AsyncIterator[None]:
    """Run `work` beside the body, which ends with it if it fails."""
    task = asyncio.create_task(work, name=what)
    try:
        async with beside(task, what):
            yield
    finally:
        task.cancel()
        await asyncio.wait({task})
