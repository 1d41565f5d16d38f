"""Mass quotes as a market-maker meets them: one frame, a word per side, gone with the connection."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from gateway.client import ApiKey
from market.settlement.check import check
from market.settlement.replay import replay
from tests.builders import buy, sell
from tests.e2e.rest import rest
from tests.e2e.sockets import Json, Socket, connected, order
from tests.e2e.stack import Stack
from tests.patience import PATIENCE_S

L1, L2 = "L1/USD", "L2/USD"


def quote(symbol: str, bid: str | None, ask: str | None, qty: str = "10.00") -> Json:
    row: Json = {"symbol": symbol}
    if bid is not None:
        row |= {"bid": bid, "bid_qty": qty}
    if ask is not None:
        row |= {"ask": ask, "ask_qty": qty}
    return row


@pytest.fixture
async def maker(stack: Stack) -> ApiKey:
    """A market-maker with cash and 100.00 of each loan."""
    key = await stack.investor("MM")
    for loan_id in ("L1", "L2"):
        await stack.do(sell("ORIG", 10_000, 100_00, loan_id=loan_id), buy("MM", 10_000, 100_00, loan_id=loan_id))
    return key


@pytest.fixture
async def mm(stack: Stack, maker: ApiKey) -> AsyncIterator[Socket]:
    async with connected(stack.ws_url, maker) as socket:
        yield socket


async def held(socket: Socket) -> dict[str, str]:
    """What the account of a socket has reserved, by asset, but zeros."""
    await socket.call("subscribe", channel="balances")
    rows = (await socket.push("balances", "snapshot"))["data"]
    await socket.call("unsubscribe", channel="balances")
    return {row["asset"]: row["held"] for row in rows if row["held"] != "0.00"}


async def book(stack: Stack, symbol: str = L1) -> tuple[list[Any], list[Any]]:
    """The book as the public sees it."""
    async with connected(stack.ws_url) as anyone:
        await anyone.call("subscribe", channel="book", symbol=symbol)
        [row] = (await anyone.push("book", "snapshot"))["data"]
        return tuple([(level["price"], level["qty"]) for level in row[side]] for side in ("bids", "asks"))  # type: ignore[return-value]


async def emptied(stack: Stack) -> None:
    """Wait until the book of L1 has nothing any more."""
    async with asyncio.timeout(PATIENCE_S):
        while await book(stack) != ([], []):
            await asyncio.sleep(0.02)


async def test_a_frame_is_answered_side_by_side(stack: Stack, mm: Socket) -> None:
    quotes = [quote(L1, "98.20", "98.90"), quote(L2, "97.00", None), quote("X/USD", "97.00", None)]
    told = await mm.call("mass_quote", quote_set="q1", quotes=quotes)
    assert told["success"], told
    rows = told["result"]["quotes"]
    assert (told["result"]["quote_set"], told["result"]["accepted"]) == ("q1", 3)
    assert rows[:2] == [{"symbol": L1, "bid": "ok", "ask": "ok"}, {"symbol": L2, "bid": "ok", "ask": None}]
    assert (rows[2]["bid"], rows[2]["ask"]) == ("ELoan:Unknown", None)
    assert rows[2]["bid_detail"]["code"] == "unknown_loan"
    assert told["rate"]["bucket"] == "orders"
    assert await book(stack) == ([("98.20", "10.00")], [("98.90", "10.00")])

    moved = [quote(L1, "98.30", "98.20"), quote(L2, None, "99.00", "500.00")]
    rows = (await mm.call("mass_quote", quote_set="q1", quotes=moved))["result"]["quotes"]
    assert (rows[0]["bid"], rows[0]["ask"]) == ("ok", "EOrder:Self trade")
    assert (rows[1]["bid"], rows[1]["ask"]) == (None, "EOrder:Insufficient claims")
    lacking = {"code": "insufficient_claims", "field": "ask_qty", "have": "100.00", "need": "500.00"}
    assert lacking.items() <= rows[1]["ask_detail"].items()
    assert await book(stack) == ([("98.30", "10.00")], [])
    assert await book(stack, L2) == ([], [])
    assert await stack.pool.fetchval("SELECT count(*) FROM market.orders WHERE account_id = 'MM'") == 2, "no rows"


@pytest.mark.parametrize(
    ("quotes", "field"),
    [
        ([], "quotes"),
        ([{"symbol": L1, "bid": "98.00"}], "quotes.0.bid_qty"),
        ([{"symbol": L1, "ask_qty": "98.00"}], "quotes.0.ask"),
        ([{"symbol": L1}, {"symbol": L2, "bid": "x", "bid_qty": "1"}], "quotes.1.bid"),
        ([{"symbol": L1, "bid": 9e1, "bid_qty": True}], "quotes.0.bid_qty"),
        ([{"symbol": L1, "bids": "98.00"}], "quotes.0.bids"),
        ([{"bid": "98.00", "bid_qty": "1.00"}], "quotes.0.symbol"),
        ([{"symbol": L1}] * 2, "quotes"),
        ([{"symbol": f"L{n}/USD"} for n in range(501)], "quotes"),
        ("all", "quotes"),
    ],
)
async def test_what_is_malformed_refuses_the_frame(mm: Socket, quotes: Any, field: str) -> None:
    told = await mm.call("mass_quote", quotes=quotes)
    assert not told["success"]
    assert told["error_detail"]["field"] == field, told


async def test_finer_than_its_unit_or_too_much_is_refused_and_zero_withdraws(mm: Socket) -> None:
    good = [quote(L1, "98.20", None)]
    for qty, wanted in (("0.001", "EOrder:Invalid quantity"), ("1e30", None), ("0.00", None), ("0", None)):
        assert (await mm.call("mass_quote", quotes=good))["result"]["accepted"] == 1
        told = await mm.call("mass_quote", quotes=[quote(L1, "98.20", None, qty)])
        if qty == "1e30":
            assert told["error_detail"]["field"] == "quotes.0.bid_qty", "no plain notation"
            continue
        assert told["result"]["quotes"][0]["bid"] == wanted
        assert await held(mm) == {}


async def test_a_quote_is_told_on_its_channel_and_its_trade_as_an_execution(stack: Stack, mm: Socket) -> None:
    await mm.call("mass_quote", quotes=[quote(L1, "98.20", "98.90")], mmp_group="g")
    await mm.call("subscribe", channel="quotes")
    snapshot = (await mm.push("quotes", "snapshot"))["data"]
    assert [(row["side"], row["price"], row["qty"], row["status"]) for row in snapshot] == [
        ("buy", "98.20", "10.00", "new"),
        ("sell", "98.90", "10.00", "new"),
    ]
    assert {"symbol": L1, "quote_set": "default", "mmp_group": "g", "reason": None}.items() <= snapshot[0].items()
    await mm.call("subscribe", channel="executions")
    assert (await mm.push("executions", "snapshot"))["data"] == [], "quotes are no orders"

    taker = await stack.investor("T")
    async with connected(stack.ws_url, taker) as other:
        await other.call("add_order", **order(L1, "buy", "99.00", "4.00"))
    execution = await mm.push("executions", "update")
    [row] = execution["data"]
    assert (row["exec_type"], row["order_id"], row["last_qty"]) == ("trade", snapshot[1]["order_id"], "4.00")
    assert (row["order_status"], row["leaves_qty"]) == ("partially_filled", "6.00")
    [row] = (await mm.push("quotes", "update"))["data"]
    assert (row["status"], row["qty"], row["cum_qty"]) == ("partially_filled", "6.00", "4.00")

    assert (await mm.call("cancel_order", order_id=row["order_id"]))["error_detail"]["code"] == "unknown_order"
    told = await mm.call("quote_cancel", quote_set="default", symbol=[L1])
    assert told["result"] == {"count": 2, "quotes": 2}
    rows = (await mm.push("quotes", "update"))["data"]
    assert {(row["status"], row["reason"]) for row in rows} == {("canceled", "user")}
    async with connected(stack.ws_url, await stack.key("MM")) as second:
        await second.call("subscribe", channel="executions", from_seq=execution["sequence"] - 1)
        assert (await second.push("executions", "update"))["data"] == execution["data"], "durable, and told again"
    assert (await check(stack.dsn)).ok


async def test_rest_tells_what_quotes_traded_and_hold(stack: Stack, maker: ApiKey, mm: Socket) -> None:
    """Each answer is held to the published contract by the client."""
    await mm.call("mass_quote", quotes=[quote(L1, "98.20", "98.90")])
    await stack.do(sell("ORIG", 9_820, 4_00))
    async with rest(stack.url) as anyone:
        own = anyone.of(maker)
        fill = (await own.get("/v1/executions")).body["items"][-1]
        assert (fill["last_qty"], fill["order_id"][:2]) == ("4.00", "Q-")
        assert (await own.get(f"/v1/orders/{fill['order_id']}")).code == "unknown_order"
        assert (await own.get("/v1/trades")).body["items"][0]["order_id"] == fill["order_id"]
        assert (await own.get("/v1/orders")).body["items"] == []
        claims = (await own.get("/v1/balances")).body["claims"]
        assert {"loan_id": "L1", "total": "104.00", "held": "10.00"}.items() <= claims[0].items()
        assert {row["leg"] for row in (await own.get("/v1/statement")).body["items"]} >= {"principal", "claim"}
        assert (await own.post("/v1/orders/cancel-all")).body["quotes"] == 2


async def test_cancel_all_and_the_kill_switch_take_quotes_along(mm: Socket) -> None:
    await mm.call("add_order", **order(L1, "buy", "90.00", "10.00"))
    await mm.call("mass_quote", quotes=[quote(L1, "98.20", "98.90"), quote(L2, "97.00", None)])
    assert (await mm.call("cancel_all", symbol=L2))["result"] == {"count": 0, "quotes": 1}
    assert (await mm.call("cancel_all", side="sell"))["result"] == {"count": 0, "quotes": 1}
    assert (await mm.call("cancel_all", block=True))["result"] == {"count": 1, "quotes": 1}
    assert await held(mm) == {}
    told = await mm.call("mass_quote", quotes=[quote(L1, "98.20", None)])
    assert (told["error"], told["error_detail"]["code"]) == ("EOrder:Blocked", "kill_switch")
    await mm.call("unblock")
    assert (await mm.call("mass_quote", quotes=[quote(L1, "98.20", None)]))["success"]


async def test_the_dead_mans_switch_takes_quotes_along(mm: Socket) -> None:
    await mm.call("subscribe", channel="quotes")
    await mm.call("mass_quote", quotes=[quote(L1, "98.20", None)])
    await mm.call("cancel_all_orders_after", timeout=1)
    while (row := (await mm.push("quotes", "update"))["data"][0])["status"] != "canceled":
        pass
    assert row["reason"] == "dead_man"


@pytest.mark.parametrize("end", ["close", "vanish", "logout", "revoke"])
async def test_quotes_end_with_their_connection(stack: Stack, maker: ApiKey, end: str) -> None:
    """At once, whatever grace the session has for its orders; another connection's stay."""
    own = await stack.key("MM")
    async with connected(stack.ws_url, maker) as watcher:
        await watcher.call("mass_quote", quotes=[quote(L2, "97.00", None)], quote_set="other")
        await watcher.call("subscribe", channel="quotes")
        async with connected(stack.ws_url) as leaving:
            grace = {"enabled": True, "grace_ms": 60_000}
            await leaving.login(own, session="mm-1", cancel_on_disconnect=grace)
            await leaving.call("add_order", **order(L1, "buy", "90.00", "10.00"))
            await leaving.call("mass_quote", quotes=[quote(L1, "98.20", "98.90")])
            match end:
                case "vanish":
                    leaving.vanish()
                case "logout":
                    await leaving.call("logout")
                case "revoke":
                    await stack.keys.revoke(own.key)
                    await leaving.closed()
                case _:
                    await leaving.connection.close()
            while (rows := (await watcher.push("quotes", "update"))["data"])[0]["status"] != "canceled":
                pass
        assert [(row["symbol"], row["reason"]) for row in rows] == [(L1, "cod")] * 2
        assert await book(stack) == ([("90.00", "10.00")], []), "the order has its grace"
        assert await book(stack, L2) == ([("97.00", "10.00")], [])


async def test_two_sessions_of_an_account_share_its_sets(stack: Stack, maker: ApiKey, mm: Socket) -> None:
    async with connected(stack.ws_url, maker) as second:
        await mm.call("mass_quote", quotes=[quote(L1, "98.20", "98.90"), quote(L2, "97.00", None)], quote_set="q")
        await second.call("mass_quote", quotes=[quote(L1, "98.20", "98.80")], quote_set="q")
        assert await book(stack) == ([("98.20", "10.00")], [("98.80", "10.00")])
        await mm.call("logout")
        async with asyncio.timeout(PATIENCE_S):
            while (await book(stack, L2))[0]:
                await asyncio.sleep(0.02)
        assert await book(stack) == ([("98.20", "10.00")], [("98.80", "10.00")]), "whoever quoted last has them"
        neighbour = await stack.investor("N")
        async with connected(stack.ws_url, neighbour) as other:
            assert (await other.call("quote_cancel"))["result"]["quotes"] == 0
            await other.call("subscribe", channel="quotes")
            assert (await other.push("quotes", "snapshot"))["data"] == []
    await emptied(stack)


async def test_a_rebuild_of_the_engine_ends_every_quote_and_the_log_agrees(stack: Stack, mm: Socket) -> None:
    await mm.call("mass_quote", quotes=[quote(L1, "98.20", "98.90")])
    await stack.do(sell("ORIG", 9_820, 4_00))
    await mm.call("subscribe", channel="quotes")
    await mm.push("quotes", "snapshot")
    assert (await replay(stack.dsn)).ok, "a log of a market with quotes makes what the tables hold, which is none"
    await stack.cut_engine_off()
    rows = (await mm.push("quotes", "snapshot"))["data"]
    assert {(row["status"], row["reason"]) for row in rows} == {("canceled", "restart")}
    assert len(rows) == 2
    await emptied(stack)
    assert await held(mm) == {}
    async with asyncio.timeout(PATIENCE_S):
        while not (told := await mm.call("mass_quote", quotes=[quote(L1, "98.10", None)]))["success"]:
            assert told["error_detail"]["code"] == "market_mode"
    await stack.do(sell("ORIG", 9_810, 4_00))
    assert (await replay(stack.dsn)).ok
    report = await check(stack.dsn)
    assert report.ok, report


async def test_market_maker_protection(stack: Stack, mm: Socket) -> None:
    asked = {"group": "g", "max_fills": 2, "max_face": "50.00", "window_ms": 60_000}
    assert (await mm.call("set_mmp", **asked))["result"] == asked
    await mm.call("subscribe", channel="quotes")
    await mm.push("quotes", "snapshot")
    quotes = [quote(L1, "98.20", "98.90"), quote(L2, "97.00", None)]
    await mm.call("mass_quote", quotes=quotes, mmp_group="g")
    await mm.push("quotes", "update")
    await stack.do(sell("ORIG", 9_820, 2_00))
    await mm.push("quotes", "update")
    await stack.do(sell("ORIG", 9_820, 2_00))
    rows = (await mm.push("quotes", "update"))["data"]
    assert {(row["symbol"], row["side"], row["reason"]) for row in rows} == {
        (L1, "buy", "mmp"),
        (L1, "sell", "mmp"),
        (L2, "buy", "mmp"),
    }
    told = await mm.call("mass_quote", quotes=quotes, mmp_group="g")
    assert (told["error"], told["error_detail"]["code"]) == ("EOrder:Blocked", "mmp_frozen")
    await stack.cut_engine_off()
    async with asyncio.timeout(PATIENCE_S):
        while (told := await mm.call("mass_quote", quotes=quotes, mmp_group="g"))["error_detail"]["retryable"]:
            pass
    assert told["error_detail"]["code"] == "mmp_frozen", "it outlives the engine"
    assert (await mm.call("reset_mmp", group="g"))["result"] == {"group": "g"}
    assert (await mm.call("mass_quote", quotes=quotes, mmp_group="g"))["result"]["accepted"] == 3
    for bad in ({"max_fills": 0}, {"max_face": "0.00"}, {"window_ms": 0}, {"max_fills": None, "max_face": None}):
        assert not (await mm.call("set_mmp", **{**asked, **bad}))["success"]
    assert (await mm.call("reset_mmp", group="none"))["error_detail"]["field"] == "group"


async def test_quotes_are_for_those_who_may_trade(stack: Stack) -> None:
    reader = await stack.investor("R", 1_00, "read")
    for method, params in (("mass_quote", {"quotes": [quote(L1, "98.20", None)]}), ("quote_cancel", {})):
        async with connected(stack.ws_url) as anyone:
            assert (await anyone.call(method, **params))["error_detail"]["code"] == "auth_required"
        async with connected(stack.ws_url, reader) as socket:
            assert (await socket.call(method, **params))["error_detail"]["code"] == "auth_permission_denied"
