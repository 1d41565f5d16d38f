"""What claims earned, from outside: the worked numbers of docs/statements.md, and sums that fit the statement."""

import re
from collections import defaultdict
from decimal import Decimal

import pytest

from tests.e2e.rest import Json, Market, order
from tests.e2e.test_rest_servicing import SERVICING
from tests.e2e.test_statements import STATEMENTS, statement, trade, worked

__all__ = ["worked"]  # a fixture


def of_claim(rows: list[Json], loan_id: str = "L1") -> Json:
    return next(row for row in rows if row["loan_id"] == loan_id)


async def test_the_worked_numbers_of_the_docs(worked: Market) -> None:
    position = of_claim((await worked.buyer.get("/v1/positions")).body["items"])
    [performance] = (await worked.buyer.get("/v1/performance")).body["items"]
    told = {**performance, "market_price": position["market_price"]}
    results = STATEMENTS.partition("## Results")[2]
    documented = dict(re.findall(r"^\| `(\w+)` \| ([−0-9.]+) \|", results, re.MULTILINE))
    assert {"realised", "unrealised", "interest", "result", "xirr", "market_price"} <= documented.keys()
    for name, value in documented.items():
        assert str(told[name]) == value.replace("−", "-"), name
    for name in ("cost", "market_value", "accrued", "realised", "unrealised", "xirr"):
        assert position[name] == performance[name]  # of one claim


async def test_the_result_agrees_with_the_statement(worked: Market) -> None:
    await worked.admin.post("/v1/admin/day-roll", {"to": "2024-04-01"})
    for who in (worked.buyer, worked.seller):
        legs: dict[str, Decimal] = defaultdict(Decimal)
        for row in await statement(who, limit=500):
            if row["unit"] == "cash":
                legs[row["leg"]] += Decimal(row["amount"])
        [told] = (await who.get("/v1/performance")).body["items"]
        found = {name: Decimal(told[name]) for name in told if re.fullmatch(r"-?\d+\.\d\d", str(told[name]))}
        assert found["interest"] == legs["interest"] + legs["accrued"]
        assert found["fees"] == -legs["fee"]
        booked = found["paid_out"] - found["paid_in"] + found["cost"]
        assert found["realised"] + found["interest"] - found["fees"] == booked
        earned = found["realised"] + found["unrealised"] + found["interest"] + found["accrued"] - found["fees"]
        assert found["result"] == earned


async def test_a_written_off_claim_is_a_realised_loss_and_a_recovery_all_gain(market: Market) -> None:
    await trade(market, "90.00", "1000.00")
    await market.admin.post("/v1/admin/day-roll", {"to": "2025-01-14"})  # 365 days
    event = {"loan_id": "L1", "value_date": "2025-01-14"}
    for event_id, kind in (("d", "default"), ("w", "write_off")):
        told = await market.admin.post(SERVICING, {**event, "event_id": event_id, "type": kind})
        assert told.status == 201
    position = of_claim((await market.buyer.get("/v1/positions")).body["items"])
    shown = ("cost", "realised", "market_price", "market_value", "unrealised", "xirr")
    assert [position[name] for name in shown] == ["0.00", "-900.00", None, "0.00", "0.00", None]
    await market.admin.post(SERVICING, {**event, "event_id": "r", "type": "recovery", "principal": "4500.00"})
    position = of_claim((await market.buyer.get("/v1/positions")).body["items"])
    assert (position["realised"], position["xirr"]) == ("-450.00", "-0.500000")  # half is back after a year
    [told] = (await market.buyer.get("/v1/performance")).body["items"]
    assert (told["xirr"], told["unpriced"], told["result"]) == ("-0.500000", 0, "-450.00")


async def test_the_originators_return_begins_with_what_it_lent(market: Market) -> None:
    """Its face counts at par on the day of its issue; without a price a claim has no return of its own."""
    positions = (await market.seller.get("/v1/positions")).body["items"]
    assert {row["xirr"] for row in positions} == {None}
    assert {row["market_price"] for row in positions} == {None}
    [performance] = (await market.seller.get("/v1/performance")).body["items"]
    assert performance["unpriced"] == len(positions)
    assert performance["paid_in"] == performance["cost"] == performance["market_value"]
    assert (performance["paid_out"], performance["result"], performance["xirr"]) == ("0.00", "0.00", None)
    await market.buyer.post("/v1/orders", order("buy", "99.00", "100.00"))
    position = of_claim((await market.seller.get("/v1/positions")).body["items"])
    assert (position["market_price"], position["unrealised"]) == ("99.00", "-100.00")


async def test_who_never_held_a_claim_has_no_performance(market: Market) -> None:
    assert (await market.buyer.get("/v1/performance")).body["items"] == []
    assert (await market.anyone.get("/v1/performance")).code == "auth_required"


@pytest.mark.parametrize("limit", [1, 2])
async def test_positions_have_their_returns_on_every_page(market: Market, limit: int) -> None:
    await trade(market, "98.00", "100.00")
    rows: list[Json] = []
    cursor = ""
    while cursor is not None:
        page = (await market.seller.get(f"/v1/positions?limit={limit}{cursor}")).body
        rows += page["items"]
        cursor = None if page["next_cursor"] is None else f"&cursor={page['next_cursor']}"
    assert rows == (await market.seller.get("/v1/positions")).body["items"]
