"""What a servicer's event does to a loan: which rows a payment covers, what stays outstanding, which status follows.

Pure arithmetic on the whole loan: `service` takes where the loan stands and one event, and returns where it stands then
and how the money splits. Nothing is booked here, so a list of events can be judged to its end before any of it happens.

How a payment without a split is applied: interest that is due, principal that is due, then in advance. In advance means
first the instalment of the running period (an instalment paid early counts as that instalment, interest and all), then
principal: what is left of the schedule is recomputed, and the amount is shown in the row that it came with.
Invariants: principal of the open rows == outstanding; interest + principal + costs == what was paid.
Left out: who gets it (distribution.py), cash, orders and books (venue/servicing.py).
"""

from dataclasses import dataclass, replace
from datetime import date, timedelta
from enum import StrEnum

from market.claims.accrual import accrued
from market.claims.loan import LIVE_STATUSES, Coverage, Guarantee, GuaranteeKind, LoanStatus, LoanTerms
from market.claims.schedule import Instalment, Received, Schedule, recast
from market.errors import InvalidArguments, InvariantViolation, LoanClosed, RuleViolation
from market.ids import LoanId, Minor
from market.money import div_half_up

NOTHING = Minor(0)
CAPITALISED_TIMES_MAX = 2  # of the original principal; the schema holds the same bound


class ServicingType(StrEnum):
    PAYMENT = "payment"
    PREPAYMENT = "prepayment"  # in full: interest to the day and all principal
    MISSED = "missed"
    RESCHEDULE = "reschedule"
    DEFAULT = "default"
    BUYBACK = "buyback"
    RECOVERY = "recovery"  # costs of enforcement, then interest, then principal (PRC Civil Code, article 561)
    WRITE_OFF = "write_off"


WITH_MONEY = frozenset({ServicingType.PAYMENT, ServicingType.PREPAYMENT, ServicingType.BUYBACK, ServicingType.RECOVERY})
RECOVERABLE = frozenset({LoanStatus.GRACE, LoanStatus.LATE, LoanStatus.DEFAULT, LoanStatus.WRITTEN_OFF})
PERFORMING = frozenset({LoanStatus.CURRENT, LoanStatus.GRACE, LoanStatus.LATE})


@dataclass(frozen=True, slots=True, kw_only=True)
class NewRow:
    """One instalment of a new schedule, in minor units."""

    due_date: date
    interest: Minor
    principal: Minor


@dataclass(frozen=True, slots=True, kw_only=True)
class ServicingEvent:
    """As reported. amount: all that came in; principal, interest, costs: its split, None where the rules decide."""

    event_id: str
    loan_id: LoanId
    type: ServicingType
    value_date: date
    amount: Minor | None = None
    principal: Minor | None = None
    interest: Minor | None = None
    costs: Minor | None = None
    schedule: tuple[NewRow, ...] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """Where a loan stands between two events."""

    status: LoanStatus
    outstanding: Minor
    schedule: Schedule
    never_late: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """after: where the loan stands then.  The amounts: what was paid, of the whole loan, in minor units."""

    after: Standing
    interest: Minor = NOTHING
    principal: Minor = NOTHING
    costs: Minor = NOTHING
    capitalised: Minor = NOTHING


def service(terms: LoanTerms, before: Standing, event: ServicingEvent, *, today: date, grace_days: int) -> Outcome:
    """Return what `event` does. Raises InvalidArguments or RuleViolation naming its field, or LoanClosed."""
    _check(terms, before, event, today)
    match event.type:
        case ServicingType.PAYMENT:
            outcome = _payment(terms, before, event)
            status = status_on(outcome.after, today, grace_days)
            outcome = replace(outcome, after=replace(outcome.after, status=status))
        case ServicingType.PREPAYMENT:
            outcome = _prepayment(terms, before, event)
        case ServicingType.BUYBACK:
            outcome = _buyback(terms, before, event)
        case ServicingType.RECOVERY:
            outcome = _recovery(terms, before, event)
        case ServicingType.RESCHEDULE:
            outcome = _reschedule(terms, before, event)
        case ServicingType.MISSED:
            outcome = Outcome(after=_missed(before, event, today, grace_days))
        case ServicingType.DEFAULT:
            outcome = Outcome(after=replace(before, status=LoanStatus.DEFAULT, never_late=False))
        case ServicingType.WRITE_OFF:
            outcome = Outcome(after=replace(before, status=LoanStatus.WRITTEN_OFF, never_late=False))
    after = outcome.after
    if after.status in (LoanStatus.GRACE, LoanStatus.LATE):
        outcome = replace(outcome, after=replace(after, never_late=False))
    if sum(row.principal for row in after.schedule.rows[after.schedule.paid :]) != after.outstanding:
        raise InvariantViolation(f"{event.loan_id}: the schedule does not add up to {after.outstanding}")
    return outcome


def overdue_since(schedule: Schedule) -> date | None:
    """Return the due date of the first instalment that still owes something, None if none does."""
    return next((row.due_date for row in schedule.rows[schedule.paid :] if row.payment), None)


def status_on(standing: Standing, day: date, grace_days: int) -> LoanStatus:
    """Return the status of a performing loan by its arrears: grace from the day after a due date, then late."""
    if standing.status not in PERFORMING:
        return standing.status
    due = overdue_since(standing.schedule)
    days_past_due = 0 if due is None else (day - due).days
    if days_past_due <= 0:
        return LoanStatus.CURRENT
    return LoanStatus.LATE if days_past_due > grace_days else LoanStatus.GRACE


def _check(terms: LoanTerms, before: Standing, event: ServicingEvent, today: date) -> None:
    kind = event.type
    _require(1 <= len(event.event_id) <= 128, "event_id", "must be 1 to 128 characters")
    _require(event.value_date <= today, "value_date", f"must not be after the business date, {today}")
    issued = terms.issue_date
    _require(event.value_date >= issued, "value_date", f"must not be before the issue date, {issued}")
    admitted = RECOVERABLE if kind is ServicingType.RECOVERY else LIVE_STATUSES
    if before.status not in admitted:
        if before.status in LIVE_STATUSES:
            raise InvalidArguments(f"type: a {before.status} loan has nothing to recover", field="type")
        raise LoanClosed(f"loan {event.loan_id} is {before.status}", loan_status=before.status)
    for field in ("amount", "principal", "interest", "costs"):
        given = getattr(event, field)
        if given is not None:
            _require(given >= 0, field, "must not be negative")
            _require(kind in WITH_MONEY or given == 0, field, f"a {kind} brings no money")
            has_costs = kind is ServicingType.RECOVERY or field != "costs"
            _require(has_costs or given == 0, field, "only a recovery has them")
    _require((event.schedule is None) is (kind is not ServicingType.RESCHEDULE), "schedule", "goes with a reschedule")


def _require(holds: bool, field: str, what: str) -> None:
    if not holds:
        raise InvalidArguments(f"{field}: {what}", field=field)


# Money that comes in


def _payment(terms: LoanTerms, before: Standing, event: ServicingEvent) -> Outcome:
    schedule, on = before.schedule, event.value_date
    split = _given_split(event)
    if split is None:
        split = _split_of_payment(before, on, _amount(event))
    interest, principal = split
    _require(interest + principal > 0, "amount", "must be more than 0")
    _require(principal <= before.outstanding, _at_fault(event), f"only {_text(before.outstanding)} is outstanding")
    outstanding = Minor(before.outstanding - principal)
    if outstanding == 0:
        closed = _closed(schedule, interest, principal, on)
        after = replace(before, status=LoanStatus.REPAID, outstanding=outstanding, schedule=closed)
    else:
        applied = _apply(terms, schedule, interest, principal, on)
        after = replace(before, outstanding=outstanding, schedule=applied)
    return Outcome(after=after, interest=interest, principal=principal)


def _split_of_payment(before: Standing, on: date, amount: Minor) -> tuple[Minor, Minor]:
    """Return (interest, principal): what is due, then the running instalment, then principal in advance."""
    rows, paid = before.schedule.rows, before.schedule.paid
    due, payable = _due_end(before.schedule, on), _payable_end(before.schedule, on)
    interest, principal, left = 0, 0, int(amount)
    for first, end in ((paid, due), (due, payable)):
        take = min(left, sum(row.interest for row in rows[first:end]))
        interest, left = interest + take, left - take
        take = min(left, sum(row.principal for row in rows[first:end]))
        principal, left = principal + take, left - take
    room = before.outstanding - principal
    _require(left <= room, "amount", f"must be at most {_text(amount - left + room)}, which repays the loan")
    return Minor(interest), Minor(principal + left)


def _prepayment(terms: LoanTerms, before: Standing, event: ServicingEvent) -> Outcome:
    """All principal, with interest to the day. Without a split it must be exactly what is owed."""
    split = _given_split(event)
    if split is None:
        owed = interest_to_the_day(terms, before, event.value_date)
        whole = Minor(before.outstanding + owed)
        _require(event.amount in (None, whole), "amount", f"the loan is repaid by {_text(whole)}")
        split = owed, before.outstanding
    return _settled_at_once(before, event, split, LoanStatus.REPAID)


def _buyback(terms: LoanTerms, before: Standing, event: ServicingEvent) -> Outcome:
    """All principal, and interest: by the originator, insurer or guarantor, at least what his guarantee covers.

    A guarantee is not drawn before its trigger days. A loan without one is bought back as agreed.
    """
    guarantee, outstanding, on = terms.guarantee, before.outstanding, event.value_date
    is_guaranteed = guarantee.kind is not GuaranteeKind.NONE
    interest = interest_to_the_day(terms, before, on)
    if is_guaranteed:
        _check_trigger(before, guarantee, on)
        interest = NOTHING if guarantee.coverage is Coverage.PRINCIPAL else interest
    split = _given_split(event)
    if split is None:
        amount = Minor(outstanding + interest) if event.amount is None else event.amount
        _require(amount >= outstanding, "amount", f"{_text(outstanding)} is outstanding")
        split = Minor(amount - outstanding), outstanding
    if is_guaranteed and split[0] < interest:
        raise RuleViolation(
            f"the guarantee covers {guarantee.coverage}: at least {_text(outstanding + interest)}",
            field="amount" if event.interest is None else "interest",
            rule="guarantee_coverage",
            have=split[0] + split[1],
            need=outstanding + interest,
        )
    return _settled_at_once(before, event, split, LoanStatus.BOUGHT_BACK)


def _check_trigger(before: Standing, guarantee: Guarantee, on: date) -> None:
    """Days past due are counted from the first instalment that still owes something, paid in part or not at all."""
    days, due = guarantee.trigger_days, overdue_since(before.schedule)
    if days is None or (due is not None and (on - due).days >= days):
        return
    first = "" if due is None else f": {due + timedelta(days=days)} at the earliest"
    text = f"the guarantee is drawn when the loan is {days} days past due{first}"
    raise RuleViolation(text, field="value_date", rule="trigger_days")


def _settled_at_once(
    before: Standing, event: ServicingEvent, split: tuple[Minor, Minor], status: LoanStatus
) -> Outcome:
    (interest, principal), outstanding = split, before.outstanding
    _require(principal == outstanding, _at_fault(event), f"{_text(outstanding)} is outstanding")
    _require(interest + principal > 0, "amount", "nothing is owed")
    schedule = _closed(before.schedule, interest, principal, event.value_date)
    after = replace(before, status=status, outstanding=NOTHING, schedule=schedule)
    return Outcome(after=after, interest=interest, principal=principal)


def interest_to_the_day(terms: LoanTerms, standing: Standing, on: date) -> Minor:
    """Return unpaid interest that is due, and what the running period has earned, rounded half up once."""
    schedule = standing.schedule
    due = _due_end(schedule, on)
    owed: int = sum(row.interest for row in schedule.rows[schedule.paid : due])
    if due < len(schedule.rows):
        row, start = schedule.rows[due], schedule.period_start(due)
        earned = accrued(terms, row, start, standing.outstanding, on, flat=False)
        owed += div_half_up(earned.numerator, earned.denominator)
    return Minor(owed)


def _recovery(terms: LoanTerms, before: Standing, event: ServicingEvent) -> Outcome:
    schedule, on = before.schedule, event.value_date
    costs = event.costs or NOTHING
    split = _given_split(event)
    if split is None:
        left = _amount(event) - costs
        _require(left >= 0, "costs", "must not be more than the amount")
        due = sum(row.interest for row in schedule.rows[schedule.paid : _due_end(schedule, on)])
        principal = Minor(min(max(left - due, 0), before.outstanding))
        split = Minor(left - principal), principal  # what no schedule knows is interest that ran on after it
    interest, principal = split
    _require(interest + principal + costs > 0, "amount", "must be more than 0")
    _require(principal <= before.outstanding, _at_fault(event), f"only {_text(before.outstanding)} is outstanding")
    outstanding = Minor(before.outstanding - principal)
    if outstanding == 0:
        closed = _closed(schedule, interest, principal, on)
        after = replace(before, status=LoanStatus.RECOVERED, outstanding=outstanding, schedule=closed)
    else:
        applied = _apply(terms, schedule, interest, principal, on)
        after = replace(before, outstanding=outstanding, schedule=applied)
    return Outcome(after=after, interest=interest, principal=principal, costs=costs)


def _amount(event: ServicingEvent) -> Minor:
    if event.amount is None or event.amount == 0:
        raise InvalidArguments("amount: must be more than 0", field="amount")
    return event.amount


def _given_split(event: ServicingEvent) -> tuple[Minor, Minor] | None:
    """Return (interest, principal) as reported, one of them completed from the amount; None if neither is."""
    interest, principal, amount = event.interest, event.principal, event.amount
    if interest is None and principal is None:
        return None
    rest = None if amount is None else amount - (event.costs or 0)
    if interest is None:
        interest = NOTHING if rest is None else Minor(rest - (principal or 0))
    if principal is None:
        principal = NOTHING if rest is None else Minor(rest - interest)
    fits = interest >= 0 and principal >= 0 and rest in (None, interest + principal)
    _require(fits, "amount", "is not the sum of principal, interest and costs")
    return interest, principal


def _at_fault(event: ServicingEvent) -> str:
    return "amount" if event.principal is None else "principal"


def _text(amount: int) -> str:
    return f"{amount // 100}.{amount % 100:02}"


# The schedule


def _due_end(schedule: Schedule, on: date) -> int:
    """Return the index behind the last row that is due."""
    end = schedule.paid
    while end < len(schedule.rows) and schedule.rows[end].due_date <= on:
        end += 1
    return end


def _payable_end(schedule: Schedule, on: date) -> int:
    """Return the index behind what a payment covers row by row: due rows, the running period's, rows partly paid."""
    end = _due_end(schedule, on)
    rows = schedule.rows
    while end < len(rows) and (rows[end].received is not None or schedule.period_start(end) < on):
        end += 1
    return end


def _apply(terms: LoanTerms, schedule: Schedule, interest: Minor, principal: Minor, on: date) -> Schedule:
    """Return the schedule after a payment that leaves something outstanding.

    Interest beyond what the payable rows owe (a late fee, say) is paid out, but no row knows it.
    """
    rows, paid, end = list(schedule.rows), schedule.paid, _payable_end(schedule, on)
    for i in range(paid, end):
        row = rows[i]
        take = Minor(min(interest, row.interest)), Minor(min(principal, row.principal))
        interest, principal = Minor(interest - take[0]), Minor(principal - take[1])
        if any(take):
            rows[i] = _receive(row, *take, on)
    while paid < end and rows[paid].payment == 0:
        rows[paid] = _completed(rows[paid])
        paid += 1
    applied = replace(schedule, rows=tuple(rows), paid=paid)
    return _balanced(_in_advance(terms, applied, end, principal, on) if principal else applied)


def _balanced(schedule: Schedule) -> Schedule:
    """Return the schedule with the balance after each open row as what the rows behind it still owe.

    A split may pay principal of later rows while an earlier one still owes interest.
    """
    rows, left = list(schedule.rows), 0
    for i in range(len(rows) - 1, schedule.paid - 1, -1):
        if rows[i].balance != left:
            rows[i] = replace(rows[i], balance=Minor(left))
        left += rows[i].principal
    return replace(schedule, rows=tuple(rows))


def _in_advance(terms: LoanTerms, schedule: Schedule, end: int, principal: Minor, on: date) -> Schedule:
    """Return the schedule after `principal` more than its rows before `end` owe; the rows from there are recomputed."""
    tail = schedule.rows[end:]
    balance = Minor(sum(row.principal for row in tail) - principal)
    if schedule.version == 0:
        rest = recast(terms, schedule, paid=end, outstanding=balance).rows[end:]
    else:
        rest = _scaled(tail, balance)
    head = list(schedule.rows[:end])
    if schedule.paid:  # shown where it was paid
        last = head[schedule.paid - 1]
        received = last.received or Received(last.interest, last.principal, on)
        head[schedule.paid - 1] = replace(
            last,
            payment=Minor(last.payment + principal),
            principal=Minor(last.principal + principal),
            balance=Minor(last.balance - principal),
            received=Received(received.interest, Minor(received.principal + principal), on),
        )
    return replace(schedule, rows=(*head, *rest))


def _scaled(tail: tuple[Instalment, ...], balance: Minor) -> tuple[Instalment, ...]:
    """Return rows of a negotiated schedule on a smaller balance: the last ones fall away, interest falls in proportion.

    The interest of each row is its share of the balance before it, half up.
    """
    before: int = sum(row.principal for row in tail)
    left, rows = int(balance), []
    for row in tail:
        if left == 0:
            break
        interest, principal = div_half_up(row.interest * left, before), min(row.principal, left)
        before, left = before - row.principal, left - principal
        rows.append(_row(row.n, row.due_date, interest, principal, left))
    return tuple(rows)


def _row(n: int, due: date, interest: int, principal: int, balance: int) -> Instalment:
    return Instalment(n, due, Minor(interest + principal), Minor(interest), Minor(principal), Minor(balance))


def _receive(row: Instalment, interest: Minor, principal: Minor, on: date) -> Instalment:
    got = row.received or Received(NOTHING, NOTHING, on)
    return replace(
        row,
        payment=Minor(row.payment - interest - principal),
        interest=Minor(row.interest - interest),
        principal=Minor(row.principal - principal),
        received=Received(Minor(got.interest + interest), Minor(got.principal + principal), on),
    )


def _completed(row: Instalment) -> Instalment:
    """Return a row that owes nothing any more with the amounts that were paid."""
    got = row.received
    if got is None:
        return row
    return replace(row, payment=Minor(got.interest + got.principal), interest=got.interest, principal=got.principal)


def _closed(schedule: Schedule, interest: Minor, principal: Minor, on: date) -> Schedule:
    """Return the schedule of a loan that ends now: the open rows become one, with what was paid of them."""
    done, left = schedule.rows[: schedule.paid], schedule.rows[schedule.paid :]
    if not left:
        return schedule
    before = [row.received for row in left if row.received is not None]
    got_interest = Minor(interest + sum(got.interest for got in before))
    got_principal = Minor(principal + sum(got.principal for got in before))
    received = Received(got_interest, got_principal, on)
    due = left[max(_due_end(schedule, on) - schedule.paid - 1, 0)].due_date
    paid = Minor(got_interest + got_principal)
    last = Instalment(left[0].n, due, paid, got_interest, got_principal, NOTHING, received)
    return replace(schedule, rows=(*done, last), paid=schedule.paid + 1)


# Events without money


def _missed(before: Standing, event: ServicingEvent, today: date, grace_days: int) -> Standing:
    due = overdue_since(before.schedule)
    _require(due is not None and due <= event.value_date, "value_date", "no instalment is unpaid on that day")
    status = status_on(before, today, grace_days)
    if status is LoanStatus.CURRENT:  # reported on the due date itself
        status = LoanStatus.GRACE
    return replace(before, status=status, never_late=False)


def _reschedule(terms: LoanTerms, before: Standing, event: ServicingEvent) -> Outcome:
    """The open rows are replaced. More principal than is outstanding is unpaid interest made principal.

    That may come to more than was lent (a pool factor above 1); twice of it is taken for a slip of the pen.
    """
    new, old, on = event.schedule or (), before.schedule, event.value_date
    _require(len(new) > 0, "schedule", "must have a row")
    total: int = sum(row.principal for row in new)
    last_due = max(on, old.rows[old.paid - 1].due_date) if old.paid else on
    for row in new:
        _require(row.interest >= 0 and row.principal >= 0, "schedule", "amounts must not be negative")
        _require(row.due_date > last_due, "schedule", f"due dates must grow, from after {last_due}")
        last_due = row.due_date
    _require(new[-1].principal > 0, "schedule", "the last row must clear the balance")
    highest = CAPITALISED_TIMES_MAX * terms.original_principal
    room = f"principal must make {_text(before.outstanding)}, or up to {_text(highest)} if interest is capitalised"
    _require(before.outstanding <= total <= highest, "schedule", room)
    rows, balance = list(old.rows[: old.paid]), total  # what was received of other rows stays in the events' history
    for n, row in enumerate(new, old.paid + 1):
        balance -= row.principal
        rows.append(_row(n, row.due_date, row.interest, row.principal, balance))
    schedule = Schedule(tuple(rows), old.paid, on, old.version + 1)
    after = replace(before, status=LoanStatus.CURRENT, outstanding=Minor(total), schedule=schedule)
    return Outcome(after=after, capitalised=Minor(total - before.outstanding))
