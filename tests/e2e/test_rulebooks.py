"""Rulebooks from outside: defined, shown, given to loans and originators, and refusing by the names of their rules."""

from typing import Any

import pytest

from tests.e2e.rest import Json, Market, order
from tests.e2e.test_rest_admin import LOAN

OWN: Json = {
    "tick": "0.05",
    "lot": "1.00",
    "min_face": "50.00",
    "collar_pct": "20.00",
    "max_discount_pct": "10.00",
    "yield_floor": "0.01",
    "min_holding_days": 7,
    "max_transfers": 4,
    "fees": {"buyer": {"rate": "0.001", "min": "0.10", "cap": "5.00"}, "seller": {"rate": "0.002"}},
    "limits": {"per_loan": "500.00", "per_grade_pct": "50.00"},
    "suitability": {"B": "c3", "D": "c5"},
}
PATH = "/v1/admin/rulebooks/own"


async def test_a_rulebook_is_created_shown_and_replaced(market: Market) -> None:
    told = await market.admin.call("PUT", PATH, {**OWN, "reason": "resolution 7"})
    assert (told.status, told.body["name"], told.body["duplicate"]) == (200, "own", False)
    assert told.body["engine_seq"] == market.stack.engine.seq
    shown = (await market.anyone.get("/v1/rulebooks/own")).body
    whole = OWN | {
        "fees": {"buyer": OWN["fees"]["buyer"], "seller": {"rate": "0.002", "min": "0.00", "cap": None}},
        "limits": {**OWN["limits"], "per_borrower": None},
    }
    assert {name: shown[name] for name in whole} == whole
    assert (shown["grace_days"], shown["price_max"], shown["transferable"]) == (15, "200.00", True)
    assert (await market.admin.call("PUT", PATH, shown)).body["duplicate"], "what is shown can be put back"
    listed = (await market.anyone.get("/v1/rulebooks")).body["items"]
    assert [rules["name"] for rules in listed] == ["cn-strict", "open", "own"]
    assert listed[2] == shown
    fees = (await market.anyone.get("/v1/fees")).body["items"]
    assert fees[2] == {"rulebook": "own", **shown["fees"]}
    assert (await market.anyone.get("/v1/rulebooks/none")).code == "not_found"
    assert (await market.buyer.call("PUT", PATH, OWN)).status == 403


async def test_it_holds_at_once_for_the_loans_under_it(market: Market) -> None:
    await market.admin.call("PUT", PATH, {})
    await market.admin.call("PUT", "/v1/admin/loans/L1/rulebook", {"rulebook": "own"})
    placed = await market.buyer.post("/v1/orders", order(price="85.00"))
    assert placed.status == 201
    await market.admin.call("PUT", PATH, {"max_discount_pct": "10.00"})
    told = (await market.buyer.get(placed.headers["Location"])).body
    assert (told["order_status"], told["cancel_reason"]) == ("canceled", "rule")
    assert (await market.anyone.get("/v1/loans/L1")).body["rulebook"]["max_discount_pct"] == "10.00"
    refused = await market.buyer.post("/v1/orders", order(price="85.00"))
    assert (refused.status, refused.body["rule"]) == (422, "max_discount_pct")
    await market.admin.call("PUT", PATH, {"transferable": False})
    refused = await market.buyer.post("/v1/orders", order())
    assert (refused.status, refused.code) == (409, "not_transferable")
    assert not (await market.anyone.get("/v1/loans/L1")).body["rulebook"]["transferable"]


async def test_limits_holding_days_and_suitability_refuse_with_their_bounds(market: Market) -> None:
    for loan_id, grade in (("G-B", "B"), ("G-D", "D")):
        loan = {**LOAN, "loan_id": loan_id, "grade": grade}
        assert (await market.admin.post("/v1/admin/loans", loan)).status == 201
    rules = {"limits": OWN["limits"], "min_holding_days": 7, "suitability": {"D": "c5"}}
    await market.admin.call("PUT", PATH, rules)
    for loan_id in ("G-B", "G-D"):
        await market.admin.call("PUT", f"/v1/admin/loans/{loan_id}/rulebook", {"rulebook": "own"})
    much = await market.buyer.post("/v1/orders", order(loan_id="G-B", qty="500.01"))
    said = {name: much.body[name] for name in ("code", "rule", "bound", "have", "need")}
    assert (much.status, much.field) == (422, "order_qty")
    assert said == {
        **{"code": "rule_violation", "rule": "limit_per_loan"},
        **{"bound": "500.00", "have": "500.00", "need": "500.01"},
    }
    unfit = await market.buyer.post("/v1/orders", order(loan_id="G-D"))
    assert (unfit.status, unfit.code, unfit.body["rule"]) == (403, "not_eligible", "suitability")

    assert (await market.seller.post("/v1/orders", order("sell", loan_id="G-B"))).status == 201
    assert (await market.buyer.post("/v1/orders", order(loan_id="G-B"))).body["order_status"] == "filled"
    early = await market.buyer.post("/v1/orders", order("sell", loan_id="G-B"))
    assert (early.status, early.code, early.body["rule"]) == (422, "rule_violation", "min_holding_days")
    assert (early.body["have"], early.body["need"]) == ("0.00", "100.00")
    [position] = (await market.buyer.get("/v1/positions")).body["items"]
    assert (position["available"], position["sellable"]) == ("100.00", "0.00")
    assert position["lots"] == [{"acquired": "2024-01-15", "transfers": 1, "face": "100.00"}]
    await market.admin.post("/v1/admin/day-roll", {"to": "2024-01-22"})
    [position] = (await market.buyer.get("/v1/positions")).body["items"]
    assert position["sellable"] == "100.00"
    assert (await market.buyer.post("/v1/orders", order("sell", loan_id="G-B"))).status == 201


async def test_an_originators_loans_that_name_no_rulebook_get_his(market: Market) -> None:
    path = "/v1/admin/accounts/ORIG/rulebook"
    told = await market.admin.call("PUT", path, {"rulebook": "cn-strict", "reason": "contract"})
    assert (told.status, told.body["default_rulebook"], told.body["duplicate"]) == (200, "cn-strict", False)
    assert (await market.admin.get("/v1/admin/accounts/ORIG")).body["default_rulebook"] == "cn-strict"
    silent = {name: value for name, value in LOAN.items() if name != "rulebook"}
    await market.admin.post("/v1/admin/loans", {**silent, "loan_id": "NEW-1"})
    await market.admin.post("/v1/admin/loans", {**LOAN, "loan_id": "NEW-2"})
    shown = [(await market.anyone.get(f"/v1/loans/{loan_id}")).body for loan_id in ("NEW-1", "NEW-2")]
    assert [loan["rulebook"]["name"] for loan in shown] == ["cn-strict", "open"]
    moved = await market.admin.call("PUT", path, {"rulebook": "cn-strict", "move_loans": True})
    assert not moved.body["duplicate"]
    assert (await market.anyone.get("/v1/loans/L1")).body["rulebook"]["name"] == "cn-strict"
    assert (await market.admin.call("PUT", path, {"rulebook": None})).body["default_rulebook"] is None
    assert (await market.admin.call("PUT", path.replace("ORIG", "B"), {"rulebook": "open"})).field == "account_id"
    assert (await market.admin.call("PUT", path.replace("ORIG", "X"), {"rulebook": "open"})).code == "not_found"


@pytest.mark.parametrize(
    ("changed", "code", "field"),
    [
        pytest.param({"tick": "0.00"}, "invalid_arguments", "tick", id="a tick of nothing"),
        pytest.param({"tick": "0.001"}, "invalid_arguments", "tick", id="finer than the unit"),
        pytest.param(
            {"fees": {"buyer": {"rate": "1.01"}}}, "invalid_arguments", "fees.buyer.rate", id="a fee above all"
        ),
        pytest.param({"fees": {"taker": {}}}, "unknown_field", "fees.taker", id="an unknown side"),
        pytest.param({"suitability": {"B": "c9"}}, "invalid_arguments", "suitability.B", id="an unknown class"),
        pytest.param({"tradable_statuses": ["repaid"]}, "invalid_arguments", "tradable_statuses", id="a closed status"),
        pytest.param({"min_holding_days": -1}, "invalid_arguments", "min_holding_days", id="less than no days"),
        pytest.param({"max_transfers": 10**30}, "invalid_arguments", "max_transfers", id="beyond any bound"),
        pytest.param({"name": "other"}, "invalid_arguments", "name", id="another name than the path's"),
        pytest.param({"colour": "red"}, "unknown_field", "colour", id="an unknown field"),
    ],
)
async def test_a_rulebook_that_makes_no_sense_is_refused(market: Market, changed: Json, code: str, field: str) -> None:
    told: Any = await market.admin.call("PUT", PATH, {**OWN, **changed})
    assert (told.status, told.code, told.field) == (422, code, field)
    assert (await market.anyone.get("/v1/rulebooks/own")).code == "not_found"
