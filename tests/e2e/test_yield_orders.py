"""Orders by yield from outside: the words of docs/orders.md, over REST and on the socket, and over a new start."""

from tests.e2e.rest import Market
from tests.e2e.sockets import connected
from tests.e2e.stack import Stack

BY_YIELD = {"loan_id": "L1", "side": "buy", "order_type": "yield", "limit_yield": "0.14", "order_qty": "1000.00"}


async def test_the_worked_example_of_the_docs(market: Market) -> None:
    told = await market.buyer.post("/v1/orders", {**BY_YIELD, "peg": "yield", "cl_ord_id": "y-1"})
    assert (told.status, told.body["limit_price"], told.body["held"]) == (201, "99.38", "1003.80")
    assert (told.body["order_type"], told.body["limit_yield"], told.body["peg"]) == ("yield", "0.140000", "yield")
    quote = (await market.anyone.get("/v1/loans/L1/quote?side=buy&qty=1000.00&yield=0.14")).body
    assert quote["price"] == told.body["limit_price"]

    await market.admin.post("/v1/admin/day-roll", {"to": "2024-02-14"})
    moved = (await market.buyer.get(told.headers["Location"])).body
    assert (moved["limit_price"], moved["exec_type"], moved["version"] > 1) == ("99.48", "restated", True)
    again = await market.buyer.post("/v1/orders", {**BY_YIELD, "peg": "yield", "cl_ord_id": "y-1"})
    assert (again.status, again.body["duplicate"]) == (200, True)
    other = await market.buyer.post("/v1/orders", {**BY_YIELD, "limit_yield": "0.15", "cl_ord_id": "y-1"})
    assert (other.status, other.code) == (409, "duplicate_id")


async def test_what_contradicts_itself_is_refused_by_its_field(market: Market) -> None:
    for changed, field in [
        ({"limit_price": "98.00"}, "limit_price"),
        ({"limit_yield": None}, "limit_yield"),
        ({"limit_yield": "-1"}, "limit_yield"),
        ({"limit_yield": "101"}, "limit_yield"),
        ({"limit_yield": "0.1234567"}, "limit_yield"),
        ({"peg": "price"}, "peg"),
        ({"peg": "yield", "time_in_force": "ioc"}, "peg"),
        ({"order_type": "limit", "limit_price": "98.00"}, "limit_yield"),
        ({"order_type": "limit", "limit_price": "98.00", "limit_yield": None, "peg": "yield"}, "peg"),
    ]:
        told = await market.buyer.post("/v1/orders", BY_YIELD | changed)
        assert (told.status, told.code, told.field) == (422, "invalid_arguments", field), changed
    told = await market.buyer.post("/v1/orders", BY_YIELD | {"limit_yield": "90"})
    assert (told.code, told.field) == ("price_out_of_band", "limit_yield")
    assert (await market.buyer.get("/v1/orders?status=all")).body["items"] == []


async def test_on_the_socket_a_peg_tells_where_it_went(stack: Stack) -> None:
    key = await stack.investor("A")
    words = {"symbol": "L1/USD", **{k: v for k, v in BY_YIELD.items() if k != "loan_id"}, "peg": "yield"}
    async with connected(stack.ws_url, key) as socket:
        await socket.call("subscribe", channel="executions", snap_orders=False)
        checked = await socket.call("add_order", **words, validate=True)
        assert checked["result"]["limit_price"] == "99.38"
        told = await socket.call("add_order", **words)
        assert told["success"]
        refused = await socket.call("amend_order", order_id=told["result"]["order_id"], limit_price="99.00")
        assert refused["error_detail"]["field"] == "limit_price"
        less = await socket.call("amend_order", order_id=told["result"]["order_id"], order_qty="900.00")
        assert less["result"]["priority_kept"] is True
