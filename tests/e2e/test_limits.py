"""What a stranger may cost us: requests, headers, bodies, connections that say nothing."""

import asyncio
import json
import logging
import re
from urllib.parse import urlsplit

import pytest

from gateway.process.config import Settings
from gateway.reads.board import LOANS_MAX
from gateway.rest import api
from gateway.ws.routes import GATE
from tests.e2e.rest import Market, order, rest
from tests.e2e.sockets import connected
from tests.e2e.stack import Stack, running_stack
from tests.patience import PATIENCE_S


async def answered(stack: Stack, *pieces: bytes) -> bytes:
    """Send pieces on a connection of their own and return all that comes back until it is closed."""
    parts = urlsplit(stack.url)
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
    try:
        for piece in pieces:
            writer.write(piece)
        async with asyncio.timeout(PATIENCE_S):
            return await reader.read()
    finally:
        writer.close()


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        pytest.param(b"X-A: " + b"x" * 8_000, b"200", id="a large header"),
        pytest.param(b"X-A: " + b"x" * 9_000, b"400", id="a header that is too large"),
        pytest.param(b"\r\n".join(b"X-%d: 1" % n for n in range(200)), b"400", id="too many headers"),
        pytest.param(b"no header", b"400", id="a header that is none"),
    ],
)
async def test_headers_are_limited(stack: Stack, headers: bytes, status: bytes) -> None:
    told = await answered(stack, b"GET /v1/time HTTP/1.1\r\nHost: x\r\nConnection: close\r\n" + headers + b"\r\n\r\n")
    assert told.split()[1] == status


async def test_what_can_not_be_read_is_logged_in_one_line(stack: Stack, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    await answered(stack, b"GET /v1/time HTTP/1.1\r\nHost: x\r\nX-A: " + b"secret" * 2_000 + b"\r\n\r\n")
    [line] = [record for record in caplog.records if record.name == "aiohttp.server"]
    assert (line.getMessage(), line.exc_info) == ("request_malformed error=LineTooLong", None)


@pytest.mark.parametrize("body", [b"zz\r\n", b"5\r\nabcdefgh\r\n"])
async def test_a_body_that_is_framed_wrong_is_refused(stack: Stack, body: bytes) -> None:
    head = b"POST /v1/orders HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n"
    told = await answered(stack, head + b"\r\n" + body)
    assert told.split()[1] == b"400"


async def test_a_path_is_limited(stack: Stack) -> None:
    told = await answered(stack, b"GET /v1/" + b"x" * 25_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n")
    assert told.split()[1] == b"400"


async def test_a_filter_may_name_as_many_loans_as_it_says(stack: Stack) -> None:
    names = b",".join(b"%032d" % n for n in range(LOANS_MAX - 1)) + b",L1"
    ask = b"GET /v1/loans?loan_id=" + names + b" HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    head, body = (await answered(stack, ask)).split(b"\r\n\r\n", 1)
    assert (head.split()[1], b'"loan_id":"L1"' in body) == (b"200", True)


async def test_who_does_not_finish_asking_is_hung_up_on(database: str) -> None:
    async with running_stack(database, settings=Settings(http_idle_s=1)) as stack:
        assert await answered(stack) == b""
        assert await answered(stack, b"GET /ws/v2 HTTP/1.1\r\nHost: x\r\n", b"Upgrade: websocket\r\n") == b""


async def test_a_body_that_does_not_come_is_given_up(market: Market, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api, "BODY_S_MAX", 0.2)
    parts = urlsplit(market.stack.url)
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
    writer.write(
        b"POST /v1/orders HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{"
    )
    async with asyncio.timeout(PATIENCE_S):
        head = await reader.readuntil(b"\r\n\r\n")
        length = re.search(rb"content-length: (\d+)", head.lower())
        assert length is not None
        body = await reader.readexactly(int(length[1]))  # the end of the connection is waited for by nobody
    writer.close()
    assert (head.split()[1], json.loads(body)["code"]) == (b"408", "deadline_elapsed")


async def test_strangers_share_what_their_address_may_ask(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = Settings(rate_public_per_s=1, rate_burst_s=5)
    async with running_stack(database, settings=settings) as stack, rest(stack.url) as anyone:
        monkeypatch.setattr(stack.app[GATE].strangers, "_clock", lambda: 0)  # nothing is refilled
        codes = [(await anyone.get("/v1/time")).code for _ in range(8)]
        assert codes[:5] == [None] * 5
        assert codes[-1] == "rate_limited"
        told = await anyone.get("/v1/loans")
        assert (told.status, told.headers["Retry-After"]) == (429, "1")
        assert (await anyone.get("/readyz")).status == 200
        key = await stack.investor("B")
        async with connected(stack.ws_url) as socket:
            told_socket = await socket.call("ping")
            assert told_socket["error"] == "EAPI:Rate limit exceeded"
            assert told_socket["error_detail"]["retry_after_ms"] > 0
        assert (await anyone.of(key).get("/v1/balances")).status == 200


async def test_a_private_answer_tells_the_rate(market: Market) -> None:
    """PROTOCOL section 6: every private reply carries bucket, remaining and reset; so do REST's headers."""
    limits = (await market.anyone.get("/v1/limits")).body["rates"]
    assert limits["cancels"]["per_s"] == 10 * limits["orders"]["per_s"]
    placed = await market.buyer.post("/v1/orders", order(qty="1.00"))
    assert int(placed.headers["RateLimit-Limit"]) == limits["orders"]["burst"]
    assert {"RateLimit-Remaining", "RateLimit-Reset"} <= placed.headers.keys()
    async with connected(market.stack.ws_url, market.buyer.key) as socket:
        for method, params, bucket in (
            ("get_order", {"order_id": placed.body["order_id"]}, "queries"),
            ("amend_order", {"order_id": placed.body["order_id"], "order_qty": "0"}, "amends"),
            ("cancel_order", {"order_id": placed.body["order_id"]}, "cancels"),
            ("cancel_all", {}, "cancels"),
            ("cancel_all_orders_after", {"timeout": 0}, "cancels"),
            ("subscribe", {"channel": "executions"}, "subscriptions"),
            ("subscribe", {"channel": "balances"}, "subscriptions"),
        ):
            rate = (await socket.call(method, **params))["rate"]
            assert rate.keys() == {"bucket", "remaining", "reset_ms"}
            assert rate["bucket"] == bucket


async def test_cancel_all_is_never_refused(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = Settings(rate_orders_per_s=1, rate_burst_s=1)
    async with running_stack(database, settings=settings) as stack, rest(stack.url) as anyone:
        monkeypatch.setattr(stack.rates, "_clock", lambda: 0)  # nothing is refilled
        buyer = anyone.of(await stack.investor("B"))
        codes = [(await buyer.call("DELETE", "/v1/orders/O-1")).code for _ in range(20)]
        assert codes[-1] == "rate_limited"
        assert (await buyer.post("/v1/orders/cancel-all", {})).status == 200
        async with connected(stack.ws_url, buyer.key) as socket:
            assert (await socket.call("cancel_all"))["success"]
