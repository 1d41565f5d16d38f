"""What an operator's acts answer."""

from pydantic import BaseModel

from gateway.answers.fields import Acted, Count, DayText, Moment
from market.claims.loan import LoanStatus
from market.claims.servicing import ServicingType
from market.commands import AccountKind, Mode


class Account(BaseModel):
    account_id: str
    kind: AccountKind
    name: str
    owner_group: str | None
    risk_class: str | None
    default_rulebook: str | None
    frozen: bool
    blocked: bool
    open_orders: Count
    last_exec_seq: Count


class OpenedAccount(Acted):
    account_id: str
    kind: AccountKind
    name: str


class FrozenAccount(Acted):
    account_id: str
    frozen: bool


class MovedCash(Acted):
    account_id: str
    currency: str
    custody_ref: str


class RegisteredLoan(Acted):
    loan_id: str
    status: LoanStatus


class IssuedFace(Acted):
    loan_id: str


class DefinedRulebook(Acted):
    name: str


class DefaultRulebookSet(Acted):
    account_id: str
    default_rulebook: str | None


class AssignedRulebook(Acted):
    loan_id: str
    rulebook: str


class HaltedLoan(Acted):
    loan_id: str
    halted: bool


class Halt(BaseModel):
    """A loan that is halted now. by: the account or key whose halt it is.  since, by: null until the log tells."""

    loan_id: str
    status: LoanStatus
    reason: str
    since: Moment | None
    by: str | None


class ServicedEvent(BaseModel):
    event_id: str
    loan_id: str
    type: ServicingType
    duplicate: bool


class ServicedOne(ServicedEvent):
    engine_seq: Count


class ServicedList(BaseModel):
    """duplicate: every one of them was booked before."""

    items: list[ServicedEvent]
    duplicate: bool
    engine_seq: Count


class ModeSet(Acted):
    mode: Mode


class RolledDay(Acted):
    business_date: DayText
