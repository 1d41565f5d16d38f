"""Sends idle cash back to the first ledger: of an account that holds nothing here and has not moved for a while.

Only what the engine committed is looked at, and the venue judges anew whether the cash is there: at worst nothing is
sent, or cash that is wanted here after all is sent for again.
"""

import asyncio
import logging
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from market.commands import SendCash
from market.errors import MarketError
from market.events import CashChanged, Event, Executed, QuotesChanged
from market.ids import AccountId, Currency, Minor, Seq
from market.port import Committed, EnginePort
from market.settlement.journal import HOUSE
from market.settlement.receiving import ACTOR

log = logging.getLogger(__name__)

FIRST: Final = 0  # the partition that reclaims
LOOKS: Final = 4  # in the time after which a line is idle


@dataclass(slots=True)
class Line:
    total: int
    held: int


class IdleLines:
    """An engine listener; `run` beside it. idle_s: how long an account must have done nothing here."""

    def __init__(self, engine: EnginePort, *, idle_s: float) -> None:
        self._engine = engine
        self._idle_s = idle_s
        self._lines: dict[tuple[AccountId, Currency], Line] = {}  # with cash in them
        self._active_at: dict[AccountId, float] = {}  # loop time

    def on_snapshot(self, _epoch: int, _seq: Seq, events: Sequence[Event]) -> None:
        self._lines.clear()
        self._hear(events)

    def on_entry(self, entry: Committed) -> None:
        self._hear(entry.events)

    def on_batch_end(self) -> None: ...

    def idle(self, now: float) -> list[tuple[AccountId, Currency, int]]:
        """Return the lines to reclaim, and how much. The house never rests: fees of others are swept like idle cash."""
        return [
            (account_id, currency, line.total)
            for (account_id, currency), line in self._lines.items()
            if not line.held and (account_id == HOUSE or now - self._active_at[account_id] >= self._idle_s)
        ]

    async def run(self) -> None:
        """Until cancelled."""
        now = asyncio.get_running_loop().time
        while True:
            await asyncio.sleep(self._idle_s / LOOKS)
            for account_id, currency, amount in self.idle(now()):
                await self._send_back(account_id, currency, amount)

    async def _send_back(self, account_id: AccountId, currency: Currency, amount: int) -> None:
        move_id = f"idle-{secrets.token_hex(12)}"
        command = SendCash(account_id=account_id, currency=currency, amount=Minor(amount), to=FIRST, move_id=move_id)
        try:
            await self._engine.submit(command, actor=ACTOR)
        except MarketError as e:  # it is wanted here after all, or the engine is away: nothing is lost
            log.info("line_kept account=%s currency=%s error=%s", account_id, currency, type(e).__name__)

    def _hear(self, events: Sequence[Event]) -> None:
        now = asyncio.get_running_loop().time()
        for event in events:
            if isinstance(event, CashChanged):
                self._active_at[event.account_id] = now
                if event.total:
                    self._lines[event.account_id, event.currency] = Line(event.total, event.held)
                else:
                    self._lines.pop((event.account_id, event.currency), None)
            elif isinstance(event, Executed | QuotesChanged):
                self._active_at[event.account_id] = now
