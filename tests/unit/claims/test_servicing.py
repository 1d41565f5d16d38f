"""One loan of 10,000.00 at 12 % over 12 months: 888.49 a month from 2024-02-15, first interest 100.00."""

from datetime import date
from typing import Any

import pytest

from market.claims.loan import Coverage, DayCount, Guarantee, GuaranteeKind, LoanStatus, LoanTerms, RepaymentMethod
from market.claims.schedule import schedule_of
from market.claims.servicing import NewRow, Outcome, ServicingEvent, ServicingType, Standing, service
from market.errors import InvalidArguments, LoanClosed, MarketError, RuleViolation
from market.ids import LoanId, Minor
from tests.builders import terms

LEVEL = 888_49
DUE = [date(2024 + (month > 12), (month - 1) % 12 + 1, 15) for month in range(2, 14)]


class OneLoan:
    def __init__(self, status: LoanStatus = LoanStatus.CURRENT, **changed: Any) -> None:
        self.terms: LoanTerms = terms(**changed)
        schedule = schedule_of(self.terms)
        outstanding = self.terms.outstanding_at_registration
        self.at = Standing(status=status, outstanding=outstanding, schedule=schedule, never_late=True)

    def do(self, kind: str, on: date, amount: int | None = None, today: date | None = None, **given: Any) -> Outcome:
        event = ServicingEvent(
            event_id="e",
            loan_id=LoanId("L1"),
            type=ServicingType(kind),
            value_date=on,
            amount=None if amount is None else Minor(amount),
            **given,
        )
        outcome = service(self.terms, self.at, event, today=today or on, grace_days=15)
        self.at = outcome.after
        return outcome

    @property
    def next_row(self) -> tuple[int, int, int, int]:
        row = self.at.schedule.rows[self.at.schedule.paid]
        return row.n, row.interest, row.principal, row.balance


def money(outcome: Outcome) -> tuple[int, int, int]:
    return outcome.interest, outcome.principal, outcome.costs


def test_twelve_instalments_repay_the_loan() -> None:
    loan = OneLoan()
    paid = [money(loan.do("payment", day, LEVEL if day < DUE[-1] else LEVEL - 2)) for day in DUE]
    assert paid[0] == (100_00, 788_49, 0)
    assert [sum(leg) for leg in zip(*paid, strict=True)] == [661_86, 10_000_00, 0]
    assert (loan.at.status, loan.at.outstanding) == (LoanStatus.REPAID, 0)
    assert [row.received and row.received.on for row in loan.at.schedule.rows] == DUE
    assert [row.payment for row in loan.at.schedule.rows] == [LEVEL] * 11 + [LEVEL - 2]
    assert loan.at.never_late


def test_factor_after_three_instalments() -> None:
    loan = OneLoan()
    for day in DUE[:3]:
        loan.do("payment", day, LEVEL)
    assert loan.at.outstanding == 7_610_80


def test_part_of_an_instalment_stays_owed_and_is_completed_later() -> None:
    loan = OneLoan()
    assert money(loan.do("payment", DUE[0], 150_00)) == (100_00, 50_00, 0)
    assert (loan.next_row, loan.at.outstanding) == ((1, 0, 738_49, 9_211_51), 9_950_00)
    assert loan.at.status is LoanStatus.CURRENT
    loan.do("payment", DUE[0], 738_49)
    first = loan.at.schedule.rows[0]
    assert (loan.at.schedule.paid, first.payment, first.interest) == (1, LEVEL, 100_00)


def test_all_due_interest_comes_before_due_principal() -> None:
    loan = OneLoan(status=LoanStatus.LATE)
    on = date(2024, 3, 20)
    assert money(loan.do("payment", on, 200_00)) == (192_12, 7_88, 0)
    assert loan.at.status is LoanStatus.LATE
    assert loan.next_row == (1, 0, 780_61, 9_211_51)
    assert not loan.at.never_late
    loan.do("payment", on, 780_61)
    assert (loan.at.status, loan.at.schedule.paid) == (LoanStatus.GRACE, 1)  # the second is five days late
    loan.do("payment", on, 796_37)
    assert (loan.at.status, loan.at.schedule.paid) == (LoanStatus.CURRENT, 2)


def test_an_instalment_paid_early_is_that_instalment() -> None:
    loan = OneLoan()
    assert money(loan.do("payment", date(2024, 2, 13), LEVEL)) == (100_00, 788_49, 0)
    assert (loan.at.schedule.paid, loan.next_row) == (1, (2, 92_12, 796_37, 8_415_14))


def test_more_than_is_due_goes_to_principal_and_the_rest_is_recomputed() -> None:
    loan = OneLoan()
    assert money(loan.do("payment", DUE[0], LEVEL + 1_000_00)) == (100_00, 1_788_49, 0)
    assert (loan.at.outstanding, loan.at.schedule.paid) == (8_211_51, 1)
    first, second = loan.at.schedule.rows[:2]
    assert (first.principal, first.balance) == (1_788_49, 8_211_51)  # shown where it was paid
    assert (second.interest, second.payment) == (82_12, LEVEL)
    assert len(loan.at.schedule.rows) == 11  # the level payment clears it a month earlier
    assert loan.at.schedule.rows[-1].balance == 0


def test_a_reported_split_is_kept() -> None:
    loan = OneLoan()
    split = {"interest": Minor(130_00), "principal": Minor(700_00)}  # a late fee inside, principal short
    assert money(loan.do("payment", DUE[0], 830_00, **split)) == (130_00, 700_00, 0)
    assert loan.next_row == (1, 0, 88_49, 9_211_51)


@pytest.mark.parametrize(
    ("on", "interest"),
    [
        pytest.param(date(2024, 1, 15), 0, id="on the first day"),
        pytest.param(date(2024, 1, 30), 48_39, id="15 of 31 days, 48.387..., half up"),
        pytest.param(DUE[0], 100_00, id="on the due date, the instalment still unpaid"),
        pytest.param(date(2024, 2, 29), 100_00 + 44_47, id="overdue interest and 14 of 29 days"),
    ],
)
def test_prepayment_in_full_pays_interest_to_the_day(on: date, interest: int) -> None:
    loan = OneLoan()
    assert money(loan.do("prepayment", on)) == (interest, 10_000_00, 0)
    assert (loan.at.status, loan.at.outstanding) == (LoanStatus.REPAID, 0)
    assert loan.at.schedule.rows[-1].payment == interest + 10_000_00


def test_prepayment_interest_by_day_count() -> None:
    loan = OneLoan(day_count=DayCount.ACT_365F)
    assert money(loan.do("prepayment", date(2024, 1, 30))) == (49_32, 10_000_00, 0)


def test_a_prepayment_must_be_what_is_owed() -> None:
    with pytest.raises(InvalidArguments, match=r"repaid by 10048\.39"):
        OneLoan().do("prepayment", date(2024, 1, 30), 10_048_38)


@pytest.mark.parametrize(
    ("coverage", "interest"), [(Coverage.PRINCIPAL, 0), (Coverage.PRINCIPAL_AND_ACCRUED, 144_47)], ids=str
)
def test_a_buyback_pays_what_is_covered(coverage: Coverage, interest: int) -> None:
    guarantee = Guarantee(kind=GuaranteeKind.ORIGINATOR_BUYBACK, trigger_days=10, coverage=coverage)
    loan = OneLoan(guarantee=guarantee)
    assert money(loan.do("buyback", date(2024, 2, 29))) == (interest, 10_000_00, 0)
    assert loan.at.status is LoanStatus.BOUGHT_BACK


def guaranteed(coverage: Coverage = Coverage.PRINCIPAL_AND_ACCRUED, trigger_days: int | None = None) -> "OneLoan":
    return OneLoan(guarantee=Guarantee(kind=GuaranteeKind.INSURER, trigger_days=trigger_days, coverage=coverage))


@pytest.mark.parametrize(
    ("trigger_days", "on", "earliest"),
    [
        pytest.param(14, date(2024, 2, 28), "2024-02-29", id="a day too early"),
        pytest.param(1, date(2024, 2, 15), "2024-02-16", id="on the due date"),
        pytest.param(0, date(2024, 2, 14), "2024-02-15", id="nothing is due yet"),
    ],
)
def test_a_guarantee_is_not_drawn_before_its_trigger_days(trigger_days: int, on: date, earliest: str) -> None:
    loan = guaranteed(trigger_days=trigger_days)
    with pytest.raises(RuleViolation, match=earliest) as refusal:
        loan.do("buyback", on)
    assert (refusal.value.field, refusal.value.details["rule"]) == ("value_date", "trigger_days")
    loan.do("buyback", date.fromisoformat(earliest))


def test_days_past_due_count_from_the_first_instalment_that_still_owes() -> None:
    loan = guaranteed(trigger_days=10)
    loan.do("payment", date(2024, 2, 15), 888_48)
    loan.do("buyback", date(2024, 2, 25))
    cured = guaranteed(trigger_days=10)
    cured.do("payment", date(2024, 2, 15), 888_49)
    with pytest.raises(RuleViolation, match="2024-03-25"):
        cured.do("buyback", date(2024, 3, 24))


@pytest.mark.parametrize(
    ("coverage", "paid", "least"),
    [
        pytest.param(Coverage.PRINCIPAL_AND_ACCRUED, {"amount": 10_144_46}, 10_144_47, id="a cent too little"),
        pytest.param(Coverage.PRINCIPAL_AND_ACCRUED, {"amount": 10_000_00}, 10_144_47, id="principal alone"),
        pytest.param(
            Coverage.PRINCIPAL_AND_ACCRUED, {"principal": 10_000_00, "interest": 144_46}, 10_144_47, id="split"
        ),
        pytest.param(Coverage.PRINCIPAL, {"amount": 10_000_00}, None, id="principal where no more is covered"),
        pytest.param(Coverage.PRINCIPAL, {"amount": 10_100_00}, None, id="more than is covered"),
        pytest.param(Coverage.PRINCIPAL_AND_ACCRUED, {"amount": 10_144_47}, None, id="what is covered"),
    ],
)
def test_a_guarantor_pays_at_least_what_is_covered(coverage: Coverage, paid: dict[str, int], least: int | None) -> None:
    loan = guaranteed(coverage)
    given = {name: Minor(amount) for name, amount in paid.items()}
    if least is None:
        loan.do("buyback", date(2024, 2, 29), **given)
        assert loan.at.status is LoanStatus.BOUGHT_BACK
        return
    with pytest.raises(RuleViolation) as refusal:
        loan.do("buyback", date(2024, 2, 29), **given)
    assert refusal.value.details == {"rule": "guarantee_coverage", "have": sum(paid.values()), "need": least}


def test_a_loan_without_a_guarantee_is_bought_back_at_any_time_for_principal_or_more() -> None:
    for amount in (10_000_00, 10_001_00):
        loan = OneLoan()
        loan.do("buyback", date(2024, 1, 20), amount)
        assert loan.at.status is LoanStatus.BOUGHT_BACK


def test_missed_is_grace_then_late_and_a_payment_cures() -> None:
    loan = OneLoan()
    loan.do("missed", DUE[0])
    assert (loan.at.status, loan.at.never_late) == (LoanStatus.GRACE, False)
    loan.do("missed", DUE[0], today=date(2024, 3, 2))
    assert loan.at.status is LoanStatus.LATE
    loan.do("payment", date(2024, 3, 2), LEVEL)
    assert (loan.at.status, loan.at.never_late) == (LoanStatus.CURRENT, False)


def test_recovery_pays_costs_then_interest_then_principal_years_later() -> None:
    loan = OneLoan()
    loan.do("default", date(2024, 6, 1))
    loan.do("write_off", date(2024, 12, 1))
    assert (loan.at.status, loan.at.outstanding) == (LoanStatus.WRITTEN_OFF, 10_000_00)
    years_later = date(2029, 1, 1)
    assert money(loan.do("recovery", years_later, 2_000_00, costs=Minor(300_00))) == (661_86, 1_038_14, 300_00)
    assert loan.at.status is LoanStatus.WRITTEN_OFF
    loan.do("recovery", years_later, 8_961_86)
    assert (loan.at.status, loan.at.outstanding) == (LoanStatus.RECOVERED, 0)


def test_a_recovery_beyond_what_the_schedule_owes_is_interest_that_ran_on() -> None:
    loan = OneLoan(status=LoanStatus.WRITTEN_OFF)
    assert money(loan.do("recovery", date(2029, 1, 1), 11_000_00)) == (1_000_00, 10_000_00, 0)
    assert loan.at.status is LoanStatus.RECOVERED


def test_reschedule_replaces_the_open_rows_and_may_capitalise_interest() -> None:
    loan = OneLoan()
    loan.do("payment", DUE[0], LEVEL)
    new = tuple(
        NewRow(due_date=day, interest=Minor(50_00), principal=Minor(principal))
        for day, principal in ((date(2024, 9, 1), 5_000_00), (date(2025, 3, 1), 4_303_63))
    )
    outcome = loan.do("reschedule", date(2024, 4, 1), schedule=new)
    assert (outcome.capitalised, loan.at.outstanding) == (92_12, 9_303_63)
    schedule = loan.at.schedule
    assert (schedule.paid, schedule.version, len(schedule.rows)) == (1, 1, 3)
    assert schedule.period_start(1) == date(2024, 4, 1)  # not the due date of the last row that was paid
    loan.do("payment", date(2024, 4, 1), 1_000_00)  # in advance: interest falls in proportion
    assert [(row.interest, row.principal) for row in loan.at.schedule.rows[1:]] == [
        (44_63, 5_000_00),
        (38_38, 3_303_63),
    ]


def test_a_row_that_only_owes_interest_shows_the_balance_after_principal_in_advance() -> None:
    """A split that pays 1,000.00 of principal and no interest: 788.49 of the row, 211.51 in advance."""
    loan = OneLoan()
    loan.do("payment", DUE[0], 1_000_00, interest=Minor(0))
    assert loan.at.outstanding == 9_000_00
    assert loan.next_row == (1, 100_00, 0, 9_000_00)


def test_the_most_that_can_be_paid_is_named_when_more_is() -> None:
    """The next instalment's period has not begun, so no interest of it is owed, but all principal may come."""
    loan = OneLoan()
    loan.do("payment", date(2024, 2, 13), LEVEL)
    with pytest.raises(InvalidArguments, match=r"at most 9211\.51"):
        loan.do("payment", date(2024, 2, 13), 9_211_52)


def test_two_payments_on_one_day_are_two_parts_of_one_instalment() -> None:
    loan = OneLoan()
    assert money(loan.do("payment", DUE[0], 444_25)) == (100_00, 344_25, 0)
    assert money(loan.do("payment", DUE[0], 444_24)) == (0, 444_24, 0)
    assert loan.at.schedule.paid == 1


def test_the_last_minor_unit_closes_the_loan() -> None:
    loan = OneLoan(repayment_method=RepaymentMethod.INTEREST_ONLY, annual_rate_ppm=0)
    loan.do("payment", DUE[-1], 9_999_99)
    assert (loan.at.status, loan.at.outstanding) == (LoanStatus.CURRENT, 1)
    loan.do("payment", DUE[-1], 1)
    assert loan.at.status is LoanStatus.REPAID


@pytest.mark.parametrize(
    ("kind", "given", "field"),
    [
        pytest.param("payment", {}, "amount", id="no amount"),
        pytest.param("payment", {"amount": 0}, "amount", id="amount of nothing"),
        pytest.param("payment", {"amount": 10_100_01}, "amount", id="more than is owed"),
        pytest.param("payment", {"amount": 5, "interest": Minor(2), "principal": Minor(2)}, "amount", id="bad sum"),
        pytest.param("payment", {"principal": Minor(10_000_01)}, "principal", id="more principal than outstanding"),
        pytest.param("payment", {"amount": 5, "costs": Minor(2)}, "costs", id="costs of a payment"),
        pytest.param("payment", {"amount": 5, "today": DUE[0], "on": DUE[1]}, "value_date", id="tomorrow's payment"),
        pytest.param("payment", {"amount": 5, "on": date(2024, 1, 14)}, "value_date", id="before the loan"),
        pytest.param("payment", {"amount": 5, "schedule": ()}, "schedule", id="a schedule with a payment"),
        pytest.param("missed", {"amount": 5}, "amount", id="money with a missed instalment"),
        pytest.param("missed", {"on": date(2024, 2, 14)}, "value_date", id="nothing was due"),
        pytest.param("buyback", {"amount": 9_999_99}, "amount", id="a buy-back below principal"),
        pytest.param("recovery", {"amount": 5}, "type", id="nothing to recover"),
        pytest.param("reschedule", {}, "schedule", id="no schedule"),
        pytest.param("reschedule", {"schedule": ()}, "schedule", id="an empty schedule"),
        pytest.param(
            "reschedule",
            {"schedule": (NewRow(due_date=DUE[5], interest=Minor(0), principal=Minor(9_999_99)),)},
            "schedule",
            id="a schedule that forgives principal",
        ),
        pytest.param(
            "reschedule",
            {"schedule": (NewRow(due_date=DUE[0], interest=Minor(0), principal=Minor(10_000_00)),)},
            "schedule",
            id="a schedule in the past",
        ),
    ],
)
def test_what_can_not_be_is_refused_by_field(kind: str, given: dict[str, Any], field: str) -> None:
    loan = OneLoan()
    with pytest.raises(MarketError) as refusal:
        loan.do(kind, given.pop("on", DUE[0]), **given)
    assert refusal.value.field == field


def test_a_finished_loan_takes_no_more() -> None:
    loan = OneLoan(status=LoanStatus.REPAID)
    with pytest.raises(LoanClosed):
        loan.do("payment", DUE[0], 1)
