"""The comparison with the reference book has teeth: each bug planted here is found within a few thousand operations."""

from collections.abc import Callable, Iterator

import pytest

from market.errors import InvariantViolation
from market.events import LevelChange
from market.ids import Face, PriceBp
from market.orderbook import book, level
from market.orderbook.book import Check, MatchPlan, OrderBook, Step, StepKind
from market.orderbook.level import BookSide, Ladder, Level, showable
from market.orderbook.order import Order, SelfTradePrevention, Side
from tests.property.book_vs_reference import BookUnderTest, Divergence, compare

WITHIN_OPERATIONS = 4_000
SEED = 20_240_501

Patch = pytest.MonkeyPatch
Plant = Callable[[Patch], None]
PLANTS: dict[str, Plant] = {}


def plant(bug: Plant) -> Plant:
    PLANTS[bug.__name__] = bug
    return bug


@plant
def level_is_last_in_first_out(patch: Patch) -> None:
    def append(self: Level, order: Order) -> None:
        order.level, order.next = self, self.head
        if self.head is None:
            self.tail = order
        else:
            self.head.prev = order
        self.head = order
        self.shown = Face(self.shown + order.shown)

    patch.setattr(Level, "append", append)
    patch.setattr(book, "_check_level", lambda *_: None)  # found by what is traded, not by the audit


@plant
def orders_at_the_limit_itself_do_not_trade(patch: Patch) -> None:
    right = OrderBook.plan

    def plan(
        self: OrderBook,
        *,
        side: Side,
        limit: PriceBp,
        quantity: Face,
        owner: str,
        stp: SelfTradePrevention,
        check: Check | None = None,
    ) -> MatchPlan:
        inside = PriceBp(limit - 1 if side is Side.BUY else limit + 1)
        return right(self, side=side, limit=inside, quantity=quantity, owner=owner, stp=stp, check=check)

    patch.setattr(OrderBook, "plan", plan)


@plant
def post_only_may_lock_the_book(patch: Patch) -> None:
    def would_cross(self: OrderBook, side: Side, price: PriceBp) -> bool:
        best = self.best(side.opposite)
        return best is not None and (best < price if side is Side.BUY else best > price)

    patch.setattr(OrderBook, "would_cross", would_cross)


@plant
def fill_is_not_taken_off_the_level_total(patch: Patch) -> None:
    right = BookSide.fill

    def fill(self: BookSide, order: Order, quantity: Face, priorities: Iterator[int]) -> None:
        of = order.level
        right(self, order, quantity, priorities)
        if of is not None:
            of.shown = Face(of.shown + quantity)

    patch.setattr(BookSide, "fill", fill)
    patch.setattr(book, "_check_level", lambda *_: None)


@plant
def cancel_is_not_taken_off_the_level_total(patch: Patch) -> None:
    right = Level.unlink

    def unlink(self: Level, order: Order) -> None:
        right(self, order)
        self.shown = Face(self.shown + order.shown)

    patch.setattr(Level, "unlink", unlink)
    patch.setattr(book, "_check_level", lambda *_: None)


@plant
def emptied_level_stays(patch: Patch) -> None:
    def leave(self: BookSide, order: Order) -> None:
        level.level_of(order).unlink(order)
        self.touched[self.sign * order.price] = None

    patch.setattr(BookSide, "leave", leave)


@plant
def best_price_is_stale_after_its_level_is_gone(patch: Patch) -> None:
    right = Ladder.drop

    def drop(self: Ladder[Level], key: int) -> None:
        if len(self.keys) > 1 and key == self.keys[-1]:
            del self.rungs[key]
        else:
            right(self, key)

    patch.setattr(Ladder, "drop", drop)


@plant
def wrong_price_is_dropped_below_the_best(patch: Patch) -> None:
    right = Ladder.drop

    def drop(self: Ladder[Level], key: int) -> None:
        if len(self.keys) > 2 and key < self.keys[-2]:
            del self.rungs[key]
            del self.keys[-2]
        else:
            right(self, key)

    patch.setattr(Ladder, "drop", drop)


@plant
def refreshed_iceberg_keeps_its_place(patch: Patch) -> None:
    def fill(self: BookSide, order: Order, quantity: Face, _priorities: Iterator[int]) -> None:
        of = level.level_of(order)
        order.filled, order.leaves = Face(order.filled + quantity), Face(order.leaves - quantity)
        before = order.shown
        order.shown = Face(order.shown - quantity) or showable(order, order.leaves)
        of.shown = Face(of.shown + order.shown - before)
        self.touched[self.sign * order.price] = None
        if order.leaves == 0:
            self.leave(order)

    patch.setattr(BookSide, "fill", fill)


@plant
def iceberg_shows_all_when_it_queues(patch: Patch) -> None:
    patch.setattr(book, "showable", lambda _order, leaves: leaves)


@plant
def reduced_order_loses_its_place(patch: Patch) -> None:
    right = OrderBook.reduce

    def reduce(self: OrderBook, order: Order, quantity: Face) -> None:
        right(self, order, quantity)
        shown = order.shown
        self.remove(order)
        order.shown = shown
        self.restore(order)

    patch.setattr(OrderBook, "reduce", reduce)
    patch.setattr(book, "_check_level", lambda *_: None)


@plant
def reduced_iceberg_shows_more_than_it_has(patch: Patch) -> None:
    def shrink(self: BookSide, order: Order, by: Face) -> None:
        order.quantity, order.leaves = Face(order.quantity - by), Face(order.leaves - by)
        self.touched[self.sign * order.price] = None
        if order.leaves == 0:
            self.leave(order)

    patch.setattr(BookSide, "shrink", shrink)
    patch.setattr(book, "_check_level", lambda *_: None)


@plant
def priority_is_kept_on_price_change(patch: Patch) -> None:
    patch.setattr(BookUnderTest, "priority_after_amend", lambda _self, order: order.priority)
    patch.setattr(book, "_check_level", lambda *_: None)


@plant
def cancelled_makers_stay(patch: Patch) -> None:
    right = OrderBook.apply

    def apply(self: OrderBook, step: Step, priorities: Iterator[int]) -> None:
        if step.kind is not StepKind.CANCEL_MAKER:
            right(self, step, priorities)

    patch.setattr(OrderBook, "apply", apply)


@plant
def links_of_a_cancelled_order_stay(patch: Patch) -> None:
    right = Level.unlink

    def unlink(self: Level, order: Order) -> None:
        after = order.next
        right(self, order)
        order.next = after

    patch.setattr(Level, "unlink", unlink)


@plant
def decrement_sees_only_what_is_shown(patch: Patch) -> None:
    right = book._prevent_self_trade

    def prevent(taking: MatchPlan, maker: Order, leaves: Face, stp: SelfTradePrevention) -> None:
        right(taking, maker, min(leaves, maker.shown), stp)

    patch.setattr(book, "_prevent_self_trade", prevent)


@plant
def cancel_both_spares_the_taker(patch: Patch) -> None:
    right = book._prevent_self_trade

    def prevent(taking: MatchPlan, maker: Order, leaves: Face, stp: SelfTradePrevention) -> None:
        both = stp is SelfTradePrevention.CANCEL_BOTH
        right(taking, maker, leaves, SelfTradePrevention.CANCEL_OLDEST if both else stp)

    patch.setattr(book, "_prevent_self_trade", prevent)


@plant
def refreshed_iceberg_is_met_once_only(patch: Patch) -> None:
    class Forgetful(list[object]):
        def append(self, _item: object) -> None:
            """Lose it."""

    patch.setattr(book, "deque", Forgetful)


@plant
def level_that_is_gone_is_not_told(patch: Patch) -> None:
    right = OrderBook.take_changes

    def take_changes(self: OrderBook) -> list[LevelChange]:
        return [change for change in right(self) if change.quantity > 0]

    patch.setattr(OrderBook, "take_changes", take_changes)


@plant
def recovery_shows_the_whole_iceberg_anew(patch: Patch) -> None:
    right = OrderBook.restore

    def restore(self: OrderBook, order: Order) -> None:
        order.shown = showable(order, order.leaves)
        right(self, order)

    patch.setattr(OrderBook, "restore", restore)


@plant
def rest_of_an_immediate_order_rests(patch: Patch) -> None:
    patch.setattr(book, "IMMEDIATE", frozenset())


@plant
def minimum_quantity_counts_what_was_decremented(patch: Patch) -> None:
    right = OrderBook.plan

    def plan(self: OrderBook, **words: object) -> MatchPlan:
        found = right(self, **words)  # type: ignore[arg-type]
        found.filled = Face(found.filled + found.decremented)
        return found

    patch.setattr(OrderBook, "plan", plan)


def test_nothing_planted_nothing_found() -> None:
    compare(SEED, WITHIN_OPERATIONS, BookUnderTest())


@pytest.mark.parametrize("bug", PLANTS)
def test_planted_bug_is_found(bug: str, monkeypatch: Patch) -> None:
    PLANTS[bug](monkeypatch)
    with pytest.raises(Divergence) as found:
        compare(SEED, WITHIN_OPERATIONS, BookUnderTest())
    # Found by what the book did, not because the patch itself is broken (TypeError, NameError, ...).
    assert isinstance(found.value.__cause__, Divergence | InvariantViolation | KeyError)
