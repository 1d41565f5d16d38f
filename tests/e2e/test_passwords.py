"""One's own password and sessions: where one is signed in, signing out elsewhere, and what a new password ends."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import pytest

from gateway.access.sessions import WebSessions
from gateway.process.config import Settings
from tests.e2e.browser import PASSWORD, Browser, browser
from tests.e2e.rest import Market, Told
from tests.e2e.stack import Stack, running_stack

OPEN = Settings(allow_signup=True)
NEW = "staple of another horse"


@pytest.fixture
async def stack(database: str) -> AsyncIterator[Stack]:
    async with running_stack(database, settings=OPEN) as running:
        yield running


@pytest.fixture
async def browsers(stack: Stack) -> AsyncIterator[list[Browser]]:
    """Three of Ada's, all signed in, and one of Bob's."""
    async with AsyncExitStack() as open_ones:
        ada, phone, work, bob = [await open_ones.enter_async_context(browser(stack.url)) for _ in range(4)]
        assert (await ada.sign_up("ada")).status == 201
        assert (await phone.sign_in("ada")).status == (await work.sign_in("ada")).status == 201
        assert (await bob.sign_up("bob")).status == 201
        yield [ada, phone, work, bob]


async def change(who: Browser, password: str = PASSWORD, new: str = NEW, **headers: str) -> Told:
    return await who.call("PUT", "/v1/password", {"password": password, "new_password": new}, **headers)


async def listed(who: Browser) -> list[dict[str, Any]]:
    told = await who.get("/v1/sessions")
    assert told.status == 200
    items: list[dict[str, Any]] = told.body["items"]
    return items


async def test_sessions_are_listed_with_what_one_knows_them_by(browsers: list[Browser]) -> None:
    ada, phone, *_ = browsers
    await phone.sign_out()
    told = await phone.post("/v1/session", {"login": "ada", "password": PASSWORD}, **{"User-Agent": "Phone\t" * 99})
    assert told.status == 201
    rows = await listed(ada)
    assert [row["current"] for row in rows] == [True, False, False]
    assert {row["address"] for row in rows} == {"127.0.0.1"}
    assert rows[-1]["user_agent"] == ("Phone\t" * 99)[:200].replace("\t", "")
    assert not {token for token in ada.cookies.values() if token in str(rows)}


async def test_one_session_or_all_others_can_be_ended(browsers: list[Browser]) -> None:
    ada, phone, work, bob = browsers
    [mine, phones, _] = await listed(ada)
    async with phone.socket() as socket:
        told = await ada.call("DELETE", f"/v1/sessions/{phones['session_id']}")
        assert told.body == {"ended": 1}
        assert await socket.closed() == 4001
    assert (await phone.get("/v1/session")).code == "auth_required"
    assert (await work.get("/v1/session")).status == 200
    assert (await ada.call("DELETE", "/v1/sessions")).body == {"ended": 1}
    assert (await work.get("/v1/session")).code == "auth_required"
    assert (await bob.get("/v1/session")).status == 200
    assert (await ada.call("DELETE", f"/v1/sessions/{mine['session_id']}")).body == {"ended": 1}
    assert not ada.cookies
    assert (await ada.get("/v1/session")).code == "auth_required"


async def test_anothers_session_is_not_found(browsers: list[Browser]) -> None:
    ada, *_, bob = browsers
    [row, *_] = await listed(ada)
    assert (await bob.call("DELETE", f"/v1/sessions/{row['session_id']}")).code == "not_found"
    assert len(await listed(bob)) == 1
    assert (await ada.get("/v1/session")).status == 200


async def test_a_new_password_ends_all_other_sessions_and_their_sockets(browsers: list[Browser]) -> None:
    ada, phone, work, bob = browsers
    token = (await work.post("/v1/ws-token")).body["token"]
    async with phone.socket() as socket, bob.socket() as other:
        assert (await other.call("subscribe", channel="executions", token=token))["success"]
        assert (await change(ada)).body == {"changed": True, "ended": 2}
        assert (await socket.closed(), await other.closed()) == (4001, 4001)
    for who in (phone, work):
        assert (await who.get("/v1/session")).code == "auth_required"
    assert (await ada.get("/v1/session")).status == (await bob.get("/v1/session")).status == 200
    assert (await phone.sign_in("ada")).code == "auth_invalid_login"
    assert (await phone.sign_in("ada", NEW)).status == 201


async def test_a_new_password_is_kept_through_a_restart(database: str) -> None:
    async with running_stack(database, settings=OPEN) as stack, browser(stack.url) as ada:
        await ada.sign_up("ada")
        async with browser(stack.url) as phone:
            await phone.sign_in("ada")
            assert (await change(ada)).status == 200
            gone = phone.cookies
    async with running_stack(database, settings=OPEN) as stack, browser(stack.url) as phone:
        phone.client.cookie_jar.update_cookies(gone)
        assert (await phone.get("/v1/session")).code == "auth_required"
        assert (await phone.sign_in("ada")).code == "auth_invalid_login"
        assert (await phone.sign_in("ada", NEW)).status == 201


@pytest.mark.parametrize(
    ("password", "new", "field"),
    [
        pytest.param("incorrect horse", NEW, "password", id="a wrong present one"),
        pytest.param(PASSWORD, "short", "new_password", id="too short"),
        pytest.param(PASSWORD, "ada ada ada ada", "new_password", id="too easy"),
        pytest.param(PASSWORD, PASSWORD, "new_password", id="the same"),
    ],
)
async def test_a_change_that_is_refused_changes_nothing(
    browsers: list[Browser], password: str, new: str, field: str
) -> None:
    ada, phone, *_ = browsers
    told = await change(ada, password, new)
    assert (told.status, told.code, told.field) == (422, "invalid_arguments", field)
    assert (await phone.get("/v1/session")).status == 200
    assert (await phone.sign_in("ada")).status == 201


async def test_who_found_a_browser_open_can_not_guess_its_password(browsers: list[Browser]) -> None:
    ada, *_ = browsers
    codes = [(await change(ada, f"guess number {n}")).code for n in range(12)]
    assert codes == ["invalid_arguments"] * 10 + ["rate_limited"] * 2


async def test_writes_of_sessions_want_the_csrf_token_and_our_origin(browsers: list[Browser]) -> None:
    ada, *_ = browsers
    [row, *_] = await listed(ada)
    for headers in ({"X-CSRF-Token": ""}, {"Origin": "http://evil.example"}):
        assert (await change(ada, **headers)).code == "auth_csrf"
        for path in ("/v1/sessions", f"/v1/sessions/{row['session_id']}"):
            assert (await ada.call("DELETE", path, **headers)).code == "auth_csrf"
    assert len(await listed(ada)) == 3


async def test_no_key_changes_a_password_or_sees_sessions(market: Market) -> None:
    key = market.admin  # every scope but trade
    for method, path in (("GET", "/v1/sessions"), ("DELETE", "/v1/sessions"), ("DELETE", "/v1/sessions/ws_0")):
        assert (await key.call(method, path)).code == "auth_permission_denied"
    body = {"password": PASSWORD, "new_password": NEW}
    assert (await key.call("PUT", "/v1/password", body)).code == "auth_permission_denied"


async def test_no_session_begins_by_a_password_that_was_changed_meanwhile(
    stack: Stack, browsers: list[Browser], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who signs in is proved by the old password just before the new one is kept."""
    ada, phone, *_ = browsers
    proved, changed = asyncio.Event(), asyncio.Event()
    begin = WebSessions.begin

    async def begin_late(self: WebSessions, *arguments: Any) -> Any:
        proved.set()
        await changed.wait()
        return await begin(self, *arguments)

    monkeypatch.setattr(WebSessions, "begin", begin_late)
    late = asyncio.create_task(phone.sign_in("ada"))
    await proved.wait()
    assert (await change(ada)).status == 200
    changed.set()
    assert (await late).code == "auth_invalid_login"
    assert len(await listed(ada)) == 1
    assert await stack.pool.fetchval("SELECT count(*) FROM market.web_session") == 2  # and Bob's
