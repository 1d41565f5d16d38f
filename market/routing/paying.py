"""A command that its partition refused for want of cash is sent again once the cash was brought there.

It loses its place by that, so what its account sends meanwhile could be overtaken: what takes orders out ends all that
waits for cash, which is refused then as it was at first. Cash of one purse is brought one by one: the first may bring
enough for all; what came is promised to the command that it came for.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Coroutine, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from contextvars import copy_context
from dataclasses import dataclass
from typing import Any, Final
from weakref import WeakValueDictionary

from market.commands import AmendOrder, CheckOrder, Command, PlaceOrder, Withdraw
from market.errors import InsufficientFunds, MarketError, Unavailable
from market.ids import AccountId, Currency
from market.port import EnginePort, Reply
from market.routing.answers import Told
from market.routing.cash import CashMoves
from market.routing.known import Purse

log = logging.getLogger(__name__)

Paid = PlaceOrder | CheckOrder | AmendOrder | Withdraw  # what may be refused for want of cash

AGAIN_MAX: Final = 2  # that a command is sent again


@dataclass(slots=True, eq=False)
class Waiting:
    """A command whose cash is being brought. is_off: its account has sent what takes orders out since."""

    is_off: bool = False


class Payer:
    def __init__(self, ports: Sequence[EnginePort], moves: CashMoves) -> None:
        self.moves = moves
        self._ports = ports
        self._waiting: dict[AccountId, set[Waiting]] = {}
        self._turns: WeakValueDictionary[Purse, asyncio.Lock] = WeakValueDictionary()
        self._tasks: set[asyncio.Task[None]] = set()

    def paying(self, where: int, command: Paid, actor: str, reply: Reply) -> Reply:
        """Return what to hear the first outcome of a command with: `reply` hears the last one.

        What lacks is known from the refusal alone: the loan may be one of which nothing else was heard yet.
        """
        context = copy_context()  # of whom it is sent for

        def told(answer: Told) -> None:
            if isinstance(answer, InsufficientFunds) and isinstance(currency := answer.details.get("currency"), str):
                account_id = command.order.account_id if isinstance(command, CheckOrder) else command.account_id
                purse = account_id, Currency(currency)
                context.run(self.spawn, self._send_again(purse, where, command, actor, reply, answer))
            else:
                reply(answer)

        return told

    def take_out(self, account_id: AccountId) -> None:
        """Let nothing of an account that waits be sent any more."""
        for waiting in self._waiting.get(account_id, ()):
            waiting.is_off = True

    @asynccontextmanager
    async def turn(self, purse: Purse) -> AsyncIterator[None]:
        """Wait until nobody else brings cash of this purse. Raises Unavailable if that takes too long."""
        lock = self._turns.get(purse)
        if lock is None:
            lock = self._turns[purse] = asyncio.Lock()
        try:
            async with asyncio.timeout(self.moves.arrive_s):
                await lock.acquire()
        except TimeoutError:
            raise Unavailable("the account's cash is on its way: send it again") from None
        try:
            yield
        finally:
            lock.release()

    @contextmanager
    def waits(self, account_id: AccountId) -> Iterator[Waiting]:
        waiting = Waiting()
        self._waiting.setdefault(account_id, set()).add(waiting)
        try:
            yield waiting
        finally:
            self._waiting[account_id].discard(waiting)
            if not self._waiting[account_id]:
                del self._waiting[account_id]

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:  # our bug; the refusal was told
            log.error("payment_failed", exc_info=error)

    async def stop(self) -> None:
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _send_again(
        self, purse: Purse, where: int, command: Command, actor: str, reply: Reply, refusal: InsufficientFunds
    ) -> None:
        told: MarketError | None = refusal  # None once somebody else will reply
        own = self._own(refusal, purse, where, command)
        try:
            with self.waits(purse[0]) as waiting:
                for _ in range(AGAIN_MAX):
                    need = self._need(refusal, purse, where, command)
                    async with AsyncExitStack() as stack:
                        async with self.turn(purse):
                            came = await self.moves.bring(purse, where, need)
                            stack.enter_context(self.moves.promised(purse, where, need or 0))
                        if not came or waiting.is_off:
                            break
                        told = None
                        again = await self._sent(where, command, actor, reply)
                    if again is None:
                        break
                    told = refusal = again
        except MarketError as error:
            told = error
        finally:
            if told is not None:
                reply(self._of_all_lines(told, purse, own))

    def _need(self, refusal: InsufficientFunds, purse: Purse, where: int, command: Command) -> int | None:
        """Return what must be free in the line, None if the refusal does not say it."""
        need = refusal.details.get("need")
        return need - self._own(refusal, purse, where, command) if isinstance(need, int) else None

    def _own(self, refusal: InsufficientFunds, purse: Purse, where: int, command: Command) -> int:
        """Return what an order that is to be amended holds itself: it was free to it."""
        have = refusal.details.get("have")
        if not isinstance(command, AmendOrder) or not isinstance(have, int):
            return 0
        return max(have - self.moves.known.line(where, purse).free, 0)

    async def _sent(self, where: int, command: Command, actor: str, reply: Reply) -> InsufficientFunds | None:
        """Send and reply at once with what is told; but return that it was short of cash again."""
        done: asyncio.Future[InsufficientFunds | None] = asyncio.get_running_loop().create_future()

        def hear(answer: Told) -> None:
            short = answer if isinstance(answer, InsufficientFunds) else None
            if done.cancelled() or short is None:
                reply(answer)
            if not done.done():
                done.set_result(short)

        self._ports[where].send(command, actor=actor, reply=hear)
        return await done

    def _of_all_lines(self, error: MarketError, purse: Purse, own: int) -> MarketError:
        """Return a refusal that says what the account has, not what one of its lines has."""
        if not isinstance(error, InsufficientFunds):
            return error
        return InsufficientFunds(
            str(error), field=error.field, **{**error.details, "have": self.moves.total(purse) + own}
        )
