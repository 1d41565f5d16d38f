"""Levels and ladders: queue order, links, totals, best price."""

import gc
import weakref
from typing import Any

import pytest

from market.errors import InvariantViolation
from market.ids import AccountId, Face, LoanId, OrderId, PriceBp
from market.orderbook.level import BookSide, Ladder, Level
from market.orderbook.order import Order, Side


class WatchedOrder(Order):
    __slots__ = ("__weakref__",)


def resting(order_id: int, quantity: int = 10, price: int = 9_800, side: Side = Side.BUY) -> WatchedOrder:
    order = WatchedOrder(
        order_id=OrderId(order_id),
        account_id=AccountId("A"),
        loan_id=LoanId("L1"),
        side=side,
        price=PriceBp(price),
        quantity=Face(quantity),
        priority=order_id,
    )
    order.shown = order.leaves
    return order


def ids(level: Level) -> list[int]:
    return [order.order_id for order in level]


def backwards(level: Level) -> list[int]:
    found, order = [], level.tail
    while order is not None:
        found.append(int(order.order_id))
        order = order.prev
    return found


@pytest.mark.parametrize("gone", [pytest.param(n, id=name) for n, name in ((0, "first"), (1, "middle"), (2, "last"))])
def test_order_leaves_from_anywhere_in_the_queue(gone: int) -> None:
    level, orders = Level(PriceBp(9_800)), [resting(1, 5), resting(2, 7), resting(3, 11)]
    for order in orders:
        level.append(order)
    order = orders.pop(gone)
    level.unlink(order)
    assert ids(level) == [other.order_id for other in orders]
    assert backwards(level) == ids(level)[::-1]
    assert level.shown == 23 - order.quantity
    assert (order.level, order.prev, order.next) == (None, None, None)


def test_level_without_orders_is_as_new() -> None:
    level, order = Level(PriceBp(9_800)), resting(1)
    level.append(order)
    level.unlink(order)
    assert (level.head, level.tail, level.shown) == (None, None, 0)


def test_order_that_left_is_freed_at_once_with_the_collector_off() -> None:
    """Nothing cyclic stays behind, so the collector can be frozen in production."""
    side = BookSide(Side.BUY)
    gc.disable()
    try:
        orders = [resting(n) for n in range(3)]
        watched = [weakref.ref(order) for order in orders]
        for order in orders:
            side.join(order)
        for order in orders:
            side.leave(order)
        del order, orders
        assert [watch() for watch in watched] == [None, None, None]
    finally:
        gc.enable()


def test_ladder_best_is_highest_bid_and_lowest_ask() -> None:
    for side, best_first in ((Side.BUY, [9_900, 9_850, 9_800]), (Side.SELL, [9_800, 9_850, 9_900])):
        ladder: Ladder[Any] = Ladder(side)
        for price in (9_850, 9_800, 9_900):
            ladder.insert(ladder.sign * price, str(price))
        assert ladder.best() == best_first[0]
        assert ladder.best_first() == [(price, str(price)) for price in best_first]
        assert ladder.best_first(2) == ladder.best_first()[:2]
        ladder.drop(ladder.sign * best_first[1])
        ladder.drop(ladder.sign * best_first[0])
        assert ladder.best_first() == [(best_first[2], str(best_first[2]))]


def test_ladder_refuses_to_drop_what_it_does_not_hold() -> None:
    ladder: Ladder[Any] = Ladder(Side.BUY)
    ladder.insert(9_800, "a level")
    with pytest.raises(KeyError):
        ladder.drop(9_801)
    assert ladder.keys == [9_800]


def test_side_drops_a_level_with_its_last_order() -> None:
    side, first, second = BookSide(Side.SELL), resting(1, side=Side.SELL), resting(2, side=Side.SELL)
    side.join(first)
    side.join(second)
    side.leave(first)
    assert side.best() == 9_800
    side.leave(second)
    assert (side.best(), side.keys, side.rungs) == (None, [], {})


def test_order_that_does_not_rest_cannot_leave() -> None:
    with pytest.raises(InvariantViolation):
        BookSide(Side.BUY).leave(resting(1))
