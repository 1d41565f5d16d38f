"""Money-weighted return: the yearly rate at which dated cash flows, in and out, are worth nothing in sum (XIRR).

Pure arithmetic on flows as the owner sees them: what he paid is negative, what he got and still has is positive.
Undefined is None: flows of one sign, all on one day, or no rate in the range of yields.py.
"""

from collections import defaultdict
from collections.abc import Iterable
from datetime import date

from market.claims.yields import effective_yield


def money_weighted_return(flows: Iterable[tuple[date, int]]) -> float | None:
    """Return the effective annual rate y with sum of amount / (1 + y)^(days / 365) == 0, days from the first flow.

    flows: in any order, minor units; those of one day count by their sum.
    Where several rates fit (money went in and out more than once) it is one of them, the least one >= 0 first.
    """
    by_day: dict[date, int] = defaultdict(int)
    for day, amount in flows:
        by_day[day] += amount
    dated = sorted((day, amount) for day, amount in by_day.items() if amount)
    if len(dated) < 2:
        return None
    (first, paid), rest = dated[0], dated[1:]
    sign = 1 if paid < 0 else -1  # a sum of nothing stays one with all signs turned
    return effective_yield([((day - first).days, sign * amount) for day, amount in rest], abs(paid))
