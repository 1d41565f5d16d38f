"""Bulk yields give what the scalar function gives, loan by loan."""

import random
from math import isnan, nan

import numpy as np
import pytest

from market.claims import bulk_yields
from market.claims.bulk_yields import FlowTable, bulk_effective_yields
from market.claims.yields import Flow, effective_yield


def random_flows(rng: random.Random) -> list[Flow]:
    """An instalment loan most of the time, else something odd: nothing, one flow, a flow today, a negative flow."""
    kind = rng.randrange(12)
    if kind == 0:
        return []
    if kind == 1:
        return [(rng.randint(-2, 900), rng.randint(-5, 50_000))]
    level, first = rng.randint(1, 100_000), rng.randrange(31)
    flows = [(first + 30 * k, level) for k in range(rng.randint(1, 60))]
    return [*flows, (first + 1900, -level)] if kind == 2 else flows


@pytest.mark.parametrize("seed", range(3))
def test_bulk_agrees_with_scalar(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = random.Random(seed)
    monkeypatch.setattr(bulk_yields, "_BLOCK_FLOWS", 500)  # many blocks, some of one loan's making
    flows = [random_flows(rng) for _ in range(1_500)]
    dirty = [rng.choice([rng.uniform(0.3, 1.3) * sum(a for _, a in f), 0.0, 1e12, 1.0, 5_000.0]) for f in flows]
    found = bulk_effective_yields(FlowTable.of(flows), np.array(dirty))
    scalar = [effective_yield(f, d) for f, d in zip(flows, dirty, strict=True)]
    np.testing.assert_allclose(found, [nan if y is None else y for y in scalar], rtol=1e-9, atol=1e-9)
    assert 300 < sum(isnan(y) for y in found) < 1_200


def test_no_loans() -> None:
    assert bulk_effective_yields(FlowTable.of([]), np.array([])).shape == (0,)
    assert isnan(bulk_effective_yields(FlowTable.of([[]]), np.array([1.0]))[0])


def test_prices_must_match_loans() -> None:
    with pytest.raises(ValueError, match="1 loans"):
        bulk_effective_yields(FlowTable.of([[(30, 100)]]), np.array([1.0, 2.0]))


def test_a_table_gives_back_its_flows() -> None:
    flows = [[(1, 2), (3, 4)], [], [(5, 2**52)]]
    table = FlowTable.of(flows)
    assert [table.flows(i) for i in range(3)] == flows
