"""Is the book's layout worth it? The same orders through three indexes of prices and two kinds of queue.

    python benchmarks/orderbook_structures.py [--smoke]

Index of prices, measured through the whole OrderBook: a sorted list with the best price last (the one in use), against
sortedcontainers.SortedList and SortedDict. Queue of a price, measured alone: orders linked to each other (in use),
against a dict by order id, whose first entry is searched from the front each time.
Depth, for its own sake: what a level change costs with nobody looking, with one view of ten levels, with four views.
Each variant runs the same operations in turn with the others; the best of the rounds counts. Under 30 s, smoke under 2.
"""

import argparse
import gc
import platform
import random
import time
from collections.abc import Callable, Iterator
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

from sortedcontainers import SortedDict, SortedList

from market.events import LevelChange
from market.ids import AccountId, Face, LoanId, OrderId, PriceBp
from market.orderbook.book import OrderBook
from market.orderbook.depth import LevelBook
from market.orderbook.level import BookSide, Level
from market.orderbook.order import Order, Side

LOAN = LoanId("L1")


class SortedListSide(BookSide):
    """The keys in a SortedList: a list of lists, made for a million entries."""

    def __init__(self, side: Side) -> None:
        super().__init__(side)
        self.keys: Any = SortedList()

    def insert(self, key: int, rung: Level) -> None:
        self.rungs[key] = rung
        self.keys.add(key)

    def drop(self, key: int) -> None:
        del self.rungs[key]
        self.keys.remove(key)


class SortedDictSide(BookSide):
    """Keys and levels in one SortedDict."""

    def __init__(self, side: Side) -> None:
        super().__init__(side)
        self.rungs: Any = SortedDict()
        self.keys: Any = self.rungs.keys()

    def insert(self, key: int, rung: Level) -> None:
        self.rungs[key] = rung

    def drop(self, key: int) -> None:
        del self.rungs[key]


class DictQueue:
    """A price's orders as a dict by order id, which keeps the order of arrival."""

    def __init__(self) -> None:
        self.orders: dict[OrderId, Order] = {}
        self.shown = Face(0)

    def append(self, order: Order) -> None:
        self.orders[order.order_id] = order
        self.shown = Face(self.shown + order.shown)

    def unlink(self, order: Order) -> None:
        del self.orders[order.order_id]
        self.shown = Face(self.shown - order.shown)

    @property
    def head(self) -> Order | None:
        return next(iter(self.orders.values()), None)


def new_order(number: int, side: Side, price: int, quantity: int) -> Order:
    return Order(
        order_id=OrderId(number),
        account_id=AccountId(f"A{number % 1_000}"),
        loan_id=LOAN,
        side=side,
        price=PriceBp(price),
        quantity=Face(quantity),
        priority=number,
    )


def flow(rng: random.Random, operations: int, levels: int) -> Iterator[tuple[Side, int, int] | float]:
    """Yield orders (side, price, quantity) and, four times of ten, cancels (which of the resting, as a fraction)."""
    for _ in range(operations):
        if rng.random() < 0.4:
            yield rng.random()
        else:
            side = rng.choice((Side.BUY, Side.SELL))
            away = int(rng.expovariate(3 / levels)) - 2
            yield side, 10_000 - away if side is Side.BUY else 10_000 + away, rng.randint(1, 100)


def run_book(side_class: type[BookSide], operations: list[tuple[Side, int, int] | float]) -> float:
    """Return seconds for all operations; making the orders before and auditing the book after are not in them."""
    book, numbers = OrderBook(LOAN), count(1)
    book._bids, book._asks = side_class(Side.BUY), side_class(Side.SELL)
    work = [entry if isinstance(entry, float) else new_order(next(numbers), *entry) for entry in operations]
    resting: list[Order] = []
    began = time.perf_counter()
    for entry in work:
        if isinstance(entry, Order):
            book.submit(entry, numbers)
            if entry.level is not None:
                resting.append(entry)
        elif resting:
            at = int(entry * len(resting))
            resting[at], resting[-1] = resting[-1], resting[at]
            order = resting.pop()
            if order.level is not None:
                book.remove(order)
    took = time.perf_counter() - began
    for side in (book._bids, book._asks):
        side.keys = list(side.keys)  # the audit compares it with a list
    book.check_invariants()
    return took


def run_queue(new_queue: Callable[[], Any], waiting: int, operations: int, first_leaves: bool) -> float:
    """A queue of `waiting` orders: one joins, then the first or any one leaves. Return seconds for all operations."""
    rng, queue = random.Random(7), new_queue()
    orders = [new_order(number, Side.BUY, 10_000, 10) for number in range(waiting + operations)]
    picks = [rng.random() for _ in range(operations)]
    alive = orders[:waiting]
    for order in alive:
        queue.append(order)
    began = time.perf_counter()
    for order, pick in zip(orders[waiting:], picks, strict=True):
        queue.append(order)
        if first_leaves:
            queue.unlink(queue.head)
            continue
        at = int(pick * waiting)
        alive[at], gone = order, alive[at]
        queue.unlink(gone)
    return time.perf_counter() - began


def changes_of(operations: list[tuple[Side, int, int] | float]) -> list[list[LevelChange]]:
    """Return the level changes of each operation on a book of at most 500 orders."""
    book, numbers, resting, batches = OrderBook(LOAN), count(1), list[Order](), []
    for entry in operations:
        if not isinstance(entry, float):
            order = new_order(next(numbers), *entry)
            book.submit(order, numbers)
            resting.append(order)
        if len(resting) > 500:
            order = resting.pop(int(len(resting) / 2))
            if order.level is not None:
                book.remove(order)
        resting = [order for order in resting if order.level is not None] if len(resting) > 500 else resting
        batches.append(book.take_changes())
    return batches


def run_depth(depths: tuple[int, ...], batches: list[list[LevelChange]]) -> float:
    """Apply and flush all batches under views of these depths; return seconds."""
    book = LevelBook()
    for depth in depths:
        book.view(depth)
    began = time.perf_counter()
    for batch in batches:
        book.apply(batch)
        book.flush()
    return time.perf_counter() - began


def compare(title: str, operations: int, rounds: int, variants: dict[str, Callable[[], float]]) -> None:
    """Run the variants in turn and print microseconds per operation and the ratio to the first."""
    best = dict.fromkeys(variants, float("inf"))
    for _ in range(rounds):
        for name, run in variants.items():
            gc.collect()
            best[name] = min(best[name], run())
    first = next(iter(best.values()))
    print(f"\n{title}, {operations} operations, best of {rounds}")
    for name, seconds in best.items():
        print(f"  {name:34} {seconds / operations * 1e6:7.2f} us/op   x {seconds / first:.2f}")


def machine() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    model = next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())
    return f"{model}, {platform.system()}, Python {platform.python_version()}"


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure the order book's layout against others.")
    parser.add_argument("--smoke", action="store_true", help="a short run that only shows that it works")
    smoke = parser.parse_args().smoke
    operations, rounds = (2_000, 1) if smoke else (60_000, 3)
    print(f"machine: {machine()}")
    print("input: random orders (60 %) and cancels (40 %), seed 7, prices exponentially denser towards the middle")
    for levels in (50, 2_000):
        entries = list(flow(random.Random(7), operations, levels))
        variants: dict[str, type[BookSide]] = {
            "sorted list, best last (in use)": BookSide,
            "sortedcontainers.SortedList": SortedListSide,
            "sortedcontainers.SortedDict": SortedDictSide,
        }
        compare(
            f"whole book, prices spread over {levels}",
            operations,
            rounds,
            {name: partial(run_book, side_class, entries) for name, side_class in variants.items()},
        )
    for waiting, first_leaves in ((10, True), (1_000, True), (1_000, False)):
        queues: dict[str, Callable[[], Any]] = {
            "linked orders (in use)": partial(Level, PriceBp(10_000)),
            "dict by order id": DictQueue,
        }
        compare(
            f"queue of {waiting} orders: one joins, {'the first' if first_leaves else 'any one'} leaves",
            operations,
            rounds,
            {name: partial(run_queue, queue, waiting, operations, first_leaves) for name, queue in queues.items()},
        )
    batches = changes_of(list(flow(random.Random(7), operations, 100)))
    compare(
        "depth: level changes applied, one flush after each order or cancel",
        sum(len(batch) for batch in batches),
        rounds,
        {
            "a view of 10 levels": partial(run_depth, (10,), batches),
            "no view": partial(run_depth, (), batches),
            "views of 10, 25, 100, 500 levels": partial(run_depth, (10, 25, 100, 500), batches),
        },
    )


if __name__ == "__main__":
    main()
