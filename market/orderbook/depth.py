"""What a reader sees of one book: totals by price, views of the best N levels, gapless deltas, check numbers.

Layout: a LevelBook holds the visible total of every price, fed by the book's level changes; a DepthView is a window on
its best N levels and remembers of them only the worst price it showed. A delta follows from that price and the levels
touched since the last flush, at a cost that does not grow with N.
Invariants: a reader who applies each delta to the snapshot and cuts to N levels holds the N best levels, always;
`seq` names one state of the whole book and so of each view; a view's is that of the last change which it showed.
Left out: epochs, timestamps, merging for slow readers, rendering (gateway/).
"""

from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from typing import NamedTuple, TypeAlias
from zlib import crc32

from market.errors import InvariantViolation
from market.events import LevelChange
from market.ids import Face, PriceBp
from market.orderbook.level import Ladder
from market.orderbook.order import Side

Row: TypeAlias = tuple[PriceBp, Face]

CHECKED_LEVELS = 10  # of each side, in both check numbers, however deep the view is
SEPARATORS = b":|#"
NO_FLOOR = -1 << 63  # below every key: the view has room for more levels
FIRST_SEQ = 1  # of a book that has not changed since numbers began anew


class Depth(NamedTuple):
    """The state of a view. bids, asks: (price, total), best first, at most the view's depth of them."""

    seq: int
    bids: list[Row]
    asks: list[Row]
    checksum: int
    digest: int


class DepthDelta(NamedTuple):
    """The step of a view from `prev_seq` to `seq`. bids, asks: absolute totals, removals (0) first, then best to worst.

    checksum, digest: of the view after the step.
    """

    depth: int
    prev_seq: int
    seq: int
    bids: list[Row]
    asks: list[Row]
    checksum: int
    digest: int


def checksum(bids: Sequence[Row], asks: Sequence[Row]) -> int:
    """Return the CRC-32 (ISO-HDLC) of the ten best asks, then bids, each level its price and total as bare integers.

    bids, asks: best first. It is the digest's text without separators. Source: PROTOCOL, section 4.
    """
    return _check_numbers(_text_of(bids), _text_of(asks))[0]


def digest(bids: Sequence[Row], asks: Sequence[Row]) -> int:
    """Return the CRC-32 of `price:total|price:total#price:total|...`, the ten best asks, then bids, best first.

    Unlike the checksum's text this one can be read in one way only. Source: PROTOCOL, section 4.
    """
    return _check_numbers(_text_of(bids), _text_of(asks))[1]


def _text_of(rows: Sequence[Row]) -> str:
    return "|".join([f"{price}:{quantity}" for price, quantity in rows[:CHECKED_LEVELS]])


def _check_numbers(bids: str, asks: str) -> tuple[int, int]:
    """Return (checksum, digest) of two sides' texts."""
    text = f"{asks}#{bids}".encode()
    return crc32(text.translate(None, SEPARATORS)), crc32(text)


class LevelSide(Ladder[Face]):
    """The totals of one side. before: what the levels touched since the last flush held then (0: nothing), by key."""

    __slots__ = ("_texts", "before")

    def __init__(self, side: Side) -> None:
        super().__init__(side)
        self.before: dict[int, Face] = {}
        self._texts: dict[int, str] = {}  # of the best levels, by their number: dear to make, shared by the views

    def set(self, key: int, quantity: Face) -> None:
        """Make `quantity` the total at `key`, 0 for none. Nothing happens if it is that already."""
        old = self.rungs.get(key, Face(0))
        if quantity == old:
            return
        self.before.setdefault(key, old)
        if quantity == 0:
            self.drop(key)
        elif old == 0:
            self.insert(key, quantity)
        else:
            self.rungs[key] = quantity
        if key >= self.floor_of(CHECKED_LEVELS):
            self._texts.clear()

    def floor_of(self, depth: int) -> int:
        """Return the key of the last level that a view of `depth` shows, NO_FLOOR if it has room for more."""
        return self.keys[-depth] if len(self.keys) >= depth else NO_FLOOR

    def text_of(self, depth: int) -> str:
        """Return the text that the check numbers of a view of `depth` are made of."""
        checked = min(depth, CHECKED_LEVELS)
        text = self._texts.get(checked)
        if text is None:
            text = self._texts[checked] = _text_of(self.best_first(checked))
        return text

    def delta(self, old_floor: int, floor: int) -> list[Row]:
        """Return what a view that reached down to `old_floor` is to be told, now that it reaches to `floor`.

        Removals are of levels that it showed and that are gone; a level that is only pushed below the floor isn't told.
        Told are levels that changed above the floor, and those between the two floors, which come into view.
        """
        gone: list[int] = []
        told: set[int] = set()
        for key, before in self.before.items():
            now = self.rungs.get(key, 0)
            if now == 0 and before != 0 and key >= old_floor:
                gone.append(key)
            elif now not in (0, before) and key >= floor:
                told.add(key)
        if floor < old_floor:
            told.update(self.keys[bisect_left(self.keys, floor) : bisect_left(self.keys, old_floor)])
        sign, rungs = self.sign, self.rungs
        return [(PriceBp(sign * key), Face(0)) for key in sorted(gone, reverse=True)] + [
            (PriceBp(sign * key), rungs[key]) for key in sorted(told, reverse=True)
        ]

    def changed(self) -> dict[int, Face]:
        """Return what the levels held before that are other now than at the last flush, by key."""
        rungs = self.rungs
        return {key: before for key, before in self.before.items() if rungs.get(key, 0) != before}

    def as_of(self, before: Mapping[int, Face], depth: int) -> list[Row]:
        """Return the best levels as they were while those in `before`, by key, held what it says."""
        sign, rungs = self.sign, self.rungs
        keys = [key for key in islice(reversed(self.keys), depth + len(before)) if key not in before]
        keys += [key for key, quantity in before.items() if quantity and key * sign > 0]
        keys.sort(reverse=True)
        return [(PriceBp(sign * key), before.get(key) or rungs[key]) for key in keys[:depth]]


def require_flushed(*sides: LevelSide) -> None:
    if any(side.before for side in sides):
        raise InvariantViolation("changes were applied and not flushed: a view would show half a batch")


class DepthView:
    """The best `depth` levels of both sides, as of the last flush."""

    __slots__ = ("_asks", "_asks_floor", "_bids", "_bids_floor", "depth", "seq")

    def __init__(self, depth: int, bids: LevelSide, asks: LevelSide, seq: int) -> None:
        self.depth = depth
        self.seq = seq
        self._bids, self._asks = bids, asks
        self._bids_floor, self._asks_floor = bids.floor_of(depth), asks.floor_of(depth)

    def snapshot(self) -> Depth:
        """Return the whole view; the next delta's `prev_seq` is its `seq`.

        Raises InvariantViolation between `apply` and `flush`, when it would show half a batch.
        """
        require_flushed(self._bids, self._asks)
        bids, asks = self._bids.best_first(self.depth), self._asks.best_first(self.depth)
        return Depth(self.seq, bids, asks, *self._check_numbers())

    def advance(self, seq: int) -> DepthDelta | None:
        """Take over what was applied since the last flush, up to the state `seq`; None if nothing of it is in view.

        For LevelBook.flush.
        """
        bids_floor, asks_floor = self._bids.floor_of(self.depth), self._asks.floor_of(self.depth)
        bids = self._bids.delta(self._bids_floor, bids_floor)
        asks = self._asks.delta(self._asks_floor, asks_floor)
        if not bids and not asks:
            return None  # the floors are where they were: a level that comes into view or leaves it is in a delta
        self._bids_floor, self._asks_floor = bids_floor, asks_floor
        prev_seq, self.seq = self.seq, seq
        return DepthDelta(self.depth, prev_seq, seq, bids, asks, *self._check_numbers())

    def _check_numbers(self) -> tuple[int, int]:
        return _check_numbers(self._bids.text_of(self.depth), self._asks.text_of(self.depth))


class LevelBook:
    """The visible totals of one book, and the views of it that somebody asked for.

    seq, prev_seq: of the states after and before the last flush that changed something.
    before: what the levels that the last flush changed held before it, by their key (a bid's price, minus an ask's).
    """

    __slots__ = ("_asks", "_bids", "_views", "before", "prev_seq", "seq")

    def __init__(self, changes: Iterable[LevelChange] = ()) -> None:
        self._bids = LevelSide(Side.BUY)
        self._asks = LevelSide(Side.SELL)
        self._views: dict[int, DepthView] = {}
        self.seq = self.prev_seq = FIRST_SEQ
        self.before: dict[int, Face] = {}
        self.apply(changes)
        self.restart(FIRST_SEQ)

    def apply(self, changes: Iterable[LevelChange]) -> None:
        """Take over new absolute totals. Views show them from the next flush on."""
        for change in changes:
            levels = self._bids if change.side is Side.BUY else self._asks
            levels.set(levels.sign * change.price, change.quantity)

    def total(self, side: Side, price: PriceBp) -> Face:
        """Return the visible total at a price, 0 where there is none."""
        levels = self._bids if side is Side.BUY else self._asks
        return levels.rungs.get(levels.sign * price, Face(0))

    def flush(self, seq: int | None = None) -> list[DepthDelta]:
        """End a batch of changes: return one delta for each view that they alter, in order of depth asked for.

        seq: names the state after them, above all that named one before; None for the next number.
        """
        self.before = self._bids.changed() | self._asks.changed()
        deltas: list[DepthDelta] = []
        if self.before:
            self.prev_seq, self.seq = self.seq, self.seq + 1 if seq is None else seq
            deltas = [delta for view in self._views.values() if (delta := view.advance(self.seq)) is not None]
        self._bids.before.clear()
        self._asks.before.clear()
        return deltas

    def restart(self, seq: int) -> None:
        """Name the state as it is by another number, the views' too: numbers begin anew."""
        self.flush()
        self.prev_seq = self.seq = seq
        self.before = {}
        for view in self._views.values():
            view.seq = seq

    def as_of(self, seq: int, before: Mapping[int, Face], depth: int) -> Depth:
        """Return the view of `depth` at a former state: levels held what `before` says, by key, and else what they do.

        Costs some microseconds and more with each level in `before`.
        """
        require_flushed(self._bids, self._asks)
        bids, asks = self._bids.as_of(before, depth), self._asks.as_of(before, depth)
        return Depth(seq, bids, asks, *_check_numbers(_text_of(bids), _text_of(asks)))

    def view(self, depth: int) -> DepthView:
        """Return the view of the best `depth` >= 1 levels. It is made when first asked for, then kept up by each flush.

        Raises InvariantViolation between `apply` and `flush`, like the view's own snapshot.
        """
        require_flushed(self._bids, self._asks)
        view = self._views.get(depth)
        if view is None:
            view = self._views[depth] = DepthView(depth, self._bids, self._asks, self.seq)
        return view

    def best(self, side: Side) -> Row | None:
        """Return the best (price, total) of a side."""
        rows = self.rows(side, 1)
        return rows[0] if rows else None

    def rows(self, side: Side, depth: int | None = None) -> list[Row]:
        """Return (price, total), best first, at most `depth` of them (None: all)."""
        return (self._bids if side is Side.BUY else self._asks).best_first(depth)
