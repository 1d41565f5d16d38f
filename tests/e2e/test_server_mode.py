"""Server mode as processes: an engine, a standby and two gateways, joined by a real Redis over a real PostgreSQL."""

import asyncio
import signal
from pathlib import Path

import pytest

from gateway.client import Client
from tests.e2e.topology import order, placed, prepare, topology
from tests.redis_server import RedisServer


async def test_orders_of_two_gateways_meet_in_one_book(
    tmp_path: Path, database: str, redis_server: RedisServer
) -> None:
    async with topology(tmp_path, database, redis_server) as market:
        market.start("engine", "engine")
        one, other = await market.gateway("one"), await market.gateway("other")
        async with one, other:
            keys = await prepare(one)
            seller = Client(one.url, keys["ORIG"])
            async with seller:
                sold = await seller.post("/v1/orders", order("sell", "s-1"))
                assert sold["order_status"] == "new"
                async with asyncio.timeout(10):
                    while not (await other.get("/v1/loans/L1/book"))["asks"]:
                        await asyncio.sleep(0.02)
                async with Client(other.url, keys["BUYER"]) as buyer:  # a key that the other gateway made
                    bought = await buyer.post("/v1/orders", order("buy", "b-1"))
                    assert bought["order_status"] == "filled"
                assert (await seller.get("/v1/orders/by-client-id/s-1"))["order_status"] == "filled"


@pytest.mark.parametrize("harm", [signal.SIGKILL, signal.SIGSTOP], ids=["killed", "stopped"])
async def test_a_standby_takes_over_and_nothing_acknowledged_is_lost(
    tmp_path: Path, database: str, redis_server: RedisServer, harm: signal.Signals
) -> None:
    async with topology(tmp_path, database, redis_server) as market:
        leader = market.start("engine", "leader")
        admin = await market.gateway("one")
        standby = market.start("standby", "standby")
        await standby.says("standing_by")
        async with admin:
            keys = await prepare(admin)
            async with Client(admin.url, keys["ORIG"]) as seller:
                told = [await placed(seller, order("sell", f"before-{i}", "1.00")) for i in range(20)]
                epoch = (await admin.get("/v1/status"))["epoch"]
                leader.signal(harm)
                told += [await placed(seller, order("sell", f"after-{i}", "1.00")) for i in range(20)]
                await standby.says("engine_online")
                status = await admin.get("/v1/status")
                assert status["epoch"] > epoch
                book = await admin.get("/v1/loans/L1/book")
                assert book["asks"] == [{"price": "97.00", "qty": "40.00"}]
                assert len({each["order_id"] for each in told}) == 40
                if harm is signal.SIGSTOP:
                    leader.signal(signal.SIGCONT)
                    assert await leader.ends() == 1  # it found that another one writes
                await placed(seller, order("sell", "last", "1.00"))
                assert (await admin.get("/v1/loans/L1/book"))["asks"] == [{"price": "97.00", "qty": "41.00"}]
                audit = await admin.get("/v1/audit")
                assert audit["loans"]["violations"] == []


async def test_what_a_dead_gateway_left_to_be_cancelled_is_cancelled_and_a_session_that_moved_keeps_its_orders(
    tmp_path: Path, database: str, redis_server: RedisServer
) -> None:
    async with topology(tmp_path, database, redis_server) as market:
        market.start("engine", "engine")
        one, other = await market.gateway("one"), await market.gateway("other")
        async with one, other:
            keys = await prepare(other)
            body = {"symbol": "L1/CNY", "side": "sell", "order_type": "limit", "limit_price": "97.00"}
            sockets = []
            async with Client(one.url, keys["ORIG"]) as seller, Client(other.url, keys["ORIG"]) as elsewhere:
                for session in ("stays-behind", "moves"):
                    socket = await seller.socket()
                    sockets.append(socket)
                    await socket.login(session=session, cancel_on_disconnect={"enabled": True, "grace_ms": 0})
                    await socket.call("add_order", order_qty="5.00", cl_ord_id=session, **body)
                await seller.post("/v1/orders", order("sell", "without-a-session", "7.00"))
                await asyncio.sleep(1.5)  # who is attached is said every second
                market.processes[1].signal(signal.SIGKILL)
                moved = await elsewhere.socket()
                await moved.login(session="moves", cancel_on_disconnect={"enabled": True, "grace_ms": 0})
                async with asyncio.timeout(20):
                    while (await elsewhere.get("/v1/orders/by-client-id/stays-behind"))["order_status"] != "canceled":
                        await asyncio.sleep(0.1)
                gone = await elsewhere.get("/v1/orders/by-client-id/stays-behind")
                assert gone["cancel_reason"] == "cod"
                for kept in ("moves", "without-a-session"):
                    assert (await elsewhere.get(f"/v1/orders/by-client-id/{kept}"))["order_status"] == "new"
                await moved.close()
                for socket in sockets:
                    await socket.close()
