"""Server mode as processes of a test: engines and gateways, joined by a real Redis over a real PostgreSQL."""

import asyncio
import json
import os
import re
import signal
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from redis.asyncio import Redis

from gateway.client import ApiError, ApiKey, Client
from market.bus.codec import unpack
from market.bus.names import Names
from market.bus.presence import Attached
from tests.patience import PATIENCE_S
from tests.redis_cluster import RedisCluster
from tests.redis_server import RedisServer
from tests.service import COMMAND, environment

START_TIMEOUT_S = 60.0


class Process:
    """One process of the market; its log is a file."""

    def __init__(
        self, kind: str, name: str, folder: Path, *flags: str, command: list[str] | None = None, **changed: str
    ) -> None:
        self.name, self.ready_file, self.log = name, folder / f"{name}.json", folder / f"{name}.log"
        if kind in {"gateway", "serve"}:
            flags = (*flags, "--port", "0", "--ready-file", str(self.ready_file))
        with self.log.open("ab") as output:
            self.process = subprocess.Popen(
                [*(command or COMMAND), kind, *flags], stderr=output, env=environment(**changed)
            )

    async def says(self, words: str) -> None:
        await self._until(lambda: words in self.log.read_text(), f"say {words!r}")

    async def ready(self) -> dict[str, Any]:
        await self._until(self.ready_file.exists, "be ready")
        ready: dict[str, Any] = json.loads(self.ready_file.read_text())
        return ready

    async def monitor(self) -> str:
        """Return where an engine answers those who watch over it."""
        await self.says("monitoring url=")
        found = re.search(r"monitoring url=(\S+)", self.log.read_text())
        assert found is not None
        return found.group(1)

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


def client(ready: dict[str, Any]) -> Client:
    """Return a client of a gateway with the admin key, from its ready file."""
    return Client(ready["url"], ApiKey(**ready["admin_key"]))


class Topology:
    """The processes of one market. Whatever still runs at the end is killed. partitions: of its loans."""

    def __init__(self, folder: Path, dsn: str, redis_url: str, partitions: int = 1) -> None:
        self._folder = folder
        self._partitions = partitions
        self._dsn, self._redis_url = dsn, redis_url
        self.processes: list[Process] = []

    def start(
        self,
        kind: str,
        name: str,
        *flags: str,
        dsn: str | None = None,
        redis_url: str | None = None,
        command: list[str] | None = None,
        partition: int | None = None,
        **changed: str,
    ) -> Process:
        """Start a process. dsn, redis_url: its own ways there.  command: another `debt-market` than this one.

        partition: that an engine or a standby is of.  changed: environment variables of its own.
        """
        ways = ("--database-url", dsn or self._dsn, "--redis-url", redis_url or self._redis_url)
        if self._partitions > 1:
            ways = (*ways, "--partitions", str(self._partitions))
        if partition is not None:
            ways = (*ways, "--partition", str(partition))
        process = Process(
            kind, name, self._folder, *ways, "--business-date", "2024-05-02", *flags, command=command, **changed
        )
        self.processes.append(process)
        return process

    async def gateway(self, name: str, *flags: str) -> Client:
        return client(await self.start("gateway", name, *flags).ready())

    def logs(self, lines: int = 60) -> str:
        """Return the ends of the logs of what still runs, for who has to find out why it went wrong."""
        running = [each for each in self.processes if each.process.poll() is None]
        ends = ["\n".join(each.log.read_text().splitlines()[-lines:]) for each in running]
        return "\n".join(f"--- {each.name}\n{end}" for each, end in zip(running, ends, strict=True))

    def end(self) -> None:
        for each in self.processes:
            if each.process.poll() is None:
                each.process.kill()
                each.process.wait()


@asynccontextmanager
async def topology(
    tmp_path: Path, dsn: str, redis: RedisServer | RedisCluster, *, partitions: int = 1
) -> AsyncIterator[Topology]:
    processes = Topology(tmp_path, dsn, redis.url, partitions)
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


async def prepare(admin: Client, *others: Client) -> dict[str, ApiKey]:
    """Make accounts, their keys and a loan. others: gateways that are to know the keys, which they hear of later."""
    keys = {}
    for account, kind in (("ORIG", "originator"), ("BUYER", "investor")):
        await admin.post("/v1/admin/accounts", {"account_id": account, "kind": kind, "name": account})
        made = await admin.post(f"/v1/admin/accounts/{account}/api-keys", {"scopes": ["read", "trade"]})
        keys[account] = ApiKey(made["key"], made["secret"])
    deposit = {"account_id": "BUYER", "currency": "CNY", "amount": "5000.00", "custody_ref": "d-1"}
    await admin.post("/v1/admin/deposits", deposit)
    await admin.post("/v1/admin/loans", LOAN)
    for other in others:
        for key in keys.values():
            await _known(other, key)
    return keys


async def _known(gateway: Client, key: ApiKey) -> None:
    async with Client(gateway.url, key) as client, asyncio.timeout(PATIENCE_S):
        while True:
            try:
                await client.get("/v1/session")
                return
            except ApiError as e:
                if e.code != "auth_invalid_key":
                    raise
            await asyncio.sleep(0.02)


def order(side: str, cl_ord_id: str, qty: str = "100.00", price: str = "97.00", loan_id: str = "L1") -> dict[str, str]:
    return {
        "loan_id": loan_id, "side": side, "order_type": "limit", "limit_price": price, "order_qty": qty,
        "cl_ord_id": cl_ord_id,
    }  # fmt: skip


async def placed(client: Client, body: dict[str, str]) -> dict[str, Any]:
    """Place an order as a careful client does: again under the same id until the outcome is known."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            try:
                answer: dict[str, Any] = await client.post("/v1/orders", body)
                return answer
            except ApiError as e:
                if e.code not in {"unavailable", "busy", "market_mode"}:
                    raise
            await asyncio.sleep(0.1)


async def redis_knows(server: RedisServer, *, sessions: int, waiting: int = 0) -> None:
    """Wait until so many connections of sessions were told, and so many ends of sessions that are waited for."""
    async with Redis(unix_socket_path=str(server.socket)) as redis, asyncio.timeout(PATIENCE_S):
        while True:
            told = [await redis.get(key) for key in await redis.keys(Names().sessions("*"))]
            attached = [one for each in told if each for one in unpack(list[Attached], each)]
            if sum(not one.waits for one in attached) == sessions and sum(one.waits for one in attached) == waiting:
                return
            await asyncio.sleep(0.05)
