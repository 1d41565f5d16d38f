"""Loan books: what a row of each format means, and which rows are refused with what reason."""

import gzip
from collections import Counter
from datetime import date
from pathlib import Path

import pytest

from gateway.files.importing import file_prefix
from gateway.files.loanbook import Defaults, Format, LoanRow, Refusal, UnknownFormat, read
from market.claims.loan import Coverage, DayCount, GuaranteeKind, LoanStatus, RepaymentMethod
from market.claims.schedule import schedule_of
from market.ids import AccountId
from tests.data import DATA_DIR, needs_data

DEFAULTS = Defaults(originator=AccountId("ORIG1"), id_prefix=None, file_prefix="LC18")

NEW_HEADER = "loan_no,loan_amount,term,interest_rate,installment,grade,issue_month,loan_status,balance,paid_principal"
NEW_ROW = {
    "loan_no": "42",
    "loan_amount": "28000",
    "term": "60",
    "interest_rate": "14.07",
    "installment": "652.53",
    "grade": "C",
    "issue_month": "Mar-2018",
    "loan_status": "Current",
    "balance": "27015.86",
    "paid_principal": "984.14",
}
OWN_HEADER = "loan_id,currency,original_principal,annual_rate,repayment_method,term_months,issue_date"
OWN_ROW = {
    "loan_id": "CN-1",
    "currency": "CNY",
    "original_principal": "100000.00",
    "annual_rate": "0.096",
    "repayment_method": "interest_only",
    "term_months": "12",
    "issue_date": "2024-01-31",
}


def rows_of(text: str, defaults: Defaults = DEFAULTS) -> list[LoanRow | Refusal]:
    return list(read(text.splitlines(keepends=True), defaults)[1])


def one(header: str, row: dict[str, str], **changed: str) -> LoanRow | Refusal:
    """Read a file of one row, with `changed` cells and columns."""
    cells = row | changed
    columns = [*header.split(","), *(name for name in changed if name not in row)]
    (read_row,) = rows_of(",".join(columns) + "\n" + ",".join(cells[name] for name in columns) + "\n")
    return read_row


def accepted(row: LoanRow | Refusal) -> LoanRow:
    assert isinstance(row, LoanRow), row
    return row


def test_a_live_lendingclub_loan() -> None:
    registration = accepted(one(NEW_HEADER, NEW_ROW)).registration
    terms = registration.terms
    assert (terms.loan_id, terms.originator, terms.currency, terms.grade) == ("LC18-42", "ORIG1", "USD", "C")
    assert (terms.original_principal, terms.outstanding_at_registration) == (28_000_00, 27_015_86)
    assert (terms.annual_rate_ppm, terms.term_months) == (140_700, 60)
    assert (terms.issue_date, terms.first_due_date) == (date(2018, 3, 1), date(2018, 4, 1))
    assert registration.issued_face == 28_000_00
    assert schedule_of(terms).paid == 3


@pytest.mark.parametrize(
    ("word", "status"),
    [
        pytest.param("In Grace Period", LoanStatus.GRACE),
        pytest.param("Late (16-30 days)", LoanStatus.LATE),
        pytest.param("Late (31-120 days)", LoanStatus.LATE),
        pytest.param("Default", LoanStatus.DEFAULT),
    ],
)
def test_a_loan_behind_is_live_and_was_late(word: str, status: LoanStatus) -> None:
    row = accepted(one(NEW_HEADER, NEW_ROW, loan_status=word))
    assert (row.registration.status, row.source_status) == (status, word)
    assert row.registration.issued_face == 28_000_00
    assert not row.registration.terms.never_late


def test_a_finished_loan_has_no_claims() -> None:
    repaid = accepted(one(NEW_HEADER, NEW_ROW, loan_status="Fully Paid", balance="0", paid_principal="28000"))
    assert (repaid.registration.status, repaid.registration.issued_face) == (LoanStatus.REPAID, 0)
    charged_off = accepted(one(NEW_HEADER, NEW_ROW, loan_status="Charged Off", balance="0"))
    assert (charged_off.registration.status, charged_off.registration.issued_face) == (LoanStatus.WRITTEN_OFF, 0)


def test_a_current_loan_without_balance_stays_current_but_has_no_claims() -> None:
    row = accepted(one(NEW_HEADER, NEW_ROW, balance="0", paid_principal="28000"))
    assert (row.registration.status, row.registration.issued_face) == (LoanStatus.CURRENT, 0)


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        pytest.param({"loan_amount": "1e4"}, "loan_amount: '1e4' is not a plain number", id="exponent"),
        pytest.param({"loan_amount": "-5"}, "loan_amount: '-5' is not a plain number", id="negative"),
        pytest.param(
            {"loan_amount": "0", "balance": "0", "paid_principal": "0"}, "must be positive", id="nothing lent"
        ),
        pytest.param({"balance": ""}, "balance: missing", id="no balance"),
        pytest.param({"balance": "27015.861"}, "more than 2 decimals", id="half a cent"),
        pytest.param({"balance": "27015.87"}, "don't add up to 28000", id="contradiction"),
        pytest.param({"balance": "28000.01", "paid_principal": ""}, "more is outstanding than was lent", id="too much"),
        pytest.param({"loan_status": "Fine"}, "loan_status: 'Fine' is unknown", id="unknown status"),
        pytest.param({"loan_status": "Fully Paid"}, "repaid, but something is outstanding", id="repaid with balance"),
        pytest.param({"issue_month": "Mrz-2018"}, "not a month like Mar-2018", id="month"),
        pytest.param({"term": "0"}, "term: 0 is out of range", id="no term"),
        pytest.param({"term": "36.5"}, "term: 36.5 has more than 0 decimals", id="half a month"),
        pytest.param({"interest_rate": "1000.01"}, "interest_rate: 1000.01 is out of range", id="rate"),
        pytest.param({"interest_rate": "NaN"}, "not a plain number", id="NaN"),
        pytest.param({"loan_no": "x y"}, "loan_no: 'LC18-x y' is not a loan id", id="id"),
        pytest.param({"loan_no": ""}, "not a loan id", id="no number"),
        pytest.param({"grade": "C\udcff"}, "grade: not UTF-8", id="encoding"),
    ],
)
def test_a_bad_row_is_refused_with_its_line_and_reason(changed: dict[str, str], reason: str) -> None:
    row = one(NEW_HEADER, NEW_ROW, **changed)
    assert isinstance(row, Refusal)
    assert row.line == 2
    assert reason in row.reason


def test_a_refused_row_does_not_touch_its_neighbours() -> None:
    good = ",".join(OWN_ROW.values())
    text = f"{OWN_HEADER}\n{good}\n\nCN-2,CNY\n{good}\n{good.replace('CN-1', 'CN-3')}\n"
    rows = rows_of(text)
    assert [(row.line, row.reason) for row in rows if isinstance(row, Refusal)] == [
        (4, "2 cells under 7 columns"),
        (5, "CN-1 is already on line 2"),
    ]
    assert [row.registration.terms.loan_id for row in rows if isinstance(row, LoanRow)] == ["CN-1", "CN-3"]


def test_lines_are_counted_as_an_editor_counts_them() -> None:
    """A quoted cell may hold line ends; the row is where it begins."""
    cells = ",".join(OWN_ROW.values())
    text = f'{OWN_HEADER},purpose\n{cells},"two\nlines"\nbad\n'
    first, second = rows_of(text)
    assert (first.line, second.line) == (2, 4)


def test_the_older_lendingclub_format_has_finished_loans_only() -> None:
    header = "loan_no,funded_amnt,term,int_rate,issue_d,loan_status,out_prncp,grade,purpose,addr_state"
    policy = "Does not meet the credit policy. Status:Charged Off"
    text = f"{header}\n1,2000,36,0.0775,2007-12-01,{policy},0.0,A,moving,NC\n"
    row = accepted(rows_of(text)[0])
    assert (row.registration.status, row.source_status) == (LoanStatus.WRITTEN_OFF, policy)
    assert (row.registration.terms.annual_rate_ppm, row.registration.issued_face) == (77_500, 0)


def test_our_own_format_says_everything_that_the_api_takes() -> None:
    changed = {
        "issued_face": "60000",
        "outstanding_principal": "80000.00",
        "first_due_date": "2024-02-15",
        "day_count": "ACT/365F",
        "status": "grace",
        "claim_type": "guaranteed",
        "guarantee_kind": "third_party",
        "guarantee_name": "合众",
        "guarantee_trigger_days": "30",
        "guarantee_coverage": "principal_and_accrued",
        "rulebook": "cn-strict",
        "transferable": "false",
        "documents": f"agreement:{'0a' * 32}",
        "originator": "HX",
    }
    registration = accepted(one(OWN_HEADER, OWN_ROW, **changed)).registration
    terms, guarantee = registration.terms, registration.terms.guarantee
    assert (terms.loan_id, terms.originator, terms.day_count) == ("CN-1", "HX", DayCount.ACT_365F)
    assert terms.repayment_method is RepaymentMethod.INTEREST_ONLY
    assert (registration.issued_face, terms.outstanding_at_registration) == (60_000_00, 80_000_00)
    assert (guarantee.kind, guarantee.name) == (GuaranteeKind.THIRD_PARTY, "合众")
    assert (guarantee.trigger_days, guarantee.coverage) == (30, Coverage.PRINCIPAL_AND_ACCRUED)
    assert (registration.rulebook, terms.transferable, len(terms.documents)) == ("cn-strict", False, 1)
    assert terms.first_due_date == date(2024, 2, 15)


def test_our_own_format_has_plain_defaults() -> None:
    registration = accepted(one(OWN_HEADER, OWN_ROW)).registration
    assert registration.terms.first_due_date == date(2024, 2, 29)
    assert (registration.status, registration.issued_face) == (LoanStatus.CURRENT, 100_000_00)
    finished = accepted(one(OWN_HEADER, OWN_ROW, status="written_off")).registration
    assert (finished.terms.outstanding_at_registration, finished.issued_face) == (0, 0)


def test_our_own_format_has_periods_of_any_number_of_months() -> None:
    terms = accepted(one(OWN_HEADER, OWN_ROW, months_per_period="3")).registration.terms
    assert (terms.months_per_period, terms.first_due_date) == (3, date(2024, 4, 30))
    assert [row.interest for row in schedule_of(terms).rows] == [2_400_00] * 4
    refused = one(OWN_HEADER, OWN_ROW, months_per_period="5")
    assert isinstance(refused, Refusal)
    assert "months_per_period: 12 months are not whole periods of 5" in refused.reason


def test_an_id_prefix_that_was_asked_for_goes_before_every_id() -> None:
    asked = Defaults(originator=AccountId("O"), id_prefix="P", file_prefix="F")
    row = accepted(rows_of(f"{OWN_HEADER}\n{','.join(OWN_ROW.values())}\n", asked)[0])
    assert row.registration.terms.loan_id == "P-CN-1"


@pytest.mark.parametrize(
    ("header", "reason"),
    [
        pytest.param("", "ours needs the columns", id="empty file"),
        pytest.param("a,b", "ours needs the columns", id="another table"),
        pytest.param(OWN_HEADER + ",outstandng_principal", "unknown columns: outstandng_principal", id="misspelt"),
        pytest.param(OWN_HEADER + ",currency", "twice", id="twice"),
    ],
)
def test_a_header_that_is_not_understood_refuses_the_file(header: str, reason: str) -> None:
    with pytest.raises(UnknownFormat, match=reason):
        read([header + "\n"], DEFAULTS)


@pytest.mark.parametrize(
    ("name", "prefix"),
    [
        ("loans_lendingclub_2018q1.csv.gz", "LENDINGCLUB_2018Q1"),
        ("loans_lendingclub_2007_2009.csv.gz", "LENDINGCLUB_2007_2009"),
        ("mine.csv", "MINE"),
        ("贷款 2024.CSV", "2024"),
        ("loans_.csv", "LOANS"),
    ],
)
def test_the_default_prefix_is_made_from_the_name(name: str, prefix: str) -> None:
    assert file_prefix(Path(name)) == prefix


def test_long_names_that_begin_alike_have_different_prefixes() -> None:
    first, second = (file_prefix(Path(f"a_very_long_name_of_a_loan_book_{n}.csv")) for n in (1, 2))
    assert first != second
    assert len(first) == len(second) == 24


@needs_data
def test_the_live_book_of_2018_ties_to_its_source() -> None:
    """Expected figures: sums of the file's own columns, and the status counts published with it."""
    with gzip.open(DATA_DIR / "loans_lendingclub_2018q1.csv.gz", "rt") as text:
        kind, rows = read(text, DEFAULTS)
        loans = [accepted(row) for row in rows]
    assert kind is Format.LENDINGCLUB_2018
    assert Counter(loan.source_status for loan in loans) == {
        "Current": 9375,
        "Fully Paid": 447,
        "In Grace Period": 67,
        "Late (31-120 days)": 66,
        "Late (16-30 days)": 38,
        "Charged Off": 7,
    }
    assert sum(loan.registration.terms.original_principal for loan in loans) == 163_619_225_00
    assert sum(loan.registration.terms.outstanding_at_registration for loan in loans) == 144_589_166_10


@needs_data
def test_the_finished_book_of_2007_to_2009_ties_to_its_source() -> None:
    with gzip.open(DATA_DIR / "loans_lendingclub_2007_2009.csv.gz", "rt") as text:
        kind, rows = read(text, DEFAULTS)
        loans = [accepted(row) for row in rows]
    assert kind is Format.LENDINGCLUB_2007_2009
    assert Counter(loan.registration.status for loan in loans) == {
        LoanStatus.REPAID: 5643 + 1257,
        LoanStatus.WRITTEN_OFF: 886 + 491,
    }
    assert not any(loan.registration.issued_face for loan in loans)
