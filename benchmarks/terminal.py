"""Measures what drawing the terminal's market costs: only rows that changed, against all rows each time.

Input: loans with both best prices, ordered by bid yield; in each round some of them change. A round is cells made,
table updated, screen laid out again. Prints both in the same run, alternating, and their ratio.
"""

import argparse
import asyncio
import platform
import random
import statistics
import time

from textual.app import App, ComposeResult
from textual.pilot import Pilot

from gateway.terminal.desk import Desk
from gateway.terminal.rows import MARKET, market_rows
from gateway.terminal.table import Cells, LiveTable


class Screen(App[None]):
    def compose(self) -> ComposeResult:
        yield LiveTable(*MARKET, id="market")


def opened(loans: int) -> Desk:
    desk = Desk(connected=True)
    for n in range(loans):
        row = {"symbol": f"B-{n:05}/USD", "loan_id": f"B-{n:05}", "grade": "ABCD"[n % 4], "remaining_months": n % 60}
        desk.list_loan({**row, "halted": False, "status": "current"})
    return desk


def change(desk: Desk, symbols: list[str], rng: random.Random) -> None:
    for symbol in symbols:
        bid = rng.randint(9_000, 9_900)
        row = {"symbol": symbol, "bid": f"{bid / 100:.2f}", "bid_qty": "5000.00", "last": None}
        row |= {"ask": f"{bid / 100 + 0.3:.2f}", "ask_qty": "5000.00", "ytm_bid": f"{rng.random() / 4:.6f}"}
        desk.take_ticker({"channel": "ticker", "type": "update", "data": [{**row, "ytm_ask": "0.120000"}]})


async def round_s(pilot: Pilot[None], desk: Desk, rows: dict[str, Cells], *, everything: bool) -> float:
    """Draw once; return the processor time that it took. rows: all that are shown, brought up to date."""
    began = time.process_time()
    changed, desk.changed = desk.changed, set()
    rows |= market_rows(desk, desk.tops if everything else changed)
    pilot.app.query_one(LiveTable).show(rows, changed=None if everything else changed)
    await pilot.pause()
    return time.process_time() - began


async def measured(loans: int, changes: int, rounds: int) -> tuple[float, float]:
    """Return the median round with only what changed, and with everything, in seconds."""
    rng, desk, app = random.Random(1), opened(loans), Screen()
    symbols, rows = list(desk.tops), dict[str, Cells]()
    spent: dict[bool, list[float]] = {False: [], True: []}
    async with app.run_test(size=(140, 36)) as pilot:
        change(desk, symbols, rng)
        await round_s(pilot, desk, rows, everything=True)
        app.query_one(LiveTable).sort_on(MARKET.index("ytm bid"))
        for n in range(2 * rounds):
            change(desk, rng.sample(symbols, changes), rng)
            spent[bool(n % 2)].append(await round_s(pilot, desk, rows, everything=bool(n % 2)))
    return statistics.median(spent[False]), statistics.median(spent[True])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--loans", type=int, default=2_000)
    parser.add_argument("--changes", type=int, default=30, help="loans that change between two draws")
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--smoke", action="store_true", help="a short run, to see that it works")
    given = parser.parse_args()
    loans, rounds = (200, 2) if given.smoke else (given.loans, given.rounds)
    some, everything = asyncio.run(measured(loans, given.changes, rounds))
    print(f"{platform.python_version()}, {platform.machine()}; {loans} loans, {given.changes} change between two draws")
    print(f"only what changed {some * 1e3:8.1f} ms of processor time a draw (median of {rounds})")
    print(f"everything        {everything * 1e3:8.1f} ms a draw, {everything / some:.1f} times as much")


if __name__ == "__main__":
    main()
