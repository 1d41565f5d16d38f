"""What the market tells everybody: the board, loans, schedules, books, its status and its audit."""

from datetime import date
from typing import Any

import pytest

from market.claims.loan import ClaimType, LoanStatus
from market.commands import AccountKind, IssueFace, RegisterLoan, RollDay
from market.ids import Face, LoanId
from tests.builders import open_account, register, terms
from tests.e2e.rest import Market, order


async def test_a_loan_shows_its_terms_and_its_state(market: Market) -> None:
    loan = (await market.anyone.get("/v1/loans/L1")).body
    assert {
        "loan_id": "L1",
        "symbol": "L1/USD",
        "originator": "ORIG",
        "currency": "USD",
        "original_principal": "10000.00",
        "outstanding_principal": "10000.00",
        "issued_face": "10000.00",
        "factor": "1.00000000",
        "annual_rate": "0.12",
        "repayment_method": "annuity",
        "term_months": 12,
        "remaining_months": 12,
        "issue_date": "2024-01-15",
        "first_due_date": "2024-02-15",
        "maturity_date": "2025-01-15",
        "day_count": "period",
        "status": "current",
        "halted": False,
        "accrued": "0.00",
        "bid": None,
        "last": None,
        "next_due": {"n": 1, "date": "2024-02-15", "payment": "888.49", "interest": "100.00", "principal": "788.49"},
    }.items() <= loan.items()
    assert (await market.anyone.get("/v1/loans/NONE")).code == "unknown_loan"


async def test_the_open_rulebook_is_shown_as_the_contract_has_it(market: Market) -> None:
    rulebook = (await market.anyone.get("/v1/loans/L1")).body["rulebook"]
    assert {
        "name": "open",
        "tick": "0.01",
        "lot": "0.01",
        "min_face": "1.00",
        "min_consideration": "0.01",
        "price_min": "0.01",
        "price_max": "200.00",
        "collar_pct": "50.00",
        "premium_allowed": True,
        "max_discount_pct": None,
        "yield_floor": "0.00",
        "grace_days": 15,
        "min_holding_days": 0,
        "blackout_days": 0,
        "max_transfers": None,
        "order_life_hours": None,
        "tradable_statuses": ["current", "default", "grace", "late"],
        "transferable": True,
        "fees": {side: {"rate": "0.00", "min": "0.00", "cap": None} for side in ("buyer", "seller")},
        "limits": {"per_loan": None, "per_borrower": None, "per_grade_pct": None},
        "suitability": None,
    }.items() <= rulebook.items()


async def test_prices_come_with_what_they_yield(market: Market) -> None:
    await market.seller.post("/v1/orders", order("sell", "98.00", "500.00"))
    await market.buyer.post("/v1/orders", order("buy", "97.00", "300.00"))
    loan = (await market.anyone.get("/v1/loans/L1")).body
    assert (loan["ask"], loan["ask_qty"], loan["bid"], loan["bid_qty"]) == ("98.00", "500.00", "97.00", "300.00")
    assert "0.126" < loan["ytm_ask"] < loan["ytm_bid"] < "0.300"


async def test_accrued_interest_grows_with_the_business_date(market: Market) -> None:
    await market.stack.do(RollDay(to=date(2024, 1, 30)))
    assert (await market.anyone.get("/v1/loans/L1")).body["accrued"] == "48.39"  # 100.00 x 15 / 31
    assert (await market.anyone.get("/v1/time")).body["business_date"] == "2024-01-30"


PAGED = ("/v1/loans/L1/schedule", "/v1/fees", "/v1/rulebooks", "/v1/currencies", "/v1/performance", "/v1/api-keys")


@pytest.mark.parametrize("path", PAGED)
async def test_what_fits_one_page_can_be_read_in_smaller_ones(market: Market, path: str) -> None:
    """PROTOCOL section 5: collections take `limit` and `cursor`."""
    for n in range(2):
        await market.seller.post("/v1/api-keys", {"scopes": ["read"], "label": f"key {n}"})
    whole = (await market.seller.get(path)).body
    assert whole["items"]
    assert whole["next_cursor"] is None
    items, cursor = [], ""
    while True:
        told = await market.seller.get(f"{path}?limit=1{cursor}")
        items += told.body["items"]
        if told.body["next_cursor"] is None:
            break
        cursor = f"&cursor={told.body['next_cursor']}"
    assert items == whole["items"]
    for bad in ("limit=0", "limit=501", "cursor=x"):
        assert (await market.seller.get(f"{path}?{bad}")).code == "invalid_arguments"


async def test_a_schedule_ties_out(market: Market) -> None:
    rows = (await market.anyone.get("/v1/loans/L1/schedule")).body["items"]
    assert [row["n"] for row in rows] == list(range(1, 13))
    assert [row["payment"] for row in rows] == ["888.49"] * 11 + ["888.47"]
    assert (rows[0]["status"], rows[1]["status"], rows[-1]["balance"]) == ("due", "future", "0.00")
    await market.stack.do(RollDay(to=date(2024, 2, 16)))
    rows = (await market.anyone.get("/v1/loans/L1/schedule")).body["items"]
    assert [row["status"] for row in rows[:2]] == ["late", "future"]


@pytest.mark.parametrize(
    ("method", "months", "first_due", "rows"),
    [
        pytest.param(
            "annuity", 3, "2024-04-30",
            [("2024-04-30", "2690.27", "300.00"), ("2024-07-31", "2690.27", "228.29"),
             ("2024-10-31", "2690.27", "154.43"), ("2025-01-31", "2690.27", "78.36")],
            id="quarters, the first one four months long",
        ),
        pytest.param(
            "equal_principal", 3, "2024-02-29",
            [("2024-02-29", "2800.00", "300.00"), ("2024-05-31", "2725.00", "225.00"),
             ("2024-08-31", "2650.00", "150.00"), ("2024-11-30", "2575.00", "75.00")],
            id="quarters, the first one two months short",
        ),
        pytest.param(
            "interest_only", 6, "2024-06-30",
            [("2024-06-30", "600.00", "600.00"), ("2024-12-31", "10600.00", "600.00")],
            id="half-years",
        ),
        pytest.param("bullet", 12, "2024-12-31", [("2024-12-31", "11200.00", "1200.00")], id="a year"),
    ],
)  # fmt: skip
async def test_periods_of_any_number_of_months(
    market: Market, method: str, months: int, first_due: str, rows: list[tuple[str, str, str]]
) -> None:
    """10,000.00 at 12 % from 31 December: a period's interest is by its months, its due date at a month's end."""
    body = {"loan_id": "Q1", "originator": "ORIG", "currency": "USD", "original_principal": "10000.00"}
    body |= {"annual_rate": "0.12", "repayment_method": method, "term_months": 12, "months_per_period": months}
    body |= {"issue_date": "2023-12-31", "first_due_date": first_due}
    told = await market.admin.post("/v1/admin/loans", body)
    assert told.status == 201, told.body
    shown = (await market.anyone.get("/v1/loans/Q1/schedule")).body["items"]
    assert [(row["due_date"], row["payment"], row["interest"]) for row in shown] == rows
    assert (await market.anyone.get("/v1/loans/Q1")).body["months_per_period"] == months
    refused = await market.admin.post("/v1/admin/loans", {**body, "loan_id": "Q2", "months_per_period": 5})
    assert (refused.status, refused.field) == (422, "months_per_period")


async def test_a_book_has_the_numbers_of_its_feed(market: Market) -> None:
    """The contract's own vector of both check numbers."""
    assert (await market.anyone.get("/v1/loans/L1/book")).body["digest"] == 1885708031
    await market.stack.do(register("V", issued=10_000_00))
    for side, price, qty in (
        ("sell", "98.50", "2000.00"),
        ("sell", "98.51", "15.50"),
        ("buy", "98.00", "1000.00"),
        ("buy", "97.99", "1.00"),
    ):
        who = market.seller if side == "sell" else market.buyer
        await who.post("/v1/orders", order(side, price, qty, loan_id="V"))
    book = (await market.anyone.get("/v1/loans/V/book?depth=25")).body
    assert book["asks"] == [{"price": "98.50", "qty": "2000.00"}, {"price": "98.51", "qty": "15.50"}]
    assert book["bids"] == [{"price": "98.00", "qty": "1000.00"}, {"price": "97.99", "qty": "1.00"}]
    before = (await market.anyone.get("/v1/loans/V/book?depth=25")).body
    assert before["seq"] == book["seq"]
    await market.buyer.post("/v1/orders", order("buy", "97.00", "1.00", loan_id="V"))
    after = (await market.anyone.get("/v1/loans/V/book?depth=25")).body
    assert (after["epoch"], after["seq"]) == (book["epoch"], book["seq"] + 1)
    assert (await market.anyone.get("/v1/loans/V/book?depth=11")).field == "depth"


@pytest.fixture
async def many(market: Market) -> Market:
    """Six more loans of different kinds; three of them are offered."""
    await market.stack.do(
        register("N1", grade="A", claim_type=ClaimType.GUARANTEED, purpose="a van", annual_rate_ppm=80_000),
        register("N2", grade="B", annual_rate_ppm=100_000, never_late=False),
        register("N3", grade="B", annual_rate_ppm=200_000, term_months=24, currency="EUR"),
        register("N4", grade="C", region="Berlin"),
        RegisterLoan(terms=terms("N5"), issued_face=Face(10_000_00), status=LoanStatus.LATE),
        RegisterLoan(
            terms=terms("N6", outstanding_at_registration=0), issued_face=Face(0), status=LoanStatus.WRITTEN_OFF
        ),
    )
    for loan_id, price in (("N1", "99.00"), ("N2", "95.00"), ("N3", "97.00")):
        told = await market.seller.post("/v1/orders", order("sell", price, "250.00", loan_id=loan_id))
        assert told.status == 201
    assert (await market.buyer.post("/v1/orders", order("buy", "50.00", "10.00", loan_id="L2"))).status == 201
    for loan_id, price in (("N1", "99.00"), ("N2", "95.00")):
        bought = await market.buyer.post("/v1/orders", order("buy", price, "1.00", loan_id=loan_id))
        assert bought.body["order_status"] == "filled"
    return market


@pytest.mark.parametrize(
    ("query", "found"),
    [
        pytest.param("", "L1 L2 N1 N2 N3 N4 N5", id="live loans"),
        pytest.param("status=all", "L1 L2 N1 N2 N3 N4 N5 N6", id="all"),
        pytest.param("status=late,written_off", "N5 N6", id="status"),
        pytest.param("grade=A,C", "N1 N4", id="grade"),
        pytest.param("claim_type=guaranteed", "N1", id="claim type"),
        pytest.param("currency=EUR", "N3", id="currency"),
        pytest.param("originator=NOBODY", "", id="originator"),
        pytest.param("never_late=false", "N2", id="never late"),
        pytest.param("q=VAN", "N1", id="text"),
        pytest.param("q=berlin", "N4", id="text in the region"),
        pytest.param("min_price=96.00&max_price=98.00", "N3", id="price, offered ones only"),
        pytest.param("min_discount=3.00", "N2 N3", id="discount"),
        pytest.param("min_rate=0.15", "N3", id="rate"),
        pytest.param("min_remaining_months=13", "N3", id="remaining months"),
        pytest.param("min_available=250.01", "", id="available"),
        pytest.param("min_ytm=0.20", "N2 N3", id="yield"),
        pytest.param("loan_id=N3,N1,L9,L1&sort=-rate", "N3 L1 N1", id="named loans"),
        pytest.param("min_bid=1", "L2", id="best bid"),
        pytest.param("sort=-bid&q=l", "L2 L1 N4", id="by best bid, what nobody bids for last"),
        pytest.param("sort=price", "N2 N3 N1 L1 L2 N4 N5", id="cheapest first, what is not offered last"),
        pytest.param("sort=-price", "N1 N3 N2 L1 L2 N4 N5", id="dearest first, what is not offered last"),
        pytest.param("sort=-rate&min_price=1", "N3 N2 N1", id="by rate"),
        pytest.param("sort=loan_id", "L1 L2 N1 N2 N3 N4 N5", id="by loan"),
        pytest.param("sort=-loan_id", "N5 N4 N3 N2 N1 L2 L1", id="by loan, backwards"),
        pytest.param("sort=-loan_id&grade=B", "N3 N2", id="few of them by loan, backwards"),
        pytest.param("sort=-grade&q=n", "N4 N2 N3 N1 N5", id="by grade, what has none last"),
        pytest.param("sort=-claim_type&min_price=1", "N1 N2 N3", id="by type"),
        pytest.param("sort=history&min_price=1", "N2 N1 N3", id="who was late first"),
        pytest.param("sort=-last&q=n", "N1 N2 N3 N4 N5", id="by the last trade, what never traded last"),
        pytest.param("min_last=97.01", "N1", id="last trade"),
    ],
)
async def test_the_board_is_filtered_and_sorted(many: Market, query: str, found: str) -> None:
    told = (await many.anyone.get(f"/v1/loans?{query}")).body
    assert [item["loan_id"] for item in told["items"]] == found.split()
    order = (await many.anyone.get(f"/v1/loans/order?{query}")).body
    assert order["items"] == found.split()
    assert told["total"] == order["total"] == len(found.split())
    paged: list[Any] = []
    cursor = ""
    for _ in range(10):
        part = (await many.anyone.get(f"/v1/loans?{query}&limit=2{cursor}".replace("?&", "?"))).body
        paged += part["items"]
        if part["next_cursor"] is None:
            break
        cursor = f"&cursor={part['next_cursor']}"
    assert paged == told["items"]


async def test_a_page_has_the_fields_that_are_asked_for(many: Market) -> None:
    told = (await many.anyone.get("/v1/loans?sort=-ytm&limit=1&fields=ytm_ask,ask")).body
    assert [item.keys() for item in told["items"]] == [{"loan_id", "symbol", "ask", "ytm_ask"}]
    assert told["total"] == 7
    whole = (await many.anyone.get("/v1/loans?sort=-ytm&limit=1")).body["items"][0]
    assert told["items"] == [{name: whole[name] for name in told["items"][0]}]
    assert (await many.anyone.get("/v1/loans?fields=ask,colour")).field == "fields"


async def test_facets_count_each_word_as_if_it_were_the_only_choice_of_its_kind(many: Market) -> None:
    facets = (await many.anyone.get("/v1/loans/facets?grade=B&status=all")).body
    assert (facets["grade"]["A"], facets["grade"]["B"], facets["grade"]["C"]) == (1, 2, 1)
    assert (facets["total"], facets["currency"], facets["never_late"]) == (
        2,
        {"EUR": 1, "USD": 1},
        {"false": 1, "true": 1},
    )
    assert sum(facets["status"].values()) == 2
    assert (await many.anyone.get("/v1/loans/facets?sort=ytm")).code == "unknown_field"


async def test_the_map_has_what_is_on_offer(many: Market) -> None:
    told = (await many.anyone.get("/v1/loans/map")).body
    offered = (await many.anyone.get("/v1/loans?min_price=0&sort=price")).body["items"]
    points = zip(*(told[name] for name in ("loan_id", "ytm", "remaining_months", "grade")), strict=True)
    assert sorted(points) == sorted(
        (item["loan_id"], item["ytm_ask"], item["remaining_months"], item["grade"]) for item in offered
    )
    assert (told["count"], sum(told["never_late"]), told["total"]) == ([1, 1, 1], 2, 3)
    assert (await many.anyone.get("/v1/loans/map?min_ytm=9")).body["count"] == []
    for points_asked in ("0", "10001", "many"):
        assert (await many.anyone.get(f"/v1/loans/map?points={points_asked}")).field == "points"


@pytest.mark.parametrize("path", ["order", "facets", "map"])
async def test_an_overview_is_packed_for_those_who_take_it(many: Market, path: str) -> None:
    packed = await many.anyone.get(f"/v1/loans/{path}", **{"Accept-Encoding": "gzip"})
    plain = await many.anyone.get(f"/v1/loans/{path}", **{"Accept-Encoding": "identity"})
    assert packed.headers["Content-Encoding"] == "gzip"
    assert "Content-Encoding" not in plain.headers
    assert packed.body | {"timestamp": ""} == plain.body | {"timestamp": ""}


async def test_the_market_says_how_it_is(market: Market) -> None:
    status = (await market.anyone.get("/v1/status")).body
    assert (status["mode"], status["epoch"]) == ("open", market.stack.engine.epoch)
    assert status["engine_seq"] == market.stack.engine.seq
    assert (await market.anyone.get("/v1/limits")).body["page_max"] == 500
    assert (await market.anyone.get("/v1/currencies")).body["items"] == [{"currency": "USD", "decimals": 2}]
    fees = (await market.anyone.get("/v1/fees")).body["items"]
    assert [item["rulebook"] for item in fees] == ["cn-strict", "open"]
    assert (await market.anyone.get("/healthz")).status == 200
    assert (await market.anyone.get("/readyz")).body == {"status": "ready", "epoch": 1}


async def test_the_audit_adds_up_after_trading(market: Market) -> None:
    await market.seller.post("/v1/orders", order("sell", "97.00", "500.00"))
    await market.buyer.post("/v1/orders", order())
    audit = (await market.anyone.get("/v1/audit")).body
    assert audit["engine_seq"] == market.stack.engine.seq
    assert len(audit["log_head"]) == 64
    assert audit["cash"] == [
        {"currency": "USD", "accounts_total": "1000000.00", "custody_total": "1000000.00", "difference": "0.00"}
    ]
    assert audit["loans"] == {"checked": 2, "violations": []}
    [row] = audit["balance_coefficient"]
    assert (row["originator"], row["lent"], row["transferred"]) == ("ORIG", "20000.00", "20000.00")
    assert row["coefficient"] == "1.00000000"


async def test_the_balance_coefficient_is_what_was_lent_over_what_was_transferred(market: Market) -> None:
    async def told() -> list[tuple[str, str, str | None]]:
        rows = (await market.anyone.get("/v1/audit")).body["balance_coefficient"]
        return [(row["lent"], row["transferred"], row["coefficient"]) for row in rows if row["originator"] == "HALF"]

    await market.stack.do(open_account("HALF", AccountKind.ORIGINATOR), register("H1", issued=0, originator="HALF"))
    assert await told() == [("10000.00", "0.00", None)]
    await market.stack.do(IssueFace(loan_id=LoanId("H1"), face=Face(4_000_00)))
    assert await told() == [("10000.00", "4000.00", "2.50000000")]
