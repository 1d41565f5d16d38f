"""People in browsers: sign up, in and out; what a session may do; and what pages of other sites can't."""

from collections.abc import AsyncIterator
from http.cookies import SimpleCookie

import aiohttp
import pytest

from gateway.process.config import Settings
from tests.e2e.browser import PASSWORD, Browser, browser
from tests.e2e.rest import Market, order, rest
from tests.e2e.stack import Stack, running_stack

OPEN = Settings(allow_signup=True, signup_cash="USD:5000.00")


@pytest.fixture
async def stack(database: str) -> AsyncIterator[Stack]:
    async with running_stack(database, settings=OPEN) as running:
        yield running


@pytest.fixture
async def ada(stack: Stack) -> AsyncIterator[Browser]:
    """Signed up, with 5,000 USD."""
    async with browser(stack.url) as one:
        assert (await one.sign_up("ada", name="Ada L.")).status == 201
        yield one


async def test_who_signs_up_has_an_account_and_can_trade(market: Market, ada: Browser) -> None:
    who = (await ada.get("/v1/session")).body
    assert (who["login"], who["kind"], who["name"]) == ("ada", "investor", "Ada L.")
    assert who["scopes"] == ["read", "trade"]
    assert (await ada.get("/v1/balances")).body["cash"][0]["available"] == "5000.00"
    await market.seller.post("/v1/orders", order("sell", "97.00", "50.00"))
    bought = await ada.post("/v1/orders", order("buy", "97.00", "50.00"))
    assert (bought.status, bought.body["order_status"]) == (201, "filled")
    assert (await ada.get("/v1/positions")).body["items"][0]["total"] == "50.00"
    assert (await ada.post("/v1/admin/mode", {"mode": "halted"})).code == "auth_permission_denied"


async def test_the_cookie_is_out_of_reach_of_scripts_and_other_sites(stack: Stack) -> None:
    async with browser(stack.url) as one:
        told = await one.sign_up("ada")
    cookie = SimpleCookie(told.headers["Set-Cookie"])["debt_market_session"]
    assert (cookie["httponly"], cookie["samesite"], cookie["path"]) == (True, "Strict", "/")
    assert cookie["max-age"] == str(12 * 3_600)
    assert not cookie["secure"]
    assert cookie.value not in str(told.body)


async def test_behind_a_proxy_with_tls_the_cookie_is_secure(database: str) -> None:
    settings = Settings(allow_signup=True, public_url="https://market.example")
    async with running_stack(database, settings=settings) as stack, browser(stack.url) as one:
        told = await one.call("POST", "/v1/users", {"login": "ada", "password": PASSWORD}, Origin="http://evil.example")
        assert (told.status, told.code) == (403, "auth_csrf")
        told = await one.call(
            "POST", "/v1/users", {"login": "ada", "password": PASSWORD}, Origin="https://market.example"
        )
        cookie = SimpleCookie(told.headers["Set-Cookie"])["__Host-debt_market_session"]
        assert cookie["secure"]
        assert "max-age" in told.headers["Strict-Transport-Security"]


async def test_a_token_is_kept_only_as_its_hash(stack: Stack, ada: Browser) -> None:
    rows = await stack.pool.fetch(
        "SELECT s::text AS session, u::text AS who FROM market.web_session s, market.web_user u"
    )
    [token] = ada.cookies.values()
    assert len(rows) == 1
    assert token not in rows[0]["session"]
    assert PASSWORD not in rows[0]["who"]
    assert "$argon2id$" in rows[0]["who"]


async def test_signing_out_ends_the_session_here_and_everywhere(stack: Stack, ada: Browser) -> None:
    cookies = ada.cookies
    told = await ada.sign_out()
    assert told.body == {"signed_out": True}
    assert not ada.cookies
    assert (await ada.get("/v1/session")).code == "auth_required"
    async with browser(stack.url) as thief:
        thief.client.cookie_jar.update_cookies(cookies)
        assert (await thief.get("/v1/balances")).code == "auth_required"
    assert await stack.pool.fetchval("SELECT count(*) FROM market.web_session") == 0
    assert (await ada.sign_in("ada")).status == 201


async def test_a_session_and_a_login_survive_a_restart(database: str) -> None:
    async with running_stack(database, settings=OPEN) as stack, browser(stack.url) as one:
        await one.sign_up("ada")
        cookies, csrf = one.cookies, one.csrf
        await one.sign_up("bob")
        gone = one.cookies
        await one.sign_out()
    async with running_stack(database, settings=OPEN) as stack, browser(stack.url) as one:
        one.client.cookie_jar.update_cookies(cookies)
        one.csrf = csrf
        assert (await one.get("/v1/session")).body["login"] == "ada"
        assert (await one.post("/v1/orders", order(qty="1.00"))).status == 201
        one.client.cookie_jar.update_cookies(gone)
        assert (await one.get("/v1/session")).code == "auth_required"
        assert (await one.sign_in("bob")).status == 201


async def test_an_expired_session_is_over(stack: Stack, ada: Browser, monkeypatch: pytest.MonkeyPatch) -> None:
    live, now = stack.keys.live, stack.keys._clock()
    monkeypatch.setattr(live, "_clock", lambda: now + 12 * 3_600 * 10**9 + 10**9)
    assert (await ada.get("/v1/session")).code == "auth_required"


async def test_a_write_without_the_csrf_token_is_refused(stack: Stack, ada: Browser) -> None:
    seq = stack.engine.seq
    for token in ("", "0" * 64, "é"):
        told = await ada.call("POST", "/v1/orders", order(), **{"X-CSRF-Token": token})
        assert (told.status, told.code, told.field) == (403, "auth_csrf", "X-CSRF-Token")
    for method, path in (("DELETE", "/v1/orders/O-1"), ("DELETE", "/v1/session"), ("POST", "/v1/api-keys")):
        assert (await ada.call(method, path, **{"X-CSRF-Token": ""})).code == "auth_csrf"
    assert stack.engine.seq == seq
    assert (await ada.get("/v1/session", **{"X-CSRF-Token": ""})).body["csrf_token"] == ada.csrf


async def test_anothers_csrf_token_is_none(stack: Stack, ada: Browser) -> None:
    async with browser(stack.url) as bob:
        await bob.sign_up("bob")
        assert bob.csrf != ada.csrf
        assert (await bob.call("POST", "/v1/ws-token", {}, **{"X-CSRF-Token": ada.csrf or ""})).code == "auth_csrf"


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "http://127.0.0.1:1", "https://", "\t"])
async def test_another_sites_page_can_neither_write_nor_sign_in_nor_connect(ada: Browser, origin: str) -> None:
    origin = origin.replace("\t", "x y")
    for path, body in (
        ("/v1/orders", order()),
        ("/v1/session", {"login": "ada", "password": PASSWORD}),
        ("/v1/users", {"login": "eve", "password": PASSWORD}),
    ):
        told = await ada.call("POST", path, body, Origin=origin)
        assert (told.status, told.code, told.field) == (403, "auth_csrf", "Origin")
    with pytest.raises(aiohttp.WSServerHandshakeError) as refusal:
        async with ada.socket(Origin=origin):
            pass
    assert refusal.value.status == 403


async def test_further_origins_can_be_allowed(database: str) -> None:
    settings = Settings(allow_signup=True, allowed_origins="https://desk.example,http://localhost:5173")
    async with running_stack(database, settings=settings) as stack, browser(stack.url) as one:
        told = await one.call(
            "POST", "/v1/users", {"login": "ada", "password": PASSWORD}, Origin="http://localhost:5173"
        )
        assert told.status == 201
        async with one.socket(Origin="https://desk.example") as socket:
            assert socket.greeting["data"][0]["account"] == told.body["account_id"]


@pytest.mark.parametrize(
    ("body", "code", "field"),
    [
        ({"login": "ada", "password": PASSWORD}, "duplicate_id", "login"),
        ({"login": "ADA", "password": PASSWORD}, "duplicate_id", "login"),
        ({"login": "bob", "password": "short"}, "invalid_arguments", "password"),
        ({"login": "bob", "password": "x" * 129}, "invalid_arguments", "password"),
        ({"login": "bob", "password": "aaaaaaaaaaaa"}, "invalid_arguments", "password"),
        ({"login": "bob", "password": "Password123!"}, "invalid_arguments", "password"),
        ({"login": "bobby.tables", "password": "Bobby.Tables1"}, "invalid_arguments", "password"),
        ({"login": "b", "password": PASSWORD}, "invalid_arguments", "login"),
        ({"login": "bob marley", "password": PASSWORD}, "invalid_arguments", "login"),
        ({"login": "bob", "password": PASSWORD, "scopes": ["admin"]}, "unknown_field", "scopes"),
        ({"login": "bob"}, "invalid_arguments", "password"),
    ],
)
async def test_a_bad_sign_up_leaves_no_trace(
    stack: Stack, ada: Browser, body: dict[str, object], code: str, field: str
) -> None:
    seq = stack.engine.seq
    told = await ada.post("/v1/users", body)
    assert (told.code, told.field) == (code, field)
    assert stack.engine.seq == seq
    assert await stack.pool.fetchval("SELECT count(*) FROM market.web_user") == 1


async def test_signing_up_can_be_off_and_is_throttled_by_address(database: str) -> None:
    async with running_stack(database) as stack, browser(stack.url) as one:
        assert (await one.sign_up("ada")).code == "auth_permission_denied"
    settings = Settings(allow_signup=True, signups_per_h=1)
    async with running_stack(database, settings=settings) as stack, browser(stack.url) as one:
        assert (await one.sign_up("ada")).status == 201
        told = await one.sign_up("bob")
        assert (told.status, told.code) == (429, "rate_limited")
        assert 3_500 < int(told.headers["Retry-After"]) <= 3_600


async def test_a_wrong_password_and_an_unknown_login_are_the_same(ada: Browser) -> None:
    wrong, unknown = await ada.sign_in("ada", "incorrect horse"), await ada.sign_in("eve", "incorrect horse")
    assert (wrong.status, wrong.code) == (401, "auth_invalid_login")
    assert wrong.body == unknown.body
    assert (await ada.get("/v1/session")).body["login"] == "ada"


async def test_guessing_is_throttled_by_login_known_or_not(ada: Browser) -> None:
    for login in ("ada", "eve"):
        codes = [(await ada.sign_in(login, f"guess number {n}")).code for n in range(12)]
        assert codes == ["auth_invalid_login"] * 10 + ["rate_limited"] * 2
    assert (await ada.sign_in("ada")).code == "rate_limited"
    assert (await ada.sign_up("carol")).status == 201


async def test_guessing_is_throttled_by_address(ada: Browser) -> None:
    codes = [(await ada.sign_in(f"login{n // 9}", f"guess number {n}")).code for n in range(60)]
    assert codes[:50] == ["auth_invalid_login"] * 50
    assert codes[-1] == "rate_limited"


async def test_right_passwords_are_not_throttled(ada: Browser) -> None:
    for _ in range(12):
        assert (await ada.sign_in("ada")).status == 201


async def test_one_person_has_twenty_sessions_the_oldest_ends(stack: Stack, ada: Browser) -> None:
    first = ada.cookies
    for _ in range(20):
        await ada.sign_in("ada")
    assert await stack.pool.fetchval("SELECT count(*) FROM market.web_session") == 20
    async with browser(stack.url) as other:
        other.client.cookie_jar.update_cookies(first)
        assert (await other.get("/v1/session")).code == "auth_required"


async def test_an_operator_signs_in_to_administer(market: Market) -> None:
    wanted = {"login": "Op", "password": PASSWORD, "account_id": "HOUSE", "scopes": ["read", "admin"]}
    assert (await market.admin.post("/v1/admin/users", {**wanted, "login": "Op2", "account_id": "NONE"})).status == 404
    assert (await market.buyer.post("/v1/admin/users", {**wanted, "login": "Op2"})).code == "auth_permission_denied"
    made = await market.admin.post("/v1/admin/users", {**wanted, "login": "Oper"})
    assert (made.status, made.body["login"]) == (201, "oper")
    assert (await market.admin.post("/v1/admin/users", {**wanted, "login": "Oper"})).code == "duplicate_id"
    async with browser(market.stack.url) as one:
        await one.sign_in("OPER")
        assert (await one.post("/v1/admin/mode", {"mode": "cancel_only", "reason": "lunch"})).status == 200
        assert (await one.post("/v1/orders", order())).code == "auth_permission_denied"
    actor = await market.stack.pool.fetchval("SELECT actor FROM market.command_log ORDER BY seq DESC LIMIT 1")
    assert actor == made.body["user_id"]


async def test_a_key_may_ask_who_it_is_and_has_no_session(market: Market) -> None:
    told = await market.buyer.get("/v1/session")
    assert (told.body["account_id"], told.body["login"], told.body["csrf_token"]) == ("B", None, None)
    assert (await market.buyer.call("DELETE", "/v1/session")).code == "not_found"
    assert (await market.anyone.get("/v1/session")).code == "auth_required"


async def test_a_signed_request_counts_before_the_cookie(market: Market, ada: Browser) -> None:
    async with rest(market.stack.url) as client:
        signed = client.of(market.buyer.key)
        cookie = "; ".join(f"{name}={value}" for name, value in ada.cookies.items())
        assert (await signed.get("/v1/session", Cookie=cookie)).body["account_id"] == "B"
        told = await client.raw("GET", "/v1/session", b"", {"X-API-Key": "ak_x", "Cookie": cookie})
        assert told.code == "auth_invalid_key"


# On the socket


async def test_a_socket_of_a_session_needs_no_login(market: Market, ada: Browser) -> None:
    async with ada.socket() as socket:
        [row] = socket.greeting["data"]
        assert row["account"] == (await ada.get("/v1/session")).body["account_id"]
        assert (await socket.call("subscribe", channel="balances"))["success"]
        placed = await socket.call("add_order", symbol="L1/USD", side="buy", limit_price="90.00", order_qty="1.00")
        assert placed["result"]["order_status"] == "new"
    found = (await ada.get("/v1/orders")).body["items"]
    assert [each["order_id"] for each in found] == [placed["result"]["order_id"]]


async def test_a_socket_ends_with_its_session(ada: Browser) -> None:
    async with ada.socket() as socket:
        await ada.sign_out()
        assert await socket.closed() == 4001
    async with ada.socket() as socket:
        assert "account" not in socket.greeting["data"][0]
        assert (await socket.call("get_order", order_id="O-1"))["error_detail"]["code"] == "auth_required"


async def test_a_socket_that_used_a_token_ends_with_the_tokens_session(stack: Stack, ada: Browser) -> None:
    token = (await ada.post("/v1/ws-token")).body["token"]
    async with browser(stack.url) as other, other.socket() as socket:
        assert (await socket.call("subscribe", channel="executions", token=token))["success"]
        await ada.sign_out()
        assert await socket.closed() == 4001


async def test_every_answer_tells_browsers_what_not_to_do(market: Market) -> None:
    for told in (
        await market.anyone.get("/v1/time"),
        await market.anyone.get("/v1/nothing"),
        await market.buyer.post("/v1/orders", order()),
    ):
        assert told.headers["X-Content-Type-Options"] == "nosniff"
        assert "default-src 'none'" in told.headers["Content-Security-Policy"]
        assert "Access-Control-Allow-Origin" not in told.headers
