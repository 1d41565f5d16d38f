"""LendingClub's finished loans of 2007 to 2009, played through a market with several holders of each.

What the file says was paid (principal, interest, late fees, recoveries less their costs) is what reaches the holders,
to the cent and loan by loan, and each of them gets his share of each leg by exact fractions. The file has totals: each
loan is one payment, a charged-off one also a write-off and a recovery.
"""

import csv
import gzip
from collections import Counter
from collections.abc import Iterator
from datetime import date
from decimal import Decimal

from market.claims.servicing import ServicingEvent
from market.events import Serviced
from market.ids import Minor
from tests.builders import Market, buy, register, sell, service, servicing
from tests.data import DATA_DIR, needs_data
from tests.property.plain_loan import shares

FILE = DATA_DIR / "loans_lendingclub_2007_2009.csv.gz"
LAST_DAY = date(2020, 1, 1)
HOLDERS = ("A", "B", "ORIG")


def cents(text: str) -> Minor:
    return Minor(round(Decimal(text or 0) * 100))


def events_of(loan_id: str, row: dict[str, str]) -> Iterator[ServicingEvent]:
    last_payment = date.fromisoformat(row["last_pymnt_d"] or row["issue_d"])
    paid, funded = cents(row["total_rec_prncp"]), cents(row["funded_amnt"])
    principal = min(paid, funded)  # some rows call a cent too much principal
    interest = Minor(cents(row["total_rec_int"]) + cents(row["total_rec_late_fee"]) + paid - principal)
    if interest + principal:
        yield servicing("payment", last_payment, loan_id=loan_id, interest=interest, principal=principal)
    if recovered := cents(row["recoveries"]):
        yield servicing("write_off", LAST_DAY, loan_id=loan_id)
        costs = cents(row["collection_recovery_fee"])
        yield servicing("recovery", LAST_DAY, recovered, loan_id=loan_id, costs=costs)


def paid_of(row: dict[str, str]) -> int:
    received = ("total_rec_prncp", "total_rec_int", "total_rec_late_fee", "recoveries")
    return sum(cents(row[name]) for name in received) - cents(row["collection_recovery_fee"])


@needs_data
def test_holders_get_what_the_file_says_was_paid() -> None:
    market = Market(loans=(), day=LAST_DAY)
    for account in HOLDERS[:2]:
        market.investor(account, cash=10**12)
    with gzip.open(FILE, "rt") as text:
        rows = list(csv.DictReader(text))
    for row in rows:
        loan_id, funded, issued = f"LC-{row['loan_no']}", cents(row["funded_amnt"]), date.fromisoformat(row["issue_d"])
        market.do(
            register(
                loan_id,
                issued=funded,
                original_principal=funded,
                outstanding_at_registration=funded,
                annual_rate_ppm=int(Decimal(row["int_rate"]) * 1_000_000),
                term_months=int(row["term"]),
                issue_date=issued,
                first_due_date=issued.replace(year=issued.year + issued.month // 12, month=issued.month % 12 + 1),
            )
        )
        market.do(sell("ORIG", 9_800, funded // 2, loan_id=loan_id))
        for account, face in (("A", funded // 3), ("B", funded // 2 - funded // 3)):
            market.do(buy(account, 9_800, face, loan_id=loan_id))
        before = holders_cash(market)
        applied = market.do(service(*events_of(loan_id, row))).events if paid_of(row) else ()
        got = Counter(holders_cash(market)) - Counter(before)
        assert sum(got.values()) == paid_of(row), loan_id
        faces = {"A": funded // 3, "B": funded // 2 - funded // 3, "ORIG": funded - funded // 2}
        expected: Counter[str] = Counter()
        for booked in (event for event in applied if isinstance(event, Serviced)):
            for leg in (booked.interest, booked.principal):
                expected.update(shares(leg, faces, funded))
        assert got == +expected, loan_id
    assert len(rows) == 8_277
    market.venue.state.check_invariants()


def holders_cash(market: Market) -> dict[str, int]:
    return {account: market.cash(account)[0] for account in HOLDERS}
