"""Behind a proxy that is trusted, every limit is the client's own; nobody else can say where he comes from."""

import logging

import pytest

from gateway.process.config import Settings
from tests.e2e.rest import order, rest
from tests.e2e.sockets import connected, login_params
from tests.e2e.stack import running_stack

HERE, OFFICE, ELSEWHERE = "127.0.0.0/8", "198.51.100.9", "203.0.113.5"


async def test_a_key_is_good_where_the_client_is_not_where_the_proxy_is(
    database: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with running_stack(database, settings=Settings(trusted_proxies=HERE)) as stack, rest(stack.url) as anyone:
        owner = anyone.of(await stack.investor("B"))
        made = await owner.post("/v1/api-keys", {"scopes": ["read", "trade"], "ip_allow": ["198.51.100.0/24"]})
        key = anyone.of(type(owner.key)(made.body["key"], made.body["secret"]))  # type: ignore[misc]
        assert (await key.get("/v1/balances", **{"X-Forwarded-For": f"10.9.9.9, {OFFICE}"})).status == 200
        placed = await key.post("/v1/orders", order(qty="1.00"), **{"X-Forwarded-For": OFFICE})
        assert placed.status == 201
        for headers in ({"X-Forwarded-For": f"{OFFICE}, {ELSEWHERE}"}, {"X-Forwarded-For": ELSEWHERE}, {}):
            assert (await key.get("/v1/balances", **headers)).code == "auth_permission_denied"
        assert f"address_refused actor={made.body['key']} address={ELSEWHERE}" in caplog.text
        for address, code in ((OFFICE, None), (ELSEWHERE, "auth_permission_denied")):
            async with connected(stack.ws_url, headers={"X-Forwarded-For": address}) as socket:
                assert key.key is not None
                told = await socket.call("login", **login_params(socket.greeting, key.key))
                assert told.get("error_detail", {}).get("code") == code


async def test_who_is_no_trusted_proxy_is_not_believed(database: str) -> None:
    settings = Settings(trusted_proxies="10.0.0.0/8")
    async with running_stack(database, settings=settings) as stack, rest(stack.url) as anyone:
        owner = anyone.of(await stack.investor("B"))
        made = await owner.post("/v1/api-keys", {"scopes": ["read"], "ip_allow": [OFFICE]})
        key = anyone.of(type(owner.key)(made.body["key"], made.body["secret"]))  # type: ignore[misc]
        told = await key.get("/v1/balances", **{"X-Forwarded-For": OFFICE})
        assert told.code == "auth_permission_denied"


async def test_strangers_behind_a_proxy_have_each_their_own_limit(database: str) -> None:
    settings = Settings(rate_public_per_s=1, rate_burst_s=5, trusted_proxies=HERE)
    async with running_stack(database, settings=settings) as stack, rest(stack.url) as anyone:
        greedy, modest = {"X-Forwarded-For": ELSEWHERE}, {"X-Forwarded-For": OFFICE}
        codes = [(await anyone.get("/v1/time", **greedy)).code for _ in range(8)]
        assert codes[-1] == "rate_limited"
        assert (await anyone.get("/v1/time", **modest)).status == 200
        async with connected(stack.ws_url, headers=greedy) as one, connected(stack.ws_url, headers=modest) as other:
            assert (await one.call("ping"))["error_detail"]["code"] == "rate_limited"
            assert (await other.call("ping"))["success"]


async def test_wrong_passwords_are_counted_and_logged_by_client(
    database: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    async with running_stack(database, settings=Settings(trusted_proxies=HERE)) as stack, rest(stack.url) as anyone:
        wrong = {"login": "nobody", "password": "not the right one"}
        told = await anyone.post("/v1/session", wrong, **{"X-Forwarded-For": ELSEWHERE})
        assert told.code == "auth_invalid_login"
        assert f"sign_in_refused address={ELSEWHERE}" in caplog.text
