"""How fast the example market-maker is back at what it wants, for a few hundred loans.

    python benchmarks/market_maker.py [--loans 300] [--smoke]

Both sides of all loans are quoted: at first, after the business date moved, after a trade moved the curve, and after
the connection was lost. Service, durable private PostgreSQL and market-maker share one process. The claims: what it
computes is less than what its frame takes, and the frame of all loans takes less than a tenth of a frame for each.
The market-maker's own pause of REQUOTE_S, in which changes gather, is part of the times. About 20 s, smoke half.
"""

import argparse
import asyncio
import tempfile
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from _service import LOAN
from settlement_commit import machine

from gateway.client import ApiKey, Client, decimal, units
from gateway.demo.curve import Curve
from gateway.demo.market_maker import QUOTE_SET, CurveMaker
from gateway.demo.traders import Tally, listed_loans
from gateway.process.config import Settings
from gateway.process.serve import Running, running_service

Json = dict[str, Any]
DAY, NEXT_DAY = "2024-01-15", "2024-01-16"
GRADES = "ABCDEF"
NO_LIMIT = 10**6
PATIENCE_S = 60.0
POLL_S = 0.02


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--loans", type=int, default=300)
    parser.add_argument("--smoke", action="store_true", help="20 loans, only to show that it works")
    options = parser.parse_args()
    loans = 20 if options.smoke else options.loans
    print(f"{machine()}; {loans} loans, both sides")
    with tempfile.TemporaryDirectory() as folder:
        settings = Settings(
            embedded=True,
            data_dir=Path(folder) / "data",
            port=0,
            business_date=DAY,
            rate_orders_per_s=NO_LIMIT,
            log_level="WARNING",
        )
        async with running_service(settings) as running, Client(running.url, running.admin_key) as admin:
            keys = {name: await open_account(admin, name) for name in ("MM", "TAKER")}
            for i in range(loans):
                terms = {"grade": GRADES[i % len(GRADES)], "term_months": 12 + 12 * (i % 5), "annual_rate": "0.12"}
                await admin.post("/v1/admin/loans", LOAN | terms | {"loan_id": f"B-{i}"})
            await measure(running, admin, keys, loans)


async def open_account(admin: Client, name: str) -> ApiKey:
    await admin.post("/v1/admin/accounts", {"account_id": name, "kind": "originator"})
    cash = {"account_id": name, "currency": "USD", "amount": "100000000.00", "custody_ref": f"first-{name}"}
    await admin.post("/v1/admin/deposits", cash)
    made = await admin.post(f"/v1/admin/accounts/{name}/api-keys", {"scopes": ["read", "trade"]})
    return ApiKey(made["key"], made["secret"])


async def measure(running: Running, admin: Client, keys: dict[str, ApiKey], count: int) -> None:
    loans = await listed_loans(admin, count=count, seed=1)
    maker = CurveMaker(
        running.url, keys["MM"], name="MM", loans=loans, tally=Tally(), rate=0.001, seed=1, curve=Curve.of(loans)
    )
    task: asyncio.Task[None] | None = None

    async def start() -> None:
        nonlocal task
        task = asyncio.create_task(maker.run())

    async def roll() -> None:
        await admin.post("/v1/admin/day-roll", {"to": NEXT_DAY})

    async def trade() -> None:
        ask = maker.standing[loans[0].symbol, "sell"]
        body = {"loan_id": loans[0].loan_id, "side": "buy", "order_type": "limit", "time_in_force": "ioc"}
        async with Client(running.url, keys["TAKER"]) as taker:
            await taker.post("/v1/orders", body | {"limit_price": ask["price"], "order_qty": ask["qty"]})

    async def cut() -> None:
        maker.market.reconnect()

    try:
        for what, step in (
            ("from nothing", start),
            ("a new business date", roll),
            ("a trade of its grade", trade),
            ("a lost connection", cut),
        ):
            print(f"{what:<22} {await settled(maker, step) * 1_000:8,.0f} ms")
        began = time.perf_counter()
        quotes = [maker.wanted(loan) for loan in maker.by_id.values()]
        pricing_s = time.perf_counter() - began
        await frames(maker, quotes, pricing_s)
    finally:
        if task is not None:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task


async def settled(maker: CurveMaker, step: Callable[[], Awaitable[None]]) -> float:
    """Return how long it takes from a step until all quotes moved and stand as they are wanted, in seconds."""
    frames, began = maker.frames, time.perf_counter()
    await step()
    while maker.frames == frames or not maker.is_settled:
        if time.perf_counter() - began > PATIENCE_S:
            raise TimeoutError("the quotes do not settle")
        await asyncio.sleep(POLL_S)
    return time.perf_counter() - began


async def frames(maker: CurveMaker, quotes: list[Json], pricing_s: float) -> None:
    """Move all quotes by one frame, then by a frame for each loan."""

    async def move(frame: list[Json]) -> None:
        await maker.market.mass_quote(frame, quote_set=QUOTE_SET, mmp_group=QUOTE_SET)

    began = time.perf_counter()
    await move([lowered(quote) for quote in quotes])
    together_s = time.perf_counter() - began
    began = time.perf_counter()
    for quote in quotes:
        await move([quote])
    alone_s = time.perf_counter() - began
    print(f"pricing {len(quotes)} loans     {pricing_s * 1_000:8,.1f} ms")
    print(f"one frame of all       {together_s * 1_000:8,.1f} ms, {together_s / pricing_s:.1f} times the pricing")
    print(f"one frame per loan     {alone_s * 1_000:8,.1f} ms, {alone_s / together_s:.1f} times as long")


def lowered(quote: Json) -> Json:
    """Return a quote with both prices a tick lower."""
    prices = {side: decimal(units(quote[side]) - 1) for side in ("bid", "ask") if side in quote}
    return quote | prices


if __name__ == "__main__":
    asyncio.run(main())
