"""The client against a server of its own: signatures, refusals, retries, replies that overtake each other."""

import asyncio
import json
import random
from collections.abc import AsyncIterator
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from gateway.access.auth import login_signature, rest_signature
from gateway.client import ApiError, ApiKey, Client, Disconnected, decimal, loan_body, retried, units
from gateway.requests.loans import NewLoan
from gateway.wire import parse_json
from market.claims.loan import ClaimType, Coverage, Document, Guarantee, GuaranteeKind, LoanStatus
from market.commands import RegisterLoan
from market.ids import Face
from tests.property.random_loans import random_terms

KEY = ApiKey("ak_1", "c2VjcmV0")
GREETING = {"channel": "status", "type": "update", "data": [{"connection_id": "c-1", "challenge": "x"}]}


class Stub:
    """Answers REST calls from a list, and hands each socket to a script."""

    def __init__(self) -> None:
        self.seen: list[tuple[dict[str, str], bytes, str]] = []
        self.answers: list[tuple[int, Any]] = []
        self.sockets: list[list[Any]] = []

    async def rest(self, request: web.Request) -> web.Response:
        self.seen.append((dict(request.headers), await request.read(), request.raw_path))
        status, body = self.answers.pop(0)
        return web.json_response(body, status=status)

    async def socket(self, request: web.Request) -> web.WebSocketResponse:
        """Send the greeting; wait for two requests, then answer the second before the first, with a push between."""
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        await socket.send_json(GREETING)
        first, second = [json.loads(await socket.receive_str()) for _ in range(2)]
        self.sockets.append([first, second])
        await socket.send_json({"method": "b", "req_id": second["req_id"], "success": True, "result": {"is": "b"}})
        await socket.send_json({"channel": "trade", "type": "update", "data": [{"price": "1"}]})
        refusal = {"code": "unknown_order", "outcome": "not_executed", "retryable": False}
        no = {"success": False, "error": "EOrder:Unknown order", "error_detail": refusal}
        await socket.send_json({"method": "a", "req_id": first["req_id"], **no})
        await socket.receive()
        await socket.close()
        return socket


@pytest.fixture
async def stub() -> AsyncIterator[tuple[Stub, str]]:
    stub = Stub()
    app = web.Application()
    app.router.add_get("/ws/v2", stub.socket)
    app.router.add_route("*", "/{path:.*}", stub.rest)
    async with TestServer(app) as server:
        yield stub, str(server.make_url(""))


async def test_calls_are_signed_as_the_service_checks_them(stub: tuple[Stub, str]) -> None:
    server, url = stub
    server.answers = [(200, {}), (201, {})]
    async with Client(url, KEY) as client:
        await client.get("/v1/loans", status="current", q="a b")
        await client.post("/v1/orders", {"price": "1.00"})
    for method, (headers, body, path) in zip(("GET", "POST"), server.seen, strict=True):
        timestamp = headers["X-API-Timestamp"]
        signature = rest_signature(KEY.secret, timestamp=timestamp, method=method, path=path, body=body)
        assert (headers["X-API-Key"], headers["X-API-Signature"]) == (KEY.key, signature)


async def test_no_two_calls_share_a_signature(stub: tuple[Stub, str]) -> None:
    server, url = stub
    server.answers = [(200, {})] * 50
    async with Client(url, KEY) as client:
        await asyncio.gather(*(client.get("/v1/time") for _ in range(50)))
    assert len({headers["X-API-Signature"] for headers, _, _ in server.seen}) == 50


async def test_a_refusal_says_why_and_in_which_field(stub: tuple[Stub, str]) -> None:
    server, url = stub
    problem = {"detail": "bad", "code": "invalid_price", "outcome": "not_executed", "retryable": False}
    server.answers = [(422, problem | {"errors": [{"field": "limit_price", "message": "off tick"}]})]
    async with Client(url) as client:
        with pytest.raises(ApiError, match="invalid_price: bad; limit_price: off tick") as refused:
            await client.post("/v1/orders", {})
    assert (refused.value.status, refused.value.outcome, refused.value.retryable) == (422, "not_executed", False)


async def test_passing_failures_are_tried_again(stub: tuple[Stub, str]) -> None:
    server, url = stub
    busy = {"code": "busy", "retryable": True}
    server.answers = [(503, busy), (429, {"code": "rate_limited", "retry_after_ms": 1}), (200, {"rate": 1.5})]
    async with Client(url) as client:
        assert await retried(lambda: client.get("/v1/time")) == {"rate": Decimal("1.5")}
        server.answers = [(409, {"code": "duplicate_id", "retryable": False})]
        with pytest.raises(ApiError, match="duplicate_id"):
            await retried(lambda: client.get("/v1/time"))


async def test_replies_find_their_requests_and_a_lost_socket_says_so(stub: tuple[Stub, str]) -> None:
    server, url = stub
    async with Client(url, KEY) as client, await client.socket() as socket:
        first, second = await asyncio.gather(socket.call("a", x=1), socket.call("b"), return_exceptions=True)
        assert isinstance(first, ApiError)
        assert first.code == "unknown_order"
        assert second == {"is": "b"}
        assert server.sockets[0][0]["params"] == {"x": 1}
        with pytest.raises(Disconnected):
            await socket.login()
        assert socket.closed
        with pytest.raises(Disconnected):
            await socket.call("c")


async def test_a_login_answers_the_challenge(stub: tuple[Stub, str]) -> None:
    server, url = stub
    async with Client(url, KEY) as client, await client.socket() as socket:
        await asyncio.gather(socket.login(session="s"), socket.call("b"), return_exceptions=True)
    params = server.sockets[0][0]["params"]
    signature = login_signature(KEY.secret, connection_id="c-1", challenge="x", key=KEY.key)
    assert params == {"api_key": "ak_1", "challenge": "x", "sig": signature, "session": "s"}


def test_decimals_go_both_ways() -> None:
    assert [decimal(value) for value in (0, 5, -5, 12345)] == ["0.00", "0.05", "-0.05", "123.45"]
    assert (decimal(140_700, places=6), units("0.1407", places=6)) == ("0.140700", 140_700)
    with pytest.raises(ValueError, match="more than 2 decimals"):
        units("0.001")


@pytest.mark.parametrize("text", ["", "key", "key:", ":secret"])
def test_half_a_key_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="KEY:SECRET"):
        ApiKey.parse(text)


@pytest.mark.parametrize("seed", range(20))
def test_a_loan_s_body_says_all_of_it(seed: int) -> None:
    """Every term of a loan comes back from the body as the API reads it: method, periods, calendar and all."""
    rng = random.Random(seed)
    terms = replace(
        random_terms(rng),
        claim_type=rng.choice(list(ClaimType)),
        guarantee=Guarantee(
            kind=rng.choice(list(GuaranteeKind)), name="G", trigger_days=30, coverage=rng.choice(list(Coverage))
        ),
        **{name: f"{name} {seed}" for name in ("grade", "borrower_ref", "purpose", "region")},
        documents=(Document(name="contract", sha256="0" * 64),),
        transferable=rng.random() < 0.5,
        never_late=rng.random() < 0.5,
    )
    status = rng.choice([LoanStatus.CURRENT, LoanStatus.LATE])
    command = RegisterLoan(terms=terms, issued_face=Face(1_00), status=status, rulebook="cn-strict", reason="r")
    assert NewLoan.parse(parse_json(json.dumps(loan_body(command)).encode())).to_command() == command
