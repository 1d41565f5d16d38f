"""The rules of matching and resting, one test per rule."""

from collections.abc import Iterator
from itertools import count
from typing import Any

import pytest

from market.errors import FokUnfilled, InvariantViolation, MinQuantityUnfilled, PostOnlyCross
from market.events import LevelChange
from market.ids import AccountId, Face, LoanId, OrderId, PriceBp
from market.orderbook.book import Check, MatchPlan, OrderBook, Stopped, Verdict
from market.orderbook.order import Order, OrderType, SelfTradePrevention, Side, TimeInForce

BUY, SELL = Side.BUY, Side.SELL
STP = SelfTradePrevention


class Desk:
    """A book with numbers to give out, and orders made in one line."""

    def __init__(self) -> None:
        self.book = OrderBook(LoanId("L1"))
        self.numbers: Iterator[int] = count(1)

    def make(self, side: Side, quantity: int, price: int, owner: str = "maker", **words: Any) -> Order:
        number = next(self.numbers)
        return Order(
            order_id=OrderId(number),
            account_id=AccountId(owner),
            loan_id=self.book.loan_id,
            side=side,
            price=PriceBp(price),
            quantity=Face(quantity),
            priority=number,
            **words,
        )

    def rest(self, side: Side, quantity: int, price: int, owner: str = "maker", **words: Any) -> Order:
        order = self.make(side, quantity, price, owner, **words)
        self.book.add(order)
        self.book.take_changes()
        return order

    def submit(
        self, side: Side, quantity: int, price: int, owner: str = "taker", **words: Any
    ) -> tuple[Order, MatchPlan]:
        order = self.make(side, quantity, price, owner, **words)
        plan = self.book.submit(order, self.numbers)
        self.book.check_invariants()
        return order, plan

    def plan(
        self,
        side: Side,
        quantity: int,
        price: int,
        owner: str = "taker",
        stp: SelfTradePrevention = STP.CANCEL_NEWEST,
        check: Check | None = None,
    ) -> MatchPlan:
        return self.book.plan(
            side=side, limit=PriceBp(price), quantity=Face(quantity), owner=owner, stp=stp, check=check
        )

    def queue(self, side: Side) -> list[tuple[int, int, int]]:
        """Return (order id, leaves, shown), best first."""
        return [(order.order_id, order.leaves, order.shown) for order in self.book.orders(side)]


@pytest.fixture
def desk() -> Desk:
    return Desk()


def steps(plan: MatchPlan) -> list[tuple[str, int, int]]:
    return [(kind.value, maker.order_id, quantity) for kind, maker, quantity in plan.steps]


def fills(plan: MatchPlan) -> list[tuple[int, int, int]]:
    """Return (maker, quantity, price) of each fill."""
    return [(maker.order_id, quantity, maker.price) for kind, maker, quantity in plan.steps if kind.value == "fill"]


# Price, then time


def test_empty_book_fills_nothing_and_the_order_rests(desk: Desk) -> None:
    order, plan = desk.submit(BUY, 10, 9_800)
    assert (plan.steps, plan.filled, plan.remaining, plan.stopped) == ([], 0, 10, None)
    assert desk.queue(BUY) == [(order.order_id, 10, 10)]


def test_best_price_first_at_the_makers_price(desk: Desk) -> None:
    dear, cheap = desk.rest(SELL, 10, 9_850), desk.rest(SELL, 10, 9_840)
    _, plan = desk.submit(BUY, 15, 9_900)
    assert fills(plan) == [(cheap.order_id, 10, 9_840), (dear.order_id, 5, 9_850)]
    low, high = desk.rest(BUY, 10, 9_700), desk.rest(BUY, 10, 9_710)
    _, plan = desk.submit(SELL, 15, 9_600)
    assert fills(plan) == [(high.order_id, 10, 9_710), (low.order_id, 5, 9_700)]


def test_first_come_first_served_within_a_price(desk: Desk) -> None:
    first, second = desk.rest(SELL, 10, 9_850), desk.rest(SELL, 10, 9_850)
    _, plan = desk.submit(BUY, 12, 9_850)
    assert fills(plan) == [(first.order_id, 10, 9_850), (second.order_id, 2, 9_850)]
    assert desk.queue(SELL) == [(second.order_id, 8, 8)]


def test_partly_filled_maker_keeps_its_place(desk: Desk) -> None:
    first, second = desk.rest(SELL, 10, 9_850), desk.rest(SELL, 10, 9_850)
    desk.submit(BUY, 4, 9_850)
    _, plan = desk.submit(BUY, 8, 9_850)
    assert fills(plan) == [(first.order_id, 6, 9_850), (second.order_id, 2, 9_850)]


@pytest.mark.parametrize(
    ("side", "limit", "trades"),
    [
        pytest.param(BUY, 9_849, False, id="buy below the offer"),
        pytest.param(BUY, 9_850, True, id="buy at the offer"),
        pytest.param(BUY, 9_851, True, id="buy above the offer"),
        pytest.param(SELL, 9_801, False, id="sell above the bid"),
        pytest.param(SELL, 9_800, True, id="sell at the bid"),
        pytest.param(SELL, 9_799, True, id="sell below the bid"),
    ],
)
def test_limit_trades_at_its_own_price_and_better(desk: Desk, side: Side, limit: int, trades: bool) -> None:
    desk.rest(SELL, 10, 9_850)
    desk.rest(BUY, 10, 9_800)
    assert desk.book.would_cross(side, PriceBp(limit)) is trades
    assert (desk.plan(side, 1, limit).filled == 1) is trades


def test_rest_of_a_limit_order_rests_at_its_price(desk: Desk) -> None:
    desk.rest(SELL, 10, 9_850)
    order, plan = desk.submit(BUY, 25, 9_860)
    assert (plan.filled, plan.remaining) == (10, 15)
    assert (order.quantity, order.filled, order.leaves, order.shown) == (25, 10, 15, 15)
    assert desk.book.best(BUY) == 9_860
    assert desk.book.best(SELL) is None


def test_filled_maker_is_out_of_the_book(desk: Desk) -> None:
    maker = desk.rest(SELL, 10, 9_850)
    desk.submit(BUY, 10, 9_850)
    assert (maker.filled, maker.leaves, maker.shown, maker.level) == (10, 0, 0, None)
    assert desk.queue(SELL) == []


# Planning


def test_plan_changes_nothing(desk: Desk) -> None:
    desk.rest(SELL, 10, 9_850, display_quantity=Face(3))
    desk.rest(SELL, 10, 9_850, owner="taker")
    before = desk.queue(SELL)
    plan = desk.plan(BUY, 12, 9_850, stp=STP.DECREMENT)
    assert len(plan.steps) == 2
    assert desk.queue(SELL) == before
    assert desk.book.take_changes() == []
    desk.book.check_invariants()


def test_stale_plan_is_a_broken_invariant(desk: Desk) -> None:
    desk.rest(SELL, 10, 9_850)
    plan = desk.plan(BUY, 8, 9_850)
    desk.book.execute(plan, desk.numbers)
    with pytest.raises(InvariantViolation):
        desk.book.execute(plan, desk.numbers)


def test_plan_whose_maker_has_gone_is_a_broken_invariant(desk: Desk) -> None:
    maker = desk.rest(SELL, 10, 9_850)
    plan = desk.plan(BUY, 8, 9_850)
    desk.book.remove(maker)
    with pytest.raises(InvariantViolation):
        desk.book.execute(plan, desk.numbers)


# Time in force, post-only, minimum quantity


def test_ioc_remainder_does_not_rest(desk: Desk) -> None:
    desk.rest(SELL, 10, 9_850)
    order, plan = desk.submit(BUY, 25, 9_860, time_in_force=TimeInForce.IOC)
    assert (plan.filled, plan.remaining, order.leaves, order.level) == (10, 15, 15, None)
    assert desk.queue(BUY) == []


def test_market_order_takes_up_to_its_limit_and_does_not_rest(desk: Desk) -> None:
    desk.rest(SELL, 10, 9_850)
    desk.rest(SELL, 10, 9_950)
    order, plan = desk.submit(BUY, 25, 9_900, order_type=OrderType.MARKET)
    assert (plan.filled, order.level) == (10, None)


def test_fok_fills_in_full_across_levels(desk: Desk) -> None:
    desk.rest(SELL, 10, 9_850)
    desk.rest(SELL, 10, 9_860)
    _, plan = desk.submit(BUY, 20, 9_860, time_in_force=TimeInForce.FOK)
    assert (plan.filled, plan.remaining) == (20, 0)


@pytest.mark.parametrize(
    ("words", "refusal"),
    [
        pytest.param({"time_in_force": TimeInForce.FOK}, FokUnfilled, id="fill or kill, one short"),
        pytest.param({"min_quantity": Face(11)}, MinQuantityUnfilled, id="minimum quantity, one short"),
        pytest.param({"post_only": True}, PostOnlyCross, id="post-only that would trade"),
    ],
)
def test_refused_order_leaves_no_trace(desk: Desk, words: dict[str, Any], refusal: type[Exception]) -> None:
    desk.rest(SELL, 10, 9_850, display_quantity=Face(4))
    before = desk.queue(SELL)
    order = desk.make(BUY, 11, 9_850, "taker", **words)
    with pytest.raises(refusal):
        desk.book.submit(order, desk.numbers)
    assert desk.queue(SELL) == before
    assert desk.book.take_changes() == []
    assert (order.filled, order.leaves, order.level) == (0, 11, None)


def test_minimum_quantity_that_is_met_lets_the_rest_rest(desk: Desk) -> None:
    desk.rest(SELL, 10, 9_850)
    order, plan = desk.submit(BUY, 25, 9_850, min_quantity=Face(10))
    assert (plan.filled, order.leaves, order.level is not None) == (10, 15, True)


def test_fok_counts_hidden_quantity(desk: Desk) -> None:
    desk.rest(SELL, 10, 9_850, display_quantity=Face(1))
    _, plan = desk.submit(BUY, 10, 9_850, time_in_force=TimeInForce.FOK)
    assert plan.filled == 10


def test_post_only_rests_next_to_the_other_side(desk: Desk) -> None:
    desk.rest(SELL, 10, 9_850)
    order, _ = desk.submit(BUY, 10, 9_849, post_only=True)
    assert order.level is not None


# Icebergs


def test_iceberg_shows_its_display_quantity(desk: Desk) -> None:
    desk.rest(SELL, 100, 9_850, display_quantity=Face(30))
    desk.rest(SELL, 20, 9_850, display_quantity=Face(30))
    assert desk.book.levels(SELL, 10) == [(9_850, 50)]


def test_refreshed_iceberg_joins_the_back_with_a_new_priority(desk: Desk) -> None:
    iceberg, plain = desk.rest(SELL, 100, 9_850, display_quantity=Face(30)), desk.rest(SELL, 10, 9_850)
    priority = iceberg.priority
    desk.submit(BUY, 30, 9_850)
    assert desk.queue(SELL) == [(plain.order_id, 10, 10), (iceberg.order_id, 70, 30)]
    assert iceberg.priority > plain.priority > priority


def test_partly_taken_iceberg_shows_what_is_left_of_the_tip(desk: Desk) -> None:
    iceberg, plain = desk.rest(SELL, 100, 9_850, display_quantity=Face(30)), desk.rest(SELL, 10, 9_850)
    desk.submit(BUY, 29, 9_850)
    assert desk.queue(SELL) == [(iceberg.order_id, 71, 1), (plain.order_id, 10, 10)]


def test_taker_meets_icebergs_in_turns(desk: Desk) -> None:
    one = desk.rest(SELL, 50, 9_850, display_quantity=Face(20))
    two = desk.rest(SELL, 25, 9_850, display_quantity=Face(10))
    plain = desk.rest(SELL, 5, 9_850)
    _, plan = desk.submit(BUY, 78, 9_850)
    a, b, c = one.order_id, two.order_id, plain.order_id
    turns = [(a, 20), (b, 10), (c, 5), (a, 20), (b, 10), (a, 10), (b, 3)]
    assert [(maker, quantity) for maker, quantity, _ in fills(plan)] == turns
    assert desk.queue(SELL) == [(b, 2, 2)]


def test_iceberg_is_used_up_before_the_next_price(desk: Desk) -> None:
    iceberg, worse = desk.rest(SELL, 9, 9_850, display_quantity=Face(4)), desk.rest(SELL, 5, 9_860)
    _, plan = desk.submit(BUY, 10, 9_860)
    assert [(maker, quantity) for maker, quantity, _ in fills(plan)] == [
        *((iceberg.order_id, quantity) for quantity in (4, 4, 1)),
        (worse.order_id, 1),
    ]


# Self-trade prevention


@pytest.mark.parametrize(
    ("stp", "expected_steps", "remaining", "stopped"),
    [
        pytest.param(STP.CANCEL_NEWEST, [("fill", 1, 5)], 25, Stopped.STP, id="cancel newest"),
        pytest.param(
            STP.CANCEL_OLDEST,
            [("fill", 1, 5), ("stp_cancel_maker", 2, 10), ("fill", 3, 10)],
            15,
            None,
            id="cancel oldest",
        ),
        pytest.param(STP.CANCEL_BOTH, [("fill", 1, 5), ("stp_cancel_maker", 2, 10)], 25, Stopped.STP, id="cancel both"),
        pytest.param(
            STP.DECREMENT, [("fill", 1, 5), ("stp_decrement", 2, 10), ("fill", 3, 10)], 5, None, id="decrement"
        ),
    ],
)
def test_order_meets_one_of_its_own_owner(
    desk: Desk, stp: SelfTradePrevention, expected_steps: list[Any], remaining: int, stopped: Stopped | None
) -> None:
    desk.rest(SELL, 5, 9_840)
    desk.rest(SELL, 10, 9_850, owner="me", display_quantity=Face(2))
    desk.rest(SELL, 10, 9_850)
    order, plan = desk.submit(BUY, 30, 9_850, owner="me", stp=stp)
    assert steps(plan) == expected_steps
    assert (plan.remaining, plan.stopped) == (remaining, stopped)
    assert (order.level is None) == (stopped is Stopped.STP)
    assert order.quantity == order.filled + order.leaves


def test_decrement_takes_the_smaller_off_both_and_the_larger_maker_keeps_its_place(desk: Desk) -> None:
    mine = desk.rest(SELL, 100, 9_850, owner="me", display_quantity=Face(30))
    other = desk.rest(SELL, 10, 9_850)
    order, plan = desk.submit(BUY, 80, 9_850, owner="me", stp=STP.DECREMENT)
    assert (plan.filled, plan.decremented, plan.remaining, plan.stopped) == (0, 80, 0, Stopped.STP)
    assert (order.quantity, order.filled, order.leaves, order.level) == (0, 0, 0, None)
    assert (mine.quantity, mine.filled) == (20, 0)
    assert desk.queue(SELL) == [(mine.order_id, 20, 20), (other.order_id, 10, 10)]


def test_decrement_of_equals_ends_both(desk: Desk) -> None:
    mine = desk.rest(SELL, 10, 9_850, owner="me")
    _, plan = desk.submit(BUY, 10, 9_850, owner="me", stp=STP.DECREMENT)
    assert (plan.remaining, plan.stopped, mine.leaves, mine.level) == (0, Stopped.STP, 0, None)


def test_accounts_of_one_owner_never_trade_with_each_other(desk: Desk) -> None:
    maker = desk.make(SELL, 10, 9_850, "account-1")
    maker.owner = "group"
    desk.book.add(maker)
    plan = desk.plan(BUY, 10, 9_850, owner="group")
    assert (plan.filled, plan.stopped) == (0, Stopped.STP)


def test_own_order_behind_the_quantity_is_not_met(desk: Desk) -> None:
    desk.rest(SELL, 10, 9_850)
    desk.rest(SELL, 10, 9_850, owner="me")
    plan = desk.plan(BUY, 10, 9_850, owner="me")
    assert (plan.filled, plan.stopped) == (10, None)


# The caller's check


def test_check_sees_each_fill_in_order_and_may_skip_the_maker(desk: Desk) -> None:
    first = desk.rest(SELL, 10, 9_850, display_quantity=Face(4))
    second = desk.rest(SELL, 10, 9_860)
    asked: list[tuple[int, int]] = []

    def check(maker: Order, quantity: Face) -> Verdict:
        asked.append((maker.order_id, quantity))
        return Verdict.SKIP_MAKER if maker is first and len(asked) == 2 else Verdict.TAKE

    plan = desk.plan(BUY, 9, 9_860, check=check)
    a, b = first.order_id, second.order_id
    assert asked == [(a, 4), (a, 4), (b, 5)]
    assert steps(plan) == [("fill", a, 4), ("cancel_maker", a, 6), ("fill", b, 5)]
    desk.book.execute(plan, desk.numbers)
    assert desk.queue(SELL) == [(b, 5, 5)]
    assert (first.filled, first.leaves, first.level) == (4, 6, None)
    desk.book.check_invariants()


def test_check_may_stop_the_matching(desk: Desk) -> None:
    first, second = desk.rest(SELL, 10, 9_850), desk.rest(SELL, 10, 9_850)
    plan = desk.plan(BUY, 20, 9_850, check=lambda maker, _: Verdict.STOP if maker is second else Verdict.TAKE)
    assert steps(plan) == [("fill", first.order_id, 10)]
    assert (plan.remaining, plan.stopped) == (10, Stopped.CHECK)


def test_check_is_not_asked_about_self_trades(desk: Desk) -> None:
    desk.rest(SELL, 10, 9_850, owner="me")
    plan = desk.plan(BUY, 10, 9_850, owner="me", stp=STP.CANCEL_OLDEST, check=lambda *_: Verdict.STOP)
    assert (plan.stopped, len(plan.steps)) == (None, 1)


# Resting orders


def test_removed_order_keeps_its_quantities_and_the_rest_their_order(desk: Desk) -> None:
    orders = [desk.rest(BUY, 10, 9_800) for _ in range(3)]
    desk.book.remove(orders[1])
    assert [order_id for order_id, *_ in desk.queue(BUY)] == [orders[0].order_id, orders[2].order_id]
    assert (orders[1].leaves, orders[1].level, orders[1].prev, orders[1].next) == (10, None, None, None)
    with pytest.raises(InvariantViolation):
        desk.book.remove(orders[1])


def test_smaller_quantity_keeps_priority(desk: Desk) -> None:
    first, second = desk.rest(SELL, 10, 9_850), desk.rest(SELL, 10, 9_850)
    desk.submit(BUY, 3, 9_850)
    desk.book.reduce(first, Face(5))
    assert desk.queue(SELL) == [(first.order_id, 2, 2), (second.order_id, 10, 10)]
    assert (first.quantity, first.filled) == (5, 3)


def test_reduced_iceberg_loses_hidden_quantity_first(desk: Desk) -> None:
    iceberg = desk.rest(SELL, 100, 9_850, display_quantity=Face(30))
    desk.book.reduce(iceberg, Face(40))
    assert desk.queue(SELL) == [(iceberg.order_id, 40, 30)]
    desk.book.reduce(iceberg, Face(12))
    assert desk.queue(SELL) == [(iceberg.order_id, 12, 12)]
    assert desk.book.levels(SELL, 1) == [(9_850, 12)]


@pytest.mark.parametrize("quantity", [pytest.param(3, id="the filled part"), pytest.param(10, id="what it is")])
def test_reduce_is_for_less_than_ordered_and_more_than_filled(desk: Desk, quantity: int) -> None:
    order = desk.rest(SELL, 10, 9_850)
    desk.submit(BUY, 3, 9_850)
    with pytest.raises(ValueError, match=r"4\.\.9"):
        desk.book.reduce(order, Face(quantity))


def test_recovered_book_is_the_same_book(desk: Desk) -> None:
    """Partly shown icebergs come back as they were, so that priority and depth survive a restart."""
    desk.rest(SELL, 100, 9_850, display_quantity=Face(30))
    desk.rest(SELL, 10, 9_850)
    desk.rest(BUY, 10, 9_800)
    desk.submit(BUY, 47, 9_850)
    before = desk.queue(SELL), desk.queue(BUY)
    orders = sorted([*desk.book.orders(SELL), *desk.book.orders(BUY)], key=lambda order: order.priority)
    for order in orders:
        desk.book.remove(order)
    desk.book = OrderBook(desk.book.loan_id)
    for order in orders:
        desk.book.restore(order)
    assert (desk.queue(SELL), desk.queue(BUY)) == before
    desk.book.check_invariants()


def test_order_that_would_cross_cannot_be_added(desk: Desk) -> None:
    desk.rest(SELL, 10, 9_850)
    with pytest.raises(InvariantViolation):
        desk.book.add(desk.make(BUY, 10, 9_850))


def test_order_cannot_rest_twice(desk: Desk) -> None:
    order = desk.rest(SELL, 10, 9_850)
    with pytest.raises(InvariantViolation):
        desk.book.add(order)


# What can be seen


def test_level_changes_are_absolute_and_told_once(desk: Desk) -> None:
    desk.rest(SELL, 10, 9_850)
    desk.rest(SELL, 10, 9_860)
    desk.rest(BUY, 7, 9_800)
    desk.submit(BUY, 15, 9_860)
    desk.submit(BUY, 1, 9_860)
    desk.submit(BUY, 3, 9_800)
    assert set(changes := desk.book.take_changes()) == {
        LevelChange(SELL, PriceBp(9_850), Face(0)),
        LevelChange(SELL, PriceBp(9_860), Face(4)),
        LevelChange(BUY, PriceBp(9_800), Face(10)),
    }
    assert len(changes) == 3
    assert desk.book.take_changes() == []


def test_levels_are_cut_to_the_depth_best_first(desk: Desk) -> None:
    for price in (9_800, 9_790, 9_810):
        desk.rest(BUY, 10, price)
    assert desk.book.levels(BUY, 2) == [(9_810, 10), (9_800, 10)]
    assert desk.book.levels(SELL, 2) == []


@pytest.mark.parametrize(
    ("field", "value"),
    [
        pytest.param("leaves", 9, id="quantity does not add up"),
        pytest.param("shown", 11, id="shows more than it has"),
        pytest.param("price", 9_801, id="price of another level"),
        pytest.param("priority", 99, id="priority against the queue"),
        pytest.param("side", SELL, id="other side"),
        pytest.param("next", None, id="link lost"),
    ],
)
def test_audit_finds_what_does_not_add_up(desk: Desk, field: str, value: Any) -> None:
    order = desk.rest(BUY, 10, 9_800)
    desk.rest(BUY, 10, 9_800)
    desk.book.check_invariants()
    setattr(order, field, value)
    with pytest.raises(InvariantViolation):
        desk.book.check_invariants()
