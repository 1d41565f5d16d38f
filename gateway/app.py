"""Wires the gateway: every object that handlers work with, every route, and who hears of commits in which order."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from importlib.metadata import version

import asyncpg
from aiohttp import web

from gateway.access.addresses import behind
from gateway.access.auth import KeyRing
from gateway.access.browser import Browsers
from gateway.access.rates import RateLimits, Rates
from gateway.access.sessions import SignUps, WebSessions
from gateway.access.throttle import Throttle
from gateway.asyncapi import asyncapi
from gateway.facade.calls import add_facade
from gateway.facade.routes import ROUTES as FACADE
from gateway.facade.spreads import Spreads
from gateway.openapi import openapi
from gateway.page import add_page
from gateway.process.config import Settings
from gateway.process.metrics import METRICS, Metrics, get_metrics
from gateway.process.tracing import TRACING, Tracing
from gateway.reads.board import CommittedBoard
from gateway.reads.overview import Overview
from gateway.reads.past_day import PastDay
from gateway.reads.statistics import Statistics
from gateway.reads.views import Views
from gateway.rest.api import BODY_BYTES_MAX, Api, add_routes
from gateway.rest.docs import ASYNCAPI, OPENAPI
from gateway.rest.routes import ROUTES
from gateway.wire import dump_json
from gateway.ws.board import Boards
from gateway.ws.disconnect import Attachments, cancel_orders_of_former_sessions
from gateway.ws.history import StreamHistory
from gateway.ws.hub import Hub
from gateway.ws.outbox import OutboxLimits
from gateway.ws.routes import add_websocket
from gateway.ws.session import Gate, SocketLimits
from market.bus.presence import Attached
from market.port import EnginePort, Phase


@dataclass(frozen=True, slots=True, kw_only=True)
class Gateway:
    """The application, and what in it hears of commits."""

    app: web.Application
    views: Views
    hub: Hub
    rates: Rates
    sessions: WebSessions
    attachments: Attachments

    def attached(self) -> list[Attached]:
        """Return what would be left behind if this process died now."""
        return self.hub.attached() + self.attachments.left()


def build_gateway(
    *,
    settings: Settings,
    engine: EnginePort,
    pool: "asyncpg.Pool[asyncpg.Record]",
    keys: KeyRing,
    metrics: Metrics,
    clock: Callable[[], int],
    limits: SocketLimits | None = None,
    alone: bool = True,
    tracing: Tracing | None = None,
) -> Gateway:
    """Wire a gateway that listens to the engine, which must not run yet.

    clock: nanoseconds since 1970, UTC.  limits: of sockets, where they differ from the settings'.
    alone: no other gateway serves this market, so that at the start no session can be alive.
    """
    partitions = settings.partitions
    views = Views(partitions=partitions)
    history = StreamHistory(pool, partitions)
    hub = Hub(
        views=views,
        history=history,
        clock=clock,
        metrics=metrics,
        replay_bytes_max=settings.ws_replay_bytes_max,
    )
    board = CommittedBoard(views)
    engine.listen(views)
    engine.listen(board)
    boards = Boards(board, views, boards_max=settings.ws_boards_max, metrics=metrics)
    engine.listen(boards)
    engine.listen(hub)
    past_day = PastDay(
        views,
        history,
        clock=clock,
        trades_max=settings.day_trades_max // partitions,
        spawn=hub.spawn,
        changed=hub.tell_day,
    )
    engine.listen(past_day)
    spreads = Spreads(views)
    engine.listen(spreads)
    rates = Rates(_rate_limits(settings))
    per_s = settings.rate_public_per_s
    strangers = Throttle("requests without a login", burst=per_s * settings.rate_burst_s, every_s=1 / per_s)
    sessions = WebSessions(pool, live=keys.live, clock=clock, life_s=settings.web_session_h * 3_600)
    browsers = Browsers(secure=settings.is_secure, origins=settings.origins)
    app = web.Application(client_max_size=BODY_BYTES_MAX)
    if settings.proxies:
        app.middlewares.append(behind(settings.proxies))  # the first, so that all that follows knows who asks
    api = Api(
        engine=engine,
        views=views,
        board=board,
        overview=Overview(board, clock),
        keys=keys,
        sessions=sessions,
        sign_ups=_sign_ups(settings),
        browsers=browsers,
        history=history,
        statistics=Statistics(pool, clock=clock, age_s_max=settings.statistics_age_s_max, partitions=partitions),
        pool=pool,
        clock=clock,
        metrics=metrics,
        rates=rates,
        strangers=strangers,
        time_zone=settings.time_zone,
    )
    add_routes(app, api, ROUTES)
    app[OPENAPI] = _openapi()
    app[ASYNCAPI] = _asyncapi()
    gate = Gate(
        engine=engine,
        views=views,
        hub=hub,
        keys=keys,
        sessions=sessions,
        browsers=browsers,
        history=history,
        boards=boards,
        metrics=metrics,
        tracing=tracing,
        clock=clock,
        limits=limits or _socket_limits(settings),
        rates=rates,
        strangers=strangers,
    )
    add_websocket(app, gate, echo=settings.ws_echo)
    add_facade(app, api, gate, spreads, FACADE)
    add_page(app)
    app[METRICS] = metrics
    app[TRACING] = tracing
    metrics.watch("gateway_engine_online", "1 while commands are taken, else 0", lambda: engine.phase is Phase.ONLINE)
    metrics.watch(
        "gateway_partitions_offline",
        "Partitions of loans whose engine takes no commands",
        lambda: sum(phase is not Phase.ONLINE for phase in engine.phases),
    )
    for partition, part in enumerate(engine.parts):
        watch = partial(metrics.watch_partition, partition)
        watch("gateway_epoch", "The epoch of the engine that is followed", partial(getattr, part, "epoch"))
        watch("gateway_engine_seq", "The last committed command that was told", partial(getattr, part, "seq"))
    metrics.watch("gateway_pool_busy_connections", "Connections that read from PostgreSQL now", lambda: _busy(pool))
    app.router.add_get("/metrics", get_metrics)

    async def load_sessions(_: web.Application) -> None:
        await sessions.load()

    async def remember_trades(_: web.Application) -> None:
        await past_day.start()

    async def end_former_sessions(_: web.Application) -> None:
        await cancel_orders_of_former_sessions(views, engine)

    async def fill_board(_: web.Application) -> None:
        await board.settle()

    # The engine has told the state by then, and nobody trades yet.
    app.on_startup.extend([load_sessions, remember_trades, fill_board])
    if alone:
        app.on_startup.append(end_former_sessions)
    app.on_response_prepare.append(browsers.protect)
    return Gateway(app=app, views=views, hub=hub, rates=rates, sessions=sessions, attachments=gate.attachments)


@cache
def _openapi() -> bytes:
    """The contract can only change with the code: one for every gateway of this process."""
    return dump_json(openapi(ROUTES, version=version("debt-market")))


def _busy(pool: "asyncpg.Pool[asyncpg.Record]") -> int:
    return int(pool.get_size() - pool.get_idle_size())


def _sign_ups(settings: Settings) -> SignUps:
    per_h = settings.signups_per_h
    throttle = Throttle("new accounts", burst=per_h, every_s=3_600 / per_h)
    return SignUps(allowed=settings.allow_signup, cash=settings.simulated_cash, throttle=throttle)


@cache
def _asyncapi() -> bytes:
    return dump_json(asyncapi(version=version("debt-market")))


def _rate_limits(settings: Settings) -> RateLimits:
    return RateLimits(
        orders_per_s=settings.rate_orders_per_s,
        amends_per_s=settings.rate_amends_per_s,
        queries_per_s=settings.rate_queries_per_s,
        subscriptions_per_s=settings.rate_subscriptions_per_s,
        burst_s=settings.rate_burst_s,
    )


def _socket_limits(settings: Settings) -> SocketLimits:
    outbox = OutboxLimits(
        backlog_bytes_max=settings.ws_backlog_bytes_max,
        conflate_bytes=settings.ws_conflate_bytes,
        behind_s_max=settings.ws_behind_s_max,
    )
    return SocketLimits(
        outbox=outbox,
        ping_every_s=settings.ws_ping_s,
        silence_s_max=settings.ws_silence_s_max,
        subscriptions_max=settings.ws_subscriptions_max,
    )
