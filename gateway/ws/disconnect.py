"""Cancel on disconnect: what becomes of a session's orders when its last connection ends.

A session is an account and a name; it lives on as long as a connection is attached to it, here or at another gateway,
and for the grace that it asked for after the last one. What is then cancelled is every order of the session, or those
alone that asked for it. A connection that was not the last one leaves to the session what it was asked: the orders that
are to be cancelled are when the session ends. Quotes belong to one connection and know no grace.
"""

import asyncio
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any, Final, Protocol

from gateway.reads.views import Views
from market.bus.presence import Attached
from market.commands import CancelAll, CancelQuotes
from market.errors import Busy, OutcomeUnknown, Unavailable
from market.ids import AccountId
from market.orderbook.order import CancelReason
from market.port import ENGINE_ACTOR, EnginePort

RETRY_S: Final = 0.5
WATCH_S: Final = 1.0  # between two looks whether a session that goes on elsewhere has ended

Key = tuple[AccountId, str]


@dataclass(frozen=True, slots=True)
class Leaving:
    """What a connection leaves behind. everything: not only orders that asked for it. actor: the key that it used."""

    account_id: AccountId
    session: str
    actor: str
    grace_s: float
    everything: bool

    @property
    def key(self) -> Key:
        return self.account_id, self.session

    @property
    def grace_ms(self) -> int:
        return int(self.grace_s * 1_000)


class Others(Protocol):
    """The other gateways of the market."""

    def tell(self) -> None:
        """Let them see soon who is attached here."""

    async def told(self) -> None:
        """Return once they can see it."""

    async def elsewhere(self, account_id: AccountId, session: str, *, age_s: float = 0.0) -> bool:
        """Whether the session lives at one of them, or did so long ago."""


class Attachments:
    """The connections that each session has, and those that it had. others: None for a gateway that is alone."""

    def __init__(self) -> None:
        self.others: Others | None = None
        self._are_handed_over = False
        self._count: dict[Key, int] = {}
        self._in_grace: dict[Key, list[int]] = {}  # the milliseconds of each that has ended
        self._waiting: dict[Key, int] = {}  # for the end of a session that goes on; milliseconds of grace

    def attach(self, account_id: AccountId, session: str) -> None:
        key = account_id, session
        self._count[key] = self._count.get(key, 0) + 1

    def detach(self, account_id: AccountId, session: str) -> None:
        key = account_id, session
        self._count[key] -= 1
        if not self._count[key]:
            del self._count[key]
            self._tell()

    async def told(self) -> None:
        """Return once no gateway will end the session that was just attached."""
        if self.others is not None:
            await self.others.told()

    async def lives_on(self, key: Key, *, age_s: float = 0.0) -> bool:
        """Whether a connection is attached to the session, or the grace of one that was has not passed.

        age_s: so old may be what is known of other gateways.
        """
        if key in self._count or key in self._in_grace or self._are_handed_over:
            return True
        return self.others is not None and await self.others.elsewhere(*key, age_s=age_s)

    def hand_over(self) -> None:
        """Another process sees from now on to what sessions leave behind: this one stops, and they may go elsewhere."""
        self._are_handed_over = True

    def left(self) -> list[Attached]:
        """Return what would be left behind, beside that of living connections, if this process died now."""
        return [Attached(*key, "", grace_ms) for key, each in self._in_grace.items() for grace_ms in each] + [
            Attached(*key, "", grace_ms, waits=True) for key, grace_ms in self._waiting.items()
        ]

    def cancel_orders_of(self, leaving: Leaving, engine: EnginePort) -> Coroutine[Any, Any, None]:
        """Return the work of cancelling what was left behind, once the session has ended and its grace has passed."""
        self._in_grace.setdefault(leaving.key, []).append(leaving.grace_ms)
        return self._cancel_in_time(leaving, engine)

    def _tell(self) -> None:
        if self.others is not None:
            self.others.tell()

    async def _cancel_in_time(self, leaving: Leaving, engine: EnginePort) -> None:
        """Tries until the engine has done it. Of a session that goes on one waits for the end, for all its orders."""
        key, waits = leaving.key, False
        try:
            await asyncio.sleep(leaving.grace_s)
        finally:
            self._in_grace[key].remove(leaving.grace_ms)
            if not self._in_grace[key]:
                del self._in_grace[key]
        try:
            while True:
                if (waits and await self.lives_on(key, age_s=WATCH_S)) or await self.lives_on(key):
                    if not waits and key in self._waiting:
                        return
                    waits, self._waiting[key] = True, leaving.grace_ms
                    self._tell()
                    await asyncio.sleep(WATCH_S)
                    continue
                try:
                    command = _orders_of(leaving, everything=leaving.everything and not waits)
                    await engine.submit(command, actor=leaving.actor)
                    return
                except (Busy, OutcomeUnknown, Unavailable):  # a repeat does no harm
                    await asyncio.sleep(RETRY_S)
        finally:
            if waits:
                del self._waiting[key]


def _orders_of(leaving: Leaving, *, everything: bool) -> CancelAll:
    return CancelAll(
        account_id=leaving.account_id,
        session=leaving.session,
        cancel_on_disconnect=None if everything else True,
        cause=CancelReason.COD,
    )


async def withdraw_quotes_of(account_id: AccountId, connection: str, actor: str, engine: EnginePort) -> None:
    """Withdraw what a connection quoted. Tries until the engine has done it, or has none left after a rebuild."""
    command = CancelQuotes(account_id=account_id, connection=connection, cause=CancelReason.COD)
    while True:
        try:
            await engine.submit(command, actor=actor)
            return
        except (Busy, OutcomeUnknown, Unavailable):  # a repeat does no harm
            await asyncio.sleep(RETRY_S)


async def cancel_orders_of_former_sessions(views: Views, engine: EnginePort) -> None:
    """At the start of the service every session of the run before it has ended: so do the orders that asked for it."""
    for account_id, account in list(views.accounts.items()):
        if any(order.cancel_on_disconnect for order in account.open_orders.values()):
            command = CancelAll(account_id=account_id, cancel_on_disconnect=True, cause=CancelReason.COD)
            await engine.submit(command, actor=ENGINE_ACTOR)
