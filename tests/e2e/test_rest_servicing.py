"""Servicing from outside: what a servicer reports, and what everybody sees of it."""

import csv
from decimal import Decimal
from typing import Any

import aiohttp
import pytest

from tests.e2e.rest import Json, Market, Rest, order
from tests.e2e.test_rest_admin import LOAN

ROLL = {"to": "2024-03-15"}
PAYMENT: Json = {
    "event_id": "srv-1",
    "loan_id": "L1",
    "type": "payment",
    "value_date": "2024-02-15",
    "amount": "888.49",
    "principal": None,
    "interest": None,
    "costs": None,
    "schedule": None,
}
SERVICING = "/v1/admin/servicing"


async def usd(market: Market) -> str:
    [cash] = (await market.seller.get("/v1/balances")).body["cash"]
    return str(cash["total"])


async def test_a_payment_is_booked_once_and_shown_everywhere(market: Market) -> None:
    await market.admin.post("/v1/admin/day-roll", ROLL)
    told = await market.admin.post(SERVICING, {**PAYMENT, "reason": "bank file"})
    assert (told.status, told.body["duplicate"], told.body["event_id"]) == (201, False, "srv-1")
    assert told.body["engine_seq"] == market.stack.engine.seq
    again = await market.admin.post(SERVICING, {**PAYMENT, "reason": "again"})
    assert (again.status, again.body["duplicate"]) == (200, True)
    other = await market.admin.post(SERVICING, {**PAYMENT, "amount": "888.50"})
    assert (other.status, other.code, other.field) == (409, "duplicate_id", "event_id")

    loan = (await market.anyone.get("/v1/loans/L1")).body
    assert (loan["outstanding_principal"], loan["factor"], loan["status"]) == ("9211.51", "0.92115100", "current")
    rows = (await market.anyone.get("/v1/loans/L1/schedule")).body["items"]
    assert [(row["n"], row["status"], row["paid_date"], row["payment"]) for row in rows[:3]] == [
        (1, "paid", "2024-02-15", "888.49"),
        (2, "due", None, "888.49"),
        (3, "future", None, "888.49"),
    ]
    [paid] = (await market.anyone.get("/v1/loans/L1/payments")).body["items"]
    shown = ("event_id", "type", "value_date", "amount", "interest", "principal", "distributed", "factor")
    assert [paid[name] for name in shown] == [
        *("srv-1", "payment", "2024-02-15", "888.49", "100.00", "788.49", "888.49", "0.92115100")
    ]
    assert await usd(market) == "888.49"
    [cash] = (await market.anyone.get("/v1/audit")).body["cash"]
    assert cash["difference"] == "0.00"


async def test_a_list_is_all_or_nothing(market: Market) -> None:
    await market.admin.post("/v1/admin/day-roll", ROLL)
    second = {**PAYMENT, "event_id": "srv-2", "value_date": "2024-03-15", "amount": "400.00"}
    bad = {**PAYMENT, "event_id": "srv-3", "loan_id": "L9"}
    told = await market.admin.post(SERVICING, [PAYMENT, second, bad])
    assert (told.status, told.code, told.body["event_id"], told.body["index"]) == (404, "unknown_loan", "srv-3", "2")
    assert (await market.anyone.get("/v1/loans/L1/payments")).body["items"] == []

    told = await market.admin.post(SERVICING, [PAYMENT, second])
    assert (told.status, [item["duplicate"] for item in told.body["items"]]) == (201, [False, False])
    again = await market.admin.post(SERVICING, [PAYMENT, second])
    assert (again.status, again.body["duplicate"]) == (200, True)
    rows = (await market.anyone.get("/v1/loans/L1/schedule")).body["items"]
    partly = rows[1]
    assert (partly["payment"], partly["received"], partly["status"]) == ("488.49", "400.00", "due")
    first = (await market.anyone.get("/v1/loans/L1/payments?limit=1")).body
    after = (await market.anyone.get(f"/v1/loans/L1/payments?cursor={first['next_cursor']}")).body
    assert [item["event_id"] for item in first["items"] + after["items"]] == ["srv-1", "srv-2"]


async def test_a_reschedule_takes_rows_as_the_schedule_shows_them(market: Market) -> None:
    row = {"due_date": "2025-01-15", "interest": "600.00", "principal": "10000.00", "payment": "10600.00"}
    event = {"event_id": "r", "loan_id": "L1", "type": "reschedule", "value_date": "2024-01-15", "schedule": [row]}
    wrong = await market.admin.post(SERVICING, {**event, "schedule": [{**row, "payment": "1.00"}]})
    assert (wrong.status, wrong.code, wrong.field) == (422, "invalid_arguments", "schedule")
    assert (await market.admin.post(SERVICING, event)).status == 201
    [shown] = (await market.anyone.get("/v1/loans/L1/schedule")).body["items"]
    assert {name: shown[name] for name in row} == row
    assert (await market.anyone.get("/v1/loans/L1")).body["maturity_date"] == "2025-01-15"


async def test_a_repaid_loan_closes_with_its_orders(market: Market) -> None:
    placed = await market.buyer.post("/v1/orders", order())
    body = {"event_id": "p", "loan_id": "L1", "type": "prepayment", "value_date": "2024-01-15"}
    assert (await market.admin.post(SERVICING, body)).status == 201
    told = (await market.buyer.get(placed.headers["Location"])).body
    assert (told["order_status"], told["cancel_reason"]) == ("canceled", "loan_repaid")
    refused = await market.buyer.post("/v1/orders", order())
    assert (refused.status, refused.code) == (409, "loan_closed")
    assert (await market.anyone.get("/v1/loans/L1")).body["status"] == "repaid"


async def test_a_loan_under_cn_strict_shows_its_rules_and_refuses_by_their_names(market: Market) -> None:
    loan = {**LOAN, "loan_id": "CN-1", "rulebook": "cn-strict"}
    assert (await market.admin.post("/v1/admin/loans", loan)).status == 201
    shown = (await market.anyone.get("/v1/loans/CN-1")).body["rulebook"]
    rules = {
        "name": "cn-strict",
        "lot": "1.00",
        "min_face": "100.00",
        "premium_allowed": False,
        "max_discount_pct": "5.00",
        "blackout_days": 5,
        "order_life_hours": 72,
        "tradable_statuses": ["current"],
        "yield_floor": "0.00",
    }
    assert {name: shown[name] for name in rules} == rules
    assert shown["fees"]["seller"]["rate"] == "0.003"
    told = await market.buyer.post("/v1/orders", order(loan_id="CN-1", price="94.99"))
    assert (told.status, told.code, told.body["rule"]) == (422, "rule_violation", "max_discount_pct")
    told = await market.buyer.post("/v1/orders", order(loan_id="CN-1"))
    assert told.status == 201


@pytest.mark.parametrize(
    ("changed", "status", "code", "field"),
    [
        ({"value_date": "2024-02-15"}, 422, "invalid_arguments", "value_date"),
        ({"amount": "0.00"}, 422, "invalid_arguments", "amount"),
        ({"amount": "888.491"}, 422, "invalid_arguments", "amount"),
        ({"type": "gift"}, 422, "invalid_arguments", "type"),
        ({"nonsense": 1}, 422, "unknown_field", "nonsense"),
        ({"loan_id": "L9"}, 404, "unknown_loan", "loan_id"),
        ({"type": "recovery"}, 422, "invalid_arguments", "type"),
    ],
)
async def test_refusals_name_the_field(market: Market, changed: Json, status: int, code: str, field: Any) -> None:
    told = await market.admin.post(SERVICING, {**PAYMENT, "value_date": "2024-01-15", **changed})
    assert (told.status, told.code, told.field) == (status, code, field)


async def test_an_empty_list_is_refused(market: Market) -> None:
    assert (await market.admin.post(SERVICING, [])).code == "invalid_arguments"
    assert (await market.admin.post("/v1/admin/deposits", [])).code == "invalid_arguments"


async def test_the_statement_sums_to_the_balances(market: Market) -> None:
    assert (await market.seller.post("/v1/orders", order("sell", qty="1000.00"))).status == 201
    assert (await market.buyer.post("/v1/orders", order(qty="1000.00"))).status == 201
    await market.admin.post("/v1/admin/day-roll", ROLL)
    await market.admin.post(SERVICING, PAYMENT)
    rows: list[Json] = []
    cursor = ""
    while True:
        answer = (await market.buyer.get(f"/v1/statement?limit=2{cursor}")).body
        rows += answer["items"]
        if answer["next_cursor"] is None:
            break
        cursor = f"&cursor={answer['next_cursor']}"
    balances = (await market.buyer.get("/v1/balances")).body
    assert total(rows, "cash") == Decimal(balances["cash"][0]["total"])
    assert total(rows, "face") == Decimal(balances["claims"][0]["total"])
    legs = [(row["leg"], row["amount"], row["loan_id"], row["event_id"]) for row in rows[-2:]]
    assert legs == [("interest", "10.00", "L1", "srv-1"), ("repayment", "78.85", "L1", "srv-1")]
    assert [row["trade_id"] for row in rows if row["leg"] in ("principal", "claim")] == ["T-1", "T-1"]
    of_loan = (await market.buyer.get("/v1/statement?loan_id=L1")).body["items"]
    assert of_loan == rows[1:]

    text = await csv_of(market.buyer, "/v1/statement?format=csv")
    assert [row["row_id"] for row in csv.DictReader(text.splitlines())] == [row["row_id"] for row in rows]
    assert (await market.buyer.get("/v1/statement?format=pdf")).field == "format"
    assert (await market.anyone.get("/v1/statement")).code == "auth_required"


def total(rows: list[Json], unit: str) -> Decimal:
    return sum((Decimal(row["amount"]) for row in rows if row["unit"] == unit), Decimal(0))


async def csv_of(who: Rest, path: str) -> str:
    headers = who.signature("GET", path, b"")
    async with aiohttp.ClientSession() as client, client.get(who.url + path, headers=headers) as response:
        assert (response.status, response.content_type) == (200, "text/csv")
        return await response.text()


async def test_a_guarantee_is_drawn_when_its_days_have_passed_and_pays_what_it_covers(market: Market) -> None:
    guarantee = {"kind": "insurer", "name": "Ins", "trigger_days": 30, "coverage": "principal_and_accrued"}
    loan = {**LOAN, "loan_id": "G-1", "guarantee": guarantee}
    assert (await market.admin.post("/v1/admin/loans", loan)).status == 201
    await market.admin.post("/v1/admin/day-roll", {"to": "2024-03-16"})
    drawn = {"event_id": "g-1", "loan_id": "G-1", "type": "buyback", "value_date": "2024-03-15"}
    early = await market.admin.post(SERVICING, drawn)
    assert (early.status, early.code, early.body["rule"]) == (422, "rule_violation", "trigger_days")
    assert early.field == "value_date"
    assert "2024-03-16" in early.body["detail"]
    drawn["value_date"] = "2024-03-16"
    little = await market.admin.post(SERVICING, {**drawn, "amount": "10000.00"})
    assert (little.code, little.body["rule"]) == ("rule_violation", "guarantee_coverage")
    assert (little.body["have"], little.body["need"]) == ("10000.00", "10194.83")
    assert (await market.admin.post(SERVICING, drawn)).status == 201
    assert (await market.anyone.get("/v1/loans/G-1")).body["status"] == "bought_back"
    [paid] = (await market.anyone.get("/v1/loans/G-1/payments")).body["items"]
    assert (paid["interest"], paid["principal"]) == ("194.83", "10000.00")
