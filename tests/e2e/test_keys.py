"""Keys of one's own, to their end: from where, for how long, and what becomes of the sockets that used them."""

import time
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from gateway.access.auth import Principal
from gateway.client import ApiKey
from gateway.process.config import Settings
from tests.e2e.browser import Browser, browser
from tests.e2e.rest import Market, Rest, Told, order, rest
from tests.e2e.sockets import Socket, connected, login_params
from tests.e2e.stack import Stack, running_stack


async def made(who: Rest | Browser, **body: Any) -> ApiKey:
    told: Told = await who.post("/v1/api-keys", {"scopes": ["read", "trade"], **body})
    assert told.status == 201, told.body
    return ApiKey(told.body["key"], told.body["secret"])


async def test_a_key_made_in_a_browser_can_do_what_its_maker_can_and_outlives_the_session(database: str) -> None:
    settings = Settings(allow_signup=True, signup_cash="USD:5000.00")
    async with running_stack(database, settings=settings) as stack, browser(stack.url) as ada:
        await ada.sign_up("ada")
        key = await made(ada, label="laptop")
        assert (await ada.post("/v1/api-keys", {"scopes": ["admin"]})).code == "auth_permission_denied"
        [listed] = (await ada.get("/v1/api-keys")).body["items"]
        assert (listed["key"], listed["label"], listed["expires_at"]) == (key.key, "laptop", None)
        assert key.secret not in str(listed)
        await ada.sign_out()
        async with rest(stack.url, key) as program:
            assert (await program.post("/v1/orders", order(qty="1.00"))).status == 201
            assert (await program.call("DELETE", f"/v1/api-keys/{key.key}")).status == 200
            assert (await program.get("/v1/balances")).code == "auth_invalid_key"


async def used(socket: Socket, how: str, market: Market, key: ApiKey) -> None:
    """Have the key vouch for the socket: by a login, or by a token with a private stream or one request."""
    if how == "login":
        assert (await socket.login(key))["success"]
        return
    token = (await market.anyone.of(key).post("/v1/ws-token")).body["token"]
    asked = {"method": "subscribe", "channel": how} if how != "request" else {"method": "cancel_all"}
    assert (await socket.call(token=token, **asked))["success"]


@pytest.mark.parametrize("how", ["login", "executions", "balances", "request"])
async def test_a_revoked_keys_sockets_are_closed(market: Market, how: str) -> None:
    key = await made(market.buyer)
    async with connected(market.stack.ws_url) as socket, connected(market.stack.ws_url, market.buyer.key) as other:
        await used(socket, how, market, key)
        assert (await market.buyer.call("DELETE", f"/v1/api-keys/{key.key}")).status == 200
        assert await socket.closed() == 4001
        assert (await other.call("ping"))["success"]


@pytest.mark.parametrize("how", ["login", "executions"])
async def test_an_expired_keys_sockets_are_closed(market: Market, how: str) -> None:
    ends_at = datetime.now(UTC) + timedelta(seconds=1.5)
    key = await made(market.buyer, expires_at=ends_at.isoformat())
    async with connected(market.stack.ws_url) as socket:
        await used(socket, how, market, key)
        assert await socket.closed() == 4001
        assert datetime.now(UTC) >= ends_at


async def test_a_key_that_would_be_dead_at_once_is_not_made(market: Market) -> None:
    told = await market.buyer.post("/v1/api-keys", {"scopes": ["read"], "expires_at": "2020-01-01T00:00:00Z"})
    assert (told.status, told.body["code"]) == (422, "invalid_arguments")
    assert told.body["errors"][0]["field"] == "expires_at"


async def test_a_key_that_is_used_from_elsewhere_opens_nothing(market: Market) -> None:
    key = await made(market.buyer, ip_allow=["10.0.0.0/8", "2001:db8::/32"])
    async with connected(market.stack.ws_url) as socket:
        assert (await socket.login(key))["error_detail"]["code"] == "auth_permission_denied"
        keys = market.stack.keys
        token, _ = keys.new_token(Principal(keys.of_key(key.key, "10.1.2.3")))
        told = await socket.call("add_order", token=token, symbol="L1/USD", side="buy", limit_price="90", order_qty="1")
        assert told["error_detail"]["code"] == "auth_permission_denied"
        told = await socket.call("subscribe", token=token, channel="executions")
        assert told["error_detail"]["code"] == "auth_permission_denied"


async def test_a_login_is_good_on_its_own_connection_only(market: Market) -> None:
    assert market.buyer.key is not None
    async with connected(market.stack.ws_url) as one, connected(market.stack.ws_url) as other:
        told = await other.call("login", **login_params(one.greeting, market.buyer.key))
        assert told["error_detail"]["code"] == "auth_invalid_signature"


# Replays through a restart


@pytest.mark.parametrize("ahead_s", [0.0, 2.0, 4.5])
async def test_a_signature_that_was_used_is_not_good_after_a_restart(database: str, ahead_s: float) -> None:
    """Whatever the client's clock says, within the window."""
    async with running_stack(database) as stack:
        key = await stack.investor("B")
        headers = await sent_order(stack, key, ahead_s)
    async with running_stack(database) as stack, rest(stack.url, key) as program:
        seq = stack.engine.seq
        told = await program.raw("POST", "/v1/orders", BODY, headers)
        assert told.status == 401
        assert told.code == ("auth_invalid_signature" if ahead_s > 0 else "auth_timestamp")
        assert stack.engine.seq == seq
        assert (await program.post("/v1/orders", BODY)).status == 201


BODY = b'{"loan_id":"L1","side":"buy","limit_price":"90.00","order_qty":"1.00"}'


async def sent_order(stack: Stack, key: ApiKey, ahead_s: float) -> dict[str, str]:
    """Place an order by a clock that is ahead; return the headers that were good for it once."""
    async with rest(stack.url, key) as program:
        timestamp = str(time.time_ns() // 1_000 + int(ahead_s * 1e6))
        headers = program.signature("POST", "/v1/orders", BODY, timestamp=timestamp)
        headers |= {"Content-Type": "application/json"}
        assert (await program.raw("POST", "/v1/orders", BODY, headers)).status == 201
        return headers
