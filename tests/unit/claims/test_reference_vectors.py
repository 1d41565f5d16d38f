"""Published reference values: Excel's financial functions and QuantLib's test suite, row by row.

How rows meet our functions: amounts are scaled up until half-up rounding is far below the tolerance (1e-6, the
source's own), so `level_payment` and `schedule_of` stand for PMT, IPMT, PPMT and their sums. A loan that leaves a
residue (fv) is the annuity of pv + fv plus interest on the residue; one paid in advance (BeginningOfPeriod) pays
1 / (1 + rate) of it. PRICE and DURATION check discounting: times are counted in coupon periods, as Excel does.

Not covered, with the number of rows:
- pmt 67, ipmt 279, ppmt 285, cumipmt 18, cumprinc 15: 2.7 periods; a term here is a whole number of periods.
- ipmt 212, ppmt 222: the interest of period 1.3 or 2.5; an instalment here has a whole number.
- yearfrac 97, ActualActual over New Year: Excel averages the years' lengths, ours is ISDA.
- yearfrac 1, price 69, duration 38: 30/360 US from the last of February to a 31st. Excel keeps the 31st, the published
  rule (SIFMA, and QuantLib) makes it a 30th.
- accrint 20: 30/360 US at month ends (first interest on a 31st, or from one end of February to another), where Excel
  walks by quasi-coupon dates. accrint 568: actual bases, by fractions of quasi-coupon periods of a bond, which no
  loan here has.
- price 465: one coupon left, which Excel discounts by simple interest; we compound.
- actual_actual 14: ISMA and AFB, conventions that we don't offer.
"""

import gzip
from collections.abc import Iterable, Iterator
from csv import DictReader
from datetime import date, timedelta
from decimal import Decimal
from fractions import Fraction
from functools import lru_cache
from math import ceil, floor
from typing import Any, NamedTuple

import pytest

from market.claims.daycount import days_30_360_eu, days_30_360_us, year_fraction
from market.claims.loan import DayCount
from market.claims.schedule import Instalment, add_months, level_payment, schedule_of
from market.claims.yields import effective_yield, modified_duration, present_value
from market.ids import Minor
from tests.builders import terms
from tests.data import DATA_DIR, needs_data

pytestmark = needs_data

Row = dict[str, str]
SCALE = 10**15  # units per 1.00: (1 + 1.5)^10 times half a unit is still nothing
TOLERANCE = 1e-6
BASES = {
    "UsPsa30_360": DayCount.THIRTY_360_US,
    "Europ30_360": DayCount.THIRTY_360_EU,
    "Actual360": DayCount.ACT_360,
    "Actual365": DayCount.ACT_365F,
    "ActualActual": DayCount.ACT_ACT_ISDA,
}
PER_YEAR = {"Annual": 1, "SemiAnnual": 2, "Quarterly": 4}


def excel(name: str) -> list[Row]:
    with gzip.open(DATA_DIR / f"vectors_excel_{name}.csv.gz", "rt") as file:
        return list(DictReader(file))


def quantlib(name: str) -> list[Row]:
    with (DATA_DIR / f"vectors_quantlib_{name}.csv").open() as file:
        return list(DictReader(file))


def check(rows: Iterable[Row], ours: Any, *, covered: int) -> None:
    """Every row's expected value is what `ours` makes of the row, and there are as many rows as promised."""
    rows = list(rows)
    assert len(rows) == covered
    wrong = [(row, ours(row)) for row in rows if abs(ours(row) - float(row["expected"])) > TOLERANCE]
    assert not wrong, wrong[:5]


def whole(row: Row, *names: str) -> bool:
    return all(float(row[name]).is_integer() for name in names)


# Instalments ---------------------------------------------------------------------------------------------------------


class Annuity:
    """Excel's view of a loan of `pv` that leaves `-fv`: signs are those of the borrower's cash."""

    def __init__(self, row: Row) -> None:
        self.rate, self.nper = Decimal(row["rate"]), int(row["nper"])
        self.residue = Decimal(row.get("fv", "0"))
        self.lent = Decimal(row["pv"]) + self.residue
        self.in_advance = row["due"] == "BeginningOfPeriod"

    def payment(self) -> float:
        rate_ppm = int(self.rate * 1_000_000)
        size = Minor(int(abs(self.lent) * SCALE))
        level = level_payment(principal=size, annual_rate_ppm=rate_ppm, periods=self.nper, months_per_period=12)
        return self._signed(level)

    def interest(self, n: int) -> float:
        if self.in_advance and n == 1:
            return 0.0
        return self._signed(self._instalments()[n - 1].interest if self.lent else 0)

    def principal(self, n: int) -> float:
        return self.payment() - self.interest(n)

    def _signed(self, units: int) -> float:
        """Borrower's outflow of scaled units, interest on the residue included."""
        amount = Fraction(units, SCALE) * (1 if self.lent > 0 else -1) - Fraction(self.rate * self.residue)
        return float(-amount / Fraction(1 + self.rate if self.in_advance else 1))

    def _instalments(self) -> tuple[Instalment, ...]:
        return instalments(int(abs(self.lent) * SCALE), int(self.rate * 1_000_000), self.nper)


@lru_cache(maxsize=1024)
def instalments(principal: int, rate_ppm: int, periods: int) -> tuple[Instalment, ...]:
    loan = terms(
        original_principal=Minor(principal),
        outstanding_at_registration=Minor(principal),
        annual_rate_ppm=rate_ppm,
        term_months=12 * periods,
        months_per_period=12,
    )
    return schedule_of(loan).rows


def test_pmt() -> None:
    check((r for r in excel("pmt") if whole(r, "nper")), lambda r: Annuity(r).payment(), covered=203)


def test_ipmt() -> None:
    rows = (r for r in excel("ipmt") if whole(r, "nper", "per"))
    check(rows, lambda r: Annuity(r).interest(int(r["per"])), covered=411)


def test_ppmt() -> None:
    rows = (r for r in excel("ppmt") if whole(r, "nper", "per"))
    check(rows, lambda r: Annuity(r).principal(int(r["per"])), covered=428)


def periods(row: Row) -> range:
    """Excel sums the whole periods between two bounds that need not be whole."""
    return range(ceil(float(row["start_period"])), floor(float(row["end_period"])) + 1)


def test_cumipmt() -> None:
    rows = (r for r in excel("cumipmt") if whole(r, "nper"))
    check(rows, lambda r: sum(Annuity(r).interest(n) for n in periods(r)), covered=88)


def test_cumprinc() -> None:
    rows = (r for r in excel("cumprinc") if whole(r, "nper"))
    check(rows, lambda r: sum(Annuity(r).principal(n) for n in periods(r)), covered=85)


def test_quantlib_level_payments() -> None:
    rows = quantlib("levelpay_360")
    assert len(rows) == 13
    for row in rows:
        level = level_payment(
            principal=Minor(int(row["principal"]) * SCALE),
            annual_rate_ppm=int(Decimal(row["annual_rate"]) * 1_000_000),
            periods=int(row["months"]),
        )
        assert level / SCALE == pytest.approx(float(row["expected_payment"]), abs=1e-9), row


# Day counts ----------------------------------------------------------------------------------------------------------


def ends_february(day: date) -> bool:
    return day.month == 2 and (day + timedelta(1)).day == 1


def keeps_a_31st(row: Row, start: date, end: date) -> bool:
    """Excel's own way with 30/360 US from the last of February to a 31st."""
    return row["basis"] == "UsPsa30_360" and ends_february(start) and end.day == 31


def span(row: Row, start: str, end: str) -> tuple[date, date]:
    return date.fromisoformat(row[start]), date.fromisoformat(row[end])


def test_yearfrac() -> None:
    def is_covered(row: Row) -> bool:
        start, end = span(row, "start", "end")
        return not keeps_a_31st(row, start, end) and (row["basis"] != "ActualActual" or start.year == end.year)

    rows = (r for r in excel("yearfrac") if is_covered(r))
    check(rows, lambda r: float(year_fraction(BASES[r["basis"]], *span(r, "start", "end"))), covered=428)


def test_accrint() -> None:
    def ours(row: Row) -> float:
        years = year_fraction(BASES[row["basis"]], *span(row, "issue", "settlement"))
        return float(Fraction(row["par"]) * Fraction(row["rate"]) * years)

    def is_covered(row: Row) -> bool:
        at_month_ends = row["first_interest"].endswith("-31") or all(
            map(ends_february, span(row, "issue", "settlement"))
        )
        return row["basis"] == "Europ30_360" or (row["basis"] == "UsPsa30_360" and not at_month_ends)

    check((r for r in excel("accrint") if is_covered(r)), ours, covered=358)


def test_quantlib_act_act() -> None:
    rows = [row for row in quantlib("actual_actual") if row["convention"] == "ISDA"]
    assert len(rows) == 7
    for row in rows:
        years = year_fraction(DayCount.ACT_ACT_ISDA, *span(row, "start", "end"))
        assert float(years) == pytest.approx(float(row["expected_year_fraction"]), abs=1e-10)


# Yields and prices ---------------------------------------------------------------------------------------------------


def test_xirr() -> None:
    def ours(row: Row) -> float:
        days = [date.fromisoformat(day).toordinal() for day in row["dates"].split(";")]
        first, *amounts = [int(Decimal(amount) * 10_000) for amount in row["amounts"].split(";")]
        sign = 1 if first < 0 else -1
        flows = [(day - days[0], sign * amount) for day, amount in zip(days[1:], amounts, strict=True)]
        found = effective_yield(flows, abs(first))
        assert found is not None
        return found

    check(excel("xirr"), ours, covered=26)


class Bond(NamedTuple):
    """A bond as Excel counts it: coupons left, days in the coupon period, and how many of them are over."""

    coupons: int
    period_days: float
    days_over: int
    days_left: float
    previous: date

    def flows(self, coupon: float, redemption: float, per_year: int) -> list[tuple[int, int]]:
        """Flows with time in days of 365 to the year: parts of a day and of a unit, which only the test needs."""
        return list(self._flows(coupon, redemption, per_year))  # type: ignore[arg-type]

    def _flows(self, coupon: float, redemption: float, per_year: int) -> Iterator[tuple[float, float]]:
        for k in range(self.coupons):
            last = k == self.coupons - 1
            yield 365 * (self.days_left / self.period_days + k) / per_year, coupon + (redemption if last else 0)


def bond(row: Row) -> Bond:
    settlement, maturity = span(row, "settlement", "maturity")
    months = 12 // PER_YEAR[row["frequency"]]
    anchor = 31 if (maturity + timedelta(1)).day == 1 else maturity.day
    coupons, following = 1, maturity
    while (previous := add_months(maturity, -coupons * months, anchor_day=anchor)) > settlement:
        coupons, following = coupons + 1, previous
    match row["basis"]:
        case "UsPsa30_360":
            over = days_30_360_us(previous, settlement)
        case "Europ30_360":
            over = days_30_360_eu(previous, settlement)
        case _:
            over = (settlement - previous).days
    year = {"Actual365": 365, "ActualActual": (following - previous).days * 12 / months}.get(row["basis"], 360)
    period_days = year * months / 12
    return Bond(coupons, period_days, over, period_days - over, previous)


def effective_of(row: Row) -> float:
    return (1 + float(row["yield"]) / PER_YEAR[row["frequency"]]) ** PER_YEAR[row["frequency"]] - 1


def test_price() -> None:
    def ours(row: Row) -> float:
        of, per_year = bond(row), PER_YEAR[row["frequency"]]
        coupon = 100 * float(row["rate"]) / per_year
        dirty = present_value(of.flows(coupon, float(row["redemption"]), per_year), effective_of(row))
        return dirty - coupon * of.days_over / of.period_days

    rows = [r for r in excel("price") if bond(r).coupons > 1]
    check((r for r in rows if not settles_on_a_kept_31st(r)), ours, covered=4939)


def test_duration() -> None:
    def ours(row: Row) -> float:
        per_year, effective = PER_YEAR[row["frequency"]], effective_of(row)
        flows = bond(row).flows(100 * float(row["coupon"]) / per_year, 100, per_year)
        modified = modified_duration(flows, effective)
        assert modified is not None
        return modified * (1 + effective)  # Excel's is Macaulay's

    check((r for r in excel("duration") if not settles_on_a_kept_31st(r)), ours, covered=2721)


def settles_on_a_kept_31st(row: Row) -> bool:
    return keeps_a_31st(row, bond(row).previous, date.fromisoformat(row["settlement"]))
