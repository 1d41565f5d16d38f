"""The last steps of every book, so that a reader who was away for a moment resumes where it left off.

Layout: per book a queue of packed steps, oldest first, each with its number and what the levels that it changed held
before: walked backwards from now they give the book as it was at any of their numbers, to any depth. The books
themselves are in the order in which they last changed. Numbers mean the same at every gateway (reads/views.py), so it
does not matter which one a reader had them from.
Invariants: the steps of a book follow each other without a gap; all together they take at most `bytes_max`. When that
is reached, the book that has not changed for longest loses its oldest steps: who reads it has missed the least.
"""

from collections import OrderedDict, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from struct import calcsize, pack, unpack

from market.ids import Face, LoanId
from market.orderbook.depth import LevelBook

STEPS_MAX = 10_000  # of one book; walking back takes about a microsecond for each
NUMBER_BYTES = calcsize("q")
OBJECT_BYTES = 41  # what an interpreter adds to a run of bytes in a queue


@dataclass(slots=True)
class _Ring:
    """first, last: the numbers of the states before the oldest step and after the newest."""

    first: int
    last: int
    steps: deque[bytes] = field(default_factory=deque)


class BookSteps:
    def __init__(self, *, bytes_max: int, steps_max: int = STEPS_MAX) -> None:
        self.bytes_held = 0
        self._bytes_max, self._steps_max = bytes_max, steps_max
        self._rings: OrderedDict[LoanId, _Ring] = OrderedDict()

    def clear(self) -> None:
        """Numbers begin anew: another epoch."""
        self._rings.clear()
        self.bytes_held = 0

    def clear_of(self, is_rebuilt: Callable[[LoanId], bool]) -> None:
        """Numbers of some loans' books begin anew."""
        for loan_id in [loan_id for loan_id in self._rings if is_rebuilt(loan_id)]:
            self._drop(loan_id)

    def add(self, loan_id: LoanId, book: LevelBook) -> None:
        """Keep what the book's last flush changed, if it did."""
        if not book.before:
            return
        ring = self._rings.get(loan_id)
        if ring is None or ring.last != book.prev_seq:
            self._drop(loan_id)
            ring = self._rings[loan_id] = _Ring(book.prev_seq, book.prev_seq)
        packed = _packed(book.seq, book.before)
        ring.steps.append(packed)
        ring.last = book.seq
        self.bytes_held += len(packed) + OBJECT_BYTES
        self._rings.move_to_end(loan_id)
        if len(ring.steps) > self._steps_max:
            self._forget_one(ring)
        while self.bytes_held > self._bytes_max:
            oldest, ring = next(iter(self._rings.items()))
            self._forget_one(ring)
            if not ring.steps:
                del self._rings[oldest]

    def since(self, loan_id: LoanId, seq: int, book: LevelBook) -> tuple[int, dict[int, Face]] | None:
        """Return how many steps lead from the state `seq` to now, and what the levels that they changed held at it.

        None if that is not known, or no state was ever given this number.
        """
        ring = self._rings.get(loan_id)
        if ring is None or ring.last != book.seq or seq < ring.first:
            return None
        before: dict[int, Face] = {}
        for count, packed in enumerate(reversed(ring.steps)):
            number, held = _unpacked(packed)
            if number <= seq:
                return (count, before) if number == seq else None
            before.update(held)
        return (len(ring.steps), before) if ring.first == seq else None

    def _drop(self, loan_id: LoanId) -> None:
        ring = self._rings.pop(loan_id, None)
        while ring is not None and ring.steps:
            self._forget_one(ring)

    def _forget_one(self, ring: _Ring) -> None:
        packed = ring.steps.popleft()
        ring.first, _ = _unpacked(packed)
        self.bytes_held -= len(packed) + OBJECT_BYTES


def _packed(seq: int, before: Mapping[int, Face]) -> bytes:
    return pack(f"<{1 + 2 * len(before)}q", seq, *before, *before.values())


def _unpacked(packed: bytes) -> tuple[int, dict[int, Face]]:
    seq, *numbers = unpack(f"<{len(packed) // NUMBER_BYTES}q", packed)
    half = len(numbers) // 2
    return seq, dict(zip(numbers[:half], map(Face, numbers[half:]), strict=True))
