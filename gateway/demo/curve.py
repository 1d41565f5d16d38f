"""A yield curve: what a loan of some grade should yield, by the months that remain, and how trades move that."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

from gateway.demo.traders import Listed
from market.orderbook.order import Side

SLOPE_PER_YEAR = 0.002  # what a year more must yield more
WEIGHT = 0.05  # of a trade of usual size in what is believed of its grade
DRIFT_MAX = 0.03  # a level moves no further from where it began, up or down: nobody talks it anywhere


@dataclass(slots=True)
class Curve:
    """Target effective yields. levels: by grade, as a fraction, of a loan with nothing left to run."""

    levels: dict[str, float]
    _began: dict[str, float] = field(init=False)

    def __post_init__(self) -> None:
        self._began = dict(self.levels)

    @classmethod
    def of(cls, loans: Sequence[Listed]) -> "Curve":
        """Return the curve through the average anchor of each grade."""
        by_grade: defaultdict[str, list[float]] = defaultdict(list)
        for loan in loans:
            by_grade[loan.grade].append(loan.anchor - SLOPE_PER_YEAR * loan.remaining_months / 12)
        return cls({grade: sum(found) / len(found) for grade, found in by_grade.items()})

    def target(self, loan: Listed) -> float:
        """Return the yield of a loan. Raises KeyError for a grade that is not on the curve."""
        return self.levels[loan.grade] + SLOPE_PER_YEAR * loan.remaining_months / 12

    def learn(self, loan: Listed, taker: Side, effective: float, quantity: int) -> None:
        """Move the level of a loan's grade a little towards the yield at which somebody took what was there.

        A buyer who pays more than it thought right says something, one who finds a bargain says nothing: else its own
        offers of what it has too much of would talk it down, and its bids up. Likewise for sellers.
        quantity: in minor units; more than a usual order counts as one.
        """
        target = self.target(loan)
        if (effective < target) != (taker is Side.BUY):
            return
        weight = WEIGHT * min(quantity / loan.size, 1.0)
        level = self.levels[loan.grade] + weight * (effective - target)
        began = self._began[loan.grade]
        self.levels[loan.grade] = min(max(level, began - DRIFT_MAX), began + DRIFT_MAX)
