"""The demo's loan book: loans as a Chinese and an American platform would have them, made up, equal for equal seeds.

Chinese loans are in CNY, by any repayment method, often secured or guaranteed; American ones are unsecured annuities
in USD. What is outstanding follows each loan's schedule to the cent, so that the next instalment of a current loan
lies ahead and that of a late one behind. Interest-only and bullet loans are young: nothing was due on them yet.
"""

import random
from dataclasses import replace
from datetime import date, timedelta
from typing import TypeVar

from market.claims.loan import (
    ClaimType,
    Coverage,
    Document,
    Guarantee,
    GuaranteeKind,
    LoanStatus,
    LoanTerms,
    RepaymentMethod,
)
from market.claims.schedule import add_months, schedule_of
from market.commands import RegisterLoan
from market.ids import AccountId, Currency, Face, LoanId, Minor

ORIGINATORS = {
    "CNY": {"HUAXIN": "华信小额贷款", "JINHE": "金禾融资租赁", "YUNDA": "云达商业保理"},
    "USD": {"PRAIRIE": "Prairie Lending", "HARBOR": "Harbor Credit"},
}
REGIONS = {
    "CNY": ("上海", "浙江", "江苏", "广东", "四川", "湖北", "山东"),
    "USD": ("CA", "TX", "NY", "FL", "OH", "WA", "IL"),
}
PURPOSES = {
    "CNY": ("经营周转", "设备采购", "装修", "购车", "教育", "应收账款"),
    "USD": ("debt_consolidation", "credit_card", "home_improvement", "car", "medical", "small_business"),
}
GRADES = (("A", 25), ("B", 30), ("C", 25), ("D", 13), ("E", 5), ("F", 2))
RATES_PPM = {  # yearly, lowest and highest of a grade
    "A": (58_000, 78_000),
    "B": (78_000, 108_000),
    "C": (108_000, 138_000),
    "D": (138_000, 178_000),
    "E": (178_000, 218_000),
    "F": (218_000, 240_000),
}
METHODS = (
    (RepaymentMethod.ANNUITY, 55),
    (RepaymentMethod.EQUAL_PRINCIPAL, 15),
    (RepaymentMethod.INTEREST_ONLY, 20),
    (RepaymentMethod.BULLET, 10),
)
TERMS_MONTHS = {
    RepaymentMethod.ANNUITY: (12, 18, 24, 36, 48, 60),
    RepaymentMethod.EQUAL_PRINCIPAL: (12, 24, 36),
    RepaymentMethod.INTEREST_ONLY: (6, 12, 18, 24),
    RepaymentMethod.BULLET: (3, 6, 9, 12),
}
STATUSES = (
    (LoanStatus.CURRENT, 920),
    (LoanStatus.GRACE, 22),
    (LoanStatus.LATE, 22),
    (LoanStatus.DEFAULT, 6),
    (LoanStatus.REPAID, 22),
    (LoanStatus.WRITTEN_OFF, 8),
)
DAYS_PAST_DUE = {LoanStatus.GRACE: (1, 15), LoanStatus.LATE: (16, 90), LoanStatus.DEFAULT: (91, 180)}
AMORTISING = frozenset({RepaymentMethod.ANNUITY, RepaymentMethod.EQUAL_PRINCIPAL})


T = TypeVar("T")


def seeded_book(count: int, *, seed: int, today: date) -> list[RegisterLoan]:
    """Return `count` loans DM-00001, DM-00002, ... as they stand on the business date `today`."""
    rng = random.Random(seed)
    return [_aged(*_young(rng, number, today), rng, today) for number in range(1, count + 1)]


def _young(rng: random.Random, number: int, today: date) -> tuple[LoanTerms, LoanStatus]:
    """Draw a loan of this month, and the status that it is to have."""
    currency = "CNY" if rng.random() < 0.6 else "USD"
    grade = _weighted(rng, GRADES)
    method = _weighted(rng, METHODS) if currency == "CNY" else RepaymentMethod.ANNUITY
    status = _weighted(rng, STATUSES) if method in AMORTISING else LoanStatus.CURRENT
    claim_type = rng.choice(list(ClaimType)) if currency == "CNY" else ClaimType.UNSECURED
    step = 1_000_000 if currency == "CNY" else 50_000  # 10,000 yuan or 500 dollars
    issue = today - timedelta(days=rng.randint(1, 27))
    terms = LoanTerms(
        loan_id=LoanId(f"DM-{number:05}"),
        originator=AccountId(rng.choice(list(ORIGINATORS[currency]))),
        currency=Currency(currency),
        original_principal=Minor(step * rng.randint(2, 60)),
        outstanding_at_registration=Minor(0),
        annual_rate_ppm=rng.randrange(*RATES_PPM[grade], 100),
        repayment_method=method,
        term_months=rng.choice(TERMS_MONTHS[method]),
        issue_date=issue,
        first_due_date=add_months(issue, 1, anchor_day=issue.day),
        grade=grade,
        claim_type=claim_type,
        guarantee=_guarantee(rng, claim_type),
        borrower_ref=f"B-{rng.randint(1, 90_000):05}",
        purpose=rng.choice(PURPOSES[currency]),
        region=rng.choice(REGIONS[currency]),
        documents=(Document(name="loan agreement", sha256=f"{rng.getrandbits(256):064x}"),),
    )
    return terms, status


def _aged(terms: LoanTerms, status: LoanStatus, rng: random.Random, today: date) -> RegisterLoan:
    """Age a loan by whole instalments that were paid, and by the days its next one is overdue."""
    full = replace(terms, outstanding_at_registration=terms.original_principal)
    if terms.repayment_method not in AMORTISING:
        return _with_claims(full, status)
    paid = rng.randrange(terms.term_months)
    overdue = timedelta(days=rng.randint(*DAYS_PAST_DUE[status])) if status in DAYS_PAST_DUE else timedelta()
    next_due = terms.first_due_date if not overdue else today - overdue
    issue = add_months(next_due, -(paid + 1), anchor_day=next_due.day)
    full = replace(full, issue_date=issue, first_due_date=add_months(issue, 1, anchor_day=next_due.day))
    outstanding = full.original_principal if paid == 0 else schedule_of(full).rows[paid - 1].balance
    if status in (LoanStatus.REPAID, LoanStatus.WRITTEN_OFF):
        outstanding = Minor(0)
    never_late = status in (LoanStatus.CURRENT, LoanStatus.REPAID) and rng.random() < 0.9
    return _with_claims(replace(full, outstanding_at_registration=outstanding, never_late=never_late), status)


def _with_claims(terms: LoanTerms, status: LoanStatus) -> RegisterLoan:
    """Issue claims on all of the principal while something is owed."""
    issued = terms.original_principal if terms.outstanding_at_registration else 0
    return RegisterLoan(terms=terms, issued_face=Face(issued), status=status, reason="demo book")


def _guarantee(rng: random.Random, claim_type: ClaimType) -> Guarantee:
    if claim_type is ClaimType.GUARANTEED:
        return Guarantee(
            kind=GuaranteeKind.THIRD_PARTY,
            name="合众融资担保",
            trigger_days=30,
            coverage=Coverage.PRINCIPAL_AND_ACCRUED,
        )
    if claim_type in (ClaimType.FACTORING, ClaimType.FINANCE_LEASE) and rng.random() < 0.5:
        return Guarantee(kind=GuaranteeKind.ORIGINATOR_BUYBACK, trigger_days=60)
    return Guarantee()


def _weighted(rng: random.Random, table: tuple[tuple[T, int], ...]) -> T:
    return rng.choices([value for value, _ in table], [weight for _, weight in table])[0]
