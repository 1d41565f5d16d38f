"""The shipped profile cn-strict, rule by rule. The loan of builders.py is due on the 15th, from 2024-02-15."""

from datetime import date
from typing import Any

import pytest

from market.commands import AssignRulebook, ExpireOrders, RegisterLoan, RollDay
from market.errors import BelowMinimum, InvalidArguments, InvalidQuantity, RuleViolation
from market.events import Executed
from market.ids import Face, Nanos
from market.orderbook.order import CancelReason, OrderType, TimeInForce
from tests.builders import LOAN, Market, amend, buy, sell, service, servicing, terms

HOUR = 3_600 * 10**9


@pytest.fixture
def market() -> Market:
    market = Market(loans=())
    market.do(RegisterLoan(terms=terms(), issued_face=Face(10_000_00), rulebook="cn-strict"))
    market.investor("A", cash=5_000_00)
    return market


@pytest.mark.parametrize(
    ("price", "quantity", "error", "rule"),
    [
        pytest.param(10_001, 100_00, RuleViolation, ("premium_allowed", 100_00), id="a premium"),
        pytest.param(9_499, 100_00, RuleViolation, ("max_discount_pct", 95_00), id="more than 5 % of discount"),
        pytest.param(9_800, 100_50, InvalidQuantity, ("lot", 1_00), id="half a lot"),
        pytest.param(9_800, 99_00, BelowMinimum, ("min_face", 100_00), id="less than the minimum"),
    ],
)
def test_a_refusal_names_its_rule_and_bound(
    market: Market, price: int, quantity: int, error: type, rule: tuple[str, int]
) -> None:
    for make, account in ((buy, "A"), (sell, "ORIG")):
        with pytest.raises(error) as refusal:
            market.do(make(account, price, quantity))
        assert (refusal.value.details["rule"], refusal.value.details["bound"]) == rule


@pytest.mark.parametrize("price", [10_000, 9_500])
def test_par_and_five_percent_are_admitted(market: Market, price: int) -> None:
    market.do(buy("A", price, 100_00))


@pytest.mark.parametrize(
    ("day", "is_open"),
    [
        pytest.param(date(2024, 2, 9), True, id="six days before"),
        pytest.param(date(2024, 2, 10), False, id="five days before"),
        pytest.param(date(2024, 2, 15), False, id="the due date"),
    ],
)
def test_no_order_near_a_due_date(market: Market, day: date, *, is_open: bool) -> None:
    market.do(RollDay(to=day))
    if is_open:
        market.do(buy("A", 9_800, 100_00))
        return
    with pytest.raises(RuleViolation) as refusal:
        market.do(buy("A", 9_800, 100_00))
    assert refusal.value.details["rule"] == "blackout_days"


def test_a_resting_order_keeps_its_place_through_the_blackout_but_is_not_repriced(market: Market) -> None:
    order_id = market.do(buy("A", 9_800, 100_00)).result.order_id  # type: ignore[union-attr]
    market.do(RollDay(to=date(2024, 2, 15)))
    with pytest.raises(RuleViolation):
        market.do(amend("A", order_id, price=9_801))
    market.do(service(servicing("payment", date(2024, 2, 15), 888_49)))
    market.do(RollDay(to=date(2024, 2, 16)))
    market.do(amend("A", order_id, price=9_801))


def test_an_order_lives_72_hours(market: Market) -> None:
    market.do(buy("A", 9_800, 100_00))
    placed_at = market.at
    assert market.venue.next_expiry() == placed_at + 72 * HOUR
    too_late = {"time_in_force": TimeInForce.GTD, "expire_at": Nanos(placed_at + 73 * HOUR)}
    with pytest.raises(RuleViolation) as refusal:
        market.do(buy("A", 9_800, 100_00, **too_late))
    assert refusal.value.details["rule"] == "order_life_hours"
    market.at = Nanos(placed_at + 72 * HOUR)
    assert cancel_reasons(market.do(ExpireOrders())) == [CancelReason.EXPIRED]


def test_a_loan_that_is_no_longer_current_ends_its_orders(market: Market) -> None:
    market.do(buy("A", 9_800, 100_00))
    assert cancel_reasons(market.do(RollDay(to=date(2024, 2, 16)))) == [CancelReason.RULE]
    with pytest.raises(RuleViolation) as refusal:
        market.do(buy("A", 9_800, 100_00))
    assert refusal.value.details["rule"] == "tradable_statuses"


def test_the_seller_pays_three_per_mille_of_the_clean_amount(market: Market) -> None:
    market.do(sell("ORIG", 9_800, 1_000_00))
    market.do(buy("A", 9_800, 1_000_00))
    assert (market.cash("A")[0], market.cash("ORIG")[0], market.cash("HOUSE")[0]) == (
        *(5_000_00 - 980_00, 980_00 - 2_94, 2_94),
    )


def test_a_market_order_stays_within_the_rules(market: Market) -> None:
    market.do(sell("ORIG", 10_000, 1_000_00))
    market.do(buy("A", None, 1_000_00, order_type=OrderType.MARKET))
    market.investor("B", cash=5_000_00)
    market.do(buy("B", 9_500, 100_00))
    market.do(sell("ORIG", None, 100_00, order_type=OrderType.MARKET))
    assert (market.claim("A")[0], market.claim("B")[0]) == (1_000_00, 100_00)


def cancel_reasons(applied: Any) -> list[CancelReason | None]:
    return [row.order.cancel_reason for event in applied.events if isinstance(event, Executed) for row in event.rows]


def test_a_loan_put_under_it_ends_the_orders_that_it_does_not_admit() -> None:
    market = Market()
    market.investor("A", cash=50_000_00)
    kept = market.do(buy("A", 9_800, 100_00)).result
    for price, quantity in ((9_400, 100_00), (9_700, 100_50)):
        market.do(buy("A", price, quantity))
    market.do(sell("ORIG", 10_100, 100_00))
    assign = AssignRulebook(loan_id=LOAN, rulebook="cn-strict", reason="listed on the mainland")
    applied = market.do(assign)
    assert cancel_reasons(applied) == [CancelReason.RULE] * 3
    assert list(market.venue.state.orders) == [kept.order_id]  # type: ignore[union-attr]
    market.venue.state.check_invariants()
    assert market.do(assign).events == ()
    with pytest.raises(RuleViolation):
        market.do(sell("ORIG", 10_100, 100_00))
    with pytest.raises(InvalidArguments):
        market.do(AssignRulebook(loan_id=LOAN, rulebook="none"))
    market.do(AssignRulebook(loan_id=LOAN, rulebook="open"))
    market.do(sell("ORIG", 10_100, 100_00))
