"""A thousand sockets of which three hundred stop reading: what the others notice, what it costs, how it ends.

    python benchmarks/slow_readers.py [--sockets 1000] [--stalled 300] [--phase-s 6] [--rounds 3] [--smoke]

The service in a process of its own, TCP over loopback, two processes of readers. One market-maker moves its quotes for
20 loans in one frame ten times a second; every socket reads all 20 books. By turns all read, then the stalled ones
don't. The claims: the others' p99 is within a tenth of what it is while all read; a stalled socket costs the service
less than 1 MiB of memory beside what the kernel holds; books are merged and marked as such without a gap; once a trade
comes, which can't be merged, a stalled socket is closed (4008). About two minutes.
"""

import argparse
import asyncio
import os
import re
import statistics
import time
from collections.abc import Callable
from itertools import chain
from pathlib import Path
from urllib.request import urlopen

from _readers import Group, Report
from _service import Service, investor, market_maker, served
from settlement_commit import machine

from gateway.client import Socket

LOANS, FRAMES_PER_S = 20, 10
SYMBOLS = [f"B-{i}/USD" for i in range(LOANS)]
BOOKS = {"method": "subscribe", "params": {"channel": "book", "symbol": SYMBOLS}, "req_id": 1}
TRADES = {"method": "subscribe", "params": {"channel": "trade", "symbol": SYMBOLS}, "req_id": 2}
RECEIVE_BYTES = 32 << 10  # of a stalled socket, so that it soon shows on the other side
PATIENCE_S = 60.0


class Market:
    """What the benchmark reads off the service."""

    def __init__(self, service: Service) -> None:
        self._service = service

    async def metric(self, name: str) -> float:
        text = await asyncio.to_thread(self._metrics)
        found = re.search(rf"^{name} (\S+)$", text, re.MULTILINE)
        assert found is not None, name
        return float(found[1])

    def _metrics(self) -> str:
        with urlopen(f"{self._service.url}/metrics") as response:
            return str(response.read(), "utf-8")

    async def until(self, name: str, is_right: Callable[[float], bool]) -> None:
        deadline = time.monotonic() + PATIENCE_S
        while not is_right(value := await self.metric(name)):
            if time.monotonic() > deadline:
                raise TimeoutError(f"{name} is {value}")
            await asyncio.sleep(0.1)

    def memory(self) -> int:
        """Return the service's resident memory in bytes: of the one process that is gateway and engine."""
        pages = int(Path(f"/proc/{self._service.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")


async def move_quotes(socket: Socket) -> None:
    """Move both sides of all loans by a tick, at a steady pace, for ever."""
    began, tick = time.monotonic(), 0
    while True:
        tick += 1
        bid, ask = f"97.{tick % 50:02}", f"98.{tick % 50:02}"
        await socket.call(
            "mass_quote",
            quotes=[{"symbol": s, "bid": bid, "bid_qty": "10.00", "ask": ask, "ask_qty": "10.00"} for s in SYMBOLS],
        )
        await asyncio.sleep(max(0.0, began + tick / FRAMES_PER_S - time.monotonic()))


class Run:
    """Phases of one run. limit: unread bytes above which the service merges."""

    def __init__(self, market: Market, reading: Group, stalling: Group, stalled: int, limit: int) -> None:
        self._market, self._reading, self._stalling = market, reading, stalling
        self._stalled, self._limit = stalled, limit

    async def phase(self, seconds: float, *, stall: bool) -> tuple[list[float], int]:
        """Return the others' latencies and the service's memory, once what was to stall has stalled or caught up."""
        self._stalling.read(0, self._stalled, on=not stall)
        full = self._stalled * self._limit
        if stall:
            await self._market.until("gateway_queued_bytes", lambda size: size >= full)
        else:
            await self._market.until("gateway_queued_bytes", lambda size: size < self._limit)
        await asyncio.sleep(1.0)
        self._reading.report()
        await asyncio.sleep(seconds)
        return self._reading.report().latencies_ms, self._market.memory()

    async def end(self, buyer: Socket) -> Report:
        """Trade once. Half of the stalled sockets wake up when they have been given up, half never do."""
        await buyer.call(
            "add_order", symbol=SYMBOLS[0], side="buy", order_type="market", order_qty="1.00", time_in_force="ioc"
        )
        await self._market.until("gateway_slow_consumers_total", lambda count: count == self._stalled)
        half = self._stalled // 2
        self._stalling.read(0, half, on=True)
        deadline = time.monotonic() + PATIENCE_S
        while (report := self._stalling.report()).closed < half:
            if time.monotonic() > deadline:
                raise TimeoutError(f"{report.closed} of {half} were closed")
            await asyncio.sleep(0.1)
        return report


async def measure(options: argparse.Namespace, service: Service, limit: int) -> None:
    maker, buyer = (
        await market_maker(service.url, service.admin_key, LOANS),
        await investor(service.url, service.admin_key),
    )
    async with maker, buyer, await maker.socket() as making, await buyer.socket() as buying:
        await making.login()
        await buying.login()
        market = Market(service)
        reading = Group(service.url, options.sockets - options.stalled, [BOOKS])
        stalling = Group(service.url, options.stalled, [BOOKS, TRADES], receive_bytes=RECEIVE_BYTES)
        moving = asyncio.create_task(move_quotes(making))
        run = Run(market, reading, stalling, options.stalled, limit)
        both: dict[bool, list[list[float]]] = {False: [], True: []}
        memory: dict[bool, list[int]] = {False: [], True: []}
        for _ in range(options.rounds):
            for stall in (False, True):
                latencies, size = await run.phase(options.phase_s, stall=stall)
                both[stall].append(sorted(latencies))
                memory[stall].append(size)
        report = await run.end(buying)
        moving.cancel()
        await market.until("gateway_sockets", lambda count: count == options.sockets - options.stalled + 2)
        reading.stop()
        stalling.stop()
    show(both, memory, options)
    assert report.merged > 0, "nothing was merged"
    assert report.gaps == 0, f"{report.gaps} gaps"
    assert report.told_slow == options.stalled // 2, f"{report.told_slow} were told that they are slow"
    print(f"merged      {report.merged} messages of the checked sockets stand for several, {report.gaps} gaps")
    told = f"{report.told_slow} of {options.stalled // 2} that then read were told 4008 slow_consumer"
    print(f"end         one trade: {told}; no stalled socket is left")


def show(both: dict[bool, list[list[float]]], memory: dict[bool, list[int]], options: argparse.Namespace) -> None:
    for stall, name in ((False, "all read"), (True, "stalled")):
        shown = ", ".join(f"{p99(each):.1f}" for each in both[stall])
        half = statistics.median(statistics.median(each) for each in both[stall])
        print(f"{name:10}  p99 {shown} ms; p50 {half:.1f} ms; {sum(map(len, both[stall])):,} reads")
    whole = {stall: p99(sorted(chain(*each))) for stall, each in both.items()}
    print(f"ratio       p99 of the others while {options.stalled} stall: {whole[True] / whole[False]:.2f} of all read")
    grown = [(b - a) / options.stalled for a, b in zip(memory[False], memory[True], strict=True)]
    print(f"memory      {max(grown) / 1024:.0f} KiB per stalled socket")


def p99(ordered: list[float]) -> float:
    return ordered[len(ordered) * 99 // 100]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sockets", type=int, default=1_000)
    parser.add_argument("--stalled", type=int, default=300)
    parser.add_argument("--phase-s", type=float, default=6.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--smoke", action="store_true", help="a few sockets and small limits, only to show it works")
    options = parser.parse_args()
    flags, limit = ["--ws-silence-s-max", "3600"], 128 << 10  # these readers answer no pings
    if options.smoke:
        options.sockets, options.stalled, options.phase_s, options.rounds, limit = 12, 4, 0.5, 2, 4 << 10
        flags += ["--ws-conflate-bytes", str(limit), "--ws-behind-s-max", "1"]
    print(f"{machine()}; {options.sockets} sockets, {options.stalled} of them stall; {LOANS} books each")
    with served(*flags) as service:
        asyncio.run(measure(options, service, limit))


if __name__ == "__main__":
    main()
