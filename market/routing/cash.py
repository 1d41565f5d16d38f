"""Brings an account's cash to where it is wanted: from the other lines, as much as lacks.

A partition that finds its line short refuses with what it has and what it needs. Then the others send, each in a commit
of its own, and the one that waits takes in what was sent to it by itself; so a move that has begun ends, whoever dies.
Together with what lacks goes half of what is free where it comes from, so that a series of orders needs one move.
"""

import asyncio
import secrets
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from market.commands import SendCash
from market.errors import Busy, InsufficientFunds, OutcomeUnknown, Unavailable
from market.ids import Minor
from market.port import ENGINE_ACTOR, EnginePort, Phase
from market.routing.known import Known, Purse

ATTEMPTS_MAX = 3  # plans for one wish: a line may have been used up meanwhile


class CashMoves:
    """arrive_s: how long a move may take before who waits for it is told so."""

    def __init__(self, ports: Sequence[EnginePort], *, arrive_s: float) -> None:
        self.known = Known(len(ports), self._changed)
        self._ports = ports
        self.arrive_s = arrive_s
        self._arrivals: defaultdict[Purse, asyncio.Event] = defaultdict(asyncio.Event)
        self._waiting: Counter[Purse] = Counter()
        self._promised: Counter[tuple[Purse, int]] = Counter()  # of what is free in a line

    def total(self, purse: Purse) -> int:
        """Return what is free in all lines together, what is on the way included."""
        lines = self.known.lines(purse)
        return sum(line.free for line in lines) - sum(line.moved for line in lines)

    @contextmanager
    def promised(self, purse: Purse, where: int, amount: int) -> Iterator[None]:
        """Keep what came for a command that is on its way there from being taken for another one's."""
        self._promised[purse, where] += amount
        try:
            yield
        finally:
            self._promised[purse, where] -= amount
            if not self._promised[purse, where]:
                del self._promised[purse, where]

    def _free(self, purse: Purse, where: int) -> int:
        return self.known.line(where, purse).free - self._promised[purse, where]

    async def bring(self, purse: Purse, to: int, need: int | None) -> bool:
        """Have at least `need` free in a line; None for all that there is. Returns whether it is.

        False: the account has not so much. Raises Unavailable if it has, but a partition that keeps it is away, or it
        does not come in time.
        """
        for _ in range(ATTEMPTS_MAX):
            have = self._free(purse, to)
            if need is not None and have >= need:
                return True
            if need is not None and self.total(purse) - self._promised[purse, to] < need:
                return False
            moved = self.known.line(to, purse).moved
            sent = await self._send(purse, to, None if need is None else need - have)
            if need is None:
                if not sent:
                    return False
                need = have + sent
            await self._arrived(purse, to, need, moved + sent if sent else None)
        assert need is not None
        if self._free(purse, to) < need <= self.total(purse) - self._promised[purse, to]:
            raise Unavailable("the account's cash can't be brought from where it is now: send it again")
        return self._free(purse, to) >= need

    async def _send(self, purse: Purse, to: int, lack: int | None) -> int:
        """Have the fullest lines send until nothing lacks; return what was sent."""
        sent = 0
        lines = [(line.free, partition) for partition, line in enumerate(self.known.lines(purse)) if partition != to]
        for free, partition in sorted(lines, reverse=True):
            left = None if lack is None else lack - sent
            if free <= 0 or (left is not None and left <= 0) or self._ports[partition].phase is not Phase.ONLINE:
                continue
            amount = free if left is None else min(free, max(left, free // 2))
            account_id, currency = purse
            command = SendCash(
                account_id=account_id, currency=currency, amount=Minor(amount), to=to, move_id=secrets.token_hex(16)
            )
            try:
                await self._ports[partition].submit(command, actor=ENGINE_ACTOR)
            except InsufficientFunds as e:
                self.known.correct(partition, purse, int(e.details.get("have") or 0))
            except (Busy, Unavailable, OutcomeUnknown):
                continue  # of one whose outcome is unknown, the waiting below will tell
            else:
                sent += amount
        return sent

    async def _arrived(self, purse: Purse, to: int, need: int, moved: int | None) -> None:
        """Wait until so much is free in a line, or what is on the way has come.

        moved: what the line must say of itself then; None if nothing was sent just now.
        """
        self._waiting[purse] += 1
        try:
            async with asyncio.timeout(self.arrive_s):
                while self._free(purse, to) < need:
                    line = self.known.line(to, purse)
                    if not self._on_the_way(purse) if moved is None else line.moved >= moved:
                        return
                    self._arrivals[purse].clear()
                    await self._arrivals[purse].wait()
        except TimeoutError:
            raise Unavailable("the account's cash is on its way to this partition: send it again") from None
        finally:
            self._waiting[purse] -= 1
            if not self._waiting[purse]:
                del self._waiting[purse]
                self._arrivals.pop(purse, None)

    def _on_the_way(self, purse: Purse) -> bool:
        return sum(line.moved for line in self.known.lines(purse)) < 0

    def _changed(self, purse: Purse) -> None:
        if purse in self._waiting:
            self._arrivals[purse].set()
