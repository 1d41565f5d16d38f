"""Bad input over REST: the code that the contract names, the field at fault, and no trace of it anywhere."""

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from gateway.client import ApiKey
from market.claims.loan import LoanStatus
from market.commands import FreezeAccount, HaltLoan, Mode, RegisterLoan, SetMode
from market.ids import AccountId, Face, LoanId
from tests.builders import terms
from tests.e2e.rest import Market, order


@asynccontextmanager
async def no_trace(market: Market) -> AsyncIterator[None]:
    """Hold that the body changes nothing: not the log, not the state, not the tables."""
    before = await _state(market)
    yield
    assert await _state(market) == before


async def _state(market: Market) -> tuple[Any, ...]:
    engine, pool = market.stack.engine, market.stack.pool
    tables = await pool.fetchrow(
        "SELECT (SELECT seq FROM market.lease) AS seq, (SELECT log_head FROM market.lease) AS head, "
        "(SELECT count(*) FROM market.orders) AS orders, (SELECT count(*) FROM market.api_key) AS keys"
    )
    return engine.seq, engine._venue.state_hash(), tuple(tables)


@pytest.mark.parametrize(
    ("body", "code", "field"),
    [
        pytest.param(b'{"loan_id":"L1",', "invalid_arguments", None, id="malformed JSON"),
        pytest.param(b"[1]", "invalid_arguments", None, id="not an object"),
        pytest.param(b'{"order_qty":NaN}', "invalid_arguments", None, id="NaN"),
        pytest.param(b'{"side":"buy","side":"sell"}', "invalid_arguments", "side", id="duplicate key"),
        pytest.param(b"", "invalid_arguments", "side", id="nothing"),
        pytest.param(order(colour="red"), "unknown_field", "colour", id="unknown field"),
        pytest.param(order(symbol="L1/USD"), "unknown_field", "symbol", id="the socket's name of the loan"),
        pytest.param({**order(), "side": "both"}, "invalid_arguments", "side", id="unknown word"),
        pytest.param({**order(), "order_qty": True}, "invalid_arguments", "order_qty", id="wrong type"),
        pytest.param({**order(), "loan_id": 7}, "invalid_arguments", "loan_id", id="loan of wrong type"),
        pytest.param(order(price="9.7e1"), "invalid_arguments", "limit_price", id="exponent in a string"),
        pytest.param(order(price="abc"), "invalid_arguments", "limit_price", id="price is text"),
        pytest.param(order(post_only="yes"), "invalid_arguments", "post_only", id="flag is text"),
        pytest.param(order(cl_ord_id="a b"), "invalid_arguments", "cl_ord_id", id="bad client order id"),
        pytest.param(order(cl_ord_id="x" * 37), "invalid_arguments", "cl_ord_id", id="long client order id"),
        pytest.param(order(tag="\0"), "invalid_arguments", None, id="NUL in a text"),
        pytest.param(order(order_type="yield"), "invalid_arguments", "limit_price", id="yield with a price"),
        pytest.param(order(time_in_force="gtd"), "invalid_arguments", "expire_time", id="gtd without a time"),
        pytest.param(order(expire_time="2999-01-01T00:00:00Z"), "invalid_arguments", "expire_time", id="year 2999"),
        pytest.param(order(order_type="market"), "invalid_arguments", "limit_price", id="market with a limit"),
        pytest.param(order(post_only=True, time_in_force="ioc"), "invalid_arguments", "post_only", id="ioc post-only"),
        pytest.param(order(deadline="2024-01-01T00:00:00Z"), "deadline_elapsed", "deadline", id="deadline passed"),
        pytest.param(order(price="98.005"), "invalid_price", "limit_price", id="off tick"),
        pytest.param(order(price="0.00"), "invalid_price", "limit_price", id="price zero"),
        pytest.param(order(price="-98.00"), "invalid_price", "limit_price", id="price negative"),
        pytest.param(order(price="200.01"), "price_out_of_band", "limit_price", id="price out of band"),
        pytest.param({**order(), "limit_price": 10**30}, "price_out_of_band", "limit_price", id="price huge"),
        pytest.param(order(qty="0.00"), "invalid_qty", "order_qty", id="quantity zero"),
        pytest.param(order(qty="-1.00"), "invalid_qty", "order_qty", id="quantity negative"),
        pytest.param(order(qty="1.001"), "invalid_qty", "order_qty", id="quantity off lot"),
        pytest.param(order(qty="1" + "0" * 30), "invalid_qty", "order_qty", id="quantity huge"),
        pytest.param(
            b'{"loan_id":"L1","side":"buy","limit_price":"98.00","order_qty":1e999999999}',
            "invalid_qty",
            "order_qty",
            id="quantity with a huge exponent",
        ),
        pytest.param(order(qty="0.50"), "below_minimum", "order_qty", id="below minimum"),
        pytest.param(order(loan_id="NONE"), "unknown_loan", "loan_id", id="unknown loan"),
        pytest.param(order(loan_id="NONE", price="0"), "unknown_loan", "loan_id", id="loan comes before price"),
        pytest.param(order(qty="2000000.00"), "insufficient_funds", None, id="no funds"),
        pytest.param(order("sell"), "insufficient_claims", None, id="no claims"),
        pytest.param(order(time_in_force="fok"), "fok_unfilled", None, id="fill or kill"),
        pytest.param(order(min_qty="1.00"), "min_qty_unfilled", None, id="minimum quantity"),
        pytest.param(order(loan_id="CLOSED"), "loan_closed", None, id="closed loan"),
    ],
)
async def test_a_bad_order_is_refused_by_name_and_leaves_no_trace(
    market: Market, body: object, code: str, field: str | None
) -> None:
    closed = RegisterLoan(
        terms=terms("CLOSED", outstanding_at_registration=0), issued_face=Face(0), status=LoanStatus.REPAID
    )
    await market.stack.do(closed)
    async with no_trace(market):
        told = await market.buyer.post("/v1/orders", body if body != b"" else None)
        assert (told.code, told.field if field else field) == (code, field)
        assert told.headers["Content-Type"].startswith("application/problem+json")
        assert (told.body["status"], told.body["outcome"]) == (told.status, "not_executed")
        assert told.body["instance"] == "/v1/orders"


async def test_numbers_are_read_exactly(market: Market) -> None:
    body = b'{"loan_id":"L1","side":"buy","limit_price":98.00,"order_qty":100.10}'
    assert (await market.buyer.post("/v1/orders", body)).body["order_qty"] == "100.10"


async def test_what_is_missing_is_told_in_decimals(market: Market) -> None:
    told = await market.buyer.post("/v1/orders", order("sell", qty="5000.00"))
    assert (told.status, told.body["have"], told.body["need"]) == (422, "0.00", "5000.00")


async def test_another_accounts_order_is_unknown(market: Market) -> None:
    path = (await market.seller.post("/v1/orders", order("sell", cl_ord_id="s-1"))).headers["Location"]
    async with no_trace(market):
        for told in (
            await market.buyer.get(path),
            await market.buyer.call("PATCH", path, {"order_qty": "1.00"}),
            await market.buyer.call("DELETE", path),
            await market.buyer.get("/v1/orders/by-client-id/s-1"),
            await market.buyer.get("/v1/orders/O-99999999999999999999999"),
            await market.buyer.get("/v1/orders/%00"),
        ):
            assert (told.status, told.code) == (404, "unknown_order")


async def test_a_halt_a_mode_and_a_freeze_are_told(market: Market) -> None:
    await market.stack.do(HaltLoan(loan_id=LoanId("L1"), halted=True, reason="audit"))
    assert (await market.buyer.post("/v1/orders", order())).code == "loan_halted"
    await market.stack.do(HaltLoan(loan_id=LoanId("L1"), halted=False), SetMode(mode=Mode.POST_ONLY))
    told = await market.buyer.post("/v1/orders", order())
    assert (told.status, told.code, told.body["mode"]) == (409, "market_mode", "post_only")
    assert (await market.buyer.post("/v1/orders", order(post_only=True))).status == 201
    await market.stack.do(SetMode(mode=Mode.OPEN), FreezeAccount(account_id=AccountId("B"), frozen=True))
    assert (await market.buyer.post("/v1/orders", order())).code == "account_frozen"


async def test_a_post_only_order_that_crosses_is_refused(market: Market) -> None:
    await market.seller.post("/v1/orders", order("sell", "97.00"))
    async with no_trace(market):
        assert (await market.buyer.post("/v1/orders", order(post_only=True))).code == "post_only_cross"


async def test_bodies_are_json_and_at_most_a_mebibyte(market: Market) -> None:
    body = b'{"loan_id":"L1","tag":"' + b"x" * (1 << 20) + b'"}'
    async with no_trace(market):
        told = await market.buyer.post("/v1/orders", body)
        assert (told.status, told.code) == (413, "payload_too_large")
        told = await market.buyer.post("/v1/orders", b"side=buy", **{"Content-Type": "text/plain"})
        assert (told.status, told.code) == (415, "unsupported_media_type")
        told = await market.buyer.call("DELETE", "/v1/orders/O-1", b"{}")
        assert (told.status, told.code) == (422, "invalid_arguments")
    assert (await market.buyer.get("/v1/balances")).status == 200


async def test_unknown_routes_methods_and_parameters(market: Market) -> None:
    told = await market.anyone.get("/v1/nothing")
    assert (told.status, told.code) == (404, "not_found")
    told = await market.anyone.call("PUT", "/v1/orders")
    assert (told.status, told.code) == (405, "method_not_allowed")
    assert set(told.headers["Allow"].split(",")) == {"GET", "POST"}
    told = await market.anyone.get("/v1/loans?colour=red")
    assert (told.status, told.code, told.field) == (422, "unknown_field", "colour")
    for query in (
        "limit=0",
        "limit=501",
        "limit=x",
        "limit=1&limit=2",
        "cursor=x",
        "min_price=1.001",
        "sort=colour",
        "never_late=1",
        "status=happy",
        "cursor=WyJhIl0=",
    ):
        told = await market.anyone.get(f"/v1/loans?{query}")
        assert (told.code, told.field) == ("invalid_arguments", query.partition("=")[0])
    told = await market.anyone.get("/v1/nothing", **{"X-Request-Id": "r-7"})
    assert told.headers["X-Request-Id"] == "r-7"


# Authentication


PRIVATE = "/v1/balances"


async def test_no_key_no_answer(market: Market) -> None:
    told = await market.anyone.get(PRIVATE)
    assert (told.status, told.code) == (401, "auth_required")
    told = await market.anyone.post("/v1/orders", b"not even JSON")
    assert told.code == "auth_required"


async def test_an_unknown_or_revoked_key_is_invalid(market: Market) -> None:
    told = await market.anyone.of(ApiKey("ak_none", "c2VjcmV0")).get(PRIVATE)
    assert (told.status, told.code) == (401, "auth_invalid_key")
    await market.stack.keys.revoke(market.buyer.key.key if market.buyer.key else "")
    assert (await market.buyer.get(PRIVATE)).code == "auth_invalid_key"


async def test_what_was_signed_is_what_was_sent(market: Market) -> None:
    body = b'{"loan_id":"L1","side":"buy","limit_price":"98.00","order_qty":"100.00"}'
    good = market.buyer.signature("POST", "/v1/orders", body)
    json_type = {"Content-Type": "application/json"}
    async with no_trace(market):
        for method, path, data, headers in (
            ("POST", "/v1/orders", body.replace(b"98", b"99"), good),
            ("POST", "/v1/orders?x=1", body, good),
            ("POST", "/v1/orders/cancel-all", body, good),
            ("POST", "/v1/orders", body, good | {"X-API-Signature": good["X-API-Signature"].upper()}),
            ("POST", "/v1/orders", body, good | {"X-API-Signature": "é"}),
            ("POST", "/v1/orders", body, good | {"X-API-Signature": ""}),
            ("POST", "/v1/orders", body, good | {"X-API-Timestamp": str(int(good["X-API-Timestamp"]) + 1)}),
        ):
            told = await market.buyer.raw(method, path, data, headers | json_type)
            assert (told.status, told.code) == (401, "auth_invalid_signature")
    assert (await market.buyer.raw("POST", "/v1/orders", body, good | json_type)).status == 201


async def test_a_signature_is_good_once(market: Market) -> None:
    body = b'{"loan_id":"L1","side":"buy","limit_price":"98.00","order_qty":"100.00"}'
    headers = market.buyer.signature("POST", "/v1/orders", body) | {"Content-Type": "application/json"}
    assert (await market.buyer.raw("POST", "/v1/orders", body, headers)).status == 201
    async with no_trace(market):
        told = await market.buyer.raw("POST", "/v1/orders", body, headers)
        assert (told.status, told.code) == (401, "auth_invalid_signature")


@pytest.mark.parametrize("skew_s", [-6, 6, -3600, 1e9])
async def test_a_timestamp_outside_the_window_tells_the_skew(market: Market, skew_s: float) -> None:
    timestamp = str(int((time.time() + skew_s) * 1e6))
    told = await market.buyer.raw("GET", PRIVATE, b"", market.buyer.signature("GET", PRIVATE, b"", timestamp=timestamp))
    assert (told.status, told.code) == (401, "auth_timestamp")
    assert abs(told.body["skew_ms"] - skew_s * 1e3) < 1e3


@pytest.mark.parametrize("timestamp", ["", "now", "-1", "1.5", "٣" * 16, "9" * 40])
async def test_a_timestamp_that_is_none(market: Market, timestamp: str) -> None:
    headers = market.buyer.signature("GET", PRIVATE, b"", timestamp="1") | {"X-API-Timestamp": timestamp}
    assert (await market.buyer.raw("GET", PRIVATE, b"", headers)).code == "auth_timestamp"


async def test_thirteen_digits_are_milliseconds(market: Market) -> None:
    timestamp = str(int(time.time() * 1e3) + 1)
    headers = market.buyer.signature("GET", PRIVATE, b"", timestamp=timestamp)
    assert (await market.buyer.raw("GET", PRIVATE, b"", headers)).status == 200


async def test_a_scope_opens_only_its_own_doors(market: Market) -> None:
    reader = market.anyone.of(await market.stack.key("B", "read"))
    trader = market.anyone.of(await market.stack.key("B", "trade"))
    for told in (
        await reader.post("/v1/orders", order()),
        await trader.get(PRIVATE),
        await market.buyer.post("/v1/admin/mode", {"mode": "halted"}),
    ):
        assert (told.status, told.code) == (403, "auth_permission_denied")
    assert (await trader.post("/v1/orders", order())).status == 201
