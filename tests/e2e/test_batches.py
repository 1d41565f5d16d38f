"""Several orders in one request: one answer, in order, each order by itself."""

from tests.e2e.rest import Market
from tests.e2e.rest import order as rest_order
from tests.e2e.sockets import Json, connected, order
from tests.e2e.stack import Stack

L1 = "L1/USD"


def codes(reply: Json) -> list[str]:
    rows = reply["result"]["orders"]
    return [row["error_detail"]["code"] if "error" in row else row["order_status"] for row in rows]


async def test_each_order_of_a_batch_has_its_own_answer(stack: Stack) -> None:
    key = await stack.investor("A", 1_000_00)
    async with connected(stack.ws_url, key) as socket:
        reply = await socket.call(
            "batch_add",
            symbol=L1,
            orders=[
                {"side": "buy", "limit_price": "98.00", "order_qty": "100.00", "cl_ord_id": "b-1"},
                order("L9/USD", "buy", "98.00", "100.00"),
                order("L2/USD", "buy", "98.00", "5000.00"),
                {"side": "buy", "limit_price": "98.00", "order_qty": "100.00", "price": "1"},
                {"side": "buy", "limit_price": "98.00", "order_qty": "100.00", "cl_ord_id": "b-1"},
                {"side": "buy", "limit_price": "97.00", "order_qty": "10.00", "token": "x"},
            ],
        )
        assert reply["success"], reply
        assert codes(reply) == ["new", "unknown_loan", "insufficient_funds", "unknown_field", "new", "unknown_field"]
        first, *_, repeat, _ = reply["result"]["orders"]
        assert (repeat["duplicate"], repeat["order_id"]) == (True, first["order_id"])

        gone = await socket.call("batch_cancel", orders=[first["order_id"], {"cl_ord_id": "b-1"}], cl_ord_id=["no"])
        assert codes(gone) == ["canceled", "order_closed", "unknown_order"]


async def test_a_batch_has_one_to_fifty_orders(stack: Stack) -> None:
    key = await stack.investor("A")
    one = order(L1, "buy", "98.00", "1.00")
    async with connected(stack.ws_url, key) as socket:
        for bad in ([], [one] * 51, {}, [1]):
            reply = await socket.call("batch_add", orders=bad)
            assert reply["error_detail"]["code"] == "invalid_arguments"
        assert (await socket.call("batch_cancel"))["error_detail"]["field"] == "orders"
        too_many = await socket.call("batch_cancel", orders=["O-1"] * 30, cl_ord_id=["c"] * 21)
        assert too_many["error_detail"]["field"] == "orders"
        full = await socket.call("batch_add", orders=[one] * 50)
        assert codes(full) == ["new"] * 50
        ids = [row["order_id"] for row in full["result"]["orders"]]
        assert codes(await socket.call("batch_cancel", orders=ids)) == ["canceled"] * 50


async def test_the_answer_to_a_batch_comes_before_its_executions(stack: Stack) -> None:
    key = await stack.investor("A")
    async with connected(stack.ws_url, key) as socket:
        await socket.call("subscribe", channel="executions")
        await socket.push("executions", "snapshot")
        seen = len(socket.seen)
        await socket.call("batch_add", orders=[order(L1, "buy", "98.00", "1.00") for _ in range(50)])
        await socket.push("executions", "update")
        frames = [frame.get("channel") or frame["method"] for frame in socket.seen[seen:]]
        assert frames[0] == "batch_add", frames


async def test_a_batch_over_rest(market: Market) -> None:
    told = await market.buyer.post(
        "/v1/orders/batch",
        {"orders": [rest_order(cl_ord_id="x"), rest_order(price="0"), rest_order(cl_ord_id="x"), {"loan_id": "L1"}]},
    )
    assert told.status == 200
    placed, refused, again, malformed = told.body["orders"]
    assert (placed["order_status"], placed["duplicate"], again["duplicate"]) == ("new", False, True)
    assert refused["error_detail"]["code"] == "invalid_price"
    assert malformed["error_detail"]["field"] == "side"
    found = await market.buyer.get(f"/v1/orders/{placed['order_id']}")
    assert found.body == {name: value for name, value in placed.items() if name != "duplicate"}
    assert (await market.buyer.post("/v1/orders/batch", {"orders": []})).field == "orders"


async def test_the_idempotency_key_of_a_batch_names_its_orders(market: Market) -> None:
    key = {"Idempotency-Key": "6f1c1f0e-7c1c-4d8b-9d39-0a4f6f7d2b11"}
    batch = {"orders": [rest_order(), rest_order(cl_ord_id="own"), rest_order(), rest_order(cl_ord_id=None)]}
    first = (await market.buyer.post("/v1/orders/batch", batch, **key)).body["orders"]
    again = (await market.buyer.post("/v1/orders/batch", batch, **key)).body["orders"]
    assert [row["duplicate"] for row in first + again] == [False] * 4 + [True] * 4
    assert len({row["order_id"] for row in first}) == 4
    assert [row["order_id"] for row in again] == [row["order_id"] for row in first]
    other = await market.buyer.post("/v1/orders/batch", {"orders": [rest_order(qty="1.00")]}, **key)
    assert other.body["orders"][0]["error_detail"]["code"] == "duplicate_id"
    bad = await market.buyer.post("/v1/orders/batch", batch, **{"Idempotency-Key": "not an id"})
    assert (bad.code, bad.field) == ("invalid_arguments", "cl_ord_id")
