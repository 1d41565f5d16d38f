"""One loan's order book, built from the feed's snapshot and numbered steps and checked at every step.

Layout: per side a mapping from price to size, cut to the depth after each step. Prices are in basis points of par
(9_850 is 98.50), sizes in minor units of original face.
"""

import asyncio
from collections.abc import AsyncIterator
from typing import NamedTuple
from zlib import crc32

from gateway.client.errors import Unanswered
from gateway.client.wire import Json

Best = tuple[list[tuple[int, int]], list[tuple[int, int]]]  # (price, size) of asks and bids, best first

CHECKED_LEVELS = 10  # best ones of each side that checksum and digest cover


class BookError(Exception):
    """A message does not follow from what is known: the book must be sent anew."""


class Level(NamedTuple):
    price: int
    qty: int


class Book:
    """A book to some depth.

    seq, epoch: of the last step; 0 before the first snapshot.  is_live: whether it follows the market right now.
    """

    def __init__(self, symbol: str, depth: int = 10) -> None:
        self.symbol = symbol
        self.depth = depth
        self.seq = self.epoch = 0
        self.is_live = False
        self.conflated = 0  # steps that the service merged into others because this reader was slow, or away
        self.resyncs = 0  # snapshots that were asked for because a step did not fit
        self._bids: dict[int, int] = {}
        self._asks: dict[int, int] = {}
        self._steps = 0  # that readers could have seen
        self._stepped = asyncio.Event()
        self._end: Exception | None = None

    async def updates(self) -> AsyncIterator["Book"]:
        """Yield the book as it is, then whenever it has changed; a reader that takes long sees the latest alone."""
        seen = -1
        while True:
            if self._end is not None:
                raise self._end
            if seen == self._steps:
                await self._stepped.wait()
            else:
                seen = self._steps
                yield self

    async def known(self, timeout_s: float) -> None:
        """Wait for the first snapshot. Raises Unanswered."""
        try:
            async with asyncio.timeout(timeout_s):
                while self._end is None and not self.epoch:
                    await self._stepped.wait()
        except TimeoutError as e:
            raise Unanswered(f"there was no snapshot of {self.symbol} within {timeout_s} s") from e
        if self._end is not None:
            raise self._end

    def tell(self, *, is_live: bool) -> None:
        """Wake who reads updates."""
        self.is_live = is_live
        self._steps += 1
        self._stepped.set()
        self._stepped.clear()

    def end(self, error: Exception) -> None:
        """There will be no more: readers of updates get the error."""
        self._end = error
        self.tell(is_live=False)

    @property
    def bids(self) -> list[Level]:
        """Best (highest) first."""
        return [Level(*level) for level in sorted(self._bids.items(), reverse=True)]

    @property
    def asks(self) -> list[Level]:
        """Best (lowest) first."""
        return [Level(*level) for level in sorted(self._asks.items())]

    @property
    def best_bid(self) -> Level | None:
        return Level(price := max(self._bids), self._bids[price]) if self._bids else None

    @property
    def best_ask(self) -> Level | None:
        return Level(price := min(self._asks), self._asks[price]) if self._asks else None

    def take(self, kind: str, row: Json) -> None:
        """Apply a snapshot, which replaces all, or an update. Raises BookError; then only a snapshot helps."""
        if kind == "snapshot":
            self._bids, self._asks = {}, {}
        elif (row["prev_seq"], row["epoch"]) != (self.seq, self.epoch):
            raise BookError(f"step {row['prev_seq']} of epoch {row['epoch']} came after {self.seq} of {self.epoch}")
        for side, levels in ((self._bids, row["bids"]), (self._asks, row["asks"])):
            for level in levels:
                price, qty = _minor(level["price"]), _minor(level["qty"])
                if qty:
                    side[price] = qty
                elif side.pop(price, None) is None:
                    raise BookError(f"{level['price']} is removed from a book of {self.symbol} that does not have it")
        self._cut()
        self.seq, self.epoch = row["seq"], row["epoch"]
        self.conflated += row.get("conflated", 0)
        best = self._best()
        if _digest(best) != row["digest"] or _checksum(best) != row["checksum"]:
            raise BookError(f"the book of {self.symbol} differs from the market's at step {self.seq}")

    def checksum(self) -> int:
        """CRC-32 of the best asks, then bids, each as price and size without a point."""
        return _checksum(self._best())

    def digest(self) -> int:
        """CRC-32 of `price:size|price:size#price:size`, asks before bids."""
        return _digest(self._best())

    def _best(self) -> Best:
        asks, bids = sorted(self._asks.items()), sorted(self._bids.items(), reverse=True)
        return asks[:CHECKED_LEVELS], bids[:CHECKED_LEVELS]

    def _cut(self) -> None:
        """Forget what better levels pushed out of view: the feed does not tell it."""
        while len(self._bids) > self.depth:
            del self._bids[min(self._bids)]
        while len(self._asks) > self.depth:
            del self._asks[max(self._asks)]


def _checksum(best: Best) -> int:
    return crc32("".join(f"{price}{qty}" for side in best for price, qty in side).encode())


def _digest(best: Best) -> int:
    return crc32("#".join("|".join(f"{price}:{qty}" for price, qty in side) for side in best).encode())


def _minor(text: str) -> int:
    """Return an amount of two decimals in units of the second: `units` without Decimal, for it is asked per level."""
    whole, _, fraction = text.partition(".")
    return int(whole + fraction.ljust(2, "0"))
