"""Repayment schedules: what a borrower owes on each due date, in whole minor units.

Layout: `due_dates` lays the calendar, a walk over integers splits each instalment, `schedule_of` joins the two.
Rules, for a period of m months and a balance B:
- interest is round_half_up(B x annual rate x m/12), whatever the calendar length of the period;
- annuity 等额本息 pays one level amount, equal principal 等额本金 one level principal, interest-only 先息后本 the
  principal at the end, and the last instalment clears the balance;
- bullet 到期还本付息 pays once: principal and simple interest round_half_up(P x annual rate x term/12).
Invariants: balances never rise, the last is 0, payment == interest + principal in every row. An instalment rounded to
whole minor units can clear a very small loan early: the rows that would be empty are left out.
Left out: how a payment is applied to the rows (servicing.py), accrued interest between due dates (accrual.py).
"""

from calendar import monthrange
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from functools import lru_cache

from market.claims.loan import LoanTerms, RepaymentMethod
from market.ids import Minor
from market.money import div_half_up

PPM = 1_000_000
_YEAR = 12 * PPM  # annual rate in ppm x months / _YEAR is the rate of that many months


@dataclass(frozen=True, slots=True)
class Received:
    """What was paid of an instalment so far, in minor units. on: value date of the last payment."""

    interest: Minor
    principal: Minor
    on: date


@dataclass(frozen=True, slots=True)
class Instalment:
    """One due payment of the whole loan, in minor units. n counts from 1; balance is what is left after it.

    Amounts of an open row are what it still owes, those of a paid row what was paid; so accrued interest and remaining
    flows follow from open rows alone.  received: None if nothing was paid here, or it was before registration.
    """

    n: int
    due_date: date
    payment: Minor
    interest: Minor
    principal: Minor
    balance: Minor
    received: Received | None = None


@dataclass(frozen=True, slots=True)
class Schedule:
    """All instalments of a loan, oldest first. The first `paid` of them are settled; interest runs from `start`.

    version: 0 while it follows from the terms, then the number of times that the loan was rescheduled.
    """

    rows: tuple[Instalment, ...]
    paid: int
    start: date
    version: int = 0

    def period_start(self, index: int) -> date:
        """Return the first day on which row `index` (from 0) accrues: the due date before it, not before `start`."""
        return max(self.rows[index - 1].due_date, self.start) if index else self.start


def schedule_of(terms: LoanTerms) -> Schedule:
    """Return the schedule of a loan as registered; cost grows with the number of rows, about 2 us each.

    A loan registered with less outstanding than original: instalments whose scheduled balance is not below the
    outstanding are taken as paid, the rest keep the level payment and the last clears what is left. So of an
    interest-only loan only the last row is then open, and of a bullet the one row is on what is outstanding.
    Raises ValueError for a term that is not a whole, positive number of periods.
    """
    dates = _dates_of(terms)
    splits = list(_splits(terms, terms.original_principal, len(dates)))
    outstanding = terms.outstanding_at_registration
    if outstanding == terms.original_principal:
        return Schedule(_rows(dates, splits, terms.original_principal), 0, terms.issue_date)
    paid, balance = 0, int(terms.original_principal)
    while paid < len(splits) and balance - splits[paid][1] >= outstanding:
        balance -= splits[paid][1]
        paid += 1
    schedule = Schedule(_rows(dates, splits, terms.original_principal), paid, terms.issue_date)
    return schedule if balance == outstanding else recast(terms, schedule, paid=paid, outstanding=outstanding)


def recast(terms: LoanTerms, schedule: Schedule, *, paid: int, outstanding: Minor) -> Schedule:
    """Return the schedule with `paid` rows kept as settled and the rest recomputed from `outstanding`.

    The open rows keep their due dates and the level payment (or level principal) of the original loan; the last one
    clears what is left, and rows that a smaller balance no longer needs are gone. This is also what a payment in
    advance does to a schedule. `schedule` follows from `terms`: its dates are reused.
    """
    done = schedule.rows[:paid]
    dates = [row.due_date for row in schedule.rows[paid:]]
    rest = _rows(dates, _splits(terms, outstanding, len(dates)), outstanding, first=paid + 1)
    return Schedule(done + rest, paid, schedule.start)


def level_payment(*, principal: Minor, annual_rate_ppm: int, periods: int, months_per_period: int = 1) -> Minor:
    """Return the annuity instalment P r q^n / (q^n - 1), q = 1 + r, in minor units; P / n at a zero rate.

    annual_rate_ppm: nominal yearly rate in millionths, r = annual rate x months_per_period / 12.  periods: n >= 1.
    Exact integers throughout, one half-up rounding at the end.
    """
    if annual_rate_ppm == 0:
        return Minor(div_half_up(principal, periods))
    rate = annual_rate_ppm * months_per_period  # r = rate / _YEAR
    grown, flat = (_YEAR + rate) ** periods, _YEAR**periods
    return Minor(div_half_up(principal * rate * grown, _YEAR * (grown - flat)))


def add_months(day: date, months: int, *, anchor_day: int) -> date:
    """Return the date `months` after the month of `day`, on `anchor_day` or the month's last day if that is earlier."""
    year, month0 = divmod(day.year * 12 + day.month - 1 + months, 12)
    return date(year, month0 + 1, min(anchor_day, monthrange(year, month0 + 1)[1]))


@lru_cache(maxsize=4096)
def due_dates(*, issue: date, first_due: date, periods: int, months_per_period: int) -> tuple[date, ...]:
    """Return `periods` due dates from `first_due` on; loans of one calendar share one tuple.

    Each falls on the day of the month of the first. A first due date at a month's end that the issue day overshoots
    (31 January, 29 February) was cut short by its month, so the issue day is the one that counts: 31 March follows.
    """
    at_month_end = first_due.day == monthrange(first_due.year, first_due.month)[1]
    anchor_day = max(issue.day, first_due.day) if at_month_end else first_due.day
    later = (add_months(first_due, k * months_per_period, anchor_day=anchor_day) for k in range(1, periods))
    return (first_due, *later)


def _dates_of(terms: LoanTerms) -> tuple[date, ...]:
    """Return the due dates of the loan's method.

    The one date of a bullet is its maturity. The first due date may state it, or else the end of a first period like
    the other methods: whichever of the two it is nearer to.
    """
    periods, odd = divmod(terms.term_months, terms.months_per_period)
    if odd or periods < 1:
        raise ValueError(f"{terms.term_months} months are not whole periods of {terms.months_per_period} months")
    issue, first = terms.issue_date, terms.first_due_date
    months_to_first = 12 * (first.year - issue.year) + first.month - issue.month
    bullet = terms.repayment_method is RepaymentMethod.BULLET
    if bullet and 2 * months_to_first >= terms.term_months + terms.months_per_period:
        return (first,)
    dates = due_dates(issue=issue, first_due=first, periods=periods, months_per_period=terms.months_per_period)
    return dates[-1:] if bullet else dates


def _splits(terms: LoanTerms, balance: int, periods: int) -> Iterator[tuple[int, int]]:
    """Yield (interest, principal) of up to `periods` instalments that take `balance` to zero, in minor units."""
    method = terms.repayment_method
    months = terms.term_months if method is RepaymentMethod.BULLET else terms.months_per_period
    twice_rate = 2 * terms.annual_rate_ppm * months  # half-up rounding as in money.py, its constants hoisted
    level = _level_amount(terms)
    level_is_payment = method is RepaymentMethod.ANNUITY
    for _ in range(periods - 1):
        if balance == 0:
            return
        interest = (balance * twice_rate + _YEAR) // (2 * _YEAR)
        # At rates where interest eats the level payment, its rounding must not make the debt grow.
        principal = min(max(level - interest, 0) if level_is_payment else level, balance)
        balance -= principal
        yield interest, principal
    if balance:
        yield (balance * twice_rate + _YEAR) // (2 * _YEAR), balance


def _level_amount(terms: LoanTerms) -> int:
    """Return what stays level from period to period: the payment of an annuity, else the principal part."""
    periods = terms.term_months // terms.months_per_period
    match terms.repayment_method:
        case RepaymentMethod.ANNUITY:
            return level_payment(
                principal=terms.original_principal,
                annual_rate_ppm=terms.annual_rate_ppm,
                periods=periods,
                months_per_period=terms.months_per_period,
            )
        case RepaymentMethod.EQUAL_PRINCIPAL:
            return div_half_up(terms.original_principal, periods)
        case RepaymentMethod.INTEREST_ONLY | RepaymentMethod.BULLET:
            return 0


def _rows(
    dates: Sequence[date], splits: Iterator[tuple[int, int]] | list[tuple[int, int]], balance: int, first: int = 1
) -> tuple[Instalment, ...]:
    """Join dates and splits into rows numbered from `first`; dates beyond the last split are not needed."""
    rows = []
    for n, (due, (interest, principal)) in enumerate(zip(dates, splits, strict=False), first):
        balance -= principal
        rows.append(Instalment(n, due, Minor(interest + principal), Minor(interest), Minor(principal), Minor(balance)))
    return tuple(rows)
