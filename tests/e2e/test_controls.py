"""Kill switch, dead man's switch, and the final answer about an order that may or may not have arrived."""

import asyncio

from tests.e2e.rest import Market
from tests.e2e.rest import order as rest_order
from tests.e2e.sockets import connected, order
from tests.e2e.stack import Stack
from tests.patience import PATIENCE_S

L1 = "L1/USD"
GOOD = order(L1, "buy", "98.00", "10.00")


async def test_the_kill_switch(stack: Stack) -> None:
    key, other = await stack.investor("A"), await stack.investor("B")
    async with connected(stack.ws_url, key) as socket, connected(stack.ws_url, other) as neighbour:
        placed = (await socket.call("add_order", **GOOD))["result"]
        assert (await socket.call("cancel_all", block=True))["result"] == {"count": 1, "quotes": 0}
        shown = await socket.call("get_order", order_id=placed["order_id"])
        assert shown["result"]["cancel_reason"] == "kill_switch"
        blocked = await socket.call("add_order", **GOOD)
        assert (blocked["error"], blocked["error_detail"]["code"]) == ("EOrder:Blocked", "kill_switch")
        assert (await neighbour.call("add_order", **GOOD))["success"]
        assert (await socket.call("unblock"))["result"] == {"duplicate": False}
        assert (await socket.call("unblock"))["result"] == {"duplicate": True}
        assert (await socket.call("add_order", **GOOD))["success"]


async def test_the_kill_switch_over_rest(market: Market) -> None:
    await market.buyer.post("/v1/orders", rest_order())
    assert (await market.buyer.post("/v1/orders/cancel-all", {"block": True})).body["count"] == 1
    told = await market.buyer.post("/v1/orders", rest_order())
    assert (told.status, told.code) == (409, "kill_switch")
    assert not (await market.buyer.post("/v1/orders/unblock")).body["duplicate"]
    assert (await market.buyer.post("/v1/orders", rest_order())).status == 201


async def test_an_order_that_never_came_never_will(stack: Stack) -> None:
    key = await stack.investor("A")
    async with connected(stack.ws_url, key) as socket:
        for _ in range(2):
            told = await socket.call("resolve_order", cl_ord_id="late")
            assert told["result"] == {"exists": False, "fenced": True}
        late = await socket.call("add_order", **GOOD, cl_ord_id="late")
        assert late["error_detail"]["code"] == "duplicate_id"
        assert (await socket.call("get_order", cl_ord_id="late"))["error_detail"]["code"] == "unknown_order"

        placed = (await socket.call("add_order", **GOOD, cl_ord_id="here"))["result"]
        await socket.call("cancel_all")
        told = await socket.call("resolve_order", cl_ord_id="here")
        shown = {"exists": True, "order_id": placed["order_id"], "order_status": "canceled"}
        assert shown.items() <= told["result"].items()


async def test_a_fence_outlives_the_engine(stack: Stack) -> None:
    key = await stack.investor("A")
    async with connected(stack.ws_url, key) as socket:
        await socket.call("resolve_order", cl_ord_id="late")
        await socket.call("cancel_all", block=True)
        await stack.cut_engine_off()
        async with asyncio.timeout(PATIENCE_S):
            while not (told := await socket.call("unblock"))["success"]:
                assert told["error_detail"]["retryable"], told
            assert told["result"] == {"duplicate": False}, "the kill switch was on"
            while (late := await socket.call("add_order", **GOOD, cl_ord_id="late"))["error_detail"]["retryable"]:
                pass
        assert late["error_detail"]["code"] == "duplicate_id"


async def test_who_does_not_renew_loses_all_orders(stack: Stack) -> None:
    key = await stack.investor("A")
    async with connected(stack.ws_url, key) as socket:
        await socket.call("subscribe", channel="executions", snap_orders=False)
        await socket.call("add_order", **GOOD)
        armed = (await socket.call("cancel_all_orders_after", timeout=1))["result"]
        assert armed["current_time"] < armed["trigger_time"]
        while (row := (await socket.push("executions", "update"))["data"][0])["exec_type"] != "canceled":
            pass
        assert (row["cancel_reason"], row["order_status"]) == ("dead_man", "canceled")

        await socket.call("add_order", **GOOD)
        await socket.call("cancel_all_orders_after", timeout=1)
        disarmed = await socket.call("cancel_all_orders_after", timeout=0)
        assert disarmed["result"]["trigger_time"] is None
        for bad in (-1, 86_401, "x", None):
            refused = await socket.call("cancel_all_orders_after", timeout=bad)
            assert refused["error_detail"]["field"] == "timeout"
        await socket.call("cancel_all_orders_after", timeout=2)  # renewed by another connection of the account
        async with connected(stack.ws_url, key) as second:
            await second.call("cancel_all_orders_after", timeout=0)
        assert (await socket.call("cancel_all"))["result"]["count"] == 1
