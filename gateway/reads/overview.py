"""What concerns all loans of a filter at once: their order, their spread over words, their map.

An answer costs some milliseconds of the loop and some more beside it for 100,000 loans, and it is the same for
everybody: answers are made one at a time, and one is given to all who ask for it within twenty times of the processor
time that it took. So the answers take a small part of the processor, and those about a short board are always new.
"""

import asyncio
import gzip
import time
from collections import OrderedDict
from collections.abc import Callable

import msgspec

from gateway.reads.board import CommittedBoard
from gateway.wire import ppm_text, time_text
from market.orderbook.board import Facet, Wanted

IDLE_PER_BUSY = 20  # an answer is good for so many times of what it took
ANSWERS_MAX = 32  # kept; packed, so some hundred kB each for 100,000 loans
POINTS_DEFAULT, POINTS_MAX = 2_000, 10_000
STEP_PPM = 1_000  # yields that are nearer than a tenth of a percent may be one point
PACKING = 1  # gzip's level: a third of the time for a tenth more bytes

Name = tuple[str, Wanted, int]


class Overview:
    """Packed JSON answers. clock: nanoseconds since 1970."""

    def __init__(self, board: CommittedBoard, clock: Callable[[], int]) -> None:
        self._board, self._clock = board, clock
        self._answers: OrderedDict[Name, tuple[float, bytes]] = OrderedDict()  # with the second up to which one is good
        self._making = asyncio.Lock()

    async def order(self, wanted: Wanted) -> bytes:
        """Return `BoardOrder` as gzip of JSON."""

        def look(at: str) -> Callable[[], bytes]:
            cut = self._board.columns.cut(wanted)
            return lambda: _packed({"items": cut.loans(), "total": len(cut.names), "timestamp": at})

        return await self._shared(("order", wanted, 0), look)

    async def facets(self, wanted: Wanted) -> bytes:
        """Return `BoardFacets` as gzip of JSON."""

        def look(at: str) -> Callable[[], bytes]:
            columns = self._board.columns
            words = columns.words(wanted)
            told = {facet.name.lower(): dict(sorted(words[facet].items())) for facet in Facet}
            total = columns.count(wanted)
            return lambda: _packed({**told, "total": total, "timestamp": at})

        return await self._shared(("facets", wanted, 0), look)

    async def map(self, wanted: Wanted, *, points: int) -> bytes:
        """Return `BoardMap` as gzip of JSON."""

        def look(at: str) -> Callable[[], bytes]:
            spread = self._board.columns.spread(wanted)

            def draw() -> bytes:
                found = spread.points(most=points, step_ppm=STEP_PPM)
                return _packed(
                    {
                        "remaining_months": found.months,
                        "ytm": [ppm_text(each) for each in found.ytm_ppm],
                        "grade": found.grade,
                        "count": found.count,
                        "never_late": found.never_late,
                        "loan_id": found.loan,
                        "total": len(spread.names),
                        "timestamp": at,
                    }
                )

            return draw

        return await self._shared(("map", wanted, points), look)

    async def _shared(self, name: Name, look: Callable[[str], Callable[[], bytes]]) -> bytes:
        """Return what is known, else look at the board in this loop and do the rest in a thread."""
        if (known := self._known(name)) is not None:
            return known
        async with self._making:
            if (known := self._known(name)) is not None:  # made meanwhile
                return known
            await self._board.settle()
            start = time.thread_time()
            make = look(time_text(self._clock()))
            looked_s = time.thread_time() - start
            packed, made_s = await asyncio.to_thread(_timed, make)
            self._answers[name] = time.monotonic() + IDLE_PER_BUSY * (looked_s + made_s), packed
            self._answers.move_to_end(name)
            if len(self._answers) > ANSWERS_MAX:
                self._answers.popitem(last=False)
            return packed

    def _known(self, name: Name) -> bytes | None:
        kept = self._answers.get(name)
        return kept[1] if kept is not None and time.monotonic() < kept[0] else None


def _packed(answer: object) -> bytes:
    return gzip.compress(msgspec.json.encode(answer), PACKING, mtime=0)


def _timed(make: Callable[[], bytes]) -> tuple[bytes, float]:
    """Return what was made, and the processor seconds of this thread that it took."""
    start = time.thread_time()
    return make(), time.thread_time() - start
