"""Yields: worked prices, what is undefined, limits honoured to the tick, assumptions about overdue instalments."""

from datetime import date
from math import inf

import pytest

from market.claims.accrual import NOTHING_ACCRUED, accrued
from market.claims.schedule import schedule_of
from market.claims.yields import (
    Flow,
    dirty_of,
    effective_from_nominal,
    effective_yield,
    modified_duration,
    nominal_from_effective,
    present_value,
    price_for_yield,
    remaining_flows,
    remaining_principal,
    total_cash,
    weighted_life,
    yield_at_price,
)
from market.ids import Minor, PriceBp
from market.orderbook.order import Side
from tests.builders import terms

LOAN = terms()
SCHEDULE = schedule_of(LOAN)
FLOWS = remaining_flows(SCHEDULE, LOAN.issue_date)
ONE_YEAR: list[Flow] = [(365, 110_00)]


def test_one_year_flow() -> None:
    assert effective_yield(ONE_YEAR, 100_00) == pytest.approx(0.10, abs=1e-14)
    assert effective_yield(ONE_YEAR, 110_00) == pytest.approx(0, abs=1e-14)
    assert effective_yield(ONE_YEAR, 220_00) == pytest.approx(-0.5, abs=1e-14)


def test_excel_documentation_example() -> None:
    """Microsoft's page for XIRR: 0.373362535."""
    start = date(2008, 1, 1)
    dates = [date(2008, 3, 1), date(2008, 10, 30), date(2009, 2, 15), date(2009, 4, 1)]
    flows = [((day - start).days, amount) for day, amount in zip(dates, [2750, 4250, 3250, 2750], strict=True)]
    assert effective_yield(flows, 10_000) == pytest.approx(0.373362535, abs=1e-8)


def test_par_yields_the_contract_rate() -> None:
    """12 % nominal is 12.6825 % effective; days are not twelfths of a year, so the loan at par is near it only."""
    assert effective_from_nominal(0.12) == pytest.approx(0.126825, abs=5e-7)
    found = effective_yield(FLOWS, LOAN.original_principal)
    assert found == pytest.approx(0.1268, abs=2e-4)


def test_nominal_and_effective_are_inverse() -> None:
    for effective in (-0.9, -0.01, 0.0, 1e-9, 0.12, 3.0, 99.0):
        assert effective_from_nominal(nominal_from_effective(effective)) == pytest.approx(effective, abs=1e-12)
    assert nominal_from_effective(0.12) == pytest.approx(12 * (1.12 ** (1 / 12) - 1), abs=1e-14)


@pytest.mark.parametrize(
    ("flows", "dirty"),
    [
        pytest.param([], 100, id="no flows"),
        pytest.param([(30, 100)], 0, id="free"),
        pytest.param([(30, 100)], -5, id="paid to take it"),
        pytest.param([(0, 100)], 50, id="all of it today"),
        pytest.param([(-1, 50), (30, 100)], 50, id="a flow before settlement"),
        pytest.param([(30, 0), (60, 0)], 50, id="nothing to come"),
        pytest.param([(30, -100)], 50, id="only to pay"),
        pytest.param([(0, 100), (30, 5)], 50, id="today's flow alone is worth more than the price"),
        pytest.param([(1, 100)], 50, id="above 10,000 %"),
        pytest.param([(30, 1)], 10_000_00, id="below -99.99 %"),
        pytest.param([(30, 100)], inf, id="infinite price"),
    ],
)
def test_undefined_yields_are_none(flows: list[Flow], dirty: float) -> None:
    assert effective_yield(flows, dirty) is None


def test_the_range_of_yields_is_closed_above() -> None:
    assert effective_yield([(365, 101_00)], 1_00) == pytest.approx(100, abs=1e-9)
    assert effective_yield([(365, 1_00)], 9_999_00) == pytest.approx(-0.99989999, abs=1e-6)


def test_instalments_of_a_century_are_no_trouble() -> None:
    flows = [(365 * k, 5_00) for k in range(1, 101)]
    found = effective_yield(flows, 100_00)
    assert found is not None
    assert present_value(flows, found) == pytest.approx(100_00, rel=1e-12)
    deep = effective_yield(flows, 10**12)
    assert deep is not None
    assert present_value(flows, deep) == pytest.approx(10**12, rel=1e-6)


@pytest.mark.parametrize("price", [50_00, 97_25, 100_00, 103_00, 150_00])
def test_a_yield_leads_back_to_its_price_on_both_sides(price: int) -> None:
    on = date(2024, 2, 1)
    interest = accrued(LOAN, SCHEDULE.rows[0], LOAN.issue_date, LOAN.original_principal, on, flat=False)
    flows = remaining_flows(SCHEDULE, on)
    found = yield_at_price(flows, PriceBp(price), accrued=interest, outstanding=LOAN.original_principal)
    assert found is not None
    for side in Side:
        back = price_for_yield(flows, found, accrued=interest, outstanding=LOAN.original_principal, side=side)
        assert back == price


def test_a_limit_yield_is_honoured_to_the_tick() -> None:
    """12 % effective is worth 100.3203 %: a buyer bids 100.32 or, in ticks of 0.25, 100.25; a seller asks above."""
    assert present_value(FLOWS, 0.12) / LOAN.original_principal == pytest.approx(1.003203, abs=1e-6)
    expected = {(Side.BUY, 1): 100_32, (Side.SELL, 1): 100_33, (Side.BUY, 25): 100_25, (Side.SELL, 25): 100_50}
    for (side, tick), price in expected.items():
        found = price_for_yield(
            FLOWS, 0.12, accrued=NOTHING_ACCRUED, outstanding=LOAN.original_principal, side=side, tick=tick
        )
        assert found == price


def test_no_price_is_low_enough_for_some_buyers() -> None:
    far: list[Flow] = [(3_650, 100_00)]
    limits = {"accrued": NOTHING_ACCRUED, "outstanding": Minor(100_00)}
    assert price_for_yield(far, 90.0, side=Side.BUY, **limits) is None
    assert price_for_yield(far, 90.0, side=Side.SELL, **limits) == 1  # any price yields him less
    assert price_for_yield(far, -1.0, side=Side.BUY, **limits) is None
    assert price_for_yield(far, 101.0, side=Side.BUY, **limits) is None
    assert price_for_yield([], 0.1, side=Side.BUY, **limits) is None
    assert price_for_yield([(0, 100_00)], 0.1, side=Side.BUY, **limits) is None
    assert price_for_yield([(60_000, 100_00)], -0.9998, side=Side.SELL, **limits) is None, "beyond any float"


def test_dirty_amount_is_not_rounded() -> None:
    interest = accrued(LOAN, SCHEDULE.rows[0], LOAN.issue_date, LOAN.original_principal, date(2024, 1, 16), flat=False)
    assert dirty_of(PriceBp(97_25), accrued=interest, outstanding=Minor(1)) == pytest.approx(0.9725 + 100_00 / 31)


def test_remaining_flows_name_their_assumptions() -> None:
    due = SCHEDULE.rows[0].due_date
    assert FLOWS[0] == (31, 888_49)
    assert remaining_flows(SCHEDULE, due)[0] == (0, 888_49), "due today: paid today"
    late = date(2024, 3, 20)  # two instalments overdue
    assert remaining_flows(SCHEDULE, late)[:3] == [(1, 888_49), (1, 888_49), (26, 888_49)], "overdue: paid tomorrow"
    assert remaining_flows(SCHEDULE, late, overdue_written_off=True) == remaining_flows(SCHEDULE, late)[2:]


def test_paid_instalments_are_no_flows() -> None:
    seasoned = schedule_of(terms(outstanding_at_registration=Minor(7_610_80)))
    flows = remaining_flows(seasoned, date(2024, 4, 15))
    assert len(flows) == 9
    assert total_cash(flows) == 888_49 * 8 + 888_47
    assert total_cash(remaining_principal(seasoned, date(2024, 4, 15))) == 7_610_80
    assert remaining_flows(schedule_of(terms(outstanding_at_registration=Minor(0))), date(2024, 4, 15)) == []


def test_modified_duration_is_the_slope_of_value() -> None:
    step = 1e-6
    slope = (present_value(FLOWS, 0.12 + step) - present_value(FLOWS, 0.12 - step)) / (2 * step)
    assert modified_duration(FLOWS, 0.12) == pytest.approx(-slope / present_value(FLOWS, 0.12), rel=1e-7)
    assert modified_duration(ONE_YEAR, 0.25) == pytest.approx(1 / 1.25, abs=1e-14)
    assert modified_duration([], 0.1) is None


def test_weighted_life() -> None:
    assert weighted_life([(365, 100), (730, 300)]) == pytest.approx(1.75)
    assert weighted_life([]) is None
    principal = remaining_principal(SCHEDULE, LOAN.issue_date)
    assert weighted_life(principal) == pytest.approx(661_86 / 10_000_00 / 0.12, abs=5e-3)  # interest / (P x rate)
