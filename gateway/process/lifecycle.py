"""The parts of a process of the market, each as a context that takes it down again: database, engine, page, files."""

import asyncio
import errno
import gc
import json
import logging
import os
import resource
import signal
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from datetime import date
from functools import partial
from pathlib import Path
from typing import TypeVar

import asyncpg
from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError
from redis.exceptions import RedisError

from gateway.access.auth import KeyRing
from gateway.access.replays import SIGNATURES, LocalReplays, Replays, SharedReplays
from gateway.client import ApiKey
from gateway.process.calendar import keep_days
from gateway.process.config import DatabaseSettings, Settings
from gateway.process.metrics import Metrics
from gateway.process.tracing import Tracing, TracingUnavailable, traced_to
from gateway.requests.access import NewApiKey, Scope
from gateway.ws.routes import GATE
from market.bus.connect import client_of, is_cluster
from market.bus.names import Names
from market.commands import AccountKind, OpenAccount, OpenMarket
from market.engine import Engine, LeaseLost
from market.port import EnginePort, Phase
from market.settlement.embedded import EmbeddedPostgres, EmbeddedPostgresError
from market.settlement.journal import HOUSE
from market.settlement.merged import search_path
from market.settlement.migrate import MigrationError, migrate
from market.settlement.writer import PostgresStore

log = logging.getLogger(__name__)

T = TypeVar("T")

BACKLOG = 4_096  # connections that wait to be accepted: all readers of another gateway may come at once
LINE_BYTES_MAX = 24 << 10  # of a request's first line: a filter may name 500 loans of 32 characters
GC_EVERY = 10_000  # new objects between two looks at the young ones; Python's 700 cost a third of what a socket costs
POSTGRES_POLL_S = 0.5
ACTOR = "serve"  # who the commands and the key of the first start are recorded under
ADMIN_SCOPES = frozenset({Scope.READ, Scope.TRANSFER, Scope.ADMIN})


class StartError(Exception):
    """The service can't start; the message is one line that says why."""


@dataclass(frozen=True, slots=True)
class Running:
    """A service that answers. engine: what its gateway sends commands to."""

    url: str
    admin_key: ApiKey
    engine: EnginePort

    @property
    def ws_url(self) -> str:
        return self.url.replace("http", "ws", 1) + "/ws/v2"


@asynccontextmanager
async def database(settings: DatabaseSettings) -> AsyncIterator[str]:
    """The DSN of the market's database, started for the time being if it is a private one.

    Raises StartError, also in the middle of the body if the private one ends by itself.
    """
    try:
        dsn = settings.external_dsn()
    except OSError as e:
        raise StartError(f"the password can't be read: {e}") from e
    if dsn is not None:
        yield dsn
        return
    embedded = EmbeddedPostgres(settings.data_dir)
    try:
        await embedded.__aenter__()
    except (EmbeddedPostgresError, OSError) as e:
        raise StartError(str(e)) from e
    watch = asyncio.create_task(_end_of(embedded))
    try:
        async with beside(watch, "PostgreSQL"):
            yield embedded.dsn
    finally:
        watch.cancel()
        await embedded.__aexit__(None, None, None)


async def _end_of(embedded: EmbeddedPostgres) -> None:
    while embedded.running:  # noqa: ASYNC110  the end of a process is no event
        await asyncio.sleep(POSTGRES_POLL_S)
    raise RuntimeError("its main process ended")


def stop_on_signals(task: "asyncio.Task[None]") -> None:
    """Let the first SIGTERM or SIGINT cancel the task, at whatever point it is; later ones change nothing."""
    seen = asyncio.Event()

    def stop() -> None:
        if not seen.is_set():
            seen.set()
            task.cancel()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop)


@asynccontextmanager
async def beside(task: "asyncio.Task[None]", what: str) -> AsyncIterator[None]:
    """The body ends with StartError if the task, which is to outlive it, fails before."""
    body = asyncio.current_task()
    assert body is not None

    def end_body(_: object) -> None:
        body.cancel()

    task.add_done_callback(end_body)
    try:
        yield
    except asyncio.CancelledError:
        if task.done() and not task.cancelled() and (error := task.exception()) is not None:
            log.critical("ended_by_itself what=%s", what, exc_info=error)
            raise StartError(f"{what} stopped: {error}") from error
        raise
    finally:
        task.remove_done_callback(end_body)


def new_engine(
    store: PostgresStore,
    settings: Settings,
    metrics: Metrics,
    tracing: Tracing | None = None,
    *,
    takes_over: bool = False,
) -> Engine:
    engine = Engine(
        store=store,
        clock=time.time_ns,
        inbox_max=settings.inbox_max,
        batch_max=settings.batch_max,
        reopen_s=settings.reopen_s,
        resolve_timeout_s=settings.resolve_timeout_s,
        takes_over=takes_over,
        metrics=metrics,
        tracer=tracing,
    )
    watch = partial(metrics.watch_partition, settings.partition)
    watch("market_inbox_commands", "Commands that wait for the engine", lambda: engine.inbox_depth)
    watch("market_epoch", "Which writer it is, counted over the market's life", lambda: engine.epoch)
    watch("market_engine_seq", "The last committed command", lambda: engine.seq)
    watch("market_lease_held", "1 while this engine writes, else 0", lambda: engine.phase is Phase.ONLINE)
    metrics.watch("market_partitions", "Partitions that the market is cut into", lambda: settings.partitions)
    return engine


@contextmanager
def traced(settings: Settings, process: str) -> Iterator[Tracing | None]:
    """Trace as the settings say while the body lasts. Raises StartError if the extra is missing."""
    try:
        with traced_to(settings.trace_url, process) as tracing:
            yield tracing
    except TracingUnavailable as e:
        raise StartError(str(e)) from e


async def migrated(dsn: str, partitions: int = 1) -> None:
    await reached(migrate(dsn, on_step=lambda name: log.info("migration name=%s", name), partitions=partitions), dsn)


@asynccontextmanager
async def engine_running(engine: Engine, drain_timeout_s: float) -> AsyncIterator[None]:
    """Run the engine beside the body, and drain it at the end; one that can't be drained is cancelled."""
    task = asyncio.create_task(engine.run(), name="engine")
    online = asyncio.create_task(engine.online())
    try:
        await asyncio.wait({task, online}, return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            await reached(task)
        async with beside(task, "the engine"):
            yield
    finally:
        online.cancel()
        engine.stop()
        await asyncio.wait({task}, timeout=drain_timeout_s)
        task.cancel()
        with suppress(Exception, asyncio.CancelledError):  # told above, or by whoever waits for it
            await task


@asynccontextmanager
async def days_kept(engine: EnginePort, today: Callable[[], date], settings: Settings) -> AsyncIterator[None]:
    days = keep_days(engine, today, zone=settings.zone, clock=time.time_ns)
    task = asyncio.create_task(days, name="calendar")
    try:
        async with beside(task, "the calendar"):
            yield
    finally:
        task.cancel()


async def reached(work: Awaitable[T], dsn: str | None = None) -> T:
    """Return what starting work returns, its failures said in one line."""
    try:
        return await work
    except (LeaseLost, MigrationError) as e:
        raise StartError(str(e)) from e
    except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, TimeoutError) as e:
        where = f" at {dsn.rpartition('@')[2]}" if dsn else ""
        raise StartError(f"PostgreSQL{where} can't be used: {e or type(e).__name__}") from e


@asynccontextmanager
async def reading_pool(dsn: str, settings: Settings, *, at_once: bool = True) -> AsyncIterator[asyncpg.Pool]:
    """Connections that may read, and write only what is the gateway's own.

    at_once: the schema and its roles are there; otherwise nothing is connected before it is asked for.
    """
    pool = asyncpg.create_pool(
        dsn,
        min_size=1 if at_once else 0,
        max_size=settings.pool_connections_max,
        command_timeout=settings.query_timeout_s,
        server_settings={
            "application_name": "debt-market gateway",
            "role": "debt_market_gateway",
            "search_path": search_path(settings.partitions),
        },
    )
    await reached(pool, dsn)
    try:
        yield pool
    finally:
        await pool.close()


@asynccontextmanager
async def shared_replays(settings: Settings) -> AsyncIterator[Replays]:
    """Where used signatures are remembered: in Redis if there is one, which must answer at the start."""
    if settings.redis_url is None:
        yield LocalReplays()
        return
    names = Names(settings.bus_prefix)
    async with client_of(settings.redis_url, names, timeout_s=settings.redis_timeout_s) as redis:
        try:
            await redis.ping()
        except (RedisError, OSError) as e:
            raise StartError(f"Redis can't be used: {e}") from e
        yield SharedReplays(redis, names.signatures if is_cluster(settings.redis_url) else SIGNATURES)


async def open_market(engine: EnginePort, settings: Settings) -> None:
    """Open the market and its house account; on every start but the first, both are there and nothing changes."""
    await engine.submit(OpenMarket(business_date=settings.first_business_date), actor=ACTOR)
    house = OpenAccount(account_id=HOUSE, kind=AccountKind.HOUSE, name="house", reason="first start")
    await engine.submit(house, actor=ACTOR)


async def first_admin_key(keys: KeyRing) -> ApiKey:
    """Return the admin key that the first start made."""
    own = [key for key in keys.of_account(HOUSE) if key.created_by == ACTOR and key.expires_at is None]
    for key in sorted(own, key=lambda key: key.created_at):
        if key.scopes >= ADMIN_SCOPES:
            return ApiKey(key.key, key.secret)
    wanted = NewApiKey(scopes=sorted(ADMIN_SCOPES), ip_allow=[], reason="first start")
    made = await keys.create(HOUSE, wanted, created_by=ACTOR)
    return ApiKey(made.key, made.secret)


def bound_socket(host: str, port: int) -> socket.socket:
    """Return a socket that has the port but does not listen yet. Raises StartError."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        bound = socket.socket(family, kind, protocol)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            bound.bind(address)
        except OSError:
            bound.close()
            raise
    except OSError as e:
        why = "is in use" if e.errno == errno.EADDRINUSE else f"can't be used: {e.strerror}"
        raise StartError(f"port {port} on {host} {why}") from e
    return bound


def address_of(host: str, port: int) -> str:
    """Return where to reach a service that listens on `host`."""
    reachable = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    return f"http://[{reachable}]:{port}" if ":" in reachable else f"http://{reachable}:{port}"


def check_ready_file(path: Path | None) -> None:
    """Remove the one of a run that was killed: nobody must take it for ours. Raises StartError without a folder."""
    if path is not None:
        if not path.parent.is_dir():
            raise StartError(f"there is no folder for the ready file {path}")
        path.unlink(missing_ok=True)


class MalformedRequests(logging.Filter):
    """Makes one line of what aiohttp logs of a request that it can't read: its trace says nothing more."""

    def filter(self, record: logging.LogRecord) -> bool:
        error = record.exc_info[1] if record.exc_info else None
        if isinstance(error, HttpProcessingError):
            record.msg, record.args = "request_malformed error=%s", (type(error).__name__,)
            record.exc_info, record.levelno, record.levelname = None, logging.INFO, "INFO"
        return True


def allow_many_sockets() -> None:
    """Use all the open files that the system allows this process: many give it 1,024 unless it asks for more."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        log.info("open_files_max files=%d", hard)


def runner_of(app: web.Application, settings: Settings) -> web.AppRunner:
    logger = logging.getLogger("aiohttp.server")
    if not any(isinstance(each, MalformedRequests) for each in logger.filters):
        logger.addFilter(MalformedRequests())
    return web.AppRunner(
        app,
        access_log=None,
        logger=logger,
        keepalive_timeout=settings.http_idle_s,
        shutdown_timeout=settings.shutdown_timeout_s,
        max_line_size=LINE_BYTES_MAX,
    )


@asynccontextmanager
async def page_served(
    app: web.Application, listening: socket.socket, settings: Settings, admin_key: ApiKey
) -> AsyncIterator[Running]:
    """Answer requests as long as the context lasts; who waits for the ready file finds it once that is so."""
    runner = runner_of(app, settings)
    allow_many_sockets()
    try:
        await runner.setup()
        await web.SockSite(runner, listening, backlog=BACKLOG).start()
        gc.collect()
        spare_the_collector()
        url = address_of(settings.host, listening.getsockname()[1])
        running = Running(url, admin_key, app[GATE].engine)
        log.info("listening url=%s pid=%d", running.url, os.getpid())
        with announced(settings.ready_file, running):
            yield running
    finally:
        await runner.cleanup()


def spare_the_collector() -> None:
    """Let the collector look at new objects alone, and less often: what lives now lives until the end."""
    gc.freeze()
    gc.set_threshold(GC_EVERY, *gc.get_threshold()[1:])


@contextmanager
def announced(path: Path | None, running: Running) -> Iterator[None]:
    """Hold the ready file while the service runs. It is never seen half written, nor by other users."""
    if path is None:
        yield
        return
    key = {"key": running.admin_key.key, "secret": running.admin_key.secret}
    content = {"url": running.url, "ws_url": running.ws_url, "pid": os.getpid(), "admin_key": key}
    write_private(path, json.dumps(content) + "\n")
    try:
        yield
    finally:
        path.unlink(missing_ok=True)


def write_private(path: Path, text: str) -> None:
    """Write a file that only we may read, at once or not at all."""
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    unfinished.unlink(missing_ok=True)
    with os.fdopen(os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
    unfinished.replace(path)
