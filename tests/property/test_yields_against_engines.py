"""Yields of random loans, prices and dates against pyxirr and QuantLib, and limits honoured to the tick.

2,000 loans by default. The full run, half a minute, is:

    YIELD_LOANS=100000 python -m pytest tests/property/test_yields_against_engines.py
"""

import os
import random
from datetime import date, timedelta

import pytest
import pyxirr
import QuantLib as ql

from market.claims.accrual import Accrued, accrued
from market.claims.loan import LoanTerms
from market.claims.schedule import Schedule, schedule_of
from market.claims.yields import Flow, dirty_of, effective_yield, price_for_yield, remaining_flows, yield_at_price
from market.ids import Minor, PriceBp
from market.orderbook.order import Side
from tests.property.random_loans import random_terms

LOANS = int(os.environ.get("YIELD_LOANS", "2000"))
SEEDS = range(20)
TOLERANCE = 1e-8


class Case:
    """A loan seen from a random day within its life: flows, accrued interest, what is outstanding."""

    def __init__(self, rng: random.Random) -> None:
        self.terms: LoanTerms = random_terms(rng)
        self.schedule: Schedule = schedule_of(self.terms)
        row = self.schedule.rows[self.schedule.paid]
        start = self.schedule.period_start(self.schedule.paid)
        self.on: date = start + timedelta(rng.randrange((row.due_date - start).days))
        self.outstanding: Minor = self.terms.outstanding_at_registration
        self.flows: list[Flow] = remaining_flows(self.schedule, self.on)
        self.accrued: Accrued = accrued(self.terms, row, start, self.outstanding, self.on, flat=False)

    def __repr__(self) -> str:
        return f"{self.terms} on {self.on}"


def random_price(rng: random.Random) -> PriceBp:
    return PriceBp(rng.randint(90_00, 110_00) if rng.random() < 0.7 else rng.randint(20_00, 150_00))


def quantlib_yield(case: Case, dirty: float, guess: float) -> float:
    def ql_date(day: date) -> ql.Date:
        return ql.Date(day.day, day.month, day.year)

    flows = [ql.SimpleCashFlow(amount, ql_date(case.on + timedelta(days))) for days, amount in case.flows]
    args = (ql.Leg(flows), dirty, ql.Actual365Fixed(), ql.Compounded, ql.Annual, True, ql_date(case.on))
    return float(ql.CashFlows.yieldRate(*args, ql_date(case.on), 1e-13, 1_000, guess))


@pytest.mark.parametrize("seed", SEEDS)
def test_effective_yield_agrees_with_pyxirr_and_quantlib(seed: int) -> None:
    rng = random.Random(seed)
    compared = 0
    for _ in range(LOANS // len(SEEDS)):
        case = Case(rng)
        dirty = dirty_of(random_price(rng), accrued=case.accrued, outstanding=case.outstanding)
        ours = effective_yield(case.flows, dirty)
        dates = [case.on, *(case.on + timedelta(days) for days, _ in case.flows)]
        theirs = pyxirr.xirr(dates, [-dirty, *(float(amount) for _, amount in case.flows)])
        if ours is None or theirs is None:
            assert ours is None or ours > 5 or ours < -0.9, (case, dirty, ours, theirs)
            assert theirs is None or theirs > 100 or theirs < -0.9999, (case, dirty, ours, theirs)
            continue
        scale = max(1.0, abs(ours))  # a yield of 3,000 % is compared to ten digits, not to eight decimals
        assert ours == pytest.approx(theirs, abs=TOLERANCE * scale), (case, dirty)
        if ours > -0.9:  # below, QuantLib finds no bracket
            assert ours == pytest.approx(quantlib_yield(case, dirty, theirs), abs=TOLERANCE * scale), (case, dirty)
        compared += 1
    assert compared > 0.9 * (LOANS // len(SEEDS))


@pytest.mark.parametrize("seed", SEEDS)
def test_a_price_for_a_yield_is_the_best_that_honours_it(seed: int) -> None:
    rng = random.Random(seed)
    for _ in range(LOANS // len(SEEDS) // 4):
        case, tick = Case(rng), rng.choice([1, 1, 5, 25])
        limit = round(rng.uniform(-0.05, 0.5), rng.choice([2, 4, 6]))

        def yields(price: int, case: Case = case) -> float:
            found = yield_at_price(case.flows, PriceBp(price), accrued=case.accrued, outstanding=case.outstanding)
            assert found is not None
            return found

        bid, ask = (
            price_for_yield(case.flows, limit, accrued=case.accrued, outstanding=case.outstanding, side=side, tick=tick)
            for side in (Side.BUY, Side.SELL)
        )
        assert bid is not None
        assert ask is not None
        assert bid % tick == ask % tick == 0
        assert yields(bid) >= limit > yields(bid + tick), (case, limit)
        assert yields(ask) <= limit < yields(ask - tick), (case, limit)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_yield_leads_back_to_its_price(seed: int) -> None:
    rng = random.Random(seed)
    for _ in range(LOANS // len(SEEDS) // 4):
        case, price = Case(rng), random_price(rng)
        found = yield_at_price(case.flows, price, accrued=case.accrued, outstanding=case.outstanding)
        if found is None:
            continue
        for side in Side:
            back = price_for_yield(case.flows, found, accrued=case.accrued, outstanding=case.outstanding, side=side)
            assert back == price, (case, side)
