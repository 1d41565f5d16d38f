"""Loans as an operator registers, issues, halts and services them."""

from typing import Annotated

from pydantic import Field, StringConstraints, field_validator

from gateway.requests.fields import Amount, Day, Empty, Name, Quantity, Rate, Request, Text, Word, require
from market.claims.loan import (
    ClaimType,
    Coverage,
    DayCount,
    Document,
    Guarantee,
    GuaranteeKind,
    LoanStatus,
    LoanTerms,
    RepaymentMethod,
)
from market.claims.servicing import NewRow, ServicingEvent, ServicingType
from market.commands import AssignRulebook, HaltLoan, IssueFace, RegisterLoan, ServiceLoan
from market.ids import AccountId, Currency, Face, LoanId, Minor

CustodyRef = Annotated[str, StringConstraints(min_length=1, max_length=128)]
Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]


class GuaranteeBody(Request):
    kind: Word[GuaranteeKind] = GuaranteeKind.NONE
    name: Text | None = None
    trigger_days: Annotated[int, Field(ge=0, le=36_500)] | None = None
    coverage: Word[Coverage] = Coverage.PRINCIPAL


class DocumentBody(Request):
    name: Text
    sha256: Sha256


class NewLoan(Request):
    """outstanding_principal: all of the original if not given.  never_late: what the status says of it if not given."""

    loan_id: Name
    originator: Name
    currency: Annotated[str, StringConstraints(pattern="^[A-Z]{3}$")]
    original_principal: Amount
    issued_face: Amount = Minor(0)
    annual_rate: Rate
    repayment_method: Word[RepaymentMethod]
    term_months: int = Field(ge=1, le=1_200)
    months_per_period: int = Field(1, ge=1, le=1_200)
    issue_date: Day
    first_due_date: Day
    day_count: Word[DayCount] = DayCount.PERIOD
    outstanding_principal: Amount | None = None
    status: Word[LoanStatus] = LoanStatus.CURRENT
    grade: Annotated[str, StringConstraints(max_length=16)] = ""
    claim_type: Word[ClaimType] = ClaimType.UNSECURED
    guarantee: GuaranteeBody = GuaranteeBody()
    borrower_ref: Text = ""
    purpose: Text = ""
    region: Text = ""
    rulebook: Name | None = None
    documents: list[DocumentBody] = Field([], max_length=64)
    transferable: bool = True
    never_late: bool | None = None
    reason: Text | None = None

    @field_validator("guarantee", mode="before")
    @classmethod
    def _null_is_none(cls, value: object) -> object:
        return {} if value is None else value

    def to_command(self) -> RegisterLoan:
        """Raises InvalidArguments for a first due date so late that the last instalment would leave the calendar."""
        last_year = self.first_due_date.year + self.term_months // 12 + 1
        require(last_year <= 2_400, "first_due_date", "the last instalment must fall before 2400")
        return RegisterLoan(
            terms=self._terms(),
            issued_face=Face(self.issued_face),
            status=self.status,
            rulebook=self.rulebook,
            reason=self.reason,
        )

    def _terms(self) -> LoanTerms:
        outstanding = self.outstanding_principal
        never_late = self.never_late
        if never_late is None:
            never_late = self.status in (LoanStatus.CURRENT, LoanStatus.REPAID)
        return LoanTerms(
            loan_id=LoanId(self.loan_id),
            originator=AccountId(self.originator),
            currency=Currency(self.currency),
            original_principal=self.original_principal,
            outstanding_at_registration=self.original_principal if outstanding is None else outstanding,
            annual_rate_ppm=self.annual_rate,
            repayment_method=self.repayment_method,
            term_months=self.term_months,
            months_per_period=self.months_per_period,
            issue_date=self.issue_date,
            first_due_date=self.first_due_date,
            day_count=self.day_count,
            grade=self.grade,
            claim_type=self.claim_type,
            guarantee=Guarantee(
                kind=self.guarantee.kind,
                name=self.guarantee.name,
                trigger_days=self.guarantee.trigger_days,
                coverage=self.guarantee.coverage,
            ),
            borrower_ref=self.borrower_ref,
            purpose=self.purpose,
            region=self.region,
            documents=tuple(Document(name=each.name, sha256=each.sha256) for each in self.documents),
            transferable=self.transferable,
            never_late=never_late,
        )


class NewFace(Request):
    face: Quantity
    reason: Text | None = None

    def to_command(self, loan_id: str) -> IssueFace:
        return IssueFace(loan_id=LoanId(loan_id), face=self.face, reason=self.reason)


class RulebookChoice(Request):
    rulebook: Name
    reason: Text | None = None

    def to_command(self, loan_id: str) -> AssignRulebook:
        return AssignRulebook(loan_id=LoanId(loan_id), rulebook=self.rulebook, reason=self.reason)


def halt_command(body: Empty, loan_id: str, *, halted: bool) -> HaltLoan:
    return HaltLoan(loan_id=LoanId(loan_id), halted=halted, reason=body.reason)


class ScheduleRowBody(Request):
    """A row as `/schedule` shows it; what follows from the rest may be left out."""

    n: int | None = None
    due_date: Day
    payment: Amount | None = None
    interest: Amount
    principal: Amount
    balance: Amount | None = None


class ServicingBody(Request):
    event_id: CustodyRef
    loan_id: Name
    type: Word[ServicingType]
    value_date: Day
    amount: Amount | None = None
    principal: Amount | None = None
    interest: Amount | None = None
    costs: Amount | None = None
    schedule: list[ScheduleRowBody] | None = Field(None, max_length=1_200)
    reason: Text | None = None

    def to_event(self) -> ServicingEvent:
        """Raises InvalidArguments for a schedule that contradicts itself."""
        return ServicingEvent(
            event_id=self.event_id,
            loan_id=LoanId(self.loan_id),
            type=self.type,
            value_date=self.value_date,
            amount=self.amount,
            principal=self.principal,
            interest=self.interest,
            costs=self.costs,
            schedule=None if self.schedule is None else self._rows(self.schedule),
        )

    def _rows(self, rows: list[ScheduleRowBody]) -> tuple[NewRow, ...]:
        balance: int = sum(row.principal for row in rows)
        for row in rows:
            require(row.due_date.year <= 2_400, "schedule", "the last instalment must fall before 2400")
            balance -= row.principal
            adds_up = row.payment in (None, row.interest + row.principal) and row.balance in (None, balance)
            require(adds_up, "schedule", "payment or balance of a row does not add up")
        return tuple(NewRow(due_date=row.due_date, interest=row.interest, principal=row.principal) for row in rows)


class ServicingList(Request):
    events: list[ServicingBody] = Field(min_length=1, max_length=20_000)

    def to_command(self) -> ServiceLoan:
        reason = next((event.reason for event in self.events if event.reason is not None), None)
        return ServiceLoan(events=tuple(event.to_event() for event in self.events), reason=reason)
