"""The numbers that the docs work out are what the venue makes of them: each sentence is written here from a run of it.

docs/statements.md and docs/register.md are read by the tests of statements and of titles.
"""

import csv
import gzip
import re
from collections import Counter
from datetime import date
from pathlib import Path

from gateway.files.loanbook import Defaults, LoanRow, read
from market.claims.loan import LoanStatus
from market.claims.schedule import schedule_of
from market.claims.yields import remaining_flows, total_cash, yield_at_price
from market.ids import AccountId, Face, PriceBp
from market.orderbook.order import OrderType
from market.venue.amounts import fill_cost
from tests.builders import Market, buy
from tests.data import DATA_DIR, needs_data
from tests.unit.venue.test_servicing import LEVEL, ServicedMarket

ROOT = Path(__file__).resolve().parents[2]
DEFAULTS = Defaults(originator=AccountId("O"), id_prefix=None, file_prefix="F")
LOAN = "10,000.00 at 12 % over 12 months"


def text_of(name: str) -> str:
    """Return a document with its lines joined: a sentence may be broken anywhere."""
    return " ".join((ROOT / "docs" / name).read_text().split())


def money(units: int) -> str:
    return f"{units / 100:,.2f}"


def yield_at(market: ServicedMarket, price: int) -> str:
    loan, today = market.loan, market.venue.state.today
    flows, accrued = remaining_flows(loan.schedule, today), loan.on(today).accrued
    found = yield_at_price(flows, PriceBp(price), accrued=accrued, outstanding=loan.outstanding)
    assert found is not None
    return f"{100 * found:.3f} %"


def test_the_worked_example_of_orders_by_yield() -> None:
    market = ServicedMarket()
    market.do(buy("C", None, 1_000_00, order_type=OrderType.YIELD, limit_yield_ppm=140_000, pegged=True))
    [bid] = market.orders
    price, accrued = bid.price, bid.hold - 10 * bid.price
    here, beyond = yield_at(market, price), yield_at(market, price + 1)
    held = f"{money(10 * price)} and a full period's accrued interest of {money(accrued)}: {money(bid.hold)}"
    market.roll(date(2024, 2, 14))
    assert text_of("orders.md").count("Worked") == 1
    assert (
        f"**Worked example.** {LOAN} ({money(LEVEL)} a month), issued on 15 January 2024, nothing repaid. A bid by "
        f"yield of 0.14 for 1,000.00 of face is priced {money(price)}: a buyer at {money(price)} yields {here}, at "
        f"{money(price + 1)} only {beyond}. It reserves {held}. Pegged, it stands at {money(bid.price)} on "
        "14 February, the day before the first instalment."
    ) in text_of("orders.md")


def test_the_resting_bid_of_servicing() -> None:
    market = ServicedMarket()
    market.do(buy("C", 9_850, 1_000_00))
    [bid] = market.orders
    before = bid.hold - 10_00  # a full period's accrued is held beside the clean amount
    market.pay(3)
    after = bid.hold - 7_61
    factor = market.loan.outstanding / market.loan.terms.original_principal
    assert (
        f"1,000.00 bid at 98.50 costs {money(before)} clean on a new loan of {LOAN}, and {money(after)} after its "
        f"first three instalments of {money(LEVEL)} (factor {factor:.5f})."
    ) in text_of("servicing.md")


def test_the_sale_of_concepts() -> None:
    market = ServicedMarket()
    market.pay(1)
    market.roll(date(2024, 3, 1))
    loan = market.loan.on(market.venue.state.today)
    cost = fill_cost(market.loan, loan.accrued, Face(1_000_00), PriceBp(9_800))
    factor = market.loan.outstanding / market.loan.terms.original_principal
    elapsed, period = date(2024, 3, 1) - date(2024, 2, 15), date(2024, 3, 15) - date(2024, 2, 15)
    assert (
        f"{LOAN} has paid its first instalment of {money(LEVEL)}, its factor is {factor:.5f}. Half a period later, on "
        f"2024-03-01, 1,000.00 of original face are sold at 98.00: "
        f"current face 1,000.00 × {factor:.5f} = {money(cost.current_face)} "
        f"clean amount {money(cost.current_face)} × 0.98 = {money(cost.principal)} "
        f"accrued interest {elapsed.days} of {period.days} days = {money(cost.accrued)} "
        f"dirty amount = {money(cost.principal + cost.accrued)}"
    ) in text_of("concepts.md")


def test_the_total_cash_of_yields() -> None:
    market = Market()
    [loan] = market.venue.state.loans.values()
    whole = total_cash(remaining_flows(loan.schedule, market.venue.state.today))
    tenth = round(whole / 10)
    assert f"`total_cash` is {money(tenth)}, a tenth of {money(whole)}." in text_of("yields.md")


def test_the_example_of_a_loan_file_is_one() -> None:
    [example] = re.findall(r"```csv\n(.*?)```", (ROOT / "docs" / "import.md").read_text(), re.DOTALL)
    _, rows = read(example.splitlines(keepends=True), DEFAULTS)
    loans = [row for row in rows if isinstance(row, LoanRow)]
    assert len(loans) == len(list(csv.DictReader(example.splitlines()))) == 2
    assert [row.registration.terms.original_principal for row in loans] == [100_000_00, 48_000_00]


@needs_data
def test_the_next_due_dates_of_the_live_book() -> None:
    with gzip.open(DATA_DIR / "loans_lendingclub_2018q1.csv.gz", "rt") as text:
        _, rows = read(text, DEFAULTS)
        live = [row.registration for row in rows if isinstance(row, LoanRow)]
    current = [loan.terms for loan in live if loan.status is LoanStatus.CURRENT]
    schedules = [schedule_of(terms) for terms in current if terms.outstanding_at_registration]
    next_dues = Counter(schedule.rows[schedule.paid].due_date for schedule in schedules)
    (first, most), (second, fewer) = next_dues.most_common(2)
    most, fewer = (round(100 * count / len(schedules)) for count in (most, fewer))
    assert f"this gives {first} for {most} % of the current loans and {second} for {fewer} %." in text_of("import.md")


def test_what_a_document_works_out_is_named_by_a_test() -> None:
    tests = "".join(file.read_text() for file in (ROOT / "tests").rglob("test_*.py"))
    for document in (ROOT / "docs").glob("*.md"):
        if "orked" in document.read_text():
            assert document.name in tests, f"{document.name} works numbers out that no test names"
