"""What the gateway adds to a reply: an order over WebSocket, REST and the façade, against the engine's own port.

    python benchmarks/gateway_reply.py [--orders 300] [--per-s 200] [--seconds 3] [--rounds 3] [--smoke]

The service, with a durable private PostgreSQL, runs in a process of its own, which also times `engine.submit` of the
same orders: the durable commit, and nothing of the edge. This process is the client: what it takes to sign, send and
read is in the times of the edge. By turns, first one order after the other, then so many per second whatever the
answers do. `CPU of the service` is what an order costs the service's process, without PostgreSQL; it says the same on a
machine that is busy otherwise. The claim: over WebSocket at most half a commit is added at p50. About a minute.
"""

import argparse
import asyncio
import base64
import hashlib
import hmac
import itertools
import multiprocessing
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from multiprocessing.connection import Connection
from pathlib import Path
from urllib.parse import urlencode

import aiohttp
import uvloop
from _service import market_maker
from settlement_commit import machine

from gateway.client import ApiKey
from gateway.process.config import Settings
from gateway.process.serve import running_service
from market.commands import CancelAll, PlaceOrder
from market.ids import AccountId, Face, LoanId, PriceBp
from market.orderbook.order import Side

ACCOUNT, LOANS, NO_LIMIT, PATIENCE_S = "MM", 20, 10**6, 120.0
ENGINE = "engine's port"
Place = Callable[[], Awaitable[object]]


async def times_ms(place: Place, orders: int, per_s: float | None) -> list[float]:
    """Place orders, one after the other or at a steady pace; return from when each was due until it was answered."""
    took: list[float] = []

    async def one(due: float) -> None:
        await place()
        took.append((time.perf_counter() - due) * 1e3)

    if per_s is None:
        for _ in range(orders):
            await one(time.perf_counter())
        return took
    began = time.perf_counter()
    async with asyncio.TaskGroup() as tasks:
        for n in range(orders):
            due = began + n / per_s
            await asyncio.sleep(max(0.0, due - time.perf_counter()))
            tasks.create_task(one(due))
    return took


def serve(pipe: Connection, folder: str) -> None:
    """Run the service, and time its engine when asked to."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_serve(pipe, folder))


async def _serve(pipe: Connection, folder: str) -> None:
    settings = Settings(
        embedded=True,
        data_dir=Path(folder) / "data",
        port=0,
        business_date="2024-01-15",
        rate_orders_per_s=NO_LIMIT,
        log_level="WARNING",
    )
    numbers = itertools.count()
    async with running_service(settings) as running:

        async def place() -> None:
            order = PlaceOrder(
                account_id=AccountId(ACCOUNT),
                loan_id=LoanId(f"B-{next(numbers) % LOANS}"),
                side=Side.BUY,
                quantity=Face(100),
                price=PriceBp(9_000),
            )
            await running.engine.submit(order, actor="benchmark")

        pipe.send((running.url, running.admin_key))
        while (asked := await asyncio.to_thread(pipe.recv)) is not None:
            if asked == "sweep":
                await running.engine.submit(CancelAll(account_id=AccountId(ACCOUNT)), actor="benchmark")
            else:
                took = await times_ms(place, *asked)
                pipe.send(took)
            pipe.send(time.process_time())


async def ways_of(url: str, admin_key: ApiKey, stack: AsyncExitStack) -> dict[str, Place]:
    """Return what places one order over each way in."""
    maker = await stack.enter_async_context(await market_maker(url, admin_key, LOANS))
    socket = await stack.enter_async_context(await maker.socket())
    await socket.login()
    http = await stack.enter_async_context(aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=64)))
    key, numbers = maker.key, itertools.count()
    assert key is not None
    order = {"side": "buy", "order_type": "limit", "limit_price": "90.00", "order_qty": "1.00"}

    def loan() -> str:
        return f"B-{next(numbers) % LOANS}"

    async def by_socket() -> None:
        await socket.call("add_order", symbol=f"{loan()}/USD", **order)

    async def by_rest() -> None:
        await maker.post("/v1/orders", {"loan_id": loan(), **order})

    async def by_facade() -> None:
        path, nonce = "/0/private/AddOrder", str(time.time_ns())
        said = {"nonce": nonce, "pair": f"{loan()}/USD", "type": "buy", "ordertype": "limit", "price": "90.00"}
        body = urlencode(said | {"volume": "1.00"}).encode()
        signed = path.encode() + hashlib.sha256(nonce.encode() + body).digest()
        sign = base64.b64encode(hmac.new(base64.b64decode(key.secret), signed, hashlib.sha512).digest()).decode()
        headers = {"API-Key": key.key, "API-Sign": sign, "Content-Type": "application/x-www-form-urlencoded"}
        async with http.post(url + path, data=body, headers=headers) as response:
            told = await response.json()
            if told["error"] and told["error"] != ["EAPI:Invalid nonce"]:  # of two calls that overtook each other
                raise RuntimeError(told["error"])

    return {"WebSocket": by_socket, "REST /v1": by_rest, "façade /0": by_facade}


async def measure(pipe: Connection, rounds: int, loads: dict[str, tuple[int, float | None]]) -> None:
    url, admin_key = await asyncio.to_thread(pipe.recv)
    async with AsyncExitStack() as stack:
        ways = await ways_of(url, admin_key, stack)
        for name, (orders, per_s) in loads.items():
            took: dict[str, list[float]] = {way: [] for way in (ENGINE, *ways)}
            used = dict.fromkeys(took, 0.0)
            for _ in range(rounds):
                before = await swept(pipe)
                pipe.send((orders, per_s))
                took[ENGINE] += await asyncio.to_thread(pipe.recv)
                used[ENGINE] += await asyncio.to_thread(pipe.recv) - before
                for way, place in ways.items():
                    before = await swept(pipe)
                    took[way] += await times_ms(place, orders, per_s)
                    used[way] += await swept(pipe) - before
            show(name, took, used)
    pipe.send(None)


async def swept(pipe: Connection) -> float:
    """Take the resting orders away; return what CPU the service has used, in seconds."""
    pipe.send("sweep")
    used: float = await asyncio.to_thread(pipe.recv)
    return used


def show(load: str, took: dict[str, list[float]], used: dict[str, float]) -> None:
    print(load)
    base = statistics.median(took[ENGINE])
    for way, each in took.items():
        half, most, cpu_ms = statistics.median(each), sorted(each)[len(each) * 99 // 100], used[way] / len(each) * 1e3
        added = "" if way == ENGINE else f"; p50 {half / base:.2f} of the engine's, {half - base:+.2f} ms"
        print(f"  {way:14} p50 {half:6.2f} ms, p99 {most:7.2f} ms, CPU of the service {cpu_ms:.2f} ms{added}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--orders", type=int, default=300, help="one after the other, per way and round")
    parser.add_argument("--per-s", type=int, default=200)
    parser.add_argument("--seconds", type=int, default=3, help="at a steady pace, per way and round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--smoke", action="store_true", help="a few orders, only to show that it works")
    options = parser.parse_args()
    if options.smoke:
        options.orders, options.per_s, options.seconds, options.rounds = 5, 20, 1, 1
    loads: dict[str, tuple[int, float | None]] = {
        "one after the other": (options.orders, None),
        f"{options.per_s} per second": (options.per_s * options.seconds, options.per_s),
    }
    print(f"{machine()}; {options.rounds} rounds of {options.orders} orders, then {options.seconds} s")
    context = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory() as folder:
        pipe, far = context.Pipe()
        service = context.Process(target=serve, args=(far, folder))
        service.start()
        try:
            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                runner.run(asyncio.wait_for(measure(pipe, options.rounds, loads), PATIENCE_S * 5))
            service.join(PATIENCE_S)
        finally:
            if service.is_alive():
                service.terminate()
                service.join(PATIENCE_S)


if __name__ == "__main__":
    main()
