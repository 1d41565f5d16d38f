"""What the engine of one partition does beside trading when there are several: it is one market with the others.

It receives the cash that they sent; a later one also keeps up with the first, and sends idle cash back there.
"""

from collections.abc import Coroutine

from gateway.process.config import Settings
from gateway.process.lifecycle import open_market
from gateway.process.metrics import Metrics
from market.engine import Engine
from market.settlement.catching_up import CatchUp
from market.settlement.receiving import Receiver
from market.settlement.reclaiming import IdleLines


class Partition:
    """Made before the engine runs, whose commits it hears."""

    def __init__(self, dsn: str, engine: Engine, settings: Settings, metrics: Metrics) -> None:
        self._engine = engine
        self._settings = settings
        self._catch_up = CatchUp(dsn, engine, settings.partition) if settings.partition else None
        self._idle_lines = IdleLines(engine, idle_s=settings.cash_line_idle_s)
        if self._catch_up is not None:
            engine.listen(self._idle_lines)
        self._receiver = Receiver(
            dsn,
            engine,
            settings.partition,
            on_unknown_account=None if self._catch_up is None else self._catch_up.now,
        )
        receiver = self._receiver
        metrics.watch_partition(
            settings.partition, "market_due_cash_moves", "Cash that could not be received yet", lambda: receiver.due
        )

    async def open(self) -> None:
        """Open the market on its very first start: by the settings at the first partition, elsewhere as it is there."""
        if self._catch_up is None:
            await open_market(self._engine, self._settings)
        else:
            await self._catch_up.begin()

    def works(self) -> list[tuple[Coroutine[None, None, None], str]]:
        """Return what is to run as long as the engine does, each with its name; nothing where there is one engine."""
        if self._settings.partitions == 1:
            return []
        works = [(self._receiver.run(), "the receipt of cash")]
        if self._catch_up is not None:
            works += [
                (self._idle_lines.run(), "the return of idle cash"),
                (self._catch_up.run(), "the eye on the first partition"),
            ]
        return works
