"""Interest accrued since the last due date: an exact rational for the whole loan, rounded once for each fill's share.

Convention: bond style. A buyer pays clean price and accrued, then receives the whole next instalment. Loans that are
late or in default trade flat: no accrued is paid, all arrears go to the buyer.
Invariant: 0 <= accrued <= the instalment's interest. ACT/365F would break it in a 31-day month, where a year's 1/12
is worth less than 31/365, so every convention is clamped.
"""

from dataclasses import dataclass
from datetime import date

from market.claims.daycount import year_fraction
from market.claims.loan import DayCount, LoanTerms
from market.claims.schedule import PPM, Instalment
from market.ids import Face, Minor
from market.money import div_half_up


@dataclass(frozen=True, slots=True)
class Accrued:
    """Accrued interest of a whole loan, numerator / denominator minor units. numerator >= 0, denominator > 0."""

    numerator: int
    denominator: int


NOTHING_ACCRUED = Accrued(0, 1)


def accrued(
    terms: LoanTerms, schedule_row: Instalment, period_start: date, outstanding: Minor, on: date, *, flat: bool
) -> Accrued:
    """Return interest of the whole loan earned from `period_start` (inclusive) to `on` (exclusive).

    schedule_row: the first open instalment.  period_start: `Schedule.period_start` of it.
    `DayCount.PERIOD`: instalment interest x days elapsed / days in the period, from the due date on all of it.
    Other day counts: outstanding x annual rate x year fraction, at most the instalment's interest.
    """
    if flat or on <= period_start:
        return NOTHING_ACCRUED
    if terms.day_count is DayCount.PERIOD:
        if on >= schedule_row.due_date:
            return full_period(schedule_row)
        return Accrued(schedule_row.interest * (on - period_start).days, (schedule_row.due_date - period_start).days)
    years = year_fraction(terms.day_count, period_start, on)
    numerator, denominator = outstanding * terms.annual_rate_ppm * years.numerator, PPM * years.denominator
    if numerator > schedule_row.interest * denominator:
        return full_period(schedule_row)
    return Accrued(numerator, denominator)


def full_period(row: Instalment) -> Accrued:
    """Return the whole interest of an instalment: the most that can accrue before it is paid; a buy reserves it."""
    return Accrued(row.interest, 1)


def share(loan_accrued: Accrued, *, quantity: Face, original_principal: Minor) -> Minor:
    """Return the accrued interest of `quantity` original face, in minor units, rounded half up once.

    For `DayCount.PERIOD` that is interest x days / period days x quantity / original principal (PROTOCOL, Money).
    """
    return Minor(div_half_up(loan_accrued.numerator * quantity, loan_accrued.denominator * original_principal))
