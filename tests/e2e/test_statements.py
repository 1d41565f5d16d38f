"""Statements from outside: the worked numbers of docs/statements.md, and rows that sum to the balances."""

import csv
import re
from collections import defaultdict
from decimal import Decimal
from pathlib import Path

import pytest

from gateway.reads.statements import COLUMNS, StatementLeg
from tests.e2e.rest import Json, Market, Rest, order
from tests.e2e.test_rest_servicing import PAYMENT, SERVICING, csv_of

STATEMENTS = (Path(__file__).parents[2] / "docs" / "statements.md").read_text(encoding="utf-8")
LEG_ROW = re.compile(r"^\| `(\w+)`(?: \(face\))? \|([^|]*)\|([^|]*)\|([^|]*)\|$", re.MULTILINE)


async def statement(who: Rest, query: str = "", limit: int = 2) -> list[Json]:
    rows: list[Json] = []
    cursor = ""
    while True:
        page = (await who.get(f"/v1/statement?limit={limit}{query}{cursor}")).body
        rows += page["items"]
        if page["next_cursor"] is None:
            return rows
        cursor = f"&cursor={page['next_cursor']}"


async def trade(market: Market, price: str, qty: str, *, seller: Rest | None = None) -> None:
    sells, buys = (market.seller, market.buyer) if seller is None else (seller, market.seller)
    assert (await sells.post("/v1/orders", order("sell", price, qty))).status == 201
    assert (await buys.post("/v1/orders", order("buy", price, qty))).body["order_status"] == "filled"


@pytest.fixture
async def worked(market: Market) -> Market:
    """The market of the worked numbers."""
    await market.admin.post("/v1/admin/day-roll", {"to": "2024-02-25"})
    await market.admin.post(SERVICING, PAYMENT)
    await trade(market, "97.25", "1000.00")
    await trade(market, "101.00", "400.00", seller=market.buyer)
    await market.admin.post("/v1/admin/day-roll", {"to": "2024-03-15"})
    await market.admin.post(SERVICING, {**PAYMENT, "event_id": "srv-2", "value_date": "2024-03-15"})
    return market


async def test_the_worked_numbers_of_the_docs(worked: Market) -> None:
    told: dict[str, dict[str, str]] = defaultdict(dict)
    for row in (await statement(worked.buyer))[1:]:  # after the deposit
        told[row["trade_id"] or row["event_id"]][row["leg"]] = row["amount"]
    documented: dict[str, dict[str, str]] = defaultdict(dict)
    for leg, *cells in LEG_ROW.findall(STATEMENTS.partition("**Worked numbers.**")[2]):
        for event, cell in zip(("T-1", "T-2", "srv-2"), cells, strict=True):
            if cell.strip():
                documented[event][leg] = cell.strip().replace("−", "-")
    assert told == documented
    sums = re.search(r"cash in all \| (\S+) \| (\S+) \| (\S+) \|", STATEMENTS)
    assert sums is not None
    for event, total in zip(("T-1", "T-2", "srv-2"), sums.groups(), strict=True):
        cash = sum(Decimal(amount) for leg, amount in told[event].items() if leg != "claim")
        assert str(cash) == total.replace("−", "-")


async def test_rows_sum_to_the_balances_of_everybody(worked: Market) -> None:
    for who in (worked.buyer, worked.seller):
        sums: dict[tuple[str, str], Decimal] = defaultdict(Decimal)
        for row in await statement(who):
            sums[row["unit"], row["currency"] if row["unit"] == "cash" else row["loan_id"]] += Decimal(row["amount"])
        balances = (await who.get("/v1/balances")).body
        cash = {("cash", each["currency"]): Decimal(each["total"]) for each in balances["cash"]}
        face = {("face", each["loan_id"]): Decimal(each["total"]) for each in balances["claims"]}
        assert sums == cash | face


async def test_a_trade_tells_its_clean_amount_in_two_legs_to_both_sides(worked: Market) -> None:
    for who, sign in ((worked.buyer, 1), (worked.seller, -1)):
        trades = {each["trade_id"]: each for each in (await who.get("/v1/trades")).body["items"]}
        for trade_id, leg, way in (("T-1", "discount", sign), ("T-2", "premium", sign)):
            rows = {row["leg"]: Decimal(row["amount"]) for row in await statement(who) if row["trade_id"] == trade_id}
            assert rows[leg] * way > 0
            assert abs(rows["principal"]) == Decimal(trades[trade_id]["current_face"])
            assert abs(rows["principal"] + rows[leg]) == Decimal(trades[trade_id]["principal"])


async def test_pages_of_any_size_and_csv_tell_the_same_rows(worked: Market) -> None:
    rows = await statement(worked.buyer, limit=500)
    for limit in (1, 3):
        assert await statement(worked.buyer, limit=limit) == rows
    assert len({row["row_id"] for row in rows}) == len(rows)
    assert {row["business_date"] for row in rows} == {"2024-01-15", "2024-02-25", "2024-03-15"}
    assert await statement(worked.buyer, "&loan_id=L1") == [row for row in rows if row["loan_id"] == "L1"]
    found = list(csv.DictReader((await csv_of(worked.buyer, "/v1/statement?format=csv")).splitlines()))
    assert found == [{name: "" if row[name] is None else str(row[name]) for name in COLUMNS} for row in rows]


def test_the_docs_name_every_column_and_leg() -> None:
    named = set(re.findall(r"`(\w+)`", STATEMENTS))
    assert {*COLUMNS, *StatementLeg} <= named
