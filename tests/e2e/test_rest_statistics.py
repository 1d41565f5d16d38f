"""Statistics of the market and of a loan, as anybody is told them."""

import pytest

from tests.e2e.rest import Market, order

NOTHING = {"trades": 0, "face": "0.00", "vwap": None, "discount": None}


async def test_a_market_without_trades_has_no_rows_and_a_loan_has_zeros(market: Market) -> None:
    whole = await market.anyone.get("/v1/statistics")
    assert whole.body["items"] == []
    loan = (await market.anyone.get("/v1/loans/L1/statistics")).body
    assert loan["windows"] == [{"days": days, **NOTHING} for days in (1, 7, 30)]
    assert loan["time_to_sell"] == {"fills": 0, "face": "0.00", "p50_s": None, "p90_s": None}
    assert (loan["last"], loan["last_at"], loan["by_discount"]) == (None, None, [])


async def test_trades_are_counted_by_grade_and_by_discount(market: Market) -> None:
    await market.seller.post("/v1/orders", order("sell", "98.00", "300.00"))
    await market.buyer.post("/v1/orders", order("buy", "98.00", "100.00"))
    await market.buyer.post("/v1/orders", order("buy", "95.00", "50.00", loan_id="L2"))
    await market.seller.post("/v1/orders", order("sell", "95.00", "50.00", loan_id="L2"))
    [row] = (await market.anyone.get("/v1/statistics")).body["items"]
    assert {"currency": "USD", "discount_from": None, "discount_to": None, "last": "95.00"}.items() <= row.items()
    assert row["windows"][0] == {"days": 1, "trades": 2, "face": "150.00", "vwap": "97.00", "discount": "3.00"}
    assert row["time_to_sell"]["fills"] == 1  # the seller of L2 found a buyer waiting
    assert row["time_to_sell"]["face"] == "100.00"
    by_discount = (await market.anyone.get("/v1/statistics?by=discount&currency=USD")).body["items"]
    shown = [(each["grade"], each["discount_from"], each["discount_to"], each["last"]) for each in by_discount]
    assert shown == [(None, "2.00", "3.00", "98.00"), (None, "5.00", "10.00", "95.00")]
    both = (await market.anyone.get("/v1/statistics?by=grade,discount")).body["items"]
    assert [each["grade"] for each in both] == [row["grade"]] * 2
    assert (await market.anyone.get("/v1/statistics?currency=CNY")).body["items"] == []
    loan = (await market.anyone.get("/v1/loans/L1/statistics")).body
    assert loan["windows"][2]["face"] == "100.00"
    assert [each["discount_from"] for each in loan["by_discount"]] == ["2.00"]


@pytest.mark.parametrize(
    ("path", "code", "field"),
    [
        pytest.param("/v1/statistics?by=colour", "invalid_arguments", "by", id="no such word"),
        pytest.param("/v1/statistics?by=", "invalid_arguments", "by", id="no word"),
        pytest.param("/v1/statistics?grade=B", "unknown_field", "grade", id="no such parameter"),
        pytest.param("/v1/loans/NONE/statistics", "unknown_loan", None, id="no such loan"),
    ],
)
async def test_what_is_not_there_is_refused(market: Market, path: str, code: str, field: str | None) -> None:
    told = await market.anyone.get(path)
    assert told.code == code
    if field:
        assert told.field == field
