"""What a quote says is what the order then costs, to the cent."""

from datetime import date

import pytest

from market.commands import RollDay
from tests.e2e.rest import Market, order

SUMS = ("principal", "accrued", "dirty", "fee")


async def test_a_quote_is_what_the_order_then_costs(market: Market) -> None:
    await market.stack.do(RollDay(to=date(2024, 1, 30)))
    for price, qty in (("97.13", "33.33"), ("97.77", "66.67"), ("98.01", "500.00")):
        await market.seller.post("/v1/orders", order("sell", price, qty))
    quoted = (await market.anyone.get("/v1/loans/L1/quote?side=buy&qty=123.45")).body
    assert [fill["qty"] for fill in quoted["fills"]] == ["33.33", "66.67", "23.45"]
    assert (quoted["unfilled_qty"], quoted["price"]) == ("0.00", "97.64")
    before = (await market.buyer.get("/v1/balances")).body["cash"][0]["total"]
    placed = await market.buyer.post("/v1/orders", order("buy", "99.00", "123.45"))
    assert (placed.body["order_status"], placed.body["avg_price"]) == ("filled", quoted["price"])
    rows = (await market.buyer.get("/v1/executions")).body["items"]
    for name in SUMS:
        assert _cents(quoted[name]) == sum(_cents(row[name]) for row in rows)
    after = (await market.buyer.get("/v1/balances")).body["cash"][0]["total"]
    assert _cents(before) - _cents(after) == _cents(quoted["total"])


async def test_a_price_or_its_yield_is_quoted_without_a_book(market: Market) -> None:
    at_price = (await market.anyone.get("/v1/loans/L1/quote?side=buy&qty=1000.00&price=97.50")).body
    assert (at_price["principal"], at_price["total"], at_price["price"]) == ("975.00", "975.00", "97.50")
    at_yield = (await market.anyone.get(f"/v1/loans/L1/quote?side=sell&qty=1000.00&yield={at_price['ytm']}")).body
    assert at_yield["price"] in ("97.50", "97.51")
    nothing = (await market.anyone.get("/v1/loans/L1/quote?side=buy&qty=5.00")).body
    assert (nothing["price"], nothing["fills"], nothing["unfilled_qty"]) == (None, [], "5.00")


@pytest.mark.parametrize(
    ("query", "code", "rule", "bound"),
    [
        ("qty=1.00", "invalid_arguments", None, None),
        ("side=buy", "invalid_arguments", None, None),
        ("side=buy&qty=0.00", "invalid_qty", "lot", "0.01"),
        ("side=buy&qty=0.50", "below_minimum", "min_face", "1.00"),
        ("side=buy&qty=1.00&price=0", "invalid_price", "tick", "0.01"),
        ("side=buy&qty=1.00&price=201", "price_out_of_band", "price_max", "200.00"),
        ("side=buy&qty=1.00&price=99&yield=0.1", "invalid_arguments", None, None),
        ("side=buy&qty=1.00&yield=-2", "invalid_price", None, None),
        ("side=buy&qty=1.00&depth=1", "unknown_field", None, None),
    ],
)
async def test_what_can_not_be_quoted_is_refused(
    market: Market, query: str, code: str, rule: str | None, bound: str | None
) -> None:
    refused = await market.anyone.get(f"/v1/loans/L1/quote?{query}")
    assert (refused.code, refused.body.get("rule"), refused.body.get("bound")) == (code, rule, bound)


def _cents(text: str) -> int:
    return int(text.replace(".", ""))
