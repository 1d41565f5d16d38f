"""Server mode as processes: an engine, a standby and two gateways, joined by a real Redis over a real PostgreSQL."""

import asyncio
import signal
from contextlib import suppress
from pathlib import Path

import pytest
from yarl import URL

from gateway.client import ApiError, ApiKey, Client
from tests.e2e.browser import Browser, browser
from tests.e2e.topology import order, placed, prepare, redis_knows, topology
from tests.patience import PATIENCE_S
from tests.redis_server import RedisServer


async def test_orders_of_two_gateways_meet_in_one_book(
    tmp_path: Path, database: str, redis_server: RedisServer
) -> None:
    async with topology(tmp_path, database, redis_server) as market:
        market.start("engine", "engine")
        one, other = await market.gateway("one"), await market.gateway("other")
        async with one, other:
            keys = await prepare(one, other)
            seller = Client(one.url, keys["ORIG"])
            async with seller:
                sold = await seller.post("/v1/orders", order("sell", "s-1"))
                assert sold["order_status"] == "new"
                async with asyncio.timeout(PATIENCE_S):
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
            keys = await prepare(other, one)
            body = {"symbol": "L1/CNY", "side": "sell", "order_type": "limit", "limit_price": "97.00"}
            sockets = []
            async with Client(one.url, keys["ORIG"]) as seller, Client(other.url, keys["ORIG"]) as elsewhere:
                for session in ("stays-behind", "moves"):
                    socket = await seller.socket()
                    sockets.append(socket)
                    await socket.login(session=session, cancel_on_disconnect={"enabled": True, "grace_ms": 0})
                    await socket.call("add_order", order_qty="5.00", cl_ord_id=session, **body)
                await seller.post("/v1/orders", order("sell", "without-a-session", "7.00"))
                await redis_knows(redis_server, sessions=2)
                moved = await elsewhere.socket()
                market.processes[1].signal(signal.SIGKILL)
                await moved.login(session="moves", cancel_on_disconnect={"enabled": True, "grace_ms": 0})
                async with asyncio.timeout(PATIENCE_S):
                    while (await elsewhere.get("/v1/orders/by-client-id/stays-behind"))["order_status"] != "canceled":
                        await asyncio.sleep(0.1)
                gone = await elsewhere.get("/v1/orders/by-client-id/stays-behind")
                assert gone["cancel_reason"] == "cod"
                for kept in ("moves", "without-a-session"):
                    assert (await elsewhere.get(f"/v1/orders/by-client-id/{kept}"))["order_status"] == "new"
                await moved.close()
                for socket in sockets:
                    await socket.close()


async def test_a_session_at_two_living_gateways_ends_with_its_last_connection(
    tmp_path: Path, database: str, redis_server: RedisServer
) -> None:
    async with topology(tmp_path, database, redis_server) as market:
        market.start("engine", "engine")
        one, other = await asyncio.gather(market.gateway("one"), market.gateway("other"))
        async with one, other:
            keys = await prepare(other, one)
            at_end = {"enabled": True, "grace_ms": 0}
            async with Client(one.url, keys["ORIG"]) as here, Client(other.url, keys["ORIG"]) as there:
                first, last = await here.socket(), await there.socket()
                for socket in (first, last):
                    await socket.login(session="s", cancel_on_disconnect=at_end)
                body = {"symbol": "L1/CNY", "side": "sell", "order_type": "limit", "limit_price": "97.00"}
                await first.call("add_order", order_qty="5.00", cl_ord_id="o", **body)
                await first.close()
                await redis_knows(redis_server, sessions=1, waiting=1)
                assert (await there.get("/v1/orders/by-client-id/o"))["order_status"] == "new"
                await last.close()
                async with asyncio.timeout(PATIENCE_S):
                    while (await there.get("/v1/orders/by-client-id/o"))["order_status"] != "canceled":
                        await asyncio.sleep(0.02)


async def test_a_sign_in_counts_at_every_gateway_and_so_does_its_end(
    tmp_path: Path, database: str, redis_server: RedisServer
) -> None:
    async with topology(tmp_path, database, redis_server) as market:
        market.start("engine", "engine")
        one, other = await asyncio.gather(market.gateway("one", "--allow-signup"), market.gateway("other"))
        async with one, other, browser(one.url) as here, browser(other.url) as there:
            assert (await here.sign_up("ada")).status == 201
            there.client.cookie_jar.update_cookies(here.cookies, URL(other.url))
            there.csrf = here.csrf
            await _told(there, 200)
            assert (await there.sign_out()).status == 200  # at the gateway that it did not sign in at
            await _told(there, 401)
            await _told(here, 401)

            keys = await prepare(one, other)
            made = await one.post("/v1/admin/accounts/ORIG/api-keys", {"scopes": ["read"]})
            async with Client(other.url, ApiKey(made["key"], made["secret"])) as reader:
                await _reads(reader, True)
                async with await reader.socket() as socket:
                    await socket.login()
                    async with Client(one.url, keys["ORIG"]) as owner:
                        await owner.request("DELETE", f"/v1/api-keys/{made['key']}")
                    await _reads(reader, False)
                    assert await asyncio.wait_for(socket.wait_closed(), PATIENCE_S) == 4001


async def test_an_account_has_one_budget_at_all_gateways(
    tmp_path: Path, database: str, redis_server: RedisServer
) -> None:
    limits = ("--rate-orders-per-s", "1", "--rate-burst-s", "200")
    async with topology(tmp_path, database, redis_server) as market:
        market.start("engine", "engine")
        one, other = await asyncio.gather(market.gateway("one", *limits), market.gateway("other", *limits))
        async with one, other:
            keys = await prepare(one, other)
            async with Client(one.url, keys["ORIG"]) as here, Client(other.url, keys["ORIG"]) as there:
                for i in range(4):
                    orders = [order("sell", f"o-{i}-{k}", "1.00") for k in range(50)]
                    await here.post("/v1/orders/batch", {"orders": orders})
                half_a_bucket = [order("sell", f"there-{i}", "1.00") for i in range(100)]
                with pytest.raises(ApiError, match="rate_limited"):
                    await _all_placed(there, half_a_bucket)


async def _all_placed(client: Client, orders: list[dict[str, str]]) -> None:
    """Place them, not all before the other gateway can tell what was spent there."""
    for each in orders:
        await client.post("/v1/orders", each)
        await asyncio.sleep(0.02)


async def _told(one: Browser, status: int) -> None:
    """Wait until the gateway answers so."""
    async with asyncio.timeout(PATIENCE_S):
        while (await one.get("/v1/session")).status != status:
            await asyncio.sleep(0.01)


async def _reads(client: Client, may: bool) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while True:
            with suppress(ApiError):
                await client.get("/v1/positions")
                if may:
                    return
                continue
            if not may:
                return
            await asyncio.sleep(0.01)
