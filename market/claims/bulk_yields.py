"""Effective yields of a whole board of loans at once, vectorised: what `yields.effective_yield` is for one.

Layout: the flows of all loans lie end to end in flat arrays, and `offsets` says where each loan's begin, so that loans
of any length need no padding. Loans are worked on in blocks that fit the processor's cache.
Every loan gets the answer of the scalar function to 1e-9, NaN for its None. The few loans that the vectorised steps
can't settle (negative flows, prices far from any sense) are handed to the scalar function itself.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from math import nan

import numpy as np
from numpy.typing import NDArray

from market.claims.yields import DAYS_PER_YEAR, MAX_YIELD, MIN_YIELD, Flow, effective_yield

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_BLOCK_FLOWS = 32_768
_STEPS = 12
_DONE = 1e-7  # daily rate, as in yields.py
_RATE_MAX = 0.05  # daily; keeps exp() finite, well outside the range of yields


@dataclass(frozen=True, slots=True, eq=False)
class FlowTable:
    """Flows of many loans. Those of loan i are [offsets[i], offsets[i + 1]).

    days: shape (flows,), from settlement.  amounts: shape (flows,), whole loans, minor units; exact up to 2**53.
    offsets: shape (loans + 1,), from 0 to the number of flows, never falling.
    """

    days: Floats
    amounts: Floats
    offsets: Ints

    @classmethod
    def of(cls, flows_by_loan: Sequence[Sequence[Flow]]) -> "FlowTable":
        """Lay the flows of each loan end to end."""
        flat = np.array([flow for flows in flows_by_loan for flow in flows], dtype=np.float64).reshape(-1, 2)
        offsets = np.fromiter(accumulate(map(len, flows_by_loan), initial=0), np.int64, len(flows_by_loan) + 1)
        return cls(np.ascontiguousarray(flat[:, 0]), np.ascontiguousarray(flat[:, 1]), offsets)

    def flows(self, loan: int) -> list[Flow]:
        """Return the flows of one loan."""
        part = slice(self.offsets[loan], self.offsets[loan + 1])
        return [(int(d), int(a)) for d, a in zip(self.days[part], self.amounts[part], strict=True)]


def bulk_effective_yields(table: FlowTable, dirty: Floats) -> Floats:
    """Return the effective yield of each loan, shape (loans,), NaN where it is undefined.

    dirty: shape (loans,), dirty amount of each whole loan in minor units.
    Cost: about 1 us for a loan of 42 flows (benchmarks/bulk_yields.py).
    """
    loans = len(table.offsets) - 1
    if dirty.shape != (loans,):
        raise ValueError(f"{loans} loans need as many dirty amounts, not shape {dirty.shape}")
    yields = np.full(loans, nan)
    marks = np.arange(0, table.offsets[-1] + _BLOCK_FLOWS, _BLOCK_FLOWS)
    bounds = np.unique(np.append(np.searchsorted(table.offsets, marks), [0, loans]).clip(0, loans))
    with np.errstate(all="ignore"):
        for first, last in pairwise(bounds.tolist()):
            yields[first:last] = _block(table, dirty, first, last)
    return yields


def _block(table: FlowTable, dirty: Floats, first: int, last: int) -> Floats:
    """Return the yields of loans [first, last)."""
    offsets = table.offsets[first : last + 1]
    part = slice(offsets[0], offsets[-1])
    lengths = np.diff(offsets)
    filled = lengths > 0  # reduceat has no notion of an empty run, so these alone are reduced
    starts = (offsets[:-1] - offsets[0])[filled]
    yields = np.full(last - first, nan)
    if not len(starts):
        return yields
    days, amounts, price = table.days[part], table.amounts[part], dirty[first:last][filled]
    defined = (price > 0) & (np.minimum.reduceat(days, starts) >= 0) & (np.maximum.reduceat(days, starts) > 0)
    rate, settled = _newton_on_log(days, amounts, starts, lengths[filled], price)
    settled &= np.minimum.reduceat(amounts, starts) >= 0
    found = np.expm1(rate * DAYS_PER_YEAR)
    found[~(defined & (found > MIN_YIELD) & (found <= MAX_YIELD))] = nan
    loans = np.flatnonzero(filled)
    for i in np.flatnonzero(defined & ~settled):
        one = effective_yield(table.flows(first + int(loans[i])), float(price[i]))
        found[i] = nan if one is None else one
    yields[filled] = found
    return yields


def _newton_on_log(
    days: Floats, amounts: Floats, starts: Ints, lengths: Ints, price: Floats
) -> tuple[Floats, NDArray[np.bool_]]:
    """Return each loan's daily rate and whether it is settled: the steps of `yields._newton_on_log`, side by side."""
    target, rate, weights = np.log(price), np.zeros(len(price)), amounts
    for _ in range(_STEPS):
        moments = weights * days
        value = np.add.reduceat(weights, starts)
        mean = np.add.reduceat(moments, starts) / value
        moments *= days
        curvature = np.add.reduceat(moments, starts) / value - mean * mean
        miss = np.log(value) - target
        root = mean * mean - 2 * curvature * miss
        step = np.where(root > 0, 2 * miss / (mean + np.sqrt(np.maximum(root, 0))), miss / mean)
        rate = np.clip(rate + step, -_RATE_MAX, _RATE_MAX)
        settled = np.abs(step) < _DONE
        if np.all(settled | np.isnan(step)):
            break
        weights = amounts * np.exp(np.repeat(-rate, lengths) * days)
    return rate, settled
