"""Rates as clients meet them: shown on every private reply, refused with the time to wait."""

from gateway.access.rates import Bucket
from market.ids import AccountId
from tests.builders import buy
from tests.e2e.rest import Market
from tests.e2e.rest import order as rest_order
from tests.e2e.sockets import connected, order
from tests.e2e.stack import Stack


async def test_private_replies_show_the_rate(stack: Stack) -> None:
    key = await stack.investor("A")
    async with connected(stack.ws_url, key) as socket:
        placed = await socket.call("add_order", **order("L1/USD", "buy", "98.00", "10.00"))
        assert placed["rate"]["bucket"] == "orders"
        assert placed["rate"].keys() == {"bucket", "remaining", "reset_ms"}
        refused = await socket.call("amend_order", order_id="O-999", order_qty="1.00")
        assert refused["rate"]["bucket"] == "amends"
        assert (await socket.call("cancel_all"))["rate"]["bucket"] == "cancels"
        assert "rate" not in await socket.call("ping")


async def test_too_many_orders_are_refused_and_cancels_are_not(market: Market) -> None:
    published = (await market.anyone.get("/v1/limits")).body["rates"]
    assert published["cancels"]["per_s"] == 10 * published["orders"]["per_s"]
    burst = published["orders"]["burst"]
    market.stack.rates.take(AccountId("B"), Bucket.ORDERS, 1_000 * burst)  # a full bucket may go far into debt
    await market.stack.do(buy("B", 9_800, 10_00))
    told = await market.buyer.post("/v1/orders", rest_order())
    assert told.headers["RateLimit-Limit"] == str(burst)
    assert (told.status, told.code, told.headers["RateLimit-Remaining"]) == (429, "rate_limited", "0")
    assert int(told.headers["Retry-After"]) > 3_000
    assert (await market.buyer.post("/v1/orders/cancel-all", {})).body["count"] == 1
    assert (await market.buyer.get("/v1/balances")).headers["RateLimit-Remaining"]
