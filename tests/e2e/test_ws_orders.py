"""Login, orders and their replies on the socket."""

from typing import Any

import pytest

from gateway.access.auth import login_signature
from gateway.client import ApiKey
from gateway.ws.routes import GATE
from market.commands import FreezeAccount, HaltLoan, Mode, SetMode
from market.ids import AccountId, LoanId
from tests.builders import buy
from tests.e2e.sockets import Socket, connected, login_params, order
from tests.e2e.stack import Stack, running_stack
from tests.patience import until

L1 = "L1/USD"


async def test_greeting_names_the_connection(stack: Stack) -> None:
    async with connected(stack.ws_url) as socket:
        assert (socket.greeting["channel"], socket.greeting["type"]) == ("status", "update")
        [row] = socket.greeting["data"]
        assert (row["system"], row["api_version"], row["epoch"]) == ("online", "v2", stack.engine.epoch)
        assert row["connection_id"]
        assert row["challenge"]
        assert row["server_time"].endswith("Z")


async def test_login_answers_with_the_account(stack: Stack) -> None:
    key = await stack.investor("A17")
    async with connected(stack.ws_url) as socket:
        reply = await socket.login(key, session="mm-1")
        assert reply["success"]
        assert reply["result"] == {
            "account": "A17",
            "scopes": ["read", "trade"],
            "last_exec_seq": 0,
            "session": "mm-1",
        }
        assert reply["time_in"] <= reply["time_out"]


async def test_a_login_of_another_connection_is_no_login(stack: Stack) -> None:
    key = await stack.investor("A17")
    async with connected(stack.ws_url) as one, connected(stack.ws_url) as other:
        reply = await other.call("login", **login_params(one.greeting, key))
        assert reply["error"] == "EAuth:Invalid signature"


async def test_the_third_failed_login_closes(stack: Stack) -> None:
    key = await stack.investor("A17")
    async with connected(stack.ws_url) as socket:
        for n in range(3):
            params = login_params(socket.greeting, ApiKey(key.key if n else "ak_none", "wrong"))
            reply = await socket.call("login", **params)
            assert reply["error_detail"]["code"] == ("auth_invalid_signature" if n else "auth_invalid_key")
        assert await socket.closed() == 4001


async def test_an_order_before_login_is_refused(stack: Stack) -> None:
    async with connected(stack.ws_url) as socket:
        reply = await socket.call("add_order", **order(L1, "buy", "98.00", "100.00"))
        assert (reply["error"], reply["success"]) == ("EAuth:Authentication required", False)


async def test_scope_and_token(stack: Stack) -> None:
    reader = await stack.investor("A17", 1_000_00, "read")
    trader = await stack.key("A17")
    token, _ = stack.keys.new_token(stack.keys.of_login(**_login("A17", trader)))
    async with connected(stack.ws_url, reader) as socket:
        params = order(L1, "buy", "98.00", "100.00")
        assert (await socket.call("add_order", **params))["error"] == "EAuth:Permission denied"
        assert (await socket.call("add_order", **params, token="nonsense"))["error"] == "EAuth:Invalid key"
        assert (await socket.call("add_order", **params, token=token))["success"]


def _login(connection_id: str, key: ApiKey) -> dict[str, Any]:
    signature = login_signature(key.secret, connection_id=connection_id, challenge="c", key=key.key)
    return {"key": key.key, "signature": signature, "connection_id": connection_id, "challenge": "c", "peer": None}


async def test_the_life_of_an_order(stack: Stack) -> None:
    key = await stack.investor("A17")
    async with connected(stack.ws_url, key) as socket:
        placed = await socket.call("add_order", **order(L1, "buy", "98.00", "100.00", cl_ord_id="mm-1", post_only=True))
        assert placed["success"], placed
        result = placed["result"]
        assert result["order_id"] == f"O-{result['engine_seq']}"
        assert (result["cl_ord_id"], result["order_status"], result["duplicate"]) == ("mm-1", "new", False)

        again = await socket.call("add_order", **order(L1, "buy", "98.00", "100.00", cl_ord_id="mm-1", post_only=True))
        assert again["result"] == {**result, "duplicate": True}
        other = await socket.call("add_order", **order(L1, "buy", "98.01", "100.00", cl_ord_id="mm-1", post_only=True))
        assert other["error_detail"]["code"] == "duplicate_id"

        smaller = await socket.call("amend_order", cl_ord_id="mm-1", order_qty="50.00", if_version=1)
        assert (smaller["result"]["version"], smaller["result"]["priority_kept"]) == (2, True)
        stale = await socket.call("amend_order", order_id=result["order_id"], limit_price="97.00", if_version=1)
        assert stale["error_detail"]["code"] == "version_mismatch"

        shown = await socket.call("get_order", order_id=result["order_id"])
        assert (shown["result"]["order_qty"], shown["result"]["order_status"]) == ("50.00", "new")
        assert (await socket.call("get_order", cl_ord_id="mm-1"))["result"] == shown["result"]

        req_id = await socket.ask(
            "cancel_order", order_id=[result["order_id"], "O-999999", "no id"], cl_ord_id=["nobody"]
        )
        replies = [await socket.reply(req_id) for _ in range(4)]
        assert [reply["success"] for reply in replies].count(True) == 1
        assert {reply["error_detail"]["code"] for reply in replies if not reply["success"]} == {"unknown_order"}
        which = [(reply.get("order_id"), reply.get("cl_ord_id")) for reply in replies if not reply["success"]]
        assert sorted(which, key=str) == [("O-999999", None), ("no id", None), (None, "nobody")]
        gone = await socket.call("cancel_order", order_id=result["order_id"])
        assert gone["error_detail"]["code"] == "order_closed"
        assert gone["error_detail"]["order_status"] == "canceled"


async def test_cancel_all_with_filters(stack: Stack) -> None:
    key = await stack.investor("A17")
    async with connected(stack.ws_url, key) as socket:
        for symbol, price, tag in ((L1, "97.00", "a"), (L1, "97.01", "b"), ("L2/USD", "97.00", "a")):
            assert (await socket.call("add_order", **order(symbol, "buy", price, "10.00", tag=tag)))["success"]
        assert (await socket.call("cancel_all", symbol=L1, tag="a"))["result"]["count"] == 1
        assert (await socket.call("cancel_all", side="sell"))["result"]["count"] == 0
        assert (await socket.call("cancel_all"))["result"] == {"count": 2, "quotes": 0}


async def test_another_accounts_order_does_not_exist(stack: Stack) -> None:
    mine, other = await stack.investor("A17"), await stack.investor("B1")
    async with connected(stack.ws_url, mine) as socket, connected(stack.ws_url, other) as thief:
        placed = await socket.call("add_order", **order(L1, "buy", "98.00", "100.00", cl_ord_id="mm-1"))
        order_id = placed["result"]["order_id"]
        for method, params in (
            ("cancel_order", {"order_id": order_id}),
            ("cancel_order", {"cl_ord_id": "mm-1"}),
            ("amend_order", {"order_id": order_id, "order_qty": "1.00"}),
            ("get_order", {"order_id": order_id}),
            ("get_order", {"cl_ord_id": "mm-1"}),
        ):
            assert (await thief.call(method, **params))["error_detail"]["code"] == "unknown_order"
        assert (await socket.call("get_order", order_id=order_id))["result"]["order_status"] == "new"


GOOD = order(L1, "buy", "98.00", "100.00")


@pytest.mark.parametrize(
    ("params", "code", "field"),
    [
        pytest.param(GOOD | {"order_qty": "0.00"}, "invalid_qty", "order_qty", id="zero quantity"),
        pytest.param(GOOD | {"order_qty": "-1.00"}, "invalid_qty", "order_qty", id="negative quantity"),
        pytest.param(GOOD | {"order_qty": "1" * 30}, "invalid_qty", "order_qty", id="huge quantity"),
        pytest.param(GOOD | {"order_qty": "1.001"}, "invalid_qty", "order_qty", id="off lot"),
        pytest.param(GOOD | {"order_qty": "0.50"}, "below_minimum", "order_qty", id="below minimum"),
        pytest.param(GOOD | {"limit_price": "98.001"}, "invalid_price", "limit_price", id="off tick"),
        pytest.param(GOOD | {"limit_price": "0"}, "invalid_price", "limit_price", id="price zero"),
        pytest.param(GOOD | {"limit_price": "151.00"}, "price_out_of_band", "limit_price", id="outside the collar"),
        pytest.param(GOOD | {"symbol": "L9/USD"}, "unknown_loan", "symbol", id="unknown loan"),
        pytest.param(GOOD | {"symbol": "L1/CNY"}, "unknown_loan", "symbol", id="unknown symbol"),
        pytest.param(GOOD | {"frobnicate": 1}, "unknown_field", "frobnicate", id="unknown field"),
        pytest.param(GOOD | {"side": 1}, "invalid_arguments", "side", id="wrong type"),
        pytest.param(GOOD | {"side": "hold"}, "invalid_arguments", "side", id="wrong word"),
        pytest.param(GOOD | {"limit_price": "9.8e1"}, "invalid_arguments", "limit_price", id="exponent in a string"),
        pytest.param(GOOD | {"order_qty": "20000.00"}, "insufficient_funds", "order_qty", id="no funds"),
        pytest.param(GOOD | {"side": "sell"}, "insufficient_claims", "order_qty", id="no claims"),
        pytest.param(GOOD | {"deadline": "2020-01-01T00:00:00Z"}, "deadline_elapsed", "deadline", id="too late"),
        pytest.param({k: v for k, v in GOOD.items() if k != "symbol"}, "invalid_arguments", "symbol", id="no symbol"),
        pytest.param(GOOD | {"cl_ord_id": "x" * 37}, "invalid_arguments", "cl_ord_id", id="long client id"),
    ],
)
async def test_a_bad_order_is_refused_and_leaves_no_trace(
    stack: Stack, params: dict[str, Any], code: str, field: str
) -> None:
    key = await stack.investor("A17", 10_000_00)
    async with connected(stack.ws_url, key) as socket:
        before = stack.engine.seq
        reply = await socket.call("add_order", **params)
        detail = reply["error_detail"]
        assert (reply["success"], detail["code"], detail["outcome"]) == (False, code, "not_executed")
        assert detail["field"] == field
        assert stack.engine.seq == before
        assert not stack.views.account(AccountId("A17")).open_orders


async def test_numbers_are_read_exactly(stack: Stack) -> None:
    key = await stack.investor("A17")
    async with connected(stack.ws_url, key) as socket:
        await socket.send(
            '{"method":"add_order","req_id":77,"params":{"symbol":"L1/USD","side":"buy","order_type":"limit",'
            '"limit_price":98.10,"order_qty":100.30}}'
        )
        placed = await socket.reply(77)
        shown = await socket.call("get_order", order_id=placed["result"]["order_id"])
        assert (shown["result"]["limit_price"], shown["result"]["order_qty"]) == ("98.10", "100.30")


async def test_modes_and_halts_refuse_by_name(stack: Stack) -> None:
    key = await stack.investor("A17")
    async with connected(stack.ws_url, key) as socket:
        await stack.do(HaltLoan(loan_id=LoanId("L1"), halted=True, reason="audit"))
        assert (await socket.call("add_order", **GOOD))["error"] == "ELoan:Halted"
        await stack.do(HaltLoan(loan_id=LoanId("L1"), halted=False), SetMode(mode=Mode.CANCEL_ONLY))
        assert (await socket.call("add_order", **GOOD))["error"] == "EService:Market in cancel_only mode"
        assert (await socket.push("status"))["data"][0]["system"] == "cancel_only"
        await stack.do(SetMode(mode=Mode.OPEN), FreezeAccount(account_id=AccountId("A17"), frozen=True))
        assert (await socket.call("add_order", **GOOD))["error"] == "EAuth:Account frozen"


async def test_a_method_that_there_is_not_is_said_so(stack: Stack) -> None:
    async with connected(stack.ws_url) as socket:
        for method in ("transfer", "frobnicate", ""):
            reply = await socket.call(method)
            assert (reply["method"], reply["error"]) == (method, "EGeneral:Unknown method")


async def test_logout_ends_what_is_private(stack: Stack) -> None:
    key = await stack.investor("A17")
    async with connected(stack.ws_url, key) as socket:
        await socket.call("subscribe", channel="executions")
        await socket.call("subscribe", channel="balances")
        assert (await socket.call("logout"))["success"]
        assert (await socket.call("add_order", **GOOD))["error"] == "EAuth:Authentication required"
        assert (await socket.call("subscribe", channel="executions"))["error"] == "EAuth:Authentication required"
        before = len(socket.seen)
        await stack.do(FreezeAccount(account_id=AccountId("A17"), frozen=True))
        await _settled(socket)
        assert [m for m in socket.seen[before:] if m.get("channel") in ("executions", "balances")] == []


async def test_a_revoked_key_closes_its_sockets(stack: Stack) -> None:
    key = await stack.investor("A17")
    async with connected(stack.ws_url, key) as socket:
        await stack.keys.revoke(key.key)
        assert (await socket.call("add_order", **GOOD))["error"] == "EAuth:Invalid key"
        assert await socket.closed() == 4001


async def _settled(socket: Socket) -> None:
    """Everything that was pushed before is read."""
    await socket.call("ping")


# Cancel on disconnect

SESSION = {"session": "mm-1", "cancel_on_disconnect": {"enabled": True, "grace_ms": 0}}


async def ended(stack: Stack, account_id: str, left: int) -> None:
    """Wait until only `left` orders of the account are open."""
    await until(lambda: len(stack.views.account(AccountId(account_id)).open_orders) == left)


async def test_orders_end_with_their_session(stack: Stack) -> None:
    key = await stack.investor("A17")
    async with connected(stack.ws_url, key) as other, connected(stack.ws_url) as socket:
        await socket.login(key, **SESSION)
        for each in (other, socket):
            assert (await each.call("add_order", **GOOD))["success"]
        await other.call("subscribe", channel="executions")
        socket.vanish()
        await ended(stack, "A17", left=1)
        [row] = (await other.push("executions", "update"))["data"]
        assert (row["exec_type"], row["cancel_reason"]) == ("canceled", "cod")


async def test_a_session_that_is_back_in_time_keeps_its_orders(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.ws.disconnect.WATCH_S", 0.05)
    key = await stack.investor("A17")
    patient = {"session": "mm-1", "cancel_on_disconnect": {"enabled": True, "grace_ms": 1_000}}
    attachments = stack.app[GATE].attachments
    async with connected(stack.ws_url) as back:  # it needs but a login to be back
        async with connected(stack.ws_url) as socket:
            await socket.login(key, **patient)
            assert (await socket.call("add_order", **GOOD))["success"]
            socket.vanish()
            await until(lambda: [each.waits for each in attachments.left()] == [False])
            await back.login(key, **patient)
        await until(lambda: [each.waits for each in attachments.left()] == [True])  # the grace has passed
        assert len(stack.views.account(AccountId("A17")).open_orders) == 1
    await ended(stack, "A17", left=0)


async def test_what_a_connection_asked_for_is_done_when_the_last_one_of_its_session_ends(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.ws.disconnect.WATCH_S", 0.05)
    key = await stack.investor("A17")
    async with connected(stack.ws_url) as last:
        await last.login(key, session="mm-1")
        async with connected(stack.ws_url) as first:
            await first.login(key, **SESSION)
            assert (await first.call("add_order", **GOOD))["success"]
            assert (await last.call("add_order", **GOOD))["success"]
        await until(lambda: bool(stack.app[GATE].attachments.left()))
        assert len(stack.views.account(AccountId("A17")).open_orders) == 2
    await ended(stack, "A17", left=1)
    [left] = stack.views.account(AccountId("A17")).open_orders.values()
    assert not left.cancel_on_disconnect


async def test_an_order_may_ask_to_end_with_its_connection(stack: Stack) -> None:
    key = await stack.investor("A17")
    async with connected(stack.ws_url, key) as socket:
        assert (await socket.call("add_order", **GOOD))["success"]
        assert (await socket.call("add_order", **GOOD, cancel_on_disconnect=True))["success"]
    await ended(stack, "A17", left=1)
    [left] = stack.views.account(AccountId("A17")).open_orders.values()
    assert not left.cancel_on_disconnect


async def test_logout_ends_a_session_too(stack: Stack) -> None:
    key = await stack.investor("A17")
    async with connected(stack.ws_url) as socket:
        await socket.login(key, **SESSION)
        assert (await socket.call("add_order", **GOOD))["success"]
        await socket.call("logout")
        await ended(stack, "A17", left=0)


async def test_orders_of_former_sessions_are_cancelled_when_the_service_starts_again(database: str) -> None:
    """Whoever asked for it, for one order or for a whole session; a crash of the service is a disconnect too."""
    async with running_stack(database) as stack:
        key = await stack.investor("A")
        async with connected(stack.ws_url) as socket:
            await socket.login(key, session="s", cancel_on_disconnect={"enabled": True, "grace_ms": 60_000})
            wanted = order(L1, "buy", "90.00", "10.00", cl_ord_id="of-the-session")
            assert (await socket.call("add_order", **wanted))["success"]
            await stack.do(buy("A", 9_000, 10_00, client_order_id="asked", cancel_on_disconnect=True))
            await stack.do(buy("A", 9_000, 10_00, client_order_id="stays"))
    async with running_stack(database) as stack:
        left = {each.client_order_id for each in stack.views.accounts[AccountId("A")].open_orders.values()}
        assert left == {"stays"}
        ended = await stack.pool.fetchval(
            "SELECT cancel_reason FROM market.orders WHERE client_order_id = 'of-the-session'"
        )
        assert ended == "cod"


async def test_a_stranger_is_told_to_log_in_before_anything_else(stack: Stack) -> None:
    async with connected(stack.ws_url) as socket:
        for method in ("add_order", "batch_add", "amend_order", "cancel_order", "cancel_all", "get_order"):
            reply = await socket.call(method, nonsense=1)
            assert reply["error_detail"]["code"] == "auth_required", method
