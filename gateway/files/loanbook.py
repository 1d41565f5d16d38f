"""Loan books in files: every row becomes the registration of a loan, or a refusal with its line and reason.

Layout: a format is told by its header line and is one function from a row to a `RegisterLoan`; `read` drives it.
Formats: LendingClub 2018 (a live book), LendingClub 2007-2009 (finished loans), and our own, described with the
reasons for every choice made here in docs/import.md.
Invariants: amounts are read as decimals, never through a float; a figure that isn't whole cents is refused, not
rounded; a row that contradicts itself is refused.
Left out: opening and unpacking the file, and talking to the market (importing.py).
"""

import csv
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from enum import StrEnum
from typing import TYPE_CHECKING, TypeVar

from market.claims.loan import (
    LIVE_STATUSES,
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
from market.claims.schedule import add_months
from market.commands import RegisterLoan
from market.ids import AccountId, Currency, Face, LoanId, Minor

if TYPE_CHECKING:
    import _csv

LOAN_ID = re.compile(r"[A-Z0-9._-]{1,32}")
PLAIN_DECIMAL = re.compile(r"[0-9]{1,16}(\.[0-9]+)?")
RATE_PPM_MAX = 10_000_000
TERM_MONTHS_MAX = 1_200
YEAR_MIN, YEAR_MAX = 1900, 2199
MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")

Row = Mapping[str, str]
E = TypeVar("E", bound=StrEnum)


class Format(StrEnum):
    LENDINGCLUB_2018 = "lendingclub-2018"
    LENDINGCLUB_2007_2009 = "lendingclub-2007-2009"
    GENERIC = "debt-market"


class UnknownFormat(Exception):
    """The header is none that we know, or has columns that would be silently lost."""


class BadRow(Exception):
    """A row that can't be registered; the message is the reason that its owner reads."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Defaults:
    """What the file does not say: who gets the claims, and how loan ids begin.

    id_prefix: as asked for, None if it was not.  file_prefix: what the file's name gives, for loans that are only
    numbered; our own format has whole ids and goes without.
    """

    originator: AccountId | None
    id_prefix: str | None
    file_prefix: str


@dataclass(frozen=True, slots=True)
class LoanRow:
    """line: where the row begins, the header is line 1.  source_status: the file's own word."""

    line: int
    source_status: str
    registration: RegisterLoan


@dataclass(frozen=True, slots=True)
class Refusal:
    line: int
    reason: str


LENDINGCLUB_STATUSES = {
    "Current": LoanStatus.CURRENT,
    "In Grace Period": LoanStatus.GRACE,
    "Late (16-30 days)": LoanStatus.LATE,
    "Late (31-120 days)": LoanStatus.LATE,
    "Default": LoanStatus.DEFAULT,
    "Fully Paid": LoanStatus.REPAID,
    "Charged Off": LoanStatus.WRITTEN_OFF,
}
OLD_POLICY = "Does not meet the credit policy. Status:"  # says something of the loan's origin, nothing of its state

GENERIC_REQUIRED = frozenset(
    {"loan_id", "currency", "original_principal", "annual_rate", "repayment_method", "term_months", "issue_date"}
)
GENERIC_OPTIONAL = frozenset(
    {
        *("originator", "issued_face", "months_per_period", "first_due_date", "day_count", "outstanding_principal"),
        *("status", "grade"),
        *("claim_type", "guarantee_kind", "guarantee_name", "guarantee_trigger_days", "guarantee_coverage"),
        *("borrower_ref", "purpose", "region", "rulebook", "transferable", "documents"),
    }
)


def format_of(header: Sequence[str]) -> Format:
    """Return the format whose columns are all there. Raises UnknownFormat, saying what is amiss."""
    columns = set(header)
    if len(columns) != len(header):
        raise UnknownFormat("a column appears twice in the header")
    for known, (_, needed) in FORMATS.items():
        if needed <= columns:
            unknown = sorted(columns - GENERIC_REQUIRED - GENERIC_OPTIONAL)
            if known is Format.GENERIC and unknown:
                raise UnknownFormat(f"unknown columns: {', '.join(unknown)}")
            return known
    raise UnknownFormat(
        "the header is neither LendingClub's nor ours; ours needs the columns " + ", ".join(sorted(GENERIC_REQUIRED))
    )


def read(lines: Iterable[str], defaults: Defaults) -> tuple[Format, Iterator[LoanRow | Refusal]]:
    """Return the format of a CSV text and its rows in order, parsed as they are asked for.

    lines: with their line ends, as a text file gives them. Blank lines are passed over.
    Raises UnknownFormat.
    """
    reader = csv.reader(lines, strict=True)
    try:
        header = [name.strip() for name in next(reader, [])]
    except csv.Error as e:
        raise UnknownFormat(f"the header is not CSV: {e}") from e
    kind = format_of(header)
    return kind, _rows(reader, header, FORMATS[kind][0], defaults)


def _rows(
    reader: "_csv.Reader", header: Sequence[str], parse: "Parser", defaults: Defaults
) -> Iterator[LoanRow | Refusal]:
    lines_of: dict[LoanId, int] = {}
    while True:
        line = reader.line_num + 1
        try:
            cells = next(reader)
            if not cells:
                continue
            row = parse(_named(header, cells), defaults, line)
            loan_id = row.registration.terms.loan_id
            if loan_id in lines_of:
                raise BadRow(f"{loan_id} is already on line {lines_of[loan_id]}")
        except StopIteration:
            return
        except csv.Error as e:
            yield Refusal(line, f"not CSV: {e}")
        except BadRow as e:
            yield Refusal(line, str(e))
        else:
            lines_of[loan_id] = line
            yield row


def _named(header: Sequence[str], cells: list[str]) -> Row:
    if len(cells) != len(header):
        raise BadRow(f"{len(cells)} cells under {len(header)} columns")
    for name, cell in zip(header, cells, strict=True):
        if any("\ud800" <= character <= "\udfff" for character in cell):
            raise BadRow(f"{name}: not UTF-8")
    return dict(zip(header, map(str.strip, cells), strict=True))


def _lendingclub_2018(row: Row, defaults: Defaults, line: int) -> LoanRow:
    status = _one_of(LENDINGCLUB_STATUSES, row, "loan_status")
    principal, outstanding = _money(row, "loan_amount"), _money(row, "balance")
    repaid = row.get("paid_principal", "")
    if repaid and status is not LoanStatus.WRITTEN_OFF and outstanding + _money(row, "paid_principal") != principal:
        raise BadRow(f"balance {row['balance']} and paid_principal {repaid} don't add up to {row['loan_amount']}")
    terms = _lendingclub_terms(
        row,
        defaults,
        principal=principal,
        outstanding=outstanding,
        rate=_rate(row, "interest_rate", percent=True),
        issue=_month(row, "issue_month"),
        purpose=row.get("loan_purpose", ""),
        region=row.get("state", ""),
        never_late=status in (LoanStatus.CURRENT, LoanStatus.REPAID) and not Decimal(row.get("paid_late_fees") or 0),
    )
    return LoanRow(line, row["loan_status"], _registration(terms, status))


def _lendingclub_2007_2009(row: Row, defaults: Defaults, line: int) -> LoanRow:
    word = row["loan_status"].removeprefix(OLD_POLICY)
    status = _one_of(LENDINGCLUB_STATUSES, {"loan_status": word}, "loan_status")
    terms = _lendingclub_terms(
        row,
        defaults,
        principal=_money(row, "funded_amnt"),
        outstanding=_money(row, "out_prncp"),
        rate=_rate(row, "int_rate"),
        issue=_date(row, "issue_d"),
        purpose=row.get("purpose", ""),
        region=row.get("addr_state", ""),
        never_late=status in (LoanStatus.CURRENT, LoanStatus.REPAID),
    )
    return LoanRow(line, row["loan_status"], _registration(terms, status))


def _lendingclub_terms(
    row: Row,
    defaults: Defaults,
    *,
    principal: Minor,
    outstanding: Minor,
    rate: int,
    issue: date,
    purpose: str,
    region: str,
    never_late: bool,
) -> LoanTerms:
    """An unsecured annuity in dollars whose first instalment is due a month after it was issued."""
    return LoanTerms(
        loan_id=_loan_id(f"{defaults.id_prefix or defaults.file_prefix}-", row, "loan_no"),
        originator=_originator(row, defaults),
        currency=Currency("USD"),
        original_principal=principal,
        outstanding_at_registration=outstanding,
        annual_rate_ppm=rate,
        repayment_method=RepaymentMethod.ANNUITY,
        term_months=_count(row, "term"),
        issue_date=issue,
        first_due_date=add_months(issue, 1, anchor_day=issue.day),
        grade=row.get("grade", ""),
        purpose=purpose,
        region=region,
        never_late=never_late,
    )


def _generic(row: Row, defaults: Defaults, line: int) -> LoanRow:
    principal, issue = _money(row, "original_principal"), _date(row, "issue_date")
    term = _count(row, "term_months")
    months = _count(row, "months_per_period") if row.get("months_per_period") else 1
    if term % months:
        raise BadRow(f"months_per_period: {term} months are not whole periods of {months}")
    status = _word(LoanStatus, row, "status", LoanStatus.CURRENT)
    finished = status not in LIVE_STATUSES
    unstated = Minor(0) if finished else principal
    terms = LoanTerms(
        loan_id=_loan_id(f"{defaults.id_prefix}-" if defaults.id_prefix else "", row, "loan_id"),
        originator=_originator(row, defaults),
        currency=_currency(row),
        original_principal=principal,
        outstanding_at_registration=_money(row, "outstanding_principal", default=unstated),
        annual_rate_ppm=_rate(row, "annual_rate"),
        repayment_method=_word(RepaymentMethod, row, "repayment_method"),
        term_months=term,
        months_per_period=months,
        issue_date=issue,
        first_due_date=_date(row, "first_due_date", default=add_months(issue, months, anchor_day=issue.day)),
        day_count=_word(DayCount, row, "day_count", DayCount.PERIOD),
        grade=row.get("grade", ""),
        claim_type=_word(ClaimType, row, "claim_type", ClaimType.UNSECURED),
        guarantee=_guarantee(row),
        borrower_ref=row.get("borrower_ref", ""),
        purpose=row.get("purpose", ""),
        region=row.get("region", ""),
        documents=_documents(row),
        transferable=_one_of({"": True, "true": True, "false": False}, {"transferable": "", **row}, "transferable"),
        never_late=status in (LoanStatus.CURRENT, LoanStatus.REPAID),
    )
    issued = _money(row, "issued_face") if row.get("issued_face") else None
    return LoanRow(line, status.value, _registration(terms, status, issued, row.get("rulebook") or None))


def _registration(
    terms: LoanTerms, status: LoanStatus, issued: Minor | None = None, rulebook: str | None = None
) -> RegisterLoan:
    """Check what the columns mean together. Claims on all of the principal are issued while something is owed on it."""
    if terms.original_principal <= 0:
        raise BadRow("the principal must be positive")
    if terms.outstanding_at_registration > terms.original_principal:
        raise BadRow("more is outstanding than was lent")
    if status is LoanStatus.REPAID and terms.outstanding_at_registration:
        raise BadRow("the loan is repaid, but something is outstanding")
    if terms.first_due_date <= terms.issue_date:
        raise BadRow("the first due date must be after the issue date")
    if issued is None:
        owed = status in LIVE_STATUSES and terms.outstanding_at_registration > 0
        issued = terms.original_principal if owed else Minor(0)
    if issued > terms.original_principal:
        raise BadRow("issued_face is more than the principal")
    return RegisterLoan(terms=terms, issued_face=Face(issued), status=status, rulebook=rulebook)


def _guarantee(row: Row) -> Guarantee:
    days = row.get("guarantee_trigger_days")
    return Guarantee(
        kind=_word(GuaranteeKind, row, "guarantee_kind", GuaranteeKind.NONE),
        name=row.get("guarantee_name") or None,
        trigger_days=_count(row, "guarantee_trigger_days") if days else None,
        coverage=_word(Coverage, row, "guarantee_coverage", Coverage.PRINCIPAL),
    )


def _documents(row: Row) -> tuple[Document, ...]:
    """`name:sha256` pairs, separated by semicolons."""
    documents = []
    for item in filter(None, row.get("documents", "").split(";")):
        name, _, sha256 = item.strip().rpartition(":")
        if not name or not re.fullmatch("[0-9a-f]{64}", sha256):
            raise BadRow(f"documents: {item!r} is not name:sha256")
        documents.append(Document(name=name, sha256=sha256))
    return tuple(documents)


def _loan_id(prefix: str, row: Row, column: str) -> LoanId:
    text = prefix + row[column]
    if not row[column] or not LOAN_ID.fullmatch(text):
        raise BadRow(f"{column}: {text!r} is not a loan id of 1 to 32 of A-Z 0-9 . _ -")
    return LoanId(text)


def _originator(row: Row, defaults: Defaults) -> AccountId:
    if originator := row.get("originator") or defaults.originator:
        return AccountId(originator)
    raise BadRow("originator: missing, and no --originator was given")


def _currency(row: Row) -> Currency:
    if not re.fullmatch("[A-Z]{3}", row["currency"]):
        raise BadRow(f"currency: {row['currency']!r} is not an ISO 4217 code")
    return Currency(row["currency"])


def _decimal(row: Row, column: str, *, scale: int) -> int:
    """Return the cell in units of 10^-scale, exactly."""
    text = row[column]
    if not PLAIN_DECIMAL.fullmatch(text):
        raise BadRow(f"{column}: {text!r} is not a plain number" if text else f"{column}: missing")
    scaled = Decimal(text).scaleb(scale)
    if scaled != int(scaled):
        raise BadRow(f"{column}: {text} has more than {scale} decimals")
    return int(scaled)


def _money(row: Row, column: str, default: Minor | None = None) -> Minor:
    if default is not None and not row.get(column):
        return default
    return Minor(_decimal(row, column, scale=2))


def _rate(row: Row, column: str, *, percent: bool = False) -> int:
    """Return a yearly rate in millionths from a fraction, or from percent."""
    rate = _decimal(row, column, scale=4 if percent else 6)
    if rate > RATE_PPM_MAX:
        raise BadRow(f"{column}: {row[column]} is out of range")
    return rate


def _count(row: Row, column: str) -> int:
    count = _decimal(row, column, scale=0)
    if not 1 <= count <= TERM_MONTHS_MAX:
        raise BadRow(f"{column}: {row[column]} is out of range")
    return count


def _date(row: Row, column: str, default: date | None = None) -> date:
    text = row.get(column, "")
    if default is not None and not text:
        return default
    try:
        day = date.fromisoformat(text) if re.fullmatch(r"\d{4}-\d\d-\d\d", text) else None
    except ValueError:
        day = None
    if day is None or not YEAR_MIN <= day.year <= YEAR_MAX:
        raise BadRow(f"{column}: {text!r} is not a date YYYY-MM-DD" if text else f"{column}: missing")
    return day


def _month(row: Row, column: str) -> date:
    """Return the first day of a month that is written like Mar-2018."""
    name, _, year = row[column].partition("-")
    if name not in MONTHS or not re.fullmatch(r"\d{4}", year) or not YEAR_MIN <= int(year) <= YEAR_MAX:
        raise BadRow(f"{column}: {row[column]!r} is not a month like Mar-2018")
    return date(int(year), MONTHS.index(name) + 1, 1)


def _word(words: type[E], row: Row, column: str, default: E | None = None) -> E:
    text = row.get(column, "")
    if default is not None and not text:
        return default
    return _one_of({word.value: word for word in words}, row, column)


V = TypeVar("V")


def _one_of(words: Mapping[str, V], row: Row, column: str) -> V:
    try:
        return words[row[column]]
    except KeyError:
        known = ", ".join(filter(None, words))
        raise BadRow(f"{column}: {row[column]!r} is unknown, expected one of: {known}") from None


Parser = Callable[[Row, Defaults, int], LoanRow]

FORMATS: dict[Format, tuple[Parser, frozenset[str]]] = {
    Format.LENDINGCLUB_2018: (
        _lendingclub_2018,
        frozenset({"loan_no", "loan_amount", "term", "interest_rate", "issue_month", "loan_status", "balance"}),
    ),
    Format.LENDINGCLUB_2007_2009: (
        _lendingclub_2007_2009,
        frozenset({"loan_no", "funded_amnt", "term", "int_rate", "issue_d", "loan_status", "out_prncp"}),
    ),
    Format.GENERIC: (_generic, GENERIC_REQUIRED),
}
