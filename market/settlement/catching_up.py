"""Brings the ledger of a later partition to where the first one is, in what all of them have in common.

Accounts, rulebooks, the market's mode and date, blocks and protections are given to every partition, the first one
first. A partition that was away meanwhile, or whose gateway broke off half-way, hears of it here: what the first
ledger says is compared with its own, and what differs is sent to its engine as the commands that make it the same.
Only the kill switch is never undone so: it works where a partition can be reached, the first one or not.
"""

import asyncio
import logging
import time
from collections.abc import Callable
from typing import Final

import asyncpg

from market.commands import (
    AccountKind,
    CancelAll,
    Command,
    DefineRulebook,
    FreezeAccount,
    Mode,
    OpenAccount,
    OpenMarket,
    RollDay,
    SetDefaultRulebook,
    SetMmp,
    SetMode,
)
from market.errors import MarketError
from market.orderbook.order import CancelReason
from market.partitions import schema_of
from market.port import EnginePort
from market.settlement.codec import loads
from market.settlement.receiving import ACTOR, CONNECT_TIMEOUT_S, RETRY_S, TROUBLE
from market.venue.rulebook import Rulebook

log = logging.getLogger(__name__)

POLL_S: Final = 1.0
GRACE_NS: Final = 2 * 10**9  # who sends a command to all is at the later ones by then
FOR_ALL: Final = [
    kind.__name__
    for kind in (
        *(OpenMarket, OpenAccount, FreezeAccount, DefineRulebook, SetDefaultRulebook, SetMode, RollDay),
        *(CancelAll, SetMmp),
    )
]

# {own} is the later ledger's schema. What is its own in a column is null where it has no row.
MARKET = """
    SELECT f.mode, f.business_date, o.mode AS own_mode, o.business_date AS own_date
    FROM market.market_state f LEFT JOIN {own}.market_state o USING (singleton)
"""
RULEBOOKS = """
    SELECT f.rules FROM market.rulebook f LEFT JOIN {own}.rulebook o USING (name)
    WHERE f.rules::text IS DISTINCT FROM o.rules::text ORDER BY f.seq
"""
UNOPENED = """
    SELECT account_id, kind, name, owner_group, risk_class FROM market.account f
    WHERE NOT EXISTS (SELECT FROM {own}.account o WHERE o.account_id = f.account_id) ORDER BY since_seq, account_id
"""
FREEZES = """
    SELECT account_id, f.frozen FROM market.account f LEFT JOIN {own}.account o USING (account_id)
    WHERE f.frozen <> coalesce(o.frozen, false) ORDER BY account_id
"""
DEFAULTS = """
    SELECT account_id, f.rulebook FROM market.default_rulebook f LEFT JOIN {own}.default_rulebook o USING (account_id)
    WHERE f.rulebook IS DISTINCT FROM o.rulebook ORDER BY f.seq
"""
BLOCKS = """
    SELECT account_id FROM market.kill_switch f LEFT JOIN {own}.kill_switch o USING (account_id)
    WHERE f.blocked AND NOT coalesce(o.blocked, false) ORDER BY f.seq
"""
PROTECTIONS = """
    SELECT account_id, mmp_group, f.max_fills, f.max_face, f.window_ns
    FROM market.mmp f LEFT JOIN {own}.mmp o USING (account_id, mmp_group)
    WHERE (f.max_fills, f.max_face, f.window_ns) IS DISTINCT FROM (o.max_fills, o.max_face, o.window_ns)
    ORDER BY f.since_seq, account_id, mmp_group
"""
NEWS = """
    SELECT max(seq) AS seen, max(seq) FILTER (WHERE kind = ANY($2)) AS for_all
    FROM market.command_log WHERE seq > $1 AND at <= $3
"""


class CatchUp:
    """For the engine of partition k > 0. clock: nanoseconds since 1970."""

    def __init__(
        self, dsn: str, engine: EnginePort, partition: int, *, clock: Callable[[], int] = time.time_ns
    ) -> None:
        self._dsn = dsn
        self._engine = engine
        self._own = schema_of(partition)
        self._clock = clock
        self._seen = 0  # of the first ledger's log
        self._is_behind = True  # something that it says was not taken here

    async def begin(self) -> None:
        """Return once this ledger's market is open, which waits for that of the first, and the same in all."""
        while True:
            try:
                connection = await self._connect()
                try:
                    if await connection.fetchval("SELECT true FROM market.market_state"):
                        await self._catch_up(connection)
                        return
                finally:
                    connection.terminate()
            except TROUBLE as e:
                log.warning("first_ledger_unread error=%s", e or type(e).__name__)
            await asyncio.sleep(RETRY_S)

    async def run(self) -> None:
        """Follow the first ledger, until cancelled."""
        while True:
            try:
                connection = await self._connect()
                try:
                    while not connection.is_closed():
                        await self._look(connection)
                        await asyncio.sleep(POLL_S)
                finally:
                    connection.terminate()
            except TROUBLE as e:
                log.warning("first_ledger_unread error=%s", e or type(e).__name__)
            await asyncio.sleep(RETRY_S)

    async def now(self) -> None:
        """Catch up at once. Raises what a database raises."""
        connection = await self._connect()
        try:
            await self._catch_up(connection)
        finally:
            connection.terminate()

    async def _look(self, connection: asyncpg.Connection) -> None:
        news = await connection.fetchrow(NEWS, self._seen, FOR_ALL, self._clock() - GRACE_NS)
        if self._is_behind or news["for_all"] is not None:
            await self._catch_up(connection)
        self._seen = max(self._seen, news["seen"] or 0)

    async def _catch_up(self, connection: asyncpg.Connection) -> None:
        """Send what is missing, one after the other."""
        self._is_behind = False
        seq, commands = await missing(connection, self._own)
        for command in commands:
            try:
                await self._engine.submit(command, actor=ACTOR)
                log.info("caught_up command=%s", type(command).__name__)
            except MarketError as e:
                log.warning("not_caught_up command=%s error=%s", type(command).__name__, e)
                self._is_behind = True
        self._seen = seq

    async def _connect(self) -> asyncpg.Connection:
        settings = {"application_name": "debt-market catch-up", "default_transaction_read_only": "on"}
        return await asyncpg.connect(self._dsn, timeout=CONNECT_TIMEOUT_S, server_settings=settings)


async def missing(connection: asyncpg.Connection, own: str) -> tuple[int, list[Command]]:
    """Return where the first ledger's log ends, and the commands that bring the one in schema `own` there, in order."""
    async with connection.transaction(isolation="repeatable_read", readonly=True):

        async def rows(query: str) -> list[asyncpg.Record]:
            found: list[asyncpg.Record] = await connection.fetch(query.format(own=own))
            return found

        commands: list[Command] = []
        for market in await rows(MARKET):
            if market["own_date"] is None:
                commands.append(OpenMarket(business_date=market["business_date"]))
            elif market["own_date"] < market["business_date"]:
                commands.append(RollDay(to=market["business_date"], reason=ACTOR))
            if market["mode"] != (market["own_mode"] or Mode.OPEN):
                commands.append(SetMode(mode=Mode(market["mode"]), reason=ACTOR))
        commands += [
            DefineRulebook(rulebook=loads(Rulebook, row["rules"]), reason=ACTOR) for row in await rows(RULEBOOKS)
        ]
        for row in await rows(UNOPENED):
            commands.append(OpenAccount(**{**row, "kind": AccountKind(row["kind"])}, reason=ACTOR))
        for row in await rows(DEFAULTS):
            commands.append(SetDefaultRulebook(**row, reason=ACTOR))
        for row in await rows(FREEZES):
            commands.append(FreezeAccount(**row, reason=ACTOR))
        for row in await rows(BLOCKS):
            commands.append(CancelAll(**row, cause=CancelReason.KILL_SWITCH, block=True))
        for account_id, group, max_fills, max_face, window in await rows(PROTECTIONS):
            commands.append(
                SetMmp(account_id=account_id, group=group, max_fills=max_fills, max_face=max_face, window=window)
            )
        seq: int = await connection.fetchval("SELECT seq FROM market.lease")
        return seq, commands
