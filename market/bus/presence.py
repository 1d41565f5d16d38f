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
from contextlib import suppress
from dataclasses import dataclass, field
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
PROMPT_S: Final = 0.05  # at least, between two times that it is told because somebody waits for it
NO_VERSION: Final = b""  # what the version before says of what it told
LIFE_MS: Final = 3_000
MISSED_S: Final = 2.0  # after its life ended


class Attached(Body, order=True):
    """One connection of a session that may have orders or quotes, or what is left of one.

    connection: empty if it has ended, and its grace runs.
    waits: only to cancel what was left behind, once the session is attached nowhere.
    """

    account_id: AccountId
    session: str
    connection: str
    grace_ms: int = 0  # before its orders are cancelled
    waits: bool = False


class Presence:
    """A gateway's word that it is there and who is attached to it; and what the others say. `run` it.

    Stop it while the sockets are still open: its last word is who is left behind.
    """

    def __init__(self, redis: "Redis", names: Names, gateway: str, attached: Callable[[], Iterable[Attached]]) -> None:
        self._redis = redis
        self._names = names
        self._gateway = gateway
        self._attached = attached
        self._told: bytes | None = None
        self._version = 0  # of what was told, which an engine compares with what it knows
        self._hurry = asyncio.Event()
        self._waiting: list[asyncio.Future[None]] = []
        self._look = asyncio.Lock()
        self._looked_at = 0.0
        self._elsewhere: set[tuple[AccountId, str]] = set()

    async def run(self) -> None:
        try:
            while not ending():
                waiting, self._waiting = self._waiting, []
                await self._tell()
                for each in waiting:
                    if not each.done():
                        each.set_result(None)
                await asyncio.sleep(PROMPT_S)
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._hurry.wait(), TELL_S)
                self._hurry.clear()
        finally:
            await self._say_goodbye()

    def tell(self) -> None:
        """Tell now, not at the end of the second."""
        self._hurry.set()

    async def told(self) -> None:
        """Return once the others can see who is attached now, or after a while if Redis is away."""
        known = asyncio.get_running_loop().create_future()
        self._waiting.append(known)
        self.tell()
        with suppress(TimeoutError):
            await asyncio.wait_for(known, TELL_S)

    async def elsewhere(self, account_id: AccountId, session: str, *, age_s: float = 0.0) -> bool:
        """Whether another gateway that lives has a connection of the session, or one whose grace runs.

        age_s: so old may be what is known. Who asks while another looks shares the next look. Waits for a Redis that is
        away.
        """
        asked_at = _now() - age_s
        async with self._look:
            while self._looked_at <= asked_at and not ending():
                now = _now()
                try:
                    self._elsewhere = await self._attached_elsewhere()
                    self._looked_at = now
                except TROUBLE as e:
                    log.warning("others_unseen error=%s", e)
                    await asyncio.sleep(TELL_S)
        return (account_id, session) in self._elsewhere

    async def _attached_elsewhere(self) -> set[tuple[AccountId, str]]:
        known: Any = await self._redis.smembers(self._names.gateways)
        others = [gateway for each in known if (gateway := each.decode()) != self._gateway]
        found: set[tuple[AccountId, str]] = set()
        for other in others:
            if await self._redis.exists(self._names.alive(other)):
                told = await _read(self._redis, self._names, other) or []
                found |= {(each.account_id, each.session) for each in told if not each.waits}
        return found

    async def _tell(self) -> None:
        try:
            now = pack(sorted(self._attached()))
            if now != self._told:
                self._version += 1
            # One by one, so that each finds its way while the slot is moving. Who sees the version sees its sessions.
            if now != self._told:
                await self._redis.set(self._names.sessions(self._gateway), now)
            await self._redis.set(self._names.alive(self._gateway), str(self._version), px=LIFE_MS)
            is_new: Any = await self._redis.sadd(self._names.gateways, self._gateway)
            self._told = None if is_new and self._told is not None else now  # Redis forgot: say it again
        except TROUBLE as e:
            self._told = None
            log.warning("presence_untold error=%s", e)

    async def _say_goodbye(self) -> None:
        try:
            await self._redis.set(self._names.sessions(self._gateway), pack(sorted(self._attached())))
            await self._redis.delete(self._names.alive(self._gateway))
        except TROUBLE as e:
            log.warning("goodbye_untold error=%s", e)


async def _read(redis: "Redis", names: Names, gateway: str) -> list[Attached] | None:
    told: Any = await redis.get(names.sessions(gateway))
    return None if told is None else unpack(list[Attached], told)


@dataclass(slots=True)
class _Known:
    """What an engine knows of a gateway.

    version: of what it told.  missed_since: loop time, None while it lives.  is_gone: missed for long enough.
    ended: what of it was ended already.
    """

    version: bytes | None = None
    attached: list[Attached] = field(default_factory=list)
    missed_since: float | None = None
    is_gone: bool = False
    is_told: bool = True  # whether Redis still has its word
    ended: set[tuple[str, ...]] = field(default_factory=set)


class Watch:
    """An engine's watch over the gateways. It remembers who was attached to them: Redis may lose that. `run` it."""

    def __init__(self, redis: "Redis", names: Names, engine: EnginePort) -> None:
        self._redis = redis
        self._names = names
        self._engine = engine
        self._known: dict[str, _Known] = {}

    async def run(self) -> None:
        while not ending():
            await asyncio.sleep(TELL_S)
            try:
                await self._look()
                for gateway, known in list(self._known.items()):
                    if known.missed_since is not None:
                        await self._end_sessions(gateway, known, _now() - known.missed_since)
            except TROUBLE as e:
                for known in self._known.values():
                    known.missed_since = None
                log.warning("gateways_unseen error=%s", e)
            except MarketError as e:  # the engine is not ready to: next time
                log.warning("sessions_not_ended error=%s", e)

    async def _look(self) -> None:
        told: Any = await self._redis.smembers(self._names.gateways)
        for gateway in {each.decode() for each in told}:
            self._known.setdefault(gateway, _Known())
        for gateway, known in self._known.items():
            version: Any = await self._redis.get(self._names.alive(gateway))
            if version is not None:
                known.missed_since, known.is_gone = None, False
                known.ended.clear()
            elif known.missed_since is None:
                known.missed_since = _now()
            if version is None or version != known.version or version == NO_VERSION:
                attached = await _read(self._redis, self._names, gateway)
                known.version, known.is_told = version, attached is not None
                known.attached = known.attached if attached is None else attached

    async def _end_sessions(self, gateway: str, known: _Known, missed_s: float) -> None:
        """End what is due of a gateway that has been missed for so long; forget it once all of it is."""
        missed_s -= 0.0 if known.is_told else LIFE_MS / 1_000  # else it may live, and say so within that time
        if missed_s < MISSED_S:
            return
        elsewhere = {
            (each.account_id, each.session)
            for other in self._known.values()
            for each in other.attached
            if other.missed_since is None and not each.waits
        }
        if not known.is_gone:
            known.is_gone = True
            log.warning("gateway_gone gateway=%s sessions=%d", gateway, len(known.attached))
        for each in known.attached:
            quoting = each.account_id, each.session, each.connection
            if each.connection and quoting not in known.ended:
                quotes = CancelQuotes(account_id=each.account_id, connection=each.connection, cause=CancelReason.COD)
                await self._engine.submit(quotes, actor=ENGINE_ACTOR)
                known.ended.add(quoting)
            session = each.account_id, each.session
            if session not in known.ended and missed_s >= each.grace_ms / 1_000:
                if session not in elsewhere:
                    await self._engine.submit(_orders_of(each), actor=ENGINE_ACTOR)
                known.ended.add(session)
        if all((each.account_id, each.session) in known.ended for each in known.attached):
            await self._forget(gateway)

    async def _forget(self, gateway: str) -> None:
        for key in (self._names.alive(gateway), self._names.sessions(gateway)):
            await self._redis.delete(key)
        await self._redis.srem(self._names.gateways, gateway)
        del self._known[gateway]


def _orders_of(gone: Attached) -> CancelAll:
    return CancelAll(
        account_id=gone.account_id, session=gone.session, cancel_on_disconnect=True, cause=CancelReason.COD
    )


def _now() -> float:
    return asyncio.get_running_loop().time()
