"""Two-sided quotes per second over a real socket: mass_quote frames, against the same moves as single amends.

    python benchmarks/mass_quote.py [--loans 500] [--rounds 20] [--smoke]

One market-maker moves both sides of all loans by a tick, again and again, with two frames under way. Service, durable
private PostgreSQL and client share the machine, so the ratio says more than either figure. The claim: frames of 500
move quotes at least five times as fast as amends of orders do. About 10 s, smoke half of that.
"""

import argparse
import asyncio
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from _service import market_maker
from settlement_commit import machine

from gateway.client import Socket
from gateway.process.config import Settings
from gateway.process.serve import running_service

FRAMES_AT_ONCE = 2
PEER_ROUNDS = 4
NO_LIMIT = 10**6


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--loans", type=int, default=500)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--smoke", action="store_true", help="20 loans, two rounds, only to show that it works")
    options = parser.parse_args()
    loans, rounds, peer_rounds = options.loans, options.rounds, PEER_ROUNDS
    if options.smoke:
        loans, rounds, peer_rounds = 20, 2, 1
    print(f"{machine()}; {loans} loans")
    with tempfile.TemporaryDirectory() as folder:
        settings = Settings(
            embedded=True,
            data_dir=Path(folder) / "data",
            port=0,
            business_date="2024-01-15",
            rate_orders_per_s=NO_LIMIT,
            rate_amends_per_s=NO_LIMIT,
            log_level="WARNING",
        )
        async with (
            running_service(settings) as running,
            await market_maker(running.url, running.admin_key, loans) as maker,
        ):
            socket = await maker.socket()
            async with socket:
                await socket.login()
                symbols = [f"B-{i}/USD" for i in range(loans)]
                alone = await orders_per_s(socket, symbols, peer_rounds)
                together = await quotes_per_s(socket, symbols, rounds)
    print(f"amend_order, one per side: {alone:10,.0f} quotes/s")
    print(f"mass_quote, {loans:4} a frame: {together:10,.0f} quotes/s, {together / alone:.1f} times as fast")


def prices(tick: int) -> tuple[str, str]:
    return f"97.{tick % 50:02}", f"98.{tick % 50:02}"


async def quotes_per_s(socket: Socket, symbols: list[str], rounds: int) -> float:
    async def move(tick: int) -> None:
        bid, ask = prices(tick)
        quotes = [{"symbol": s, "bid": bid, "bid_qty": "10.00", "ask": ask, "ask_qty": "10.00"} for s in symbols]
        told = await socket.call("mass_quote", quotes=quotes)
        assert told["accepted"] == 2 * len(symbols), told

    await move(0)
    return len(symbols) * rounds / await timed(move, rounds, at_once=FRAMES_AT_ONCE)


async def orders_per_s(socket: Socket, symbols: list[str], rounds: int) -> float:
    """One amend_order per side, all of a round under way at once."""
    placed = []
    for side, price in zip(("buy", "sell"), prices(0), strict=True):
        order = {"side": side, "order_type": "limit", "limit_price": price, "order_qty": "10.00"}
        placed.append(await asyncio.gather(*(socket.call("add_order", symbol=s, **order) for s in symbols)))

    async def move(tick: int) -> None:
        moves = [
            socket.call("amend_order", order_id=row["order_id"], limit_price=price)
            for rows, price in zip(placed, prices(tick), strict=True)
            for row in rows
        ]
        await asyncio.gather(*moves)

    took_s = await timed(move, rounds, at_once=1)
    await socket.call("cancel_all")
    return len(symbols) * rounds / took_s


async def timed(move: Callable[[int], Awaitable[None]], rounds: int, *, at_once: int) -> float:
    """Return how long it takes to await `move` with 1, 2, 3, ..., so many at once."""
    ticks = iter(range(1, rounds + 1))

    async def worker() -> None:
        for tick in ticks:
            await move(tick)

    began = time.perf_counter()
    await asyncio.gather(*(worker() for _ in range(at_once)))
    return time.perf_counter() - began


if __name__ == "__main__":
    asyncio.run(main())
