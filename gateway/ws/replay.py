"""The last steps of every book, so that a reader who was away for a moment resumes where it left off.

Layout: per view (a loan at a depth) a queue of packed steps, oldest first, numbered up to `last`; the views themselves
in the order in which they last changed.
Invariants: the steps of a view follow each other without a gap; all together they take at most `bytes_max`. When that
is reached, the view that has not changed for longest loses its oldest steps: who reads it has missed the least.
"""

from collections import OrderedDict, deque
from dataclasses import dataclass, field
from itertools import islice
from struct import Struct, pack, unpack_from

from market.ids import Face, LoanId, Nanos, PriceBp
from market.orderbook.depth import DepthDelta, Row

STEPS_MAX = 10_000  # of one view
HEAD = Struct("<qIIHH")  # time, checksum, digest, levels of either side
OBJECT_BYTES = 41  # what an interpreter adds to a run of bytes in a queue

Step = tuple[DepthDelta, Nanos]


@dataclass(slots=True)
class _Ring:
    """last: the number of the newest step."""

    last: int
    steps: deque[bytes] = field(default_factory=deque)


class BookSteps:
    def __init__(self, *, bytes_max: int, steps_max: int = STEPS_MAX) -> None:
        self.bytes_held = 0
        self._bytes_max, self._steps_max = bytes_max, steps_max
        self._rings: OrderedDict[tuple[LoanId, int], _Ring] = OrderedDict()

    def clear(self) -> None:
        """Numbers begin anew: a rebuild."""
        self._rings.clear()
        self.bytes_held = 0

    def add(self, loan_id: LoanId, delta: DepthDelta, at: Nanos) -> None:
        view = loan_id, delta.depth
        ring = self._rings.get(view)
        if ring is None or ring.last != delta.prev_seq:
            self._drop(view)
            ring = self._rings[view] = _Ring(delta.prev_seq)
        packed = _packed(delta, at)
        ring.steps.append(packed)
        ring.last = delta.seq
        self.bytes_held += len(packed) + OBJECT_BYTES
        self._rings.move_to_end(view)
        if len(ring.steps) > self._steps_max:
            self._forget_one(ring)
        while self.bytes_held > self._bytes_max:
            oldest, ring = next(iter(self._rings.items()))
            self._forget_one(ring)
            if not ring.steps:
                del self._rings[oldest]

    def after(self, loan_id: LoanId, depth: int, seq: int, *, limit: int) -> list[Step] | None:
        """Return the first steps that lead on from `seq`, at most `limit`; None if they are no longer there."""
        ring = self._rings.get((loan_id, depth))
        if ring is None:
            return None
        behind = ring.last - seq  # so many steps lead to now
        start = len(ring.steps) - behind
        if behind < 0 or start < 0:
            return None
        wanted = islice(ring.steps, start, start + limit)
        return [_unpacked(each, depth, number) for number, each in enumerate(wanted, seq + 1)]

    def _drop(self, view: tuple[LoanId, int]) -> None:
        ring = self._rings.pop(view, None)
        while ring is not None and ring.steps:
            self._forget_one(ring)

    def _forget_one(self, ring: _Ring) -> None:
        self.bytes_held -= len(ring.steps.popleft()) + OBJECT_BYTES


def _packed(delta: DepthDelta, at: Nanos) -> bytes:
    levels = [number for level in (*delta.bids, *delta.asks) for number in level]
    head = HEAD.pack(at, delta.checksum, delta.digest, len(delta.bids), len(delta.asks))
    return head + pack(f"<{len(levels)}q", *levels)


def _unpacked(packed: bytes, depth: int, seq: int) -> Step:
    at, checksum, digest, bids, asks = HEAD.unpack_from(packed)
    numbers = unpack_from(f"<{2 * (bids + asks)}q", packed, HEAD.size)
    rows: list[Row] = [
        (PriceBp(price), Face(quantity)) for price, quantity in zip(numbers[::2], numbers[1::2], strict=True)
    ]
    delta = DepthDelta(
        depth=depth, prev_seq=seq - 1, seq=seq, bids=rows[:bids], asks=rows[bids:], checksum=checksum, digest=digest
    )
    return delta, Nanos(at)
