"""What market APIs are known to get wrong, each by its name.

Two more are tested at the depth view itself, in tests/unit/orderbook/test_depth.py: the level that enters a depth when
another leaves it, and removals before insertions; `follow` holds every book that the end-to-end tests build to both.
`test_ack_then_executions_then_public_trade` is in test_ws_feeds.py.
"""

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import pytest

from gateway.client import ApiKey, Book
from gateway.ws.methods import METHODS
from tests.builders import buy, sell
from tests.e2e.rest import Market
from tests.e2e.rest import order as rest_order
from tests.e2e.sockets import Json, Socket, connected, follow, order
from tests.e2e.stack import Stack

L1 = "L1/USD"
AT_ONCE = 40
WITHOUT_SUCH: dict[str, Json] = {  # well formed, but of nothing that there is
    "login": {"api_key": "ak_none", "challenge": "none", "sig": "0" * 64},
    "subscribe": {"channel": "book", "symbol": "NONE/USD"},
    "unsubscribe": {"channel": "book", "symbol": "NONE/USD"},
    "resync": {"channel": "book", "symbol": L1},
    "add_order": order("NONE/USD", "buy", "98.00", "1.00"),
    "amend_order": {"order_id": "O-999999", "order_qty": "1.00"},
    "cancel_order": {"order_id": ["O-999999"]},
    "cancel_all": {"symbol": "NONE/USD"},
    "get_order": {"order_id": "O-999999"},
    "quote_cancel": {"symbol": "NONE/USD"},
}


def bad_bodies(method: str) -> Iterator[tuple[str, Json]]:
    """Yield kinds of bad request, each with the body of its frame but for `req_id`."""
    yield "unknown parameter", {"method": method, "params": {"nonsense": 1}}
    yield "parameters that are a list", {"method": method, "params": [1]}
    yield "parameters that are text", {"method": method, "params": "x"}
    yield "unknown key beside them", {"method": method, "params": {}, "nonsense": 1}
    yield "every parameter of a wrong type", {"method": method, "params": {name: {"no": []} for name in NAMES}}
    if method in WITHOUT_SUCH:
        yield "no such thing", {"method": method, "params": WITHOUT_SUCH[method]}


NAMES = ("channel", "symbol", "order_id", "cl_ord_id", "order_qty", "orders", "quotes", "timeout", "group", "api_key")


async def refused(socket: Socket, frame: str, req_id: object, method: str | None) -> Json:
    """Send a frame; its one reply must be a refusal that echoes the id."""
    await socket.send(frame)
    reply = await socket.until(lambda m: "channel" not in m)
    assert (reply["req_id"], reply["method"], reply["success"]) == (req_id, method, False), (frame, reply)
    assert reply["error"]
    assert reply["error_detail"]["outcome"] == "not_executed"
    return reply


@pytest.mark.parametrize("who", ["a stranger", "who may only read", "a trader"])
async def test_an_error_always_echoes_req_id(stack: Stack, who: str) -> None:
    """Every method with every kind of bad request that is JSON; integers and texts as ids."""
    trader = await stack.investor("A17")
    reader = await stack.key("A17", "read")
    key: ApiKey | None = {"a trader": trader, "who may only read": reader}.get(who)
    for method in METHODS:
        async with connected(stack.ws_url, key) as socket:
            for n, (kind, body) in enumerate(bad_bodies(method)):
                for req_id in (n, f"{method} {kind}"):
                    await refused(socket, json.dumps(body | {"req_id": req_id}), req_id, method)
            pong = await socket.call("ping")
            assert pong["success"], method


async def test_an_error_echoes_the_req_id_of_a_frame_that_is_no_json_where_it_can_be_known(stack: Stack) -> None:
    """Two to a connection: three unreadable frames within ten seconds would close it."""
    for method in (*METHODS, "no_such_method"):
        asked = f'"method":"{method}","req_id":7'
        async with connected(stack.ws_url) as socket:
            await refused(socket, f'{{{asked},"params":{{"a":1,"a":2}}}}', 7, None)
            await refused(socket, f'{{{asked},"params":{{"a":NaN}}}}', 7, None)
        async with connected(stack.ws_url) as socket:
            await refused(socket, f"{{{asked},", None, None)
            await refused(socket, f"{{{asked}}} and more", None, None)


async def test_a_method_that_there_is_not_echoes_req_id(stack: Stack) -> None:
    async with connected(stack.ws_url) as socket:
        reply = await refused(socket, '{"method":"no_such_method","req_id":"x"}', "x", "no_such_method")
        assert reply["error_detail"]["code"] == "unknown_method"


async def test_a_get_right_after_a_create_finds_the_order(market: Market) -> None:
    """Over many at once, each asked for the moment its own answer is there: by both ids, and in the list."""

    async def create_and_look(n: int) -> None:
        told = await market.buyer.post("/v1/orders", rest_order(cl_ord_id=f"r-{n}"))
        assert told.status == 201
        found = await market.buyer.get(told.headers["Location"])
        assert found.status == 200
        assert found.body["order_id"] == told.body["order_id"]
        by_client_id = await market.buyer.get(f"/v1/orders/by-client-id/r-{n}")
        assert by_client_id.body == found.body
        listed = await market.buyer.get("/v1/orders?limit=500")
        assert told.body["order_id"] in {row["order_id"] for row in listed.body["items"]}

    await asyncio.gather(*(create_and_look(n) for n in range(AT_ONCE)))


async def test_a_get_right_after_a_create_on_the_socket_finds_the_order(market: Market) -> None:
    """Both ways: over REST, and by get_order on the same and on another socket."""
    url, key = market.stack.ws_url, market.buyer.key
    assert key is not None
    async with connected(url, key) as socket, connected(url, key) as other:

        async def create_and_look(n: int) -> None:
            req_id = await socket.ask("add_order", **order(L1, "buy", "98.00", "1.00", cl_ord_id=f"s-{n}"))
            order_id = (await replies[req_id])["result"]["order_id"]
            found = await market.buyer.get(f"/v1/orders/{order_id}")
            assert (found.status, found.body["cl_ord_id"]) == (200, f"s-{n}")

        replies: dict[int, asyncio.Future[Json]] = {}
        asked = [create_and_look(n) for n in range(AT_ONCE)]
        first = await socket.ask("ping")
        loop = asyncio.get_running_loop()
        replies.update({first + 1 + n: loop.create_future() for n in range(AT_ONCE)})
        looking = [asyncio.create_task(each) for each in asked]
        while not all(reply.done() for reply in replies.values()):
            message = await socket.frame()
            if (waiting := replies.get(message.get("req_id", -1))) is not None:
                waiting.set_result(message)
        await asyncio.gather(*looking)
        for n in range(AT_ONCE):
            for each in (socket, other):
                reply = await each.call("get_order", cl_ord_id=f"s-{n}")
                assert reply["result"]["order_status"] == "new"


async def test_snapshot_and_registration_are_one_step(stack: Stack) -> None:
    """Readers come while every commit changes the book: the first step of each leads on from its snapshot."""
    stop = asyncio.Event()

    async def make_noise() -> None:
        n = 0
        while not stop.is_set():
            n += 1
            await stack.do(sell("ORIG", 9_900 + n % 40, 1_00))

    async def join(depth: int) -> None:
        async with connected(stack.ws_url) as socket:
            for _ in range(5):
                await socket.ask("subscribe", channel="book", symbol=[L1], depth=depth)
                book = Book(L1, depth)
                follow(book, await socket.push("book", "snapshot"))
                for _ in range(3):
                    follow(book, await socket.push("book", "update"))
                await socket.call("unsubscribe", channel="book", symbol=[L1], depth=depth)
                socket._unread.clear()

    noise = [asyncio.create_task(make_noise()) for _ in range(3)]
    await asyncio.gather(*(join(depth) for depth in (10, 25, 100) for _ in range(4)))
    stop.set()
    await asyncio.gather(*noise)


async def test_execution_rows_of_one_message_never_mix_trades_with_others(stack: Stack) -> None:
    """Orders that fill on arrival against several, in part, with a remainder that ends, and amends that then trade."""
    key = await stack.investor("A17")
    maker = await stack.key("ORIG")
    async with connected(stack.ws_url, key) as taking, connected(stack.ws_url, maker) as making:
        for socket in (taking, making):
            await socket.call("subscribe", channel="executions")
        for n in range(10):
            for price in ("98.00", "98.01", "98.02"):
                await making.call("add_order", **order(L1, "sell", price, "1.00"))
            await taking.call("add_order", **order(L1, "buy", "98.01", "2.50", time_in_force="ioc"))
            told = await taking.call("add_order", **order(L1, "buy", "97.00", "3.00"))
            await taking.call("amend_order", order_id=told["result"]["order_id"], limit_price="98.02")
            await taking.call("cancel_all")
            await stack.do(buy("A17", 9_700 + n, 1_00))
        await taking.call("cancel_all")
        await making.call("cancel_all")
        for socket in (taking, making):
            await socket.call("ping")
            kinds = [
                {row["exec_type"] == "trade" for row in message["data"]}
                for message in socket.seen
                if message.get("channel") == "executions" and message["type"] == "update"
            ]
            assert all(len(each) == 1 for each in kinds)
            assert {True} in kinds
            assert {False} in kinds
            rows: list[Any] = [row for m in socket.seen if m.get("channel") == "executions" for row in m["data"]]
            ended = {"canceled"} if socket is taking else set()
            assert {"new", "trade", *ended} <= {row["exec_type"] for row in rows}
