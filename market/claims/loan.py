"""What a loan is: its terms (fixed when it is registered) and its words. State that moves lives in venue/."""

from dataclasses import dataclass
from datetime import date
from enum import StrEnum

from market.ids import AccountId, Currency, LoanId, Minor


class RepaymentMethod(StrEnum):
    ANNUITY = "annuity"  # 等额本息
    EQUAL_PRINCIPAL = "equal_principal"  # 等额本金
    INTEREST_ONLY = "interest_only"  # 先息后本
    BULLET = "bullet"  # 到期还本付息


class DayCount(StrEnum):
    PERIOD = "period"  # instalment interest pro rata to the days of its own period
    ACT_365F = "ACT/365F"
    ACT_360 = "ACT/360"
    THIRTY_360_US = "30/360"
    THIRTY_360_EU = "30E/360"
    ACT_ACT_ISDA = "ACT/ACT"


class ClaimType(StrEnum):
    UNSECURED = "unsecured"
    FIELD_VERIFIED = "field_verified"
    COLLATERALISED = "collateralised"
    GUARANTEED = "guaranteed"
    FACTORING = "factoring"
    FINANCE_LEASE = "finance_lease"


class GuaranteeKind(StrEnum):
    NONE = "none"
    THIRD_PARTY = "third_party"
    PLATFORM = "platform"
    INSURER = "insurer"
    ORIGINATOR_BUYBACK = "originator_buyback"


class Coverage(StrEnum):
    PRINCIPAL = "principal"
    PRINCIPAL_AND_ACCRUED = "principal_and_accrued"


class LoanStatus(StrEnum):
    CURRENT = "current"
    GRACE = "grace"
    LATE = "late"
    DEFAULT = "default"
    REPAID = "repaid"
    BOUGHT_BACK = "bought_back"
    WRITTEN_OFF = "written_off"
    RECOVERED = "recovered"


LIVE_STATUSES = frozenset({LoanStatus.CURRENT, LoanStatus.GRACE, LoanStatus.LATE, LoanStatus.DEFAULT})
FLAT_STATUSES = frozenset({LoanStatus.LATE, LoanStatus.DEFAULT})  # traded without accrued: arrears go to the buyer


@dataclass(frozen=True, slots=True, kw_only=True)
class Guarantee:
    kind: GuaranteeKind = GuaranteeKind.NONE
    name: str | None = None
    trigger_days: int | None = None
    coverage: Coverage = Coverage.PRINCIPAL


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    name: str
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LoanTerms:
    """The contract between borrower and creditor, as registered.

    annual_rate_ppm: nominal yearly rate in millionths (0.1407 is 140_700), 0 to 10_000_000.
    outstanding_at_registration: principal left when the loan was registered, 0 to original_principal.
    """

    loan_id: LoanId
    originator: AccountId
    currency: Currency
    original_principal: Minor
    outstanding_at_registration: Minor
    annual_rate_ppm: int
    repayment_method: RepaymentMethod
    term_months: int
    months_per_period: int = 1
    issue_date: date
    first_due_date: date
    day_count: DayCount = DayCount.PERIOD
    grade: str = ""
    claim_type: ClaimType = ClaimType.UNSECURED
    guarantee: Guarantee = Guarantee()
    borrower_ref: str = ""
    purpose: str = ""
    region: str = ""
    documents: tuple[Document, ...] = ()
    transferable: bool = True
    never_late: bool = True
