"""What is still to come: an account's expected cash, and the figures of it that a quote tells."""

from datetime import date
from decimal import Decimal

from tests.e2e.rest import Json, Market, order


async def hold(market: Market, qty: str) -> None:
    await market.seller.post("/v1/orders", order("sell", "98.00", qty))
    assert (await market.buyer.post("/v1/orders", order("buy", "98.00", qty))).body["order_status"] == "filled"


async def expected(market: Market, query: str = "") -> list[Json]:
    items: list[Json] = []
    cursor = ""
    while True:
        body = (await market.buyer.get(f"/v1/cashflows?limit=5{query}{cursor}")).body
        items += body["items"]
        if body["next_cursor"] is None:
            return items
        cursor = f"&cursor={body['next_cursor']}"


async def test_a_tenth_of_a_loan_expects_a_tenth_of_its_instalments(market: Market) -> None:
    await hold(market, "1000.00")
    rows = await expected(market)
    assert [row["n"] for row in rows] == list(range(1, 13))
    assert rows[0] == {
        "loan_id": "L1",
        "n": 1,
        "due_date": "2024-02-15",
        "interest": "10.00",
        "principal": "78.85",
        "amount": "88.85",
        "currency": "USD",
        "status": "due",
    }
    principal = sum(Decimal(row["principal"]) for row in rows)
    assert abs(principal - 1000) <= Decimal("0.005") * 12  # each share is rounded by itself
    by_date = await expected(market, "&group=date")
    assert [row["amount"] for row in by_date] == [row["amount"] for row in rows]
    assert (await market.buyer.get("/v1/cashflows?group=loan")).field == "group"
    assert (await market.seller.get("/v1/cashflows")).body["items"][0]["amount"] == "799.64"


async def test_arrears_are_late_and_a_default_expects_nothing(market: Market) -> None:
    await hold(market, "1000.00")
    await market.admin.post("/v1/admin/day-roll", {"to": "2024-03-05"})
    assert [row["status"] for row in await expected(market)][:3] == ["late", "future", "future"]
    await market.admin.post("/v1/admin/day-roll", {"to": "2024-03-15"})
    on_a_due_date = (await market.anyone.get("/v1/loans/L1/schedule")).body["items"][:3]
    assert [row["status"] for row in on_a_due_date] == ["late", "due", "future"]
    event = {"event_id": "d-1", "loan_id": "L1", "type": "default", "value_date": "2024-03-05"}
    assert (await market.admin.post("/v1/admin/servicing", event)).status == 201
    assert await expected(market) == []


async def test_the_figures_of_a_quote_tie_out_with_the_schedule(market: Market) -> None:
    quote = (await market.anyone.get("/v1/loans/L1/quote?side=buy&qty=1000.00&price=98.00")).body
    rows = (await market.anyone.get("/v1/loans/L1/schedule")).body["items"]
    assert quote["total_cash"] == "1066.19"  # a tenth of 10,661.86, half up
    days = [(date.fromisoformat(row["due_date"]) - date(2024, 1, 15)).days for row in rows]
    life = sum(d * Decimal(row["principal"]) for d, row in zip(days, rows, strict=True)) / Decimal("10000.00") / 365
    assert abs(Decimal(quote["weighted_life"]) - life) <= Decimal("0.000001")
    assert quote["ytm_conservative"] == quote["ytm"]
    assert 0 < float(quote["duration"]) < float(quote["weighted_life"])


async def test_an_overdue_loan_shows_what_it_yields_without_its_arrears(market: Market) -> None:
    assert (await market.anyone.get("/v1/loans/L1")).body["ytm_conservative"] is None  # nothing is offered
    await market.seller.post("/v1/orders", order("sell", "80.00", "100.00"))
    for day, status, flat in (("2024-02-20", "grace", False), ("2024-03-14", "late", True)):
        await market.admin.post("/v1/admin/day-roll", {"to": day})
        assert (await market.anyone.get("/v1/loans/L1")).body["status"] == status
        quote = (await market.anyone.get("/v1/loans/L1/quote?side=buy&qty=1000.00&price=80.00")).body
        assert (quote["ytm"] is None) is flat
        assert flat or float(quote["ytm_conservative"]) < float(quote["ytm"])
        assert 0 < float(quote["ytm_conservative"]) < 1
        loan = (await market.anyone.get("/v1/loans/L1")).body
        on_board = next(x for x in (await market.anyone.get("/v1/loans")).body["items"] if x["loan_id"] == "L1")
        shown = {(each["ytm_ask"], each["ytm_conservative"]) for each in (loan, on_board)}
        assert shown == {(quote["ytm"], quote["ytm_conservative"])}
