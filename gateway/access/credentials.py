"""Credentials that another gateway made or ended, heard from PostgreSQL as they change.

Each gateway has all of them in memory. A notification names one row, which is then read; after a cut connection all are
read again, since what was told meanwhile is lost.
"""

import asyncio
import logging
from contextlib import suppress
from typing import Final

import asyncpg

from gateway.access.auth import KeyRing
from gateway.access.sessions import WebSessions

log = logging.getLogger(__name__)

CHANNEL: Final = "debt_market_credentials"
CHECK_S: Final = 1.0
CONNECT_TIMEOUT_S: Final = 5.0
TROUBLE: Final = (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, TimeoutError)


async def follow_credentials(dsn: str, keys: KeyRing, sessions: WebSessions) -> None:
    """Keep both as the tables are, until cancelled."""
    while True:
        try:
            await _follow(dsn, keys, sessions)
        except TROUBLE as e:
            log.warning("credentials_unheard error=%s", e)
        await asyncio.sleep(CHECK_S)


async def _follow(dsn: str, keys: KeyRing, sessions: WebSessions) -> None:
    """Until the connection ends."""
    changed: asyncio.Queue[str] = asyncio.Queue()
    connection = await asyncpg.connect(dsn, timeout=CONNECT_TIMEOUT_S)
    try:
        await connection.add_listener(CHANNEL, lambda _c, _pid, _channel, said: changed.put_nowait(said))
        await keys.refresh_all()
        await sessions.refresh_all()
        while not connection.is_closed():
            with suppress(TimeoutError):
                await _refresh(await asyncio.wait_for(changed.get(), CHECK_S), keys, sessions)
    finally:
        connection.terminate()


async def _refresh(said: str, keys: KeyRing, sessions: WebSessions) -> None:
    table, _, name = said.partition(" ")
    if table == "api_key":
        await keys.refresh(name)
    elif table == "web_user":
        await sessions.refresh_user(name)
    else:
        await sessions.refresh(bytes.fromhex(name))
