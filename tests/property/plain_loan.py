"""A loan so plain that it is right by inspection: exact fractions, rounded where the published rules say, row by row.

Written from PROTOCOL (Money) and docs/servicing.md, and shares no arithmetic with the code that it judges: schedule,
day counts, accrued interest, what a payment covers, prepayment, recovery, reschedule and the split over holders.
"""

from calendar import isleap, monthrange
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from fractions import Fraction
from functools import lru_cache
from math import floor

from market.claims.loan import Coverage, DayCount, GuaranteeKind, LoanTerms, RepaymentMethod
from market.claims.servicing import ServicingEvent, ServicingType

GRACE_DAYS = 15
LIVE = ("current", "grace", "late", "default")
UNISSUED = "\x7f"  # sorts behind every account id


class Refused(Exception):
    """The rules don't admit it."""


def half_up(exact: Fraction | int) -> int:
    return floor(exact + Fraction(1, 2))


def shares(amount: int, faces: Mapping[str, int], whole: int) -> dict[str, int]:
    """Split `amount` by largest remainder over `whole` face; what is not issued takes part and is left out."""
    faces = {**faces, UNISSUED: whole - sum(faces.values())}
    exact = {name: Fraction(amount * face, whole) for name, face in faces.items()}
    parts = {name: floor(share) for name, share in exact.items()}
    by_claim = sorted(parts, key=lambda name: (parts[name] - exact[name], -faces[name], name))
    for name in by_claim[: amount - sum(parts.values())]:
        parts[name] += 1
    del parts[UNISSUED]
    return parts


@dataclass
class Row:
    """What an open instalment still owes. touched: something of it was received."""

    due: date
    interest: int
    principal: int
    touched: bool = False


@dataclass
class Money:
    interest: int = 0
    principal: int = 0
    costs: int = 0


@dataclass
class PlainLoan:
    terms: LoanTerms
    status: str = "current"
    outstanding: int = 0
    rows: list[Row] = field(default_factory=list)  # the open ones
    start: date = date.min  # interest runs from here
    last_due: date = date.min  # of the last row that is settled
    rescheduled: bool = False
    never_late: bool = True

    @classmethod
    def of(cls, terms: LoanTerms) -> "PlainLoan":
        loan = cls(terms, outstanding=terms.outstanding_at_registration, start=terms.issue_date)
        loan.rows = loan.split(terms.original_principal, due_dates(terms))
        balance = int(terms.original_principal)
        is_part_repaid = loan.outstanding < balance
        while is_part_repaid and balance - loan.rows[0].principal >= loan.outstanding:
            settled = loan.rows.pop(0)
            balance -= settled.principal
            loan.last_due = settled.due
        if balance != loan.outstanding:
            loan.rows = loan.split(loan.outstanding, [row.due for row in loan.rows])
        return loan

    def copy(self) -> "PlainLoan":
        return replace(self, rows=[replace(row) for row in self.rows])

    # Schedule and accrued interest

    def split(self, balance: int, dates: list[date]) -> list[Row]:
        """Return the rows that repay `balance` on `dates`, by the loan's method; rows of nothing are left out."""
        terms, rows = self.terms, []
        level = level_of(terms)
        for due in dates:
            if balance == 0:
                break
            interest = half_up(balance * period_rate(terms))
            part = max(level - interest, 0) if terms.repayment_method is RepaymentMethod.ANNUITY else level
            part = balance if due == dates[-1] else min(part, balance)
            rows.append(Row(due, interest, part))
            balance -= part
        return rows

    def period_start(self, index: int) -> date:
        return max(self.start, self.rows[index - 1].due if index else self.last_due)

    def earned(self, index: int, on: date) -> Fraction:
        """Interest of row `index` that its period has earned by `on`, of the whole loan; never more than it owes."""
        row, start = self.rows[index], self.period_start(index)
        if on <= start:
            return Fraction(0)
        if self.terms.day_count is DayCount.PERIOD:
            return row.interest * min(Fraction((on - start).days, (row.due - start).days), Fraction(1))
        yearly = self.outstanding * Fraction(self.terms.annual_rate_ppm, 1_000_000)
        return min(yearly * years(self.terms.day_count, start, on), Fraction(row.interest))

    @property
    def is_flat(self) -> bool:
        return self.status in ("late", "default") or not self.rows

    def accrued(self, on: date) -> Fraction:
        return Fraction(0) if self.is_flat else self.earned(0, on)

    def bound(self) -> int:
        """The most that can accrue before the next due date."""
        return 0 if self.is_flat else self.rows[0].interest

    def floor_is_broken(self, price: int, on: date) -> bool:
        """Whether a buyer at `price` would get back less than he pays."""
        if self.is_flat:
            return False
        to_come = sum(row.interest + row.principal for row in self.rows)
        return Fraction(self.outstanding * price, 10_000) + self.accrued(on) > to_come

    # Status

    def arrears(self, today: date) -> str:
        due = next((row.due for row in self.rows if row.interest + row.principal), None)
        days = 0 if due is None else (today - due).days
        return "current" if days <= 0 else "grace" if days <= GRACE_DAYS else "late"

    def roll(self, today: date) -> None:
        """Time alone makes a loan worse, never better."""
        now = self.arrears(today)
        if self.status in ("current", "grace") and now not in (self.status, "current"):
            self.status, self.never_late = now, False

    # Servicing

    def service(self, event: ServicingEvent, today: date) -> Money:
        """Change what the event changes and return what was paid, or raise Refused with nothing to rely on."""
        kind, on = event.type, event.value_date
        admitted = ("grace", "late", "default", "written_off") if kind is ServicingType.RECOVERY else LIVE
        need(self.terms.issue_date <= on <= today and self.status in admitted)
        match kind:
            case ServicingType.PAYMENT:
                paid = self._pay(event)
                if self.status in ("current", "grace", "late"):
                    self.status = self.arrears(today)
            case ServicingType.RECOVERY:
                paid = self._recover(event)
            case ServicingType.PREPAYMENT | ServicingType.BUYBACK:
                paid = self._settle(event)
            case ServicingType.RESCHEDULE:
                paid = self._reschedule(event)
            case ServicingType.MISSED:
                need(any(row.due <= on and row.interest + row.principal for row in self.rows))
                if self.status != "default":
                    self.status = {"current": "grace"}.get(self.arrears(today), self.arrears(today))
                self.never_late, paid = False, Money()
            case _:
                self.status = "default" if kind is ServicingType.DEFAULT else "written_off"
                self.never_late, paid = False, Money()
        if self.status in ("grace", "late"):
            self.never_late = False
        return paid

    def due(self, on: date) -> list[Row]:
        return [row for row in self.rows if row.due <= on]

    def payable(self, on: date) -> list[Row]:
        """Due rows, then the running period's, then rows that are partly paid."""
        end = len(self.due(on))
        while end < len(self.rows) and (self.rows[end].touched or self.period_start(end) < on):
            end += 1
        return self.rows[:end]

    def _pay(self, event: ServicingEvent) -> Money:
        on, paid = event.value_date, given_split(event)
        if paid is None:
            need(event.amount)
            left, paid = int(event.amount or 0), Money()
            due, payable = self.due(on), self.payable(on)
            for rows in (due, payable[len(due) :]):
                take = min(left, sum(row.interest for row in rows))
                paid.interest, left = paid.interest + take, left - take
                take = min(left, sum(row.principal for row in rows))
                paid.principal, left = paid.principal + take, left - take
            paid.principal += left
        self._receive(paid, on, "repaid")
        return paid

    def _recover(self, event: ServicingEvent) -> Money:
        on, costs, paid = event.value_date, int(event.costs or 0), given_split(event)
        if paid is None:
            need(event.amount and event.amount >= costs)
            left = int(event.amount or 0) - costs
            principal = min(max(left - sum(row.interest for row in self.due(on)), 0), self.outstanding)
            paid = Money(left - principal, principal)
        paid.costs = costs
        self._receive(paid, on, "recovered")
        return paid

    def _receive(self, paid: Money, on: date, end: str) -> None:
        """Interest and principal fill the payable rows in order; more principal shortens what comes after them."""
        need(paid.interest + paid.principal + paid.costs > 0 and paid.principal <= self.outstanding)
        self.outstanding -= paid.principal
        if self.outstanding == 0:
            self.rows, self.status = [], end
            return
        interest, principal, payable = paid.interest, paid.principal, self.payable(on)
        for row in payable:
            of_interest, of_principal = min(interest, row.interest), min(principal, row.principal)
            row.interest -= of_interest
            row.principal -= of_principal
            interest, principal = interest - of_interest, principal - of_principal
            row.touched = row.touched or of_interest + of_principal > 0
        tail = self.rows[len(payable) :]
        if principal:
            balance = sum(row.principal for row in tail) - principal
            tail = scaled(tail, balance) if self.rescheduled else self.split(balance, [row.due for row in tail])
        while payable and not payable[0].interest + payable[0].principal:
            self.last_due = payable.pop(0).due
        self.rows = payable + tail

    def _settle(self, event: ServicingEvent) -> Money:
        """Prepayment: principal and interest to the day. Buy-back: what is covered or more, or as agreed."""
        is_buyback, paid, guarantee = event.type is ServicingType.BUYBACK, given_split(event), self.terms.guarantee
        is_guaranteed = is_buyback and guarantee.kind is not GuaranteeKind.NONE
        owed = 0 if is_buyback and covers_principal_only(self.terms) else self.interest_to(event.value_date)
        if is_guaranteed and guarantee.trigger_days is not None:
            overdue = [row.due for row in self.rows if row.interest + row.principal]
            need(overdue and (event.value_date - overdue[0]).days >= guarantee.trigger_days)
        if paid is None:
            amount = self.outstanding + owed if event.amount is None else int(event.amount)
            need(amount >= self.outstanding and (is_buyback or amount == self.outstanding + owed))
            paid = Money(amount - self.outstanding, self.outstanding)
        need(paid.principal == self.outstanding and paid.interest + paid.principal > 0)
        need(not is_guaranteed or paid.interest >= owed)
        self.rows, self.outstanding, self.status = [], 0, "bought_back" if is_buyback else "repaid"
        return paid

    def interest_to(self, on: date) -> int:
        due = self.due(on)
        running = self.earned(len(due), on) if len(due) < len(self.rows) else 0
        return half_up(sum(row.interest for row in due) + running)

    def _reschedule(self, event: ServicingEvent) -> Money:
        new, last = event.schedule or (), max(event.value_date, self.last_due)
        total: int = sum(row.principal for row in new)
        need(new and self.outstanding <= total <= 2 * self.terms.original_principal and new[-1].principal > 0)
        for row in new:
            need(row.due_date > last)
            last = row.due_date
        self.rows = [Row(row.due_date, row.interest, row.principal) for row in new]
        self.outstanding, self.start, self.status, self.rescheduled = total, event.value_date, "current", True
        return Money()


def need(holds: object) -> None:
    if not holds:
        raise Refused


def scaled(tail: list[Row], balance: int) -> list[Row]:
    """Rows of a negotiated schedule on a smaller balance: each one's interest keeps its share of what is before it."""
    rows, before = [], sum(row.principal for row in tail)
    for row in tail:
        if balance == 0:
            break
        part = min(row.principal, balance)
        rows.append(Row(row.due, half_up(Fraction(row.interest * balance, before)), part))
        before, balance = before - row.principal, balance - part
    return rows


def given_split(event: ServicingEvent) -> Money | None:
    """The servicer's own split; one part of it may be left to be what the other leaves of the amount."""
    if event.interest is None and event.principal is None:
        return None
    came_in = None if event.amount is None else event.amount - (event.costs or 0)
    other = (came_in or 0) - (event.interest or 0) - (event.principal or 0) if came_in is not None else 0
    interest = other if event.interest is None else int(event.interest)
    principal = other if event.principal is None else int(event.principal)
    need(interest >= 0 and principal >= 0 and came_in in (None, interest + principal))
    return Money(interest, principal)


def covers_principal_only(terms: LoanTerms) -> bool:
    return terms.guarantee.kind is not GuaranteeKind.NONE and terms.guarantee.coverage is Coverage.PRINCIPAL


def period_rate(terms: LoanTerms) -> Fraction:
    months = terms.term_months if terms.repayment_method is RepaymentMethod.BULLET else terms.months_per_period
    return Fraction(terms.annual_rate_ppm * months, 12 * 1_000_000)


@lru_cache(maxsize=256)
def level_of(terms: LoanTerms) -> int:
    """What stays the same from row to row: the payment of an annuity, the principal part of the others."""
    principal, periods, rate = (
        terms.original_principal,
        terms.term_months // terms.months_per_period,
        period_rate(terms),
    )
    if terms.repayment_method is RepaymentMethod.ANNUITY and rate:
        return half_up(principal * rate * (1 + rate) ** periods / ((1 + rate) ** periods - 1))
    if terms.repayment_method in (RepaymentMethod.ANNUITY, RepaymentMethod.EQUAL_PRINCIPAL):
        return half_up(Fraction(principal, periods))
    return 0


def due_dates(terms: LoanTerms) -> list[date]:
    """Every period's end on the day of the first one, or of the issue where the first was cut short by its month."""
    first, issue, step = terms.first_due_date, terms.issue_date, terms.months_per_period
    day = max(first.day, issue.day) if first == month_later(first, 0, 31) else first.day
    dates = [first, *(month_later(first, k * step, day) for k in range(1, terms.term_months // step))]
    if terms.repayment_method is not RepaymentMethod.BULLET:
        return dates
    months = 12 * (first.year - issue.year) + first.month - issue.month
    return [first] if months - step >= terms.term_months - months else dates[-1:]


def month_later(day: date, months: int, wanted: int) -> date:
    year, month = divmod(12 * day.year + day.month - 1 + months, 12)
    return date(year, month + 1, min(wanted, monthrange(year, month + 1)[1]))


@lru_cache(maxsize=4096)
def years(convention: DayCount, start: date, end: date) -> Fraction:
    days = (end - start).days
    match convention:
        case DayCount.ACT_365F:
            return Fraction(days, 365)
        case DayCount.ACT_360:
            return Fraction(days, 360)
        case DayCount.ACT_ACT_ISDA:
            leap = sum(isleap((start + timedelta(k)).year) for k in range(days))
            return Fraction(leap, 366) + Fraction(days - leap, 365)
    first, last = start.day, end.day
    if convention is DayCount.THIRTY_360_EU:
        first, last = min(first, 30), min(last, 30)
    else:
        if start == month_later(start, 0, 31) and start.month == 2:
            last = 30 if end.month == 2 and end == month_later(end, 0, 31) else last
            first = 30
        first = min(first, 30)
        last = 30 if last == 31 and first == 30 else last
    return Fraction(360 * (end.year - start.year) + 30 * (end.month - start.month) + last - first, 360)
