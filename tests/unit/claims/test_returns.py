"""Money-weighted return against numbers worked by hand."""

from datetime import date

import pytest

from market.claims.returns import money_weighted_return

BOUGHT, YEAR_LATER, TWO_YEARS_LATER = date(2023, 1, 1), date(2024, 1, 1), date(2024, 12, 31)  # 365 and 730 days


@pytest.mark.parametrize(
    ("flows", "rate"),
    [
        pytest.param([(BOUGHT, -100_00), (YEAR_LATER, 110_00)], 0.10, id="a year at 10 %"),
        pytest.param([(YEAR_LATER, 110_00), (BOUGHT, -100_00)], 0.10, id="in any order"),
        pytest.param([(BOUGHT, -60_00), (BOUGHT, -40_00), (YEAR_LATER, 110_00)], 0.10, id="two on one day"),
        pytest.param([(BOUGHT, -100_00), (YEAR_LATER, 10_00), (TWO_YEARS_LATER, 110_00)], 0.10, id="a coupon"),
        pytest.param([(BOUGHT, -100_00), (YEAR_LATER, -100_00), (TWO_YEARS_LATER, 231_00)], 0.10, id="paid in twice"),
        pytest.param([(BOUGHT, -100_00), (YEAR_LATER, 80_00)], -0.20, id="a loss"),
        pytest.param([(BOUGHT, 100_00), (YEAR_LATER, -110_00)], 0.10, id="first in, then out"),
        pytest.param([(BOUGHT, 0), (YEAR_LATER, -100_00), (TWO_YEARS_LATER, 105_00)], 0.05, id="nothing at first"),
    ],
)
def test_worked_by_hand(flows: list[tuple[date, int]], rate: float) -> None:
    found = money_weighted_return(flows)
    assert found == pytest.approx(rate, abs=1e-9)


@pytest.mark.parametrize(
    "flows",
    [
        pytest.param([], id="nothing"),
        pytest.param([(BOUGHT, -100_00)], id="only paid"),
        pytest.param([(BOUGHT, -100_00), (BOUGHT, 101_00)], id="one day"),
        pytest.param([(BOUGHT, -100_00), (YEAR_LATER, -1)], id="one sign"),
        pytest.param([(BOUGHT, -100_00), (YEAR_LATER, 0)], id="lost to the last cent"),
        pytest.param([(BOUGHT, -100_00), (date(2023, 1, 2), 200_00)], id="doubled in a day"),
    ],
)
def test_undefined_is_none(flows: list[tuple[date, int]]) -> None:
    assert money_weighted_return(flows) is None
