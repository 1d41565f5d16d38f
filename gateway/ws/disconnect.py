"""Cancel on disconnect: what becomes of a session's orders when its last connection ends.

A session is an account and a name; it lives on as long as a connection is attached to it, and for the grace that it
asked for after the last one. What is then cancelled is every order of the session, or those alone that asked for it.
Quotes belong to one connection and know no grace.
"""

import asyncio
from collections import Counter
from dataclasses import dataclass
from typing import Final

from gateway.reads.views import Views
from market.commands import CancelAll, CancelQuotes
from market.errors import Busy, OutcomeUnknown, Unavailable
from market.ids import AccountId
from market.orderbook.order import CancelReason
from market.port import ENGINE_ACTOR, EnginePort

RETRY_S: Final = 0.5


@dataclass(frozen=True, slots=True)
class Leaving:
    """What a connection leaves behind. everything: not only orders that asked for it. actor: the key that it used."""

    account_id: AccountId
    session: str
    actor: str
    grace_s: float
    everything: bool


class Attachments:
    """How many connections each session has."""

    def __init__(self) -> None:
        self._are_handed_over = False
        self._count: Counter[tuple[AccountId, str]] = Counter()

    def attach(self, account_id: AccountId, session: str) -> None:
        self._count[account_id, session] += 1

    def detach(self, account_id: AccountId, session: str) -> None:
        self._count[account_id, session] -= 1
        if not self._count[account_id, session]:
            del self._count[account_id, session]

    def is_attached(self, account_id: AccountId, session: str) -> bool:
        return (account_id, session) in self._count or self._are_handed_over

    def hand_over(self) -> None:
        """Another process sees from now on to what sessions leave behind: this one stops, and they may go elsewhere."""
        self._are_handed_over = True


async def cancel_orders_of(leaving: Leaving, attachments: Attachments, engine: EnginePort) -> None:
    """Cancel what was left behind, unless the session is back within its grace. Tries until the engine has done it."""
    await asyncio.sleep(leaving.grace_s)
    command = CancelAll(
        account_id=leaving.account_id,
        session=leaving.session,
        cancel_on_disconnect=None if leaving.everything else True,
        cause=CancelReason.COD,
    )
    while not attachments.is_attached(leaving.account_id, leaving.session):
        try:
            await engine.submit(command, actor=leaving.actor)
            return
        except (Busy, OutcomeUnknown, Unavailable):  # a repeat does no harm
            await asyncio.sleep(RETRY_S)


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
