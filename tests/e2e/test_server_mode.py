"""Server mode as processes: an engine, a standby and two gateways, joined by a real Redis over a real PostgreSQL."""

import asyncio
import json
import os
import signal
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from gateway.client import ApiError, ApiKey, Client
from tests.redis_server import RedisServer
from tests.service import COMMAND, environment

START_TIMEOUT_S = 60.0


class Process:
    """One process of the market; its log is a file."""

    def __init__(self, kind: str, name: str, folder: Path, *flags: str) -> None:
        self.name, self.ready_file, self.log = name, folder / f"{name}.json", folder / f"{name}.log"
        if kind == "gateway":
            flags = (*flags, "--port", "0", "--ready-file", str(self.ready_file))
        with self.log.open("ab") as output:
            self.process = subprocess.Popen([*COMMAND, kind, *flags], stderr=output, env=environment())

    async def says(self, words: str) -> None:
        await self._until(lambda: words in self.log.read_text(), f"say {words!r}")

    async def ready(self) -> dict[str, Any]:
        await self._until(self.ready_file.exists, "be ready")
        ready: dict[str, Any] = json.loads(self.ready_file.read_text())
        return ready

    async def ends(self) -> int:
        await self._until(lambda: self.process.poll() is not None, "end")
        return self.process.wait()

    def signal(self, number: signal.Signals) -> None:
        os.kill(self.process.pid, number)

    async def _until(self, condition: Any, what: str) -> None:
        try:
            async with asyncio.timeout(START_TIMEOUT_S):
                while not condition():
                    if what != "end" and self.process.poll() is not None:
                        raise AssertionError(f"{self.name} ended before it would {what}:\n{self.log.read_text()}")
                    await asyncio.sleep(0.02)
        except TimeoutError as e:
            raise AssertionError(f"{self.name} did not {what}:\n{self.log.read_text()}") from e


class Topology:
    """The processes of one market. Whatever still runs at the end is killed."""

    def __init__(self, folder: Path, dsn: str, redis_url: str) -> None:
        self._folder = folder
        self._flags = ("--database-url", dsn, "--redis-url", redis_url, "--business-date", "2024-05-02")
        self.processes: list[Process] = []

    def start(self, kind: str, name: str) -> Process:
        process = Process(kind, name, self._folder, *self._flags)
        self.processes.append(process)
        return process

    async def gateway(self, name: str) -> Client:
        ready = await self.start("gateway", name).ready()
        return Client(ready["url"], ApiKey(**ready["admin_key"]))

    def end(self) -> None:
        for each in self.processes:
            if each.process.poll() is None:
                each.process.kill()
                each.process.wait()


@asynccontextmanager
async def topology(tmp_path: Path, dsn: str, redis: RedisServer) -> AsyncIterator[Topology]:
    processes = Topology(tmp_path, dsn, redis.url)
    try:
        yield processes
    finally:
        processes.end()


LOAN = {
    "loan_id": "L1",
    "originator": "ORIG",
    "currency": "CNY",
    "original_principal": "10000.00",
    "issued_face": "10000.00",
    "annual_rate": "0.12",
    "repayment_method": "annuity",
    "term_months": 12,
    "issue_date": "2024-04-15",
    "first_due_date": "2024-05-15",
    "outstanding_principal": "10000.00",
    "grade": "B",
}


async def prepare(admin: Client) -> dict[str, ApiKey]:
    keys = {}
    for account, kind in (("ORIG", "originator"), ("BUYER", "investor")):
        await admin.post("/v1/admin/accounts", {"account_id": account, "kind": kind, "name": account})
        made = await admin.post(f"/v1/admin/accounts/{account}/api-keys", {"scopes": ["read", "trade"]})
        keys[account] = ApiKey(made["key"], made["secret"])
    deposit = {"account_id": "BUYER", "currency": "CNY", "amount": "5000.00", "custody_ref": "d-1"}
    await admin.post("/v1/admin/deposits", deposit)
    await admin.post("/v1/admin/loans", LOAN)
    return keys


def order(side: str, cl_ord_id: str, qty: str = "100.00", price: str = "97.00") -> dict[str, str]:
    return {
        "loan_id": "L1", "side": side, "order_type": "limit", "limit_price": price, "order_qty": qty,
        "cl_ord_id": cl_ord_id,
    }  # fmt: skip


async def placed(client: Client, body: dict[str, str]) -> dict[str, Any]:
    """Place an order as a careful client does: again under the same id until the outcome is known."""
    async with asyncio.timeout(30):
        while True:
            try:
                answer: dict[str, Any] = await client.post("/v1/orders", body)
                return answer
            except ApiError as e:
                if e.code not in {"unavailable", "busy", "market_mode"}:
                    raise
            await asyncio.sleep(0.1)


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
