"""The operator's calls and the keys that accounts make for themselves."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from gateway.client import ApiKey
from gateway.wire import SECOND, time_text
from market.commands import HaltLoan
from market.ids import LoanId
from tests.builders import register
from tests.e2e.rest import Json, Market, Told, order

LOAN: Json = {
    "loan_id": "LC18-00042",
    "originator": "ORIG",
    "currency": "USD",
    "original_principal": "10000.00",
    "issued_face": "10000.00",
    "annual_rate": "0.12",
    "repayment_method": "annuity",
    "term_months": 12,
    "issue_date": "2024-01-15",
    "first_due_date": "2024-02-15",
    "day_count": "period",
    "outstanding_principal": "10000.00",
    "status": "current",
    "grade": "B",
    "claim_type": "guaranteed",
    "guarantee": {"kind": "insurer", "name": "Ins", "trigger_days": 30, "coverage": "principal"},
    "borrower_ref": "b-1",
    "purpose": "car",
    "region": "CA",
    "rulebook": "open",
    "documents": [{"name": "contract", "sha256": "0" * 64}],
    "reason": "first",
}
DEPOSIT: Json = {"account_id": "B", "currency": "USD", "amount": "10.00", "custody_ref": "bank-1"}


async def test_an_account_is_opened_funded_and_given_a_key(market: Market) -> None:
    body = {"account_id": "A17", "kind": "investor", "name": "Ada", "owner_group": None, "risk_class": "c3"}
    told = await market.admin.post("/v1/admin/accounts", {**body, "reason": "kyc"})
    assert (told.status, told.body["duplicate"], told.body["engine_seq"]) == (201, False, market.stack.engine.seq)
    again = await market.admin.post("/v1/admin/accounts", body)
    assert (again.status, again.body["duplicate"]) == (200, True)
    other = await market.admin.post("/v1/admin/accounts", {**body, "name": "Bob"})
    assert (other.status, other.code, other.field) == (409, "duplicate_id", "account_id")

    key = (
        await market.admin.post(
            "/v1/admin/accounts/A17/api-keys", {"scopes": ["read", "trade"], "ip_allow": [], "expires_at": None}
        )
    ).body
    ada = market.anyone.of(ApiKey(key["key"], key["secret"]))
    assert (await ada.get("/v1/balances")).body == {"cash": [], "claims": []}

    deposit = {**DEPOSIT, "account_id": "A17"}
    told = await market.admin.post("/v1/admin/deposits", deposit)
    assert (told.status, told.body["duplicate"]) == (201, False)
    assert (await market.admin.post("/v1/admin/deposits", deposit)).status == 200
    other = await market.admin.post("/v1/admin/deposits", {**deposit, "amount": "11.00"})
    assert (other.status, other.code) == (409, "duplicate_id")
    much = {**deposit, "amount": "10.01", "custody_ref": "bank-2"}
    told = await market.admin.post("/v1/admin/withdrawals", much)
    assert (told.code, told.body["have"], told.body["need"]) == ("insufficient_funds", "10.00", "10.01")
    assert (await market.admin.post("/v1/admin/withdrawals", {**much, "amount": "4.00"})).status == 201
    [cash] = (await ada.get("/v1/balances")).body["cash"]
    assert cash["total"] == "6.00"
    listed = (await market.admin.get("/v1/admin/accounts?limit=1")).body
    assert (listed["items"][0]["account_id"], listed["next_cursor"] is None) == ("A17", False)


async def test_a_loan_is_registered_once_and_its_face_is_the_originators(market: Market) -> None:
    told = await market.admin.post("/v1/admin/loans", LOAN)
    assert (told.status, told.headers["Location"]) == (201, "/v1/loans/LC18-00042")
    again = await market.admin.post("/v1/admin/loans", {**LOAN, "reason": "second"})
    assert (again.status, again.body["duplicate"]) == (200, True)
    other = await market.admin.post("/v1/admin/loans", {**LOAN, "annual_rate": "0.13"})
    assert (other.status, other.code) == (409, "duplicate_id")
    shown = (await market.anyone.get(told.headers["Location"])).body
    same = LOAN.keys() - {"reason", "rulebook"}
    assert {name: shown[name] for name in same} == {name: LOAN[name] for name in same}
    claims = (await market.seller.get("/v1/balances")).body["claims"]
    assert {claim["loan_id"]: claim["total"] for claim in claims}["LC18-00042"] == "10000.00"


@pytest.mark.parametrize(
    ("change", "code", "field"),
    [
        pytest.param({"loan_id": "lower"}, "invalid_arguments", "loan_id", id="loan id"),
        pytest.param({"originator": "NOBODY"}, "not_found", None, id="unknown originator"),
        pytest.param({"originator": "B"}, "invalid_arguments", "originator", id="not an originator"),
        pytest.param({"issued_face": "10000.01"}, "rule_violation", "issued_face", id="more face than principal"),
        pytest.param({"annual_rate": "10.01"}, "invalid_arguments", "annual_rate", id="rate above 10"),
        pytest.param({"annual_rate": "0.1234567"}, "invalid_arguments", "annual_rate", id="rate too fine"),
        pytest.param(
            {"original_principal": "1.001"}, "invalid_arguments", "original_principal", id="a tenth of a cent"
        ),
        pytest.param({"term_months": 0}, "invalid_arguments", "term_months", id="no term"),
        pytest.param({"term_months": "12"}, "invalid_arguments", "term_months", id="term is text"),
        pytest.param({"issue_date": "2024-02-30"}, "invalid_arguments", "issue_date", id="no such day"),
        pytest.param({"first_due_date": "2024-01-15"}, "invalid_arguments", "first_due_date", id="due at issue"),
        pytest.param({"first_due_date": "2199-01-15", "term_months": 1200}, None, None, id="far but in the calendar"),
        pytest.param({"rulebook": "none"}, "invalid_arguments", "rulebook", id="rulebook"),
        pytest.param({"guarantee": {"kind": "hope"}}, "invalid_arguments", "guarantee.kind", id="guarantee"),
        pytest.param({"documents": [{"name": "x"}]}, "invalid_arguments", "documents.0.sha256", id="document"),
        pytest.param({"currency": "usd"}, "invalid_arguments", "currency", id="currency"),
    ],
)
async def test_a_bad_loan_is_refused_by_name(market: Market, change: Json, code: str | None, field: str | None) -> None:
    seq = market.stack.engine.seq
    told = await market.admin.post("/v1/admin/loans", {**LOAN, **change})
    assert told.code == code
    if code is not None:
        assert (told.field if field else field) == field
        assert market.stack.engine.seq == seq


async def test_more_face_can_be_issued_up_to_the_principal(market: Market) -> None:
    await market.admin.post("/v1/admin/loans", {**LOAN, "issued_face": "6000.00"})
    path = "/v1/admin/loans/LC18-00042/issue"
    told = await market.admin.post(path, {"face": "4000.01"})
    assert (told.status, told.code, told.body["rule"]) == (422, "rule_violation", "balance_coefficient")
    assert (await market.admin.post(path, {"face": "4000.00"})).status == 200
    assert (await market.anyone.get("/v1/loans/LC18-00042")).body["issued_face"] == "10000.00"
    assert (await market.admin.post(path, {"face": "0.001"})).code == "invalid_qty"


async def test_halts_modes_and_days(market: Market) -> None:
    assert (await market.admin.post("/v1/admin/loans/L1/halt", {"reason": "audit"})).status == 200
    assert (await market.admin.post("/v1/admin/loans/L1/halt")).body["duplicate"]
    halted = (await market.anyone.get("/v1/loans/L1")).body
    assert (halted["halted"], halted["halt_reason"]) == (True, "audit")
    assert (await market.admin.post("/v1/admin/loans/L1/resume", {"reason": "done"})).status == 200
    assert (await market.admin.post("/v1/admin/loans/NONE/halt")).code == "unknown_loan"
    assert (await market.admin.post("/v1/admin/mode", {"mode": "cancel_only", "reason": "x"})).status == 200
    assert (await market.anyone.get("/v1/status")).body["mode"] == "cancel_only"
    assert (await market.admin.post("/v1/admin/mode", {"mode": "asleep"})).field == "mode"
    assert (await market.admin.post("/v1/admin/day-roll", {"to": "2024-01-20"})).body["business_date"] == "2024-01-20"
    for wrong in ("2024-01-19", "2042-01-21"):
        told = await market.admin.post("/v1/admin/day-roll", {"to": wrong})
        assert (told.code, told.field) == ("invalid_arguments", "to")


async def test_halts_are_listed_with_reason_since_when_and_by_whom(market: Market) -> None:
    admin, path = market.admin, "/v1/admin/halts"
    assert (await admin.get(path)).body == {"items": [], "next_cursor": None}
    await admin.post("/v1/admin/loans/L1/halt", {"reason": "first"})
    await admin.post("/v1/admin/loans/L1/resume", {"reason": "over"})
    await admin.post("/v1/admin/loans/L1/halt", {"reason": "audit"})
    [halt] = (await admin.get(path)).body["items"]
    assert (halt["loan_id"], halt["status"], halt["reason"]) == ("L1", "current", "audit")
    await admin.post("/v1/admin/loans/L1/halt", {"reason": "again"})  # it was halted already
    assert (await admin.get(path)).body["items"] == [halt]
    at, actor = await market.stack.pool.fetchrow(
        "SELECT at, actor FROM command_log WHERE kind = 'HaltLoan' ORDER BY seq OFFSET 2 LIMIT 1"
    )
    assert (halt["since"], halt["by"]) == (time_text(at), actor)
    await market.stack.do(register("L0"), HaltLoan(loan_id=LoanId("L0"), halted=True, reason="new"))
    first = (await admin.get(f"{path}?limit=1")).body
    assert [each["loan_id"] for each in first["items"]] == ["L0"]
    second = (await admin.get(f"{path}?limit=1&cursor={first['next_cursor']}")).body
    assert (second["items"], second["next_cursor"]) == ([halt], None)
    await admin.post("/v1/admin/loans/L1/resume", {"reason": "done"})
    assert [each["loan_id"] for each in (await admin.get(path)).body["items"]] == ["L0"]
    assert (await market.buyer.get(path)).code == "auth_permission_denied"


async def test_a_frozen_account_can_only_cancel(market: Market) -> None:
    path = (await market.buyer.post("/v1/orders", order())).headers["Location"]
    assert (await market.admin.post("/v1/admin/accounts/B/freeze", {"reason": "court"})).status == 200
    assert (await market.buyer.get(path)).body["cancel_reason"] == "admin"
    told = await market.buyer.post("/v1/orders", order())
    assert (told.status, told.code) == (403, "account_frozen")
    assert (await market.admin.post("/v1/admin/accounts/B/unfreeze", {"reason": "over"})).status == 200
    assert (await market.buyer.post("/v1/orders", order())).status == 201
    assert (await market.admin.post("/v1/admin/accounts/NOBODY/freeze")).status == 404
    assert (await market.admin.post("/v1/admin/accounts/NOBODY/api-keys", {"scopes": ["read"]})).status == 404


async def test_every_admin_write_records_actor_and_reason(market: Market) -> None:
    await market.admin.post("/v1/admin/mode", {"mode": "post_only", "reason": "opening"})
    row = await market.stack.pool.fetchrow("SELECT actor, body::text FROM market.command_log ORDER BY seq DESC LIMIT 1")
    assert market.admin.key is not None
    assert (row["actor"], "opening" in row["body"]) == (market.admin.key.key, True)


# Keys of one's own


async def made(market: Market, who: Any, **body: Any) -> Told:
    told: Told = await who.post("/v1/api-keys", body)
    return told


async def test_a_key_passes_on_at_most_what_it_has(market: Market) -> None:
    told = await made(market, market.buyer, scopes=["read"])
    assert told.status == 201
    reader = market.anyone.of(ApiKey(told.body["key"], told.body["secret"]))
    assert (await reader.get("/v1/balances")).status == 200
    assert (await made(market, reader, scopes=["trade"])).code == "auth_permission_denied"
    assert (await made(market, market.buyer, scopes=["admin"])).code == "auth_permission_denied"
    assert (await made(market, market.buyer, scopes=[])).field == "scopes"
    assert (await made(market, market.buyer, scopes=["read"], ip_allow=["not"])).field == "ip_allow"
    listed = (await reader.get("/v1/api-keys")).body["items"]
    assert {key["key"] for key in listed} == {told.body["key"], market.buyer.key.key if market.buyer.key else ""}
    assert not any("secret" in key for key in listed)


async def test_a_revoked_key_is_dead_at_once_and_after_a_restart(market: Market) -> None:
    told = await made(market, market.buyer, scopes=["read"])
    reader = market.anyone.of(ApiKey(told.body["key"], told.body["secret"]))
    assert market.buyer.key is not None
    strong = await reader.call("DELETE", f"/v1/api-keys/{market.buyer.key.key}")
    assert strong.code == "auth_permission_denied"
    assert (await market.seller.call("DELETE", told.headers["Location"])).status == 404
    assert (await market.buyer.call("DELETE", told.headers["Location"])).status == 200
    assert (await reader.get("/v1/balances")).code == "auth_invalid_key"
    await market.stack.keys.load()
    assert (await reader.get("/v1/balances")).code == "auth_invalid_key"
    assert (await market.buyer.get("/v1/balances")).status == 200


async def test_a_key_is_bound_to_its_addresses_and_its_time(market: Market, monkeypatch: pytest.MonkeyPatch) -> None:
    told = await made(market, market.buyer, scopes=["read"], ip_allow=["10.0.0.0/8"])
    elsewhere = market.anyone.of(ApiKey(told.body["key"], told.body["secret"]))
    assert (await elsewhere.get("/v1/balances")).code == "auth_permission_denied"
    told = await made(
        market, market.buyer, scopes=["read"], ip_allow=["127.0.0.0/8"], expires_at="2199-01-01T00:00:00Z"
    )
    here = market.anyone.of(ApiKey(told.body["key"], told.body["secret"]))
    child = await made(market, here, scopes=["read"])
    assert (child.body["ip_allow"], child.body["expires_at"]) == (["127.0.0.0/8"], "2199-01-01T00:00:00.000000Z")
    assert (await made(market, here, scopes=["read"], ip_allow=["0.0.0.0/0"])).code == "auth_permission_denied"
    end = datetime.now(UTC) + timedelta(hours=1)
    told = await made(market, market.buyer, scopes=["read"], expires_at=end.isoformat())
    ending = market.anyone.of(ApiKey(told.body["key"], told.body["secret"]))
    assert (await ending.get("/v1/balances")).status == 200
    monkeypatch.setattr(market.stack.keys.live, "_clock", lambda: int(end.timestamp() * 1e9) + SECOND)
    assert (await ending.get("/v1/balances")).code == "auth_invalid_key"


async def test_a_token_stands_for_its_key(market: Market) -> None:
    told = await market.buyer.post("/v1/ws-token")
    assert (told.status, told.body["expires"]) == (201, 900)
    principal = market.stack.keys.of_token(told.body["token"], peer="127.0.0.1")
    assert (principal.account_id, sorted(principal.scopes)) == ("B", ["read", "trade"])


async def test_a_loan_is_put_under_another_rulebook(market: Market) -> None:
    path = "/v1/admin/loans/L1/rulebook"
    told = await market.admin.call("PUT", path, {"rulebook": "cn-strict", "reason": "agreed"})
    assert (told.status, told.body["duplicate"], told.body["engine_seq"]) == (200, False, market.stack.engine.seq)
    assert (await market.anyone.get("/v1/loans/L1")).body["rulebook"]["name"] == "cn-strict"
    dear = await market.buyer.post("/v1/orders", order(price="101.00", qty="100.00"))
    assert (dear.code, dear.body["rule"]) == ("rule_violation", "premium_allowed")
    assert (await market.admin.call("PUT", path, {"rulebook": "cn-strict"})).body["duplicate"]
    assert (await market.admin.call("PUT", path, {"rulebook": "none"})).field == "rulebook"
    assert (await market.admin.call("PUT", path.replace("L1", "NONE"), {"rulebook": "open"})).code == "unknown_loan"
    assert (await market.buyer.call("PUT", path, {"rulebook": "open"})).status == 403
