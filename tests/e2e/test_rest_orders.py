"""Orders over REST: durable when acknowledged, one order object everywhere, repeats answered with the first result."""

import asyncio

import asyncpg
import pytest

from tests.e2e.rest import Market, order


async def test_a_created_order_is_found_at_once(market: Market) -> None:
    told = await market.buyer.post("/v1/orders", order(cl_ord_id="b-1", tag="t"))
    assert told.status == 201
    assert told.headers["Location"] == f"/v1/orders/{told.body['order_id']}"
    assert told.headers["ETag"] == '"1"'
    assert {
        "cl_ord_id": "b-1",
        "order_status": "new",
        "symbol": "L1/USD",
        "loan_id": "L1",
        "side": "buy",
        "order_type": "limit",
        "time_in_force": "gtc",
        "order_qty": "100.00",
        "limit_price": "98.00",
        "cum_qty": "0.00",
        "cum_cost": "0.00",
        "leaves_qty": "100.00",
        "avg_price": None,
        "version": 1,
        "duplicate": False,
        "exec_type": "new",
        "tag": "t",
    }.items() <= told.body.items()
    found = await market.buyer.get(told.headers["Location"])
    assert found.body == {name: value for name, value in told.body.items() if name != "duplicate"}
    assert found.headers["ETag"] == '"1"'
    assert (await market.buyer.get("/v1/orders/by-client-id/b-1")).body == found.body
    listed = await market.buyer.get("/v1/orders")
    assert listed.body == {"items": [found.body], "next_cursor": None}


async def test_a_fill_shows_on_both_sides_to_the_cent(market: Market) -> None:
    await market.seller.post("/v1/orders", order("sell", "97.25", "1000.00"))
    told = await market.buyer.post("/v1/orders", order(price="98.00", qty="400.00"))
    assert (told.body["order_status"], told.body["cum_qty"], told.body["leaves_qty"]) == ("filled", "400.00", "0.00")
    assert (told.body["cum_cost"], told.body["avg_price"], told.body["held"]) == ("389.00", "97.25", "0.00")
    [fill] = (await market.buyer.get("/v1/executions")).body["items"]
    assert (fill["exec_type"], fill["last_qty"], fill["last_price"]) == ("trade", "400.00", "97.25")
    assert (fill["principal"], fill["accrued"], fill["dirty"]) == ("389.00", "0.00", "389.00")
    assert (fill["liquidity_ind"], fill["order_status"], fill["sequence"]) == ("t", "filled", 2)
    [trade] = (await market.seller.get("/v1/trades")).body["items"]
    assert (trade["trade_id"], trade["side"], trade["liquidity_ind"]) == (fill["trade_id"], "sell", "m")
    balances = (await market.buyer.get("/v1/balances")).body
    assert balances["cash"] == [{"currency": "USD", "total": "999611.00", "available": "999611.00", "held": "0.00"}]
    assert balances["claims"] == [
        {"loan_id": "L1", "total": "400.00", "available": "400.00", "held": "0.00", "current_face": "400.00"}
    ]
    [position] = (await market.buyer.get("/v1/positions")).body["items"]
    assert (position["cost_price"], position["market_value"], position["unrealised"]) == ("97.25", "389.00", "0.00")


async def test_a_repeat_gets_the_first_answer_whatever_came_since(market: Market) -> None:
    first = await market.buyer.post("/v1/orders", order(cl_ord_id="b-1"))
    await market.seller.post("/v1/orders", order("sell", "98.00", "60.00"))
    again = await market.buyer.post("/v1/orders", order(cl_ord_id="b-1"))
    assert (again.status, again.body["duplicate"]) == (200, True)
    same = {"order_id", "order_status", "cum_qty", "leaves_qty", "version", "engine_seq", "order_qty", "limit_price"}
    assert {name: again.body[name] for name in same} == {name: first.body[name] for name in same}
    now = await market.buyer.get(f"/v1/orders/{first.body['order_id']}")
    assert (now.body["order_status"], now.body["cum_qty"]) == ("partially_filled", "60.00")
    other = await market.buyer.post("/v1/orders", order(cl_ord_id="b-1", qty="200.00"))
    assert (other.status, other.code) == (409, "duplicate_id")


async def test_the_idempotency_key_names_the_order(market: Market) -> None:
    first = await market.buyer.post("/v1/orders", order(), **{"Idempotency-Key": "k-1"})
    again = await market.buyer.post("/v1/orders", order(cl_ord_id="k-1"))
    assert first.body["cl_ord_id"] == "k-1"
    assert (again.status, again.body["order_id"]) == (200, first.body["order_id"])
    differ = await market.buyer.post("/v1/orders", order(cl_ord_id="k-2"), **{"Idempotency-Key": "k-1"})
    assert (differ.code, differ.field) == ("invalid_arguments", "cl_ord_id")
    bad = await market.buyer.post("/v1/orders", order(), **{"Idempotency-Key": "not an id"})
    assert (bad.code, bad.field) == ("invalid_arguments", "cl_ord_id")


async def test_an_immediate_order_answers_with_what_it_got(market: Market) -> None:
    await market.seller.post("/v1/orders", order("sell", "98.00", "60.00"))
    told = await market.buyer.post("/v1/orders", order(time_in_force="ioc"))
    assert told.status == 201
    assert (told.body["order_status"], told.body["cancel_reason"]) == ("canceled", "ioc")
    assert (told.body["cum_qty"], told.body["leaves_qty"]) == ("60.00", "0.00")
    at_market = await market.buyer.post(
        "/v1/orders", {"loan_id": "L2", "side": "buy", "order_type": "market", "order_qty": "1.00"}
    )
    assert (at_market.body["order_status"], at_market.body["limit_price"]) == ("canceled", None)


async def test_an_amend_names_the_version_that_it_means(market: Market) -> None:
    path = (await market.buyer.post("/v1/orders", order())).headers["Location"]
    down = await market.buyer.call("PATCH", path, {"order_qty": "50.00"}, **{"If-Match": '"1"'})
    assert (down.status, down.headers["ETag"]) == (200, '"2"')
    assert (down.body["version"], down.body["priority_kept"], down.body["leaves_qty"]) == (2, True, "50.00")
    stale = await market.buyer.call("PATCH", path, {"order_qty": "40.00"}, **{"If-Match": '"1"'})
    assert (stale.status, stale.code, stale.body["version"]) == (412, "version_mismatch", 2)
    stale = await market.buyer.call("PATCH", path, {"order_qty": "40.00", "if_version": 1})
    assert stale.code == "version_mismatch"
    dearer = await market.buyer.call("PATCH", path, {"limit_price": "98.50"})
    assert (dearer.body["version"], dearer.body["priority_kept"], dearer.body["limit_price"]) == (3, False, "98.50")
    nothing = await market.buyer.call("PATCH", path, {})
    assert nothing.code == "invalid_arguments"
    stale = await market.buyer.call("DELETE", path, **{"If-Match": '"1"'})
    assert stale.code == "version_mismatch"
    assert (await market.buyer.get(path)).body["order_status"] == "new"


async def test_a_closed_order_says_how_it_ended(market: Market) -> None:
    path = (await market.buyer.post("/v1/orders", order(cl_ord_id="b-1"))).headers["Location"]
    gone = await market.buyer.call("DELETE", path)
    assert (gone.status, gone.body["order_status"], gone.body["cancel_reason"]) == (200, "canceled", "user")
    for told in (
        await market.buyer.call("DELETE", path),
        await market.buyer.call("PATCH", path, {"order_qty": "9.00"}),
    ):
        assert (told.status, told.code, told.body["order_status"]) == (409, "order_closed", "canceled")
    assert (await market.buyer.get("/v1/orders")).body["items"] == []
    for status in ("closed", "all", "canceled"):
        assert len((await market.buyer.get(f"/v1/orders?status={status}")).body["items"]) == 1
    assert (await market.buyer.get("/v1/orders?status=rejected")).body["items"] == []  # a refused one leaves no trace
    assert (await market.buyer.get("/v1/orders?status=done")).field == "status"


async def test_cancel_all_counts_what_it_ended(market: Market) -> None:
    for more in ({"tag": "a"}, {"tag": "b"}, {"loan_id": "L2"}):
        await market.buyer.post("/v1/orders", order(**more))
    assert (await market.buyer.post("/v1/orders/cancel-all", {"tag": "a"})).body["count"] == 1
    assert (await market.buyer.post("/v1/orders/cancel-all", {"loan_id": "L2", "side": "buy"})).body["count"] == 1
    assert (await market.buyer.post("/v1/orders/cancel-all", {"loan_id": "NONE"})).code == "unknown_loan"
    assert (await market.buyer.post("/v1/orders/cancel-all")).body["count"] == 1
    assert (await market.buyer.post("/v1/orders/cancel-all")).body["count"] == 0


async def test_pages_show_every_order_once(market: Market) -> None:
    placed = [(await market.buyer.post("/v1/orders", order(qty=f"{n}.00"))).body["order_id"] for n in range(1, 8)]
    found, cursor = [], ""
    for _ in range(4):
        told = (await market.buyer.get(f"/v1/orders?limit=2{cursor}")).body
        found += [item["order_id"] for item in told["items"]]
        cursor = f"&cursor={told['next_cursor']}"
    assert found == placed[::-1]
    assert told["next_cursor"] is None


async def test_pages_show_every_fill_once(market: Market) -> None:
    for n in range(1, 6):
        await market.seller.post("/v1/orders", order("sell", "98.00", f"{n}.00"))
    await market.buyer.post("/v1/orders", order(qty="15.00"))  # one message of five rows
    await market.seller.post("/v1/orders", order("sell", "98.00", "6.00"))
    await market.buyer.post("/v1/orders", order(qty="6.00"))
    found, cursor = [], ""
    for _ in range(3):
        told = (await market.buyer.get(f"/v1/executions?limit=2{cursor}")).body
        found += [item["last_qty"] for item in told["items"]]
        cursor = f"&cursor={told['next_cursor']}"
    assert found == ["1.00", "2.00", "3.00", "4.00", "5.00", "6.00"]
    assert told["next_cursor"] is None
    later = (await market.buyer.get(f"/v1/executions?after_seq={told['items'][0]['engine_seq']}")).body["items"]
    assert [item["last_qty"] for item in later] == ["6.00"]
    assert (await market.buyer.get("/v1/executions?loan_id=L2")).body["items"] == []
    newest_first = (await market.buyer.get("/v1/trades?limit=1")).body
    assert newest_first["items"][0]["qty"] == "6.00"
    public = (await market.anyone.get("/v1/loans/L1/trades")).body["items"]
    assert [row["qty"] for row in public] == ["6.00", "5.00", "4.00", "3.00", "2.00", "1.00"]
    assert "seller" not in public[0]


async def test_a_client_that_leaves_does_not_take_its_order_back(market: Market, database: str) -> None:
    """A lock on the lease holds the commit up; the client hangs up meanwhile, and its order is placed all the same."""
    holder, watcher = await asyncpg.connect(database), await asyncpg.connect(database)
    try:
        async with holder.transaction():
            await holder.execute("SELECT FROM market.lease FOR UPDATE")
            call = asyncio.create_task(market.buyer.post("/v1/orders", order(cl_ord_id="gone")))
            while not await watcher.fetchval("SELECT count(*) FROM pg_locks WHERE NOT granted"):
                await asyncio.sleep(0.005)
            call.cancel()
            with pytest.raises(asyncio.CancelledError):
                await call
            assert (await market.buyer.get("/v1/orders/by-client-id/gone")).code == "unknown_order"
        while (found := await market.buyer.get("/v1/orders/by-client-id/gone")).status != 200:
            await asyncio.sleep(0.005)
        assert found.body["order_status"] == "new"
    finally:
        await holder.close()
        await watcher.close()


async def test_orders_placed_together_are_all_answered(market: Market) -> None:
    told = await asyncio.gather(*(market.buyer.post("/v1/orders", order(cl_ord_id=f"b-{n}")) for n in range(50)))
    assert {answer.status for answer in told} == {201}
    assert len({answer.body["order_id"] for answer in told}) == 50
