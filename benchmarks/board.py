"""The board of 100,000 loans: pages by filter and order, against filtering and sorting everything for each.

    python benchmarks/board.py [--loans 100000] [--seed 1] [--smoke]

The claim: a page of 100 in about a millisecond, however many loans there are; the search for what isn't there looks at
everything, but in slices between which others get their turn. `filter and sort` is what a board without indexes does.
What is about all loans at once comes from columns: the loop is held for `look` alone, the rest is done beside it.
"""

import argparse
import os
import platform
import random
import time
from collections.abc import Callable

from market.ids import LoanId
from market.orderbook.board import Board, Entry, Facet, Figure, Key, Wanted
from market.orderbook.columns import Columns

PAGE, SLICE = 100, 2_000
GRADES = "ABCDEFG"
WISHES = {
    "-ytm": Wanted(sort=Figure.YTM, descending=True),
    "-ytm, grade A or B": Wanted(words=((Facet.GRADE, frozenset("AB")),), sort=Figure.YTM, descending=True),
    "price, 12 % to 13 %": Wanted(bounds=((Figure.YTM, 120_000, 130_000),), sort=Figure.PRICE),
    "rate, 24 to 30 months, never late": Wanted(
        words=((Facet.NEVER_LATE, frozenset({"true"})),),
        bounds=((Figure.REMAINING_MONTHS, 24, 30),),
        sort=Figure.RATE,
    ),
    "grade": Wanted(sort=Figure.GRADE),
    "-loan_id": Wanted(descending=True),
    "text that one loan has": Wanted(text="b-00077"),
    "text that no loan has": Wanted(text="nothing like it", sort=Figure.YTM),
}


def random_entry(rng: random.Random, number: int) -> Entry:
    """Half of the loans are offered."""
    price = rng.randint(8_500, 10_200) if rng.random() < 0.5 else None
    rate = rng.randrange(50_000, 310_000, 100)
    figures = (
        None if price is None else rate + (10_000 - price) * 40,
        price,
        None if price is None else 10_000 - price,
        rng.randint(1, 60),
        rate,
        None if price is None else rng.randint(1, 400) * 100_00,
        rng.randint(8_000, 8_400) if rng.random() < 0.3 else None,
        rng.randint(8_500, 10_200) if rng.random() < 0.5 else None,
        ord(grade := rng.choice(GRADES)),
        0,
        rng.randint(0, 60),
    )
    words = ("current", "USD", "ORIG", grade, "unsecured", "none", rng.choice(["true", "true", "false"]))
    return Entry(LoanId(f"B-{number:05d}"), figures, words, f"b-{number:05d}\norig\ndebt consolidation\nca")


def pages(board: Board, wanted: Wanted) -> tuple[int, float]:
    """Return how many were found for one page, and the longest slice in seconds."""
    found: list[Key] = []
    after: Key | None = None
    longest = 0.0
    while True:
        start = time.perf_counter()
        part, after = board.search(wanted, after=after, limit=PAGE - len(found), steps=SLICE)
        longest = max(longest, time.perf_counter() - start)
        found += part
        if after is None or len(found) == PAGE:
            return len(found), longest


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--loans", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--smoke", action="store_true", help="a few loans: only to see that it runs")
    options = parser.parse_args()
    if options.smoke:
        options.loans = 3_000
    rng, board = random.Random(options.seed), Board()
    entries = [random_entry(rng, number) for number in range(options.loans)]
    filled_s = timed(lambda: [board.put(entry) for entry in entries])
    changed = [random_entry(rng, rng.randrange(options.loans)) for _ in range(2_000)]
    changed_s = timed(lambda: [board.put(entry) for entry in changed])
    print(f"machine  {platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}")
    print(f"input    {options.loans:,} loans, pages of {PAGE}, seed {options.seed}")
    print(f"put      {filled_s / options.loans * 1e6:.0f} us when new, {changed_s / 2_000 * 1e6:.0f} us when changed")
    overviews(entries)
    for name, wanted in WISHES.items():
        took_s = min(timed(lambda wanted=wanted: pages(board, wanted)) for _ in range(3))
        found, longest_s = pages(board, wanted)
        plain_s = timed(lambda wanted=wanted: plain(entries, wanted))
        times = (
            f"{took_s * 1e3:7.2f} ms, longest slice {longest_s * 1e3:5.2f} ms; filter and sort {plain_s * 1e3:6.1f} ms"
        )
        print(f"page     {times}; {found:3} found: {name}")


def overviews(entries: list[Entry]) -> None:
    """Print what the answers about all loans of a filter cost: what the loop waits for, and what a thread does."""
    columns = Columns()
    put_s = timed(lambda: [columns.put(entry) for entry in entries])
    print(f"columns  {put_s / len(entries) * 1e6:.0f} us to put")
    wanted = WISHES["-ytm, grade A or B"]
    cut, spread = columns.cut(wanted), columns.spread(wanted)
    steps: dict[str, tuple[Callable[[], object], Callable[[], object]]] = {
        "count": (lambda: columns.count(wanted), lambda: None),
        "order": (lambda: columns.cut(wanted), cut.loans),
        "facets": (lambda: columns.words(wanted), lambda: None),
        "map": (lambda: columns.spread(wanted), lambda: spread.points(most=3_000, step_ppm=1_000)),
    }
    for name, (look, rest) in steps.items():
        looked_s, rest_s = (min(timed(work) for _ in range(5)) for work in (look, rest))
        print(f"{name:8} look {looked_s * 1e3:6.2f} ms, beside the loop {rest_s * 1e3:6.2f} ms: -ytm, grade A or B")


def plain(entries: list[Entry], wanted: Wanted) -> list[Key]:
    return sorted(wanted.key(entry) for entry in entries if wanted.accepts(entry))[:PAGE]


def timed(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
