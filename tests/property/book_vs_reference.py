"""Drives the book and the reference book with the same random operations and compares them after each one.

    python -m tests.property.book_vs_reference --operations 1000000 --seed 7

Compared every time: fills, cancels and decrements in order; what became of the order; the whole resting state with
queue order and priorities; the level changes; links of orders that left; the book's own invariants.
"""

import argparse
import random
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import count

from market.errors import FokUnfilled, MinQuantityUnfilled, PostOnlyCross
from market.ids import AccountId, Face, LoanId, OrderId, PriceBp
from market.orderbook.book import Check, OrderBook
from market.orderbook.order import Order, OrderType, SelfTradePrevention, Side, TimeInForce
from tests.property.reference_book import Entry, Outcome, ReferenceBook, Request

LOAN = LoanId("L1")
OWNERS = ("ann", "bob", "cem", "dan", "eve")
RESTING_WANTED = 30


class Divergence(AssertionError):
    """The two books differ."""


@dataclass(frozen=True)
class Amend:
    order_id: int
    price: int
    quantity: int


@dataclass(frozen=True)
class Cancel:
    order_id: int


@dataclass(frozen=True)
class Recover:
    """Rebuild the book from its orders, as a restart does."""


Operation = Request | Amend | Cancel | Recover


class BookUnderTest:
    """The book, and the little that a venue does around it, speaking the reference's language."""

    def __init__(self, new_book: Callable[[LoanId], OrderBook] = OrderBook) -> None:
        self.new_book = new_book
        self.book = new_book(LOAN)
        self.priorities: Iterator[int] = count(1)
        self.orders: dict[int, Order] = {}  # that rested after the last operation

    def submit(self, request: Request) -> Outcome:
        order = Order(
            order_id=OrderId(request.order_id),
            account_id=AccountId(request.owner),
            loan_id=LOAN,
            side=request.side,
            price=PriceBp(request.price),
            quantity=Face(request.quantity),
            priority=next(self.priorities),
            order_type=OrderType.MARKET if request.is_market else OrderType.LIMIT,
            time_in_force=request.time_in_force,
            post_only=request.post_only,
            min_quantity=None if request.min_quantity is None else Face(request.min_quantity),
            display_quantity=None if request.display_quantity is None else Face(request.display_quantity),
            stp=request.stp,
        )
        judge = request.new_judge()
        return self._enter(order, lambda maker, quantity: judge(maker.order_id, quantity))

    def amend(self, order_id: int, price: int, quantity: int) -> Outcome:
        order = self.orders[order_id]
        if price == order.price and quantity < order.quantity:
            self.book.reduce(order, Face(quantity))
            return Outcome(rests=True, remaining=order.leaves)
        leaves = Face(quantity - order.filled)
        priority = self.priority_after_amend(order)
        if order.post_only and self.book.would_cross(order.side, PriceBp(price)):
            return Outcome(refused=True, remaining=leaves)
        self.book.remove(order)
        order.price, order.quantity, order.leaves = PriceBp(price), Face(quantity), leaves
        order.priority, order.min_quantity = priority, None
        return self._enter(order, None)

    def priority_after_amend(self, order: Order) -> int:
        return next(self.priorities)

    def cancel(self, order_id: int) -> None:
        self.book.remove(self.orders[order_id])

    def recover(self) -> None:
        orders = sorted(self.orders.values(), key=lambda order: order.priority)
        for order in orders:
            self.book.remove(order)
        self.book = self.new_book(LOAN)
        for order in orders:
            self.book.restore(order)
        self.book.take_changes()

    def _enter(self, order: Order, check: Check | None) -> Outcome:
        try:
            plan = self.book.submit(order, self.priorities, check)
        except (PostOnlyCross, FokUnfilled, MinQuantityUnfilled):
            return Outcome(refused=True, remaining=order.leaves)
        if order.level is not None:
            self.orders[order.order_id] = order
        return Outcome(
            events=[(kind.value, maker.order_id, quantity, maker.price) for kind, maker, quantity in plan.steps],
            filled=plan.filled,
            decremented=plan.decremented,
            remaining=plan.remaining,
            stopped=None if plan.stopped is None else plan.stopped.value,
            rests=order.level is not None,
        )


class Generator:
    """Random operations on whatever rests in the reference book, around a price that wanders."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.order_ids = count(1)
        self.middle = 10_000

    def next(self, book: ReferenceBook) -> Operation:
        rng = self.rng
        self.middle += rng.choice((-1, 0, 0, 0, 0, 0, 0, 0, 0, 1))
        if not book.entries or rng.random() < (0.45 if len(book.entries) > RESTING_WANTED else 0.75):
            return self._new()
        entry = rng.choice(book.entries)
        draw = rng.random()
        if draw < 0.002:
            return Recover()
        return Cancel(entry.order_id) if draw < 0.5 else self._amend(entry)

    def _new(self) -> Request:
        rng = self.rng
        side = rng.choice((Side.BUY, Side.SELL))
        away = rng.randint(-3, 8)
        quantity = rng.choice((rng.randint(1, 9), rng.randint(10, 60), rng.randint(1, 200)))
        return Request(
            order_id=next(self.order_ids),
            owner=rng.choice(OWNERS),
            side=side,
            price=self.middle - away if side is Side.BUY else self.middle + away,
            quantity=quantity,
            time_in_force=rng.choice((TimeInForce.GTC,) * 6 + (TimeInForce.DAY, TimeInForce.IOC, TimeInForce.FOK)),
            is_market=rng.random() < 0.03,
            post_only=rng.random() < 0.08,
            min_quantity=rng.randint(1, quantity) if rng.random() < 0.08 else None,
            display_quantity=rng.randint(1, quantity) if rng.random() < 0.25 else None,
            stp=rng.choice(list(SelfTradePrevention)),
            stop_after=rng.randint(0, 80) if rng.random() < 0.05 else None,
            skip_every=rng.randint(2, 5) if rng.random() < 0.05 else None,
        )

    def _amend(self, entry: Entry) -> Amend:
        rng = self.rng
        price = entry.price if rng.random() < 0.5 else self.middle + rng.randint(-5, 5)
        return Amend(entry.order_id, price, rng.randint(entry.filled + 1, entry.quantity + 5))


def compare(
    seed: int, operations: int, subject: BookUnderTest, *, on_progress: Callable[[int], None] | None = None
) -> Counter[str]:
    """Run `operations` random operations; return how often what happened, so that a caller can see that it did.

    Raises Divergence, naming the seed and the operation, at the first difference, broken invariant or crash.
    """
    generator, reference = Generator(random.Random(seed)), ReferenceBook()
    seen, states = Counter[str](), (_levels_of(reference, Side.BUY), _levels_of(reference, Side.SELL))
    for number in range(1, operations + 1):
        operation = generator.next(reference)
        expected = _perform(reference, operation)
        try:
            actual = _perform(subject, operation)
            before, states = states, (_levels_of(reference, Side.BUY), _levels_of(reference, Side.SELL))
            _expect(actual == expected, f"outcome {actual}, expected {expected}")
            _compare_resting(subject, reference)
            _compare_changes(subject, before, states)
            subject.book.check_invariants()
        except Exception as e:
            raise Divergence(f"seed {seed}, operation {number}: {operation}: {type(e).__name__}: {e}") from e
        seen.update(_what_happened(operation, expected))
        if on_progress is not None:
            on_progress(number)
    return seen


def _what_happened(operation: Operation, outcome: Outcome | None) -> Iterator[str]:
    yield type(operation).__name__
    if outcome is None:
        return
    yield from (what for what, *_ in outcome.events)
    filled = [maker_id for what, maker_id, *_ in outcome.events if what == "fill"]
    if len(set(filled)) < len(filled):
        yield "iceberg met again"
    if outcome.refused:
        yield "refused"
    if outcome.stopped is not None:
        yield f"stopped by {outcome.stopped}"


def _perform(book: ReferenceBook | BookUnderTest, operation: Operation) -> Outcome | None:
    match operation:
        case Request():
            return book.submit(operation)
        case Amend(order_id, price, quantity):
            return book.amend(order_id, price, quantity)
        case Cancel(order_id):
            book.cancel(order_id)
        case Recover():
            if isinstance(book, BookUnderTest):
                book.recover()
    return None


def _compare_resting(subject: BookUnderTest, reference: ReferenceBook) -> None:
    for side in Side:
        actual = [_fields(order) for order in subject.book.orders(side)]
        expected = [_fields(entry) for entry in reference.resting(side)]
        _expect(actual == expected, f"{side} orders rest as {actual}, expected {expected}")
    resting = {entry.order_id for entry in reference.entries}
    for order_id in [order_id for order_id in subject.orders if order_id not in resting]:
        order = subject.orders.pop(order_id)
        links = (order.level, order.prev, order.next)
        _expect(links == (None, None, None), f"order {order_id} left, its links stayed")


def _fields(order: Order | Entry) -> tuple[int, int, int, int, int, int, int]:
    return order.order_id, order.price, order.quantity, order.filled, order.leaves, order.shown, order.priority


Levels = dict[int, list[tuple[int, int, int]]]


def _levels_of(reference: ReferenceBook, side: Side) -> Levels:
    levels: Levels = {}
    for entry in reference.resting(side):
        levels.setdefault(entry.price, []).append((entry.priority, entry.leaves, entry.shown))
    return levels


def _compare_changes(subject: BookUnderTest, before: tuple[Levels, Levels], after: tuple[Levels, Levels]) -> None:
    """Each level whose queue changed must be told, once, with its visible total; no other."""
    expected = {
        (side, price, sum(shown for *_, shown in new.get(price, [])))
        for side, old, new in zip((Side.BUY, Side.SELL), before, after, strict=True)
        for price in {*old, *new}
        if old.get(price) != new.get(price)
    }
    changes = [(change.side, change.price, change.quantity) for change in subject.book.take_changes()]
    _expect(len(changes) == len(set(changes)), f"a level is told twice: {changes}")
    _expect(set(changes) == expected, f"told {sorted(changes)}, expected {sorted(expected)}")
    for side, levels in zip((Side.BUY, Side.SELL), after, strict=True):
        prices = sorted(levels, reverse=side is Side.BUY)
        totals = [(price, sum(shown for *_, shown in levels[price])) for price in prices]
        _expect(
            subject.book.levels(side, 500) == totals, f"{side} levels {subject.book.levels(side, 500)}, not {totals}"
        )
        _expect(subject.book.best(side) == (prices[0] if prices else None), f"best {side} is not {prices[:1]}")


def _expect(holds: bool, otherwise: str) -> None:
    if not holds:
        raise Divergence(otherwise)


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Compare the book with the reference book over random operations.")
    parser.add_argument("--operations", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=None, help="default: a new one each time, printed")
    options = parser.parse_args(arguments)
    seed = random.SystemRandom().randrange(1 << 32) if options.seed is None else options.seed
    print(f"seed {seed}, {options.operations} operations", flush=True)
    began = time.monotonic()

    def show(number: int) -> None:
        if number % 50_000 == 0:
            print(f"{number} operations equal after {time.monotonic() - began:.0f} s", flush=True)

    try:
        seen = compare(seed, options.operations, BookUnderTest(), on_progress=show)
    except Divergence as e:
        sys.exit(f"DIVERGED: {e}")
    print(f"seed {seed}: {options.operations} operations equal in {time.monotonic() - began:.0f} s")
    print(*(f"{what}: {times}" for what, times in sorted(seen.items())), sep="\n")


if __name__ == "__main__":
    main()
