"""The last 24 hours of a partition as they were before this process heard of it, read from its ledger once.

What is told while that is read is counted behind it, so each trade counts once and in order. A partition whose engine
is away when the process starts is read when it comes.
"""

import asyncio
import logging
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, Final, Protocol

import asyncpg

from gateway.reads.day_stats import WINDOW
from gateway.reads.history import StoredTrade
from gateway.reads.views import Views
from market.events import Event, Traded
from market.ids import Nanos, Seq
from market.partitions import partition_of
from market.port import Committed

log = logging.getLogger(__name__)

RETRY_S: Final = 1.0
ATTEMPTS_MAX: Final = 60
TROUBLE: Final = (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError)


class Trades(Protocol):
    async def latest_trades(self, partition: int, *, since: Nanos, until: Seq, limit: int) -> list[StoredTrade]: ...


class PastDay:
    """An engine listener; register it behind the views.

    trades_max: that are read of one partition.  spawn: runs something beside the engine.  changed: called with a
    partition whose figures are there.
    """

    def __init__(
        self,
        views: Views,
        history: Trades,
        *,
        clock: Callable[[], int],
        trades_max: int,
        spawn: Callable[[Coroutine[Any, Any, None]], None],
        changed: Callable[[int], None],
    ) -> None:
        self._views, self._history = views, history
        self._clock, self._trades_max = clock, trades_max
        self._spawn, self._changed = spawn, changed
        self._is_started = False
        self._heard: dict[int, Seq] = {}  # partitions, with the command up to which their past is to be read
        self._told: dict[int, list[tuple[Nanos, Traded]]] = {}  # of those that are not read yet, what came since

    async def start(self) -> None:
        """Count what was traded in the partitions that were heard so far; later ones are read as they come."""
        self._is_started = True
        for partition in list(self._told):
            await self._read(partition)

    def on_snapshot(self, _epoch: int, seq: Seq, _events: Sequence[Event]) -> None:
        partition = partition_of(seq)
        if partition in self._heard and partition not in self._told:
            return  # read before: what a rebuild brings to light is told by who tells the trades
        self._heard[partition], self._told[partition] = seq, []
        if self._is_started:
            self._spawn(self._read_later(partition))

    def on_epoch(self, epoch: int, seq: Seq) -> None: ...

    def on_entry(self, entry: Committed) -> None:
        if self._told and (told := self._told.get(partition_of(entry.seq))) is not None:
            told += [(entry.at, event) for event in entry.events if isinstance(event, Traded)]

    def on_batch_end(self) -> None: ...

    async def _read_later(self, partition: int) -> None:
        for _ in range(ATTEMPTS_MAX):
            try:
                await self._read(partition)
                return
            except TROUBLE as e:
                log.warning("day_unread partition=%d error=%s", partition, e or type(e).__name__)
            await asyncio.sleep(RETRY_S)

    async def _read(self, partition: int) -> None:
        until = self._heard[partition]
        since = Nanos(self._clock() - WINDOW)
        stored = await self._history.latest_trades(partition, since=since, until=until, limit=self._trades_max)
        if partition in self._told and self._heard[partition] == until:  # else another read is under way, or done
            past = [(trade.at, trade.trade) for trade in stored]
            self._views.count_day(partition, [*past, *self._told.pop(partition)])
            self._changed(partition)
