"""The board: what is on offer across all loans, kept in order by every figure and found a page at a time.

Layout: one entry per loan with its figures (whole numbers, None where there is none) and its words; per figure a list
sorted by (value, loan) and one of the loans without it; per word the set of its loans.
Invariants: an entry stands in every index under its present values and under no others. A page costs at most the steps
that it is given, so that a search through everything can give way to other work in between.
Left out: what the figures mean and where they come from (gateway/reads/board.py).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum
from itertools import islice
from typing import NamedTuple, TypeAlias

from sortedcontainers import SortedList

from market.ids import LoanId

NARROW_MAX = 2_000  # so few candidates are looked at one by one instead of walking in the order asked for


LOAN_ID_MAX = 32  # bytes


class Figure(IntEnum):
    """What a board is sorted and bounded by; its value is its place in an entry. A word's figure is its rank."""

    YTM = 0
    PRICE = 1
    DISCOUNT = 2
    REMAINING_MONTHS = 3
    RATE = 4
    AVAILABLE = 5
    BID = 6
    LAST = 7
    GRADE = 8
    CLAIM_TYPE = 9
    HISTORY = 10


class Facet(IntEnum):
    """What an entry has one word of; its value is its place in an entry."""

    STATUS = 0
    CURRENCY = 1
    ORIGINATOR = 2
    GRADE = 3
    CLAIM_TYPE = 4
    GUARANTEE = 5
    NEVER_LATE = 6


class Entry(NamedTuple):
    """One loan. figures: by Figure, within 63 bits.  words: by Facet.  text: what a search looks into, case folded."""

    loan_id: LoanId
    figures: tuple[int | None, ...]
    words: tuple[str, ...]
    text: str


# Where an entry stands: (1 if it has no figure, the figure, the loan). In the order of loans backwards a loan's bytes,
# as a number below 0, stand for the figure.
Key: TypeAlias = tuple[int, int, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Which entries, in which order. Equal wishes are equal, whoever has them.

    loans: of these only, None for any.  words: of each facet one of these.  bounds: (figure, least, most), either may
    be None; an entry without the figure is none of these.  text: found in the entry's, case folded.  sort: None for
    the order of loan ids; entries without the figure come last either way, those with the same in the order of ids.
    """

    loans: frozenset[LoanId] | None = None
    words: tuple[tuple[Facet, frozenset[str]], ...] = ()
    bounds: tuple[tuple[Figure, int | None, int | None], ...] = ()
    text: str = ""
    sort: Figure | None = None
    descending: bool = False

    def accepts(self, entry: Entry) -> bool:
        if self.loans is not None and entry.loan_id not in self.loans:
            return False
        for facet, wanted in self.words:
            if entry.words[facet] not in wanted:
                return False
        for figure, low, high in self.bounds:
            value = entry.figures[figure]
            if value is None or (low is not None and value < low) or (high is not None and value > high):
                return False
        return self.text in entry.text

    def key(self, entry: Entry) -> Key:
        """Return what accepted entries are sorted by, ascending."""
        if self.sort is None:
            return self.key_of(entry.loan_id)
        value = entry.figures[self.sort]
        if value is None:
            return 1, 0, entry.loan_id
        return 0, -value if self.descending else value, entry.loan_id

    def key_of(self, loan_id: str) -> Key:
        """Return what a loan is sorted by in the order of loans."""
        backwards = -int.from_bytes(loan_id.encode().ljust(LOAN_ID_MAX, b"\0")) if self.descending else 0
        return 0, backwards, loan_id


class Board:
    """All entries. `put` costs some tens of microseconds, however many there are."""

    def __init__(self) -> None:
        self._entries: dict[LoanId, Entry] = {}
        self._ids: SortedList[LoanId] = SortedList()
        self._by_figure: list[SortedList[tuple[int, LoanId]]] = [SortedList() for _ in Figure]
        self._without: list[SortedList[LoanId]] = [SortedList() for _ in Figure]
        self._by_word: dict[tuple[Facet, str], set[LoanId]] = {}

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, loan_id: LoanId) -> Entry | None:
        return self._entries.get(loan_id)

    def put(self, entry: Entry) -> None:
        """Enter a loan, or what it is now."""
        loan_id, old = entry.loan_id, self._entries.get(entry.loan_id)
        self._entries[loan_id] = entry
        if old is None:
            self._ids.add(loan_id)
        for figure in Figure:
            if old is None or old.figures[figure] != entry.figures[figure]:
                if old is not None:
                    self._leave(figure, old)
                self._enter(figure, entry)
        for facet in Facet:
            if old is None or old.words[facet] != entry.words[facet]:
                if old is not None:
                    self._by_word[facet, old.words[facet]].discard(loan_id)
                self._by_word.setdefault((facet, entry.words[facet]), set()).add(loan_id)

    def search(
        self, wanted: Wanted, *, after: Key | None = None, limit: int, steps: int
    ) -> tuple[list[Key], Key | None]:
        """Return up to `limit` keys of what is wanted behind `after`, and from where to go on; None: that is all.

        steps: so many entries are looked at, at most, or NARROW_MAX if that is all there can be.
        """
        if after is not None and wanted.sort is None:
            after = wanted.key_of(after[2])  # whatever number it bears
        if (few := self._few(wanted)) is not None:
            keys = sorted(wanted.key(entry) for entry in few if wanted.accepts(entry))
            rest = keys if after is None else [key for key in keys if key > after]
            return rest[:limit], rest[limit - 1] if len(rest) > limit else None
        found: list[Key] = []
        last: Entry | None = None
        for entry in islice(self._walk(wanted, after), steps):
            if len(found) == limit:
                return found, found[-1]
            steps -= 1
            last = entry
            if wanted.accepts(entry):
                found.append(wanted.key(entry))
        return found, None if steps or last is None else wanted.key(last)

    def _enter(self, figure: Figure, entry: Entry) -> None:
        value = entry.figures[figure]
        if value is None:
            self._without[figure].add(entry.loan_id)
        else:
            self._by_figure[figure].add((value, entry.loan_id))

    def _leave(self, figure: Figure, entry: Entry) -> None:
        value = entry.figures[figure]
        if value is None:
            self._without[figure].remove(entry.loan_id)
        else:
            self._by_figure[figure].remove((value, entry.loan_id))

    def _few(self, wanted: Wanted) -> list[Entry] | None:
        """Return candidates that hold all that is wanted, if some index shows that they are few."""
        if wanted.loans is not None:
            return [self._entries[loan_id] for loan_id in wanted.loans if loan_id in self._entries]
        for facet, words in wanted.words:
            sets = [self._by_word.get((facet, word), set()) for word in words]
            if sum(map(len, sets)) <= NARROW_MAX:
                return [self._entries[loan_id] for loans in sets for loan_id in loans]
        for figure, low, high in wanted.bounds:
            rows = self._by_figure[figure]
            start, end = _range(rows, low, high)
            if end - start <= NARROW_MAX:
                return [self._entries[loan_id] for _, loan_id in rows.islice(start, end)]
        return None

    def _walk(self, wanted: Wanted, after: Key | None) -> Iterator[Entry]:
        """Yield entries in the order wanted behind `after`; those beyond the sorted figure's bounds may be left out."""
        entries, figure = self._entries, wanted.sort
        if figure is None:
            ids = self._ids
            if wanted.descending:
                rest = ids.islice(0, len(ids) if after is None else ids.bisect_left(after[2]), reverse=True)
            else:
                rest = ids.islice(0 if after is None else ids.bisect_right(after[2]))
            yield from (entries[loan_id] for loan_id in rest)
            return
        low, high = next(((low, high) for bound, low, high in wanted.bounds if bound is figure), (None, None))
        rows, without = self._by_figure[figure], self._without[figure]
        if after is None or after[0] == 0:
            walk = _descending if wanted.descending else _ascending
            yield from (entries[loan_id] for _, loan_id in walk(rows, after, *_range(rows, low, high)))
        start = without.bisect_right(after[2]) if after is not None and after[0] == 1 else 0
        yield from (entries[loan_id] for loan_id in without.islice(start))


Rows: TypeAlias = "SortedList[tuple[int, LoanId]]"


def _range(rows: Rows, low: int | None, high: int | None) -> tuple[int, int]:
    """Return the places of the values from `low` to `high`, the end excluded; no place at all if low > high."""
    start = 0 if low is None else rows.bisect_left((low, ""))
    end = len(rows) if high is None else rows.bisect_left((high + 1, ""))
    return start, max(start, end)


def _ascending(rows: Rows, after: Key | None, start: int, end: int) -> Iterator[tuple[int, LoanId]]:
    if after is not None:
        start = max(start, rows.bisect_right((after[1], after[2])))
    yield from rows.islice(start, max(start, end))


def _descending(rows: Rows, after: Key | None, start: int, end: int) -> Iterator[tuple[int, LoanId]]:
    """Yield the values from the highest down, and those that are the same in the order of loans."""
    if after is not None:
        value = -after[1]
        same = rows.bisect_left((value, "")), rows.bisect_left((value + 1, ""))
        if start <= same[0] < end:
            yield from rows.islice(rows.bisect_right((value, after[2])), same[1])
        end = min(end, same[0])
    while start < end:
        group = max(start, rows.bisect_left((rows[end - 1][0], "")))
        yield from rows.islice(group, end)
        end = group
