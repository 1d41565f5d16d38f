"""The board by columns: figures and words of all entries as numbers, for questions that concern them all.

A page is found by the ordered indexes (board.py). How many there are, in which order they all stand, and how they
spread over words and figures takes a look at every entry: here a few passes over arrays, milliseconds for 100,000.
Layout: an entry has a place for good; per figure an array of values (NONE where there is none), per facet an array of
codes, numbered in the order in which its words came.
Invariant: a result is a copy; entries that change later do not change it.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from market.ids import LoanId
from market.orderbook.board import Entry, Facet, Figure, Wanted

NONE = -(2**63)  # no figure: entries hold theirs within 63 bits
ROOM_AT_FIRST = 1_024

Ints = NDArray[np.int64]
Places = NDArray[np.intp]


@dataclass(frozen=True, slots=True)
class Points:
    """Loans by months to go, grade and yield, one array item per group of loans that are about the same.

    ytm_ppm: mean of the group, rounded to nearest.  loan: the group's only one, None of several.
    """

    months: list[int]
    ytm_ppm: list[int]
    grade: list[str]
    count: list[int]
    never_late: list[int]
    loan: list[LoanId | None]


@dataclass(frozen=True, slots=True, eq=False)
class Cut:
    """What a filter lets through, at one moment, ready to be worked on elsewhere: it shares nothing that changes.

    names: of the loans.  key: what they are sorted by, ascending, None for the order in which they are.
    """

    names: NDArray[Any]
    key: Ints | None

    def loans(self) -> list[LoanId]:
        """Return the loans in the order wanted; those with the same key in the order of loans."""
        found: list[LoanId] = (
            self.names if self.key is None else self.names[np.argsort(self.key, kind="stable")]
        ).tolist()
        return found


@dataclass(frozen=True, slots=True, eq=False)
class Spread:
    """Loans that have a yield and months to go, at one moment; like a cut it shares nothing that changes.

    Arrays have one item a loan.  grade: index into `grades`.
    """

    names: NDArray[Any]
    ytm_ppm: Ints
    months: Ints
    grade: Ints
    never_late: NDArray[np.bool_]
    grades: tuple[str, ...]

    def points(self, *, most: int, step_ppm: int) -> Points:
        """Return them in groups of the same months and grade, and yields within one step.

        The step is `step_ppm`, or the least of its doubles that leaves at most `most` groups, if one does.
        """
        if len(self.names) == 0:
            return Points([], [], [], [], [], [])
        same = self.months * len(self.grades) + self.grade
        while True:
            bucket = self.ytm_ppm // step_ppm
            low = int(bucket.min())
            width = int(bucket.max()) - low + 1
            _, first, group, count = np.unique(
                same * width + (bucket - low), return_index=True, return_inverse=True, return_counts=True
            )
            if len(count) <= most or width <= 2:  # a yield below 0 and one above are never put together
                break
            step_ppm *= 2
        groups = len(count)
        lone = self.names[first]
        lone[count > 1] = None
        return Points(
            months=self.months[first].tolist(),
            ytm_ppm=np.rint(np.bincount(group, self.ytm_ppm, groups) / count).astype(np.int64).tolist(),
            grade=[self.grades[code] for code in self.grade[first].tolist()],
            count=count.tolist(),
            never_late=np.bincount(group[self.never_late], minlength=groups).tolist(),
            loan=lone.tolist(),
        )


class Columns:
    """All entries. `put` costs a few microseconds."""

    def __init__(self) -> None:
        self._place: dict[LoanId, int] = {}
        self._names = np.empty(ROOM_AT_FIRST, dtype=object)
        self._texts: list[str] = []
        self._figures = np.full((len(Figure), ROOM_AT_FIRST), NONE, dtype=np.int64)
        self._words = np.zeros((len(Facet), ROOM_AT_FIRST), dtype=np.int64)
        self._codes: list[dict[str, int]] = [{} for _ in Facet]
        self._in_order: Places | None = None  # places by loan, until another loan comes

    def __len__(self) -> int:
        return len(self._texts)

    def put(self, entry: Entry) -> None:
        """Enter a loan, or what it is now."""
        place = self._place.get(entry.loan_id)
        if place is None:
            place = self._place[entry.loan_id] = len(self._texts)
            if place == len(self._names):
                self._grow()
            self._names[place] = entry.loan_id
            self._texts.append(entry.text)
            self._in_order = None
        self._texts[place] = entry.text
        for figure, value in enumerate(entry.figures):
            self._figures[figure, place] = NONE if value is None else value
        for facet, word in enumerate(entry.words):
            codes = self._codes[facet]
            self._words[facet, place] = codes.setdefault(word, len(codes))

    def count(self, wanted: Wanted) -> int:
        return len(self._matches(wanted))

    def cut(self, wanted: Wanted) -> Cut:
        places = self._matches(wanted)
        key = None
        if wanted.sort is not None:
            values = self._figures[wanted.sort, places]
            # Without the figure they come last either way: no value within 63 bits is as large.
            key = np.where(values == NONE, 2**63 - 1, -values if wanted.descending else values)
        elif wanted.descending:
            places = places[::-1]
        return Cut(self._names[places], key)

    def words(self, wanted: Wanted) -> dict[Facet, dict[str, int]]:
        """Return how many loans have each word of each facet, by a filter without its wish for that facet."""
        found: dict[Facet, dict[str, int]] = {}
        chosen = dict(wanted.words)
        whole = self._matches(wanted)
        for facet in Facet:
            places = self._matches(wanted, but=facet) if facet in chosen else whole
            counts = np.bincount(self._words[facet, places], minlength=len(self._codes[facet])).tolist()
            found[facet] = {word: counts[code] for word, code in sorted(self._codes[facet].items()) if counts[code]}
        return found

    def spread(self, wanted: Wanted) -> Spread:
        places = self._matches(wanted)
        for figure in (Figure.YTM, Figure.REMAINING_MONTHS):
            places = places[self._figures[figure, places] != NONE]
        return Spread(
            names=self._names[places],
            ytm_ppm=self._figures[Figure.YTM, places],
            months=self._figures[Figure.REMAINING_MONTHS, places],
            grade=self._words[Facet.GRADE, places],
            never_late=self._words[Facet.NEVER_LATE, places] == self._codes[Facet.NEVER_LATE].get("true", -1),
            grades=tuple(self._codes[Facet.GRADE]),
        )

    def _matches(self, wanted: Wanted, *, but: Facet | None = None) -> Places:
        """Return the places of what is wanted, in the order of loans. but: a facet whose words don't matter."""
        places = self._candidates(wanted.loans)
        for facet, words in wanted.words:
            if facet is but:
                continue
            codes = self._codes[facet]
            is_wanted = np.zeros(len(codes) + 1, dtype=bool)
            is_wanted[[codes[word] for word in words if word in codes]] = True
            places = places[is_wanted[self._words[facet, places]]]
        for figure, low, high in wanted.bounds:
            values = self._figures[figure, places]
            fits = values != NONE
            if low is not None:
                fits &= values >= low
            if high is not None:
                fits &= values <= high
            places = places[fits]
        if wanted.text:
            texts, text = self._texts, wanted.text
            places = places[np.fromiter((text in texts[i] for i in places.tolist()), dtype=bool, count=len(places))]
        return places

    def _candidates(self, loans: frozenset[LoanId] | None) -> Places:
        if loans is not None:
            return np.array([self._place[loan] for loan in sorted(loans) if loan in self._place], dtype=np.intp)
        if self._in_order is None:
            self._in_order = np.array([self._place[loan] for loan in sorted(self._place)], dtype=np.intp)
        return self._in_order

    def _grow(self) -> None:
        room = 2 * len(self._names)
        names = np.empty(room, dtype=object)
        names[: len(self._names)] = self._names
        figures = np.full((len(Figure), room), NONE, dtype=np.int64)
        figures[:, : len(self._names)] = self._figures
        words = np.zeros((len(Facet), room), dtype=np.int64)
        words[:, : len(self._names)] = self._words
        self._names, self._figures, self._words = names, figures, words
