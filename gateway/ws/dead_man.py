"""The dead man's switch: an account's orders are cancelled unless it says in time that it still lives.

It belongs to the account, not to a connection: any of its sessions may arm, renew or disarm it. It is kept in memory;
after a restart of the service it has to be armed again.
"""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Final

from gateway.ws.disconnect import RETRY_S
from market.commands import CancelAll
from market.errors import Busy, OutcomeUnknown, Unavailable
from market.ids import AccountId
from market.orderbook.order import CancelReason
from market.port import EnginePort

DEAD_MAN_S_MAX: Final = 86_400

Spawn = Callable[[Coroutine[Any, Any, None]], None]


class DeadMan:
    """One timer per account."""

    def __init__(self) -> None:
        self._timers: dict[AccountId, asyncio.TimerHandle] = {}

    def arm(self, account_id: AccountId, seconds: int, *, actor: str, engine: EnginePort, spawn: Spawn) -> None:
        """Cancel all of the account's orders `seconds` from now, unless armed anew or disarmed before. 0 disarms."""
        if (former := self._timers.pop(account_id, None)) is not None:
            former.cancel()
        if seconds:

            def fire() -> None:
                self._timers.pop(account_id, None)
                spawn(_cancel_everything(account_id, actor, engine))

            self._timers[account_id] = asyncio.get_running_loop().call_later(seconds, fire)


async def _cancel_everything(account_id: AccountId, actor: str, engine: EnginePort) -> None:
    """Try until the engine has done it: a repeat does no harm."""
    command = CancelAll(account_id=account_id, cause=CancelReason.DEAD_MAN)
    while True:
        try:
            await engine.submit(command, actor=actor)
            return
        except (Busy, OutcomeUnknown, Unavailable):
            await asyncio.sleep(RETRY_S)
