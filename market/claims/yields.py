"""Yields of one loan: effective (XIRR, ACT/365F) and nominal, both ways between yield and price, and risk measures.

Flows are those of the whole loan, as (days from settlement, amount in minor units), and are set against the dirty
amount of the whole loan; a claim yields what its loan yields. Yields are yearly fractions: 0.12 is 12 %.
Named assumptions: every instalment is paid in full on its due date, one that is due today is paid today, and an
overdue one is paid tomorrow. The conservative yield writes overdue instalments off instead.
Undefined is None, never an exception: nothing is paid after settlement, the price is not positive, a flow lies before
settlement, or no yield in (MIN_YIELD, MAX_YIELD] discounts the flows to the price.
Solved in the daily continuous rate x = ln(1 + yield) / 365: the log of the present value is convex in x and nearly
straight, so that Newton's method with the curvature takes two or three steps. bulk_yields.py does a board at once.
"""

from collections.abc import Iterable, Sequence
from datetime import date
from math import ceil, exp, expm1, floor, inf, isfinite, log, log1p, sqrt
from operator import mul

from market.claims.accrual import Accrued
from market.claims.schedule import Schedule
from market.ids import Minor, PriceBp
from market.orderbook.order import Side

Flow = tuple[int, int]  # days from settlement, amount of the whole loan in minor units

DAYS_PER_YEAR = 365
MIN_YIELD, MAX_YIELD = -0.9999, 100.0  # (-99.99 %, 10,000 %]
PAR = 10_000  # basis points
_LOWEST, _HIGHEST = log1p(MIN_YIELD) / DAYS_PER_YEAR, log1p(MAX_YIELD) / DAYS_PER_YEAR  # daily rates
_NEWTON_STEPS = 12
_NEWTON_DONE = 1e-7  # daily; a step converges cubically, so one of this size leaves an error below 1e-12
_BRACKET_STEPS = 200
_BRACKET_DONE = 1e-16  # daily
_GRID = 32  # parts of the range on each side of 0 that are searched for a bracket
_EXP_MAX = 700.0  # keeps exp() finite
_TICK_DOUBT = 1e-6  # bp; a price solved in floats lies well within this of its true value


def remaining_flows(schedule: Schedule, on: date, *, overdue_written_off: bool = False) -> list[Flow]:
    """Return the contractual flows of the open instalments seen from `on`, oldest first.

    An instalment overdue on `on` is taken as paid on the next day or, conservatively, as never paid.
    """
    return _flows(((row.due_date, row.payment) for row in schedule.rows[schedule.paid :]), on, overdue_written_off)


def remaining_principal(schedule: Schedule, on: date, *, overdue_written_off: bool = False) -> list[Flow]:
    """Return the principal parts of `remaining_flows`: what a weighted average life is taken over."""
    return _flows(((row.due_date, row.principal) for row in schedule.rows[schedule.paid :]), on, overdue_written_off)


def effective_yield(flows: Sequence[Flow], dirty: float) -> float | None:
    """Return the yearly rate y with sum of amount / (1 + y)^(days / 365) == dirty, or None where it is undefined.

    dirty: minor units; a fraction of one is fine, since a yield is a measure and posts nothing.
    The yield is unique unless flows are negative (no loan's are); then it is one of those in range,
    the least one >= 0 first, and None if two lie too close together to be told apart.
    Cost: about 25 us for 48 flows.  Source: XIRR, days over 365.
    """
    if dirty <= 0 or not flows:
        return None
    days, amounts = zip(*flows, strict=True)
    if max(days) <= 0 or min(days) < 0:
        return None
    daily = _newton_on_log(days, amounts, dirty) if min(amounts) >= 0 else None
    if daily is None:
        daily = _bracketed_newton(days, amounts, dirty)
    if daily is None:
        return None
    effective = expm1(daily * DAYS_PER_YEAR)
    return effective if MIN_YIELD < effective <= MAX_YIELD else None


def present_value(flows: Sequence[Flow], effective: float) -> float:
    """Return the flows discounted at an effective yield > -1, in minor units; a measure, not an amount to post.

    Infinite where a float can't hold it: far flows at a yield near -100 %.
    """
    daily = -log1p(effective) / DAYS_PER_YEAR
    try:
        return sum([amount * exp(daily * days) for days, amount in flows])
    except OverflowError:
        return inf


def nominal_from_effective(effective: float) -> float:
    """Return 12 x ((1 + y)^(1/12) - 1): the yearly rate that a monthly instalment plan would state; y > -1."""
    return 12 * expm1(log1p(effective) / 12)


def effective_from_nominal(nominal: float) -> float:
    """Return (1 + nominal/12)^12 - 1, the inverse of `nominal_from_effective`; nominal > -12."""
    return expm1(12 * log1p(nominal / 12))


def price_for_yield(
    flows: Sequence[Flow],
    effective: float,
    *,
    accrued: Accrued,
    outstanding: Minor,
    side: Side,
    tick: int = 1,
) -> PriceBp | None:
    """Return the clean price nearest to a yield that honours it as a limit; None if no price from one tick up does.

    A buyer never yields less, so his price is rounded down to the tick; a seller never gives more, so his is rounded
    up. Where the float solution can't tell on which side of a tick it lies, the yield at that tick decides: the yield
    of a price on the grid leads back to that price on both sides.  tick: basis points of par.
    """
    if outstanding <= 0 or not MIN_YIELD < effective <= MAX_YIELD or not any(days > 0 for days, _ in flows):
        return None
    ticks = (present_value(flows, effective) - accrued.numerator / accrued.denominator) * PAR / (outstanding * tick)
    if not isfinite(ticks):
        return None
    buys = side is Side.BUY
    count = floor(ticks) if buys else max(ceil(ticks), 1)
    nearest = round(ticks)
    if nearest > 0 and abs(ticks - nearest) * tick < _TICK_DOUBT:
        at_tick = yield_at_price(flows, PriceBp(nearest * tick), accrued=accrued, outstanding=outstanding)
        if at_tick is not None:
            honoured = at_tick >= effective if buys else at_tick <= effective
            count = nearest if honoured else nearest - 1 if buys else nearest + 1
    return PriceBp(count * tick) if count > 0 else None


def yield_at_price(flows: Sequence[Flow], price: PriceBp, *, accrued: Accrued, outstanding: Minor) -> float | None:
    """Return the effective yield of a clean price: of the exact dirty amount of the whole loan, before any rounding."""
    return effective_yield(flows, dirty_of(price, accrued=accrued, outstanding=outstanding))


def dirty_of(price: PriceBp, *, accrued: Accrued, outstanding: Minor) -> float:
    """Return outstanding x price + accrued of the whole loan, in minor units and not rounded to one."""
    numerator = outstanding * price * accrued.denominator + accrued.numerator * PAR
    return numerator / (PAR * accrued.denominator)


def modified_duration(flows: Sequence[Flow], effective: float) -> float | None:
    """Return -(dPV/dy) / PV in years: the loss of value, as a fraction, for each 1.00 by which the yield rises."""
    daily = -log1p(effective) / DAYS_PER_YEAR
    weights = [amount * exp(daily * days) for days, amount in flows]
    value = sum(weights)
    if value <= 0:
        return None
    return sum([w * days for w, (days, _) in zip(weights, flows, strict=True)]) / (
        value * DAYS_PER_YEAR * (1 + effective)
    )


def weighted_life(flows: Sequence[Flow]) -> float | None:
    """Return the mean time to payment in years, weighted by amount; over `remaining_principal` it is the usual WAL."""
    total = total_cash(flows)
    if total <= 0:
        return None
    return sum(days * amount for days, amount in flows) / (total * DAYS_PER_YEAR)


def total_cash(flows: Sequence[Flow]) -> Minor:
    """Return the sum of all flows, in minor units."""
    return Minor(sum(amount for _, amount in flows))


def _flows(dues: Iterable[tuple[date, Minor]], on: date, overdue_written_off: bool) -> list[Flow]:
    today = on.toordinal()
    flows = [(due.toordinal() - today, int(amount)) for due, amount in dues]
    if flows and flows[0][0] < 0:
        flows = [(days if days >= 0 else 1, amount) for days, amount in flows if days >= 0 or not overdue_written_off]
    return flows


def _newton_on_log(days: Sequence[int], amounts: Sequence[int], dirty: float) -> float | None:
    """Return the daily rate at which flows >= 0 are worth `dirty`; None if it leaves the range or does not settle.

    Each step solves the parabola through the log of the value with its slope (the mean time to payment) and its
    curvature (the variance of that time). The first, at rate 0, needs no exponential.
    """
    target, rate = log(dirty), 0.0
    weights: Sequence[float] = amounts
    for _ in range(_NEWTON_STEPS):
        value = sum(weights)
        moments: list[float] = list(map(mul, weights, days))
        moment = sum(moments)
        if value <= 0 or moment <= 0:
            return None
        mean = moment / value
        curvature: float = sum(map(mul, moments, days)) / value - mean * mean
        miss = log(value) - target
        root = mean * mean - 2 * curvature * miss
        step = 2 * miss / (mean + sqrt(root)) if root > 0 else miss / mean
        rate += step
        if abs(step) < _NEWTON_DONE:
            return rate
        if not _LOWEST < rate <= _HIGHEST:
            return None
        try:
            weights = [amount * exp(-rate * day) for amount, day in zip(amounts, days, strict=True)]
        except OverflowError:
            return None
    return None


def _bracketed_newton(days: Sequence[int], amounts: Sequence[int], dirty: float) -> float | None:
    """Return a daily rate in range at which any flows are worth `dirty`, or None: Newton, kept inside a bracket.

    A step that leaves the bracket or does not halve the one before is replaced by bisection.
    """
    bracket = _bracket(days, amounts, dirty)
    if bracket is None:
        return None
    above, below = bracket  # worth more than dirty at the first, no more than it at the second
    rate, last_step = (above + below) / 2, abs(above - below)
    for _ in range(_BRACKET_STEPS):
        excess, slope = _excess_and_slope(days, amounts, dirty, rate)
        above, below = (rate, below) if excess > 0 else (above, rate)
        newton = rate - excess / slope if slope else inf
        inside = min(above, below) < newton < max(above, below)
        following = newton if inside and abs(newton - rate) <= last_step / 2 else (above + below) / 2
        last_step, rate = abs(following - rate), following
        if last_step < _BRACKET_DONE:
            break
    return rate


def _bracket(days: Sequence[int], amounts: Sequence[int], dirty: float) -> tuple[float, float] | None:
    """Return two rates around a change of sign of the excess: (positive, not positive)."""
    for end in _HIGHEST, _LOWEST:
        inner, excess = 0.0, _excess_and_slope(days, amounts, dirty, 0.0)[0]
        for outer in (end * k / _GRID for k in range(1, _GRID + 1)):
            beyond = _excess_and_slope(days, amounts, dirty, outer)[0]
            if (beyond > 0) != (excess > 0):
                return (inner, outer) if excess > 0 else (outer, inner)
            inner, excess = outer, beyond
    return None


def _excess_and_slope(days: Sequence[int], amounts: Sequence[int], dirty: float, rate: float) -> tuple[float, float]:
    """Return present value - dirty at a daily rate, and its derivative by the rate."""
    values = [amount * exp(min(-rate * day, _EXP_MAX)) for amount, day in zip(amounts, days, strict=True)]
    return sum(values) - dirty, -sum(map(mul, values, days))
