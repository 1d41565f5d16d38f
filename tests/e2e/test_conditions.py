"""Orders that are only checked, or placed on condition that the book is as it was seen."""

from tests.e2e.rest import Market
from tests.e2e.rest import order as rest_order
from tests.e2e.sockets import connected, order
from tests.e2e.stack import Stack

L1 = "L1/USD"


async def test_a_checked_order_is_priced_and_not_placed(market: Market) -> None:
    await market.seller.post("/v1/orders", rest_order("sell", "97.00", "100.00"))
    checked = rest_order(price="98.00", qty="150.00", cl_ord_id="v-1", validate=True)
    told = await market.buyer.post("/v1/orders", checked)
    assert (told.status, told.body["valid"], told.body["cum_qty"], told.body["leaves_qty"]) == (
        200,
        True,
        "100.00",
        "50.00",
    )
    assert (told.body["avg_price"], told.body["principal"], told.body["dirty"]) == ("97.00", "97.00", "97.00")
    assert (await market.buyer.get("/v1/orders?status=all")).body["items"] == []
    poor = await market.buyer.post("/v1/orders", rest_order("sell", "98.00", "1.00", validate=True))
    assert poor.code == "insufficient_claims"
    [row] = (await market.buyer.post("/v1/orders/batch", {"orders": [checked]})).body["orders"]
    assert row == told.body
    placed = await market.buyer.post("/v1/orders", {**checked, "validate": False})
    assert (placed.status, placed.body["cum_cost"]) == (201, "97.00")


async def test_validate_on_the_socket(stack: Stack) -> None:
    key = await stack.investor("A")
    async with connected(stack.ws_url, key) as socket:
        told = await socket.call("add_order", **order(L1, "buy", "98.00", "10.00", validate=True))
        assert (told["result"]["valid"], told["result"]["cum_qty"]) == (True, "0.00")
        bad = await socket.call("add_order", **order(L1, "buy", "98.00", "0.00", validate=True))
        assert bad["error_detail"]["code"] == "invalid_qty"
        assert (await socket.call("cancel_all"))["result"]["count"] == 0


async def test_an_order_on_condition_of_the_book_seen(stack: Stack) -> None:
    key = await stack.investor("A")
    async with connected(stack.ws_url, key) as socket:
        await socket.call("subscribe", channel="book", symbol=[L1])
        [seen] = (await socket.push("book", "snapshot"))["data"]
        on_it = {"if_book_seq": seen["seq"], "cl_ord_id": "s-1"}
        assert (await socket.call("add_order", **order(L1, "buy", "98.00", "10.00", **on_it)))["success"]
        [now] = (await socket.push("book", "update"))["data"]
        stale = await socket.call("add_order", **order(L1, "buy", "98.00", "10.00", if_book_seq=seen["seq"]))
        assert (stale["error"], stale["error_detail"]["code"]) == ("EOrder:Stale book", "stale_book")
        again = await socket.call("add_order", **order(L1, "buy", "98.00", "10.00", **on_it))
        assert again["result"]["duplicate"], "a repeat is told of its success, whatever the book is now"
        assert (await socket.call("add_order", **order(L1, "buy", "98.00", "1.00", if_book_seq=now["seq"])))["success"]
