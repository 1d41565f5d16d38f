"""The example's yield curve: its levels, its slope, and what trades do to it."""

import pytest

from gateway.demo.curve import DRIFT_MAX, SLOPE_PER_YEAR, WEIGHT, Curve
from gateway.demo.traders import Listed
from market.claims.accrual import Accrued
from market.orderbook.order import Side

SIZE = 500_000


def listed(loan_id: str, *, grade: str = "B", months: int = 12, anchor: float = 0.12) -> Listed:
    return Listed(
        symbol=f"{loan_id}/CNY",
        loan_id=loan_id,
        currency="CNY",
        originator="O",
        flows=[(365, 1_120_000)],
        outstanding=1_000_000,
        accrued=Accrued(0, 1),
        grade=grade,
        remaining_months=months,
        anchor=anchor,
        ceiling=11_199,
        size=SIZE,
    )


def test_a_level_is_the_average_of_its_grade_without_the_slope() -> None:
    one, three = listed("L1", anchor=0.12 + SLOPE_PER_YEAR), listed("L2", months=36, anchor=0.14 + 3 * SLOPE_PER_YEAR)
    curve = Curve.of([one, three, listed("L3", grade="C", months=0, anchor=0.2)])
    assert curve.levels == {"B": pytest.approx(0.13), "C": pytest.approx(0.2)}
    assert curve.target(three) - curve.target(one) == pytest.approx(2 * SLOPE_PER_YEAR)


@pytest.mark.parametrize(
    ("quantity", "weight"),
    [
        pytest.param(SIZE, WEIGHT, id="a usual order"),
        pytest.param(SIZE // 10, WEIGHT / 10, id="a small one"),
        pytest.param(SIZE * 100, WEIGHT, id="a large one counts as usual"),
    ],
)
def test_a_trade_moves_its_grade_a_little_towards_its_yield(quantity: int, weight: float) -> None:
    loan = listed("L1")
    curve = Curve({"B": 0.12, "C": 0.15})
    before = curve.target(loan)
    curve.learn(loan, Side.BUY, before - 0.01, quantity)
    assert curve.target(loan) == pytest.approx(before - 0.01 * weight)
    assert curve.levels["C"] == 0.15


@pytest.mark.parametrize(("taker", "effective"), [(Side.BUY, 0.2), (Side.SELL, 0.05)])
def test_a_bargain_says_nothing(taker: Side, effective: float) -> None:
    curve = Curve({"B": 0.12})
    curve.learn(listed("L1"), taker, effective, SIZE)
    assert curve.levels == {"B": 0.12}


def test_nobody_talks_it_anywhere() -> None:
    loan, curve = listed("L1"), Curve({"B": 0.12})
    for _ in range(1_000):
        curve.learn(loan, Side.SELL, 5.0, SIZE)
    assert curve.levels["B"] == pytest.approx(0.12 + DRIFT_MAX)
