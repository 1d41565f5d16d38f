"""One price of a book, the ladder of a side's prices, and the two together: one side of a book.

Layout: a level is a FIFO queue linked through the orders themselves (order.prev, order.next, order.level), so an order
leaves from anywhere in O(1); a ladder is a dict from key to rung beside the sorted list of keys, the best one last.
Invariants: an order outside a level has no links, so nothing cyclic stays behind; no level is empty; a level's `shown`
is the sum over its orders.
"""

from bisect import bisect_left, insort
from collections.abc import Iterator
from itertools import islice
from typing import Generic, TypeVar

from market.errors import InvariantViolation
from market.ids import Face, PriceBp
from market.orderbook.order import Order, Side

Rung = TypeVar("Rung")


class Level:
    """The orders of one price in order of priority. shown: their visible total."""

    __slots__ = ("head", "price", "shown", "tail")

    def __init__(self, price: PriceBp) -> None:
        self.price = price
        self.shown = Face(0)
        self.head: Order | None = None
        self.tail: Order | None = None

    def append(self, order: Order) -> None:
        """Link `order`, which stands in no level, behind all others. O(1)."""
        order.level, order.prev = self, self.tail
        if self.tail is None:
            self.head = order
        else:
            self.tail.next = order
        self.tail = order
        self.shown = Face(self.shown + order.shown)

    def unlink(self, order: Order) -> None:
        """Take `order`, which stands in this level, out of the queue. O(1)."""
        before, after = order.prev, order.next
        if before is None:
            self.head = after
        else:
            before.next = after
        if after is None:
            self.tail = before
        else:
            after.prev = before
        order.level = order.prev = order.next = None
        self.shown = Face(self.shown - order.shown)

    def __iter__(self) -> Iterator[Order]:
        order = self.head
        while order is not None:
            yield order
            order = order.next


class Ladder(Generic[Rung]):
    """What one side of a book holds by price, best price first.

    key: sign * price, so that a better price has a greater key on both sides; prices are positive.
    keys: ascending, so the best one is last, where most inserts and removals happen, in O(1); elsewhere they cost a
    binary search and a memmove of machine words.
    """

    __slots__ = ("keys", "rungs", "side", "sign")

    def __init__(self, side: Side) -> None:
        self.side = side
        self.sign = 1 if side is Side.BUY else -1
        self.keys: list[int] = []
        self.rungs: dict[int, Rung] = {}

    def insert(self, key: int, rung: Rung) -> None:
        """Put a rung at a key that has none."""
        self.rungs[key] = rung
        insort(self.keys, key)

    def drop(self, key: int) -> None:
        """Remove the rung at `key`; KeyError if there is none."""
        del self.rungs[key]
        keys = self.keys
        if keys[-1] == key:
            keys.pop()
        else:
            del keys[bisect_left(keys, key)]

    def best(self) -> PriceBp | None:
        return PriceBp(self.sign * self.keys[-1]) if self.keys else None

    def best_first(self, depth: int | None = None) -> list[tuple[PriceBp, Rung]]:
        """Return (price, rung), best first, at most `depth` of them (None: all)."""
        sign, rungs = self.sign, self.rungs
        return [(PriceBp(sign * key), rungs[key]) for key in islice(reversed(self.keys), depth)]


class BookSide(Ladder[Level]):
    """The levels of one side. touched: keys of the levels that changed since someone last asked, in order of change."""

    __slots__ = ("touched",)

    def __init__(self, side: Side) -> None:
        super().__init__(side)
        self.touched: dict[int, None] = {}

    def join(self, order: Order) -> None:
        """Queue `order` behind all others of its price."""
        key = self.sign * order.price
        level = self.rungs.get(key)
        if level is None:
            level = Level(order.price)
            self.insert(key, level)
        level.append(order)
        self.touched[key] = None

    def leave(self, order: Order) -> None:
        """Take `order` out; its level goes with the last one. InvariantViolation if it does not rest."""
        level, key = level_of(order), self.sign * order.price
        level.unlink(order)
        if level.head is None:
            self.drop(key)
        self.touched[key] = None

    def fill(self, order: Order, quantity: Face, priorities: Iterator[int]) -> None:
        """Fill part or all of what `order` shows; an iceberg then shows more, from the back of the queue."""
        level = level_of(order)
        if quantity > order.shown:
            raise InvariantViolation(f"order {order.order_id} shows {order.shown}, filled by {quantity}: a stale plan")
        order.filled = Face(order.filled + quantity)
        order.leaves = Face(order.leaves - quantity)
        order.shown = Face(order.shown - quantity)
        level.shown = Face(level.shown - quantity)
        self.touched[self.sign * order.price] = None
        if order.leaves == 0:
            self.leave(order)
        elif order.shown == 0:
            level.unlink(order)
            order.shown = showable(order, order.leaves)
            order.priority = next(priorities)
            level.append(order)

    def shrink(self, order: Order, by: Face) -> None:
        """Take `by` <= leaves off the order's quantity, hidden part first; it keeps its place or, emptied, leaves."""
        level = level_of(order)
        order.quantity = Face(order.quantity - by)
        order.leaves = Face(order.leaves - by)
        unseen = max(order.shown - order.leaves, 0)
        order.shown = Face(order.shown - unseen)
        level.shown = Face(level.shown - unseen)
        self.touched[self.sign * order.price] = None
        if order.leaves == 0:
            self.leave(order)


def showable(order: Order, leaves: Face) -> Face:
    """Return what `order` shows when it queues with `leaves` open."""
    return leaves if order.display_quantity is None else min(order.display_quantity, leaves)


def level_of(order: Order) -> Level:
    """Return the level that `order` rests in; InvariantViolation if in none."""
    if order.level is None:
        raise InvariantViolation(f"order {order.order_id} does not rest in the book")
    return order.level
