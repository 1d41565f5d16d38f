"""Which gateways live, and which sessions are attached to them: what dies with a gateway ends its sessions.

A gateway says every second that it is there, and with which sessions. The engine withdraws the quotes of one that has
gone and, after the grace that each session asked for, cancels the orders that were to end with it, but for a session
that is attached to another gateway by then. One that stops in order leaves its sessions to the same rule: its clients
have as much time to go elsewhere. A Redis that was away proves nothing: a gateway is missed for a while before it
counts as gone.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable
from typing import Any, Final

from redis.asyncio import Redis

from market.bus.codec import Body, pack, unpack
from market.bus.connect import TROUBLE, ending
from market.bus.names import Names
from market.commands import CancelAll, CancelQuotes
from market.errors import MarketError
from market.ids import AccountId
from market.orderbook.order import CancelReason
from market.port import ENGINE_ACTOR, EnginePort

log = logging.getLogger(__name__)

TELL_S: Final = 1.0
LIFE_MS: Final = 3_000
MISSED_S: Final = 2.0  # after its life ended


class Attached(Body, order=True):
    """One connection of a session that may have orders or quotes."""

    account_id: AccountId
    session: str
    connection: str
    grace_ms: int = 0  # before its orders are cancelled


async def tell_presence(redis: "Redis", names: Names, gateway: str, attached: Callable[[], Iterable[Attached]]) -> None:
    """Say that the gateway is there and who is attached to it, until cancelled; then who is left behind.

    Cancel it while the sockets are still open.
    """
    told: bytes | None = None
    try:
        while not ending():
            try:
                now = pack(sorted(attached()))
                async with redis.pipeline(transaction=True) as pipe:
                    if now != told:
                        pipe.set(names.sessions(gateway), now)
                    pipe.set(names.alive(gateway), "", px=LIFE_MS)
                    pipe.sadd(names.gateways, gateway)
                    [*_, is_new] = await pipe.execute()
                told = None if is_new and told is not None else now  # Redis forgot: say it again
            except TROUBLE as e:
                told = None
                log.warning("presence_untold error=%s", e)
            await asyncio.sleep(TELL_S)
    finally:
        await _say_goodbye(redis, names, gateway, pack(sorted(attached())))


async def _say_goodbye(redis: "Redis", names: Names, gateway: str, left: bytes) -> None:
    try:
        async with redis.pipeline(transaction=True) as pipe:
            pipe.set(names.sessions(gateway), left)
            pipe.delete(names.alive(gateway))
            await pipe.execute()
    except TROUBLE as e:
        log.warning("goodbye_untold error=%s", e)


async def _forget(redis: "Redis", names: Names, gateway: str) -> None:
    try:
        async with redis.pipeline(transaction=True) as pipe:
            pipe.srem(names.gateways, gateway)
            pipe.delete(names.alive(gateway), names.sessions(gateway))
            await pipe.execute()
    except TROUBLE as e:
        log.warning("gone_unforgotten error=%s", e)


async def end_sessions_of_the_gone(redis: "Redis", names: Names, engine: EnginePort) -> None:
    """Watch over the gateways until cancelled."""
    missed_since: dict[str, float] = {}
    ended: dict[str, set[tuple[str, ...]]] = {}  # of the missing: what of them was ended already
    while not ending():
        await asyncio.sleep(TELL_S)
        try:
            living, missing = await _sorted_out(redis, names)
            now = asyncio.get_running_loop().time()
            missed_since = {gateway: missed_since.get(gateway, now) for gateway in missing}
            ended = {gateway: ended.get(gateway, set()) for gateway in missing}
            for gateway, since in missed_since.items():
                if now - since >= MISSED_S:
                    await _end_sessions(redis, names, gateway, living, engine, now - since, ended[gateway])
        except TROUBLE as e:
            missed_since.clear()
            log.warning("gateways_unseen error=%s", e)
        except MarketError as e:  # the engine is not ready to: next time
            log.warning("sessions_not_ended error=%s", e)


async def _sorted_out(redis: "Redis", names: Names) -> tuple[set[str], set[str]]:
    """Return the gateways that live and those that are missing."""
    known: Any = await redis.smembers(names.gateways)
    living = {gateway.decode() for gateway in known if await redis.exists(names.alive(gateway.decode()))}
    return living, {gateway.decode() for gateway in known} - living


async def _end_sessions(
    redis: "Redis",
    names: Names,
    gateway: str,
    living: set[str],
    engine: EnginePort,
    missed_s: float,
    ended: set[tuple[str, ...]],
) -> None:
    """End what is due of a gateway that has been missed for so long; forget it once all of it is."""
    elsewhere = {
        (each.account_id, each.session) for other in living for each in await _attached_to(redis, names, other)
    }
    gone = await _attached_to(redis, names, gateway)
    if not ended:
        log.warning("gateway_gone gateway=%s sessions=%d", gateway, len(gone))
    for each in gone:
        quoting = each.account_id, each.session, each.connection
        if quoting not in ended:
            quotes = CancelQuotes(account_id=each.account_id, connection=each.connection, cause=CancelReason.COD)
            await engine.submit(quotes, actor=ENGINE_ACTOR)
            ended.add(quoting)
        session = each.account_id, each.session
        if session not in ended and missed_s >= each.grace_ms / 1_000:
            if session not in elsewhere:
                orders = CancelAll(
                    account_id=each.account_id, session=each.session, cancel_on_disconnect=True, cause=CancelReason.COD
                )
                await engine.submit(orders, actor=ENGINE_ACTOR)
            ended.add(session)
    if all((each.account_id, each.session) in ended for each in gone):
        await _forget(redis, names, gateway)


async def _attached_to(redis: "Redis", names: Names, gateway: str) -> list[Attached]:
    told: Any = await redis.get(names.sessions(gateway))
    return [] if told is None else unpack(list[Attached], told)
