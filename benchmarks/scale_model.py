"""On paper: how many machines a market of a given size needs, by a simulation driven by measured costs.

    python benchmarks/scale_model.py [--readers 1000000] [--orders-per-s 100000] [--loans 10000000] [--smoke]

The costs are arguments; their defaults are what two_engines.py, gateway_reply.py and fan_out.py printed on two cores of
a small machine (docs/scaling.md says which figure is whose). Loans are traded and watched by popularity: the k-th most
popular one in proportion to 1 / k^skew. Loans are dealt to partitions at random. Simulated, order by order, are the
fullest partition and an average one: orders come in bursts, the engine applies one after another while the batch before
commits, and an order is acknowledged when its batch is durable. Everything else is counted. Deterministic. About 20 s.
"""

import argparse
import math
import random
import statistics
import sys
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

FULL = 0.6  # of a processor: more is kept for bursts, takeovers and days that are not average
ONE_BY_ONE = 10_000  # so many of the most popular loans are looked at singly, the rest in bins
BINS = 400
COMMANDS_OF_A_MOVE = 2  # cash that goes from one partition's line to another's: out of one, into the other
MERGED_PER_S = 10  # steps of one loan that a reader is shown at most: what falls between is merged
STEPS_PER_ORDER = 1.3  # messages about a loan per order: a step of the book, and a trade for every third


@dataclass(frozen=True, slots=True)
class Costs:
    """Processor time per order (us), of a batch's way to the disk and back (ms), per delivered message (us)."""

    engine_us: float
    database_us: float
    commit_ms: float
    wal_bytes: float
    gateway_us: float
    follow_us: float  # a gateway hears of somebody's order
    delivery_us: float


@dataclass(frozen=True, slots=True)
class Room:
    """Cores of a machine, sockets of a gateway, MB/s that a database can write durably."""

    cores: int
    sockets: int
    disk_mb_per_s: float


class TooMuch(Exception):
    """A single loan has more orders than one engine can carry."""


@dataclass(frozen=True, slots=True)
class Market:
    readers: int
    watched: int  # loans per reader
    orders_per_s: float
    loans: int
    skew: float
    moved: float  # share of orders that need cash from another partition

    @property
    def commands_per_s(self) -> float:
        return self.orders_per_s * (1 + COMMANDS_OF_A_MOVE * self.moved)


def popularity(market: Market) -> list[tuple[float, float]]:
    """Return (how many loans, share of each of them): the most popular singly, the others in bins of like ones."""
    edges = [*range(1, min(ONE_BY_ONE, market.loans) + 1)]
    ratio = (market.loans / edges[-1]) ** (1 / BINS)
    edges += sorted({math.ceil(edges[-1] * ratio**step) for step in range(1, BINS + 1)} - set(edges))
    edges.append(max(edges[-1], market.loans) + 1)
    bins = [(after - first, ((first + after - 1) / 2) ** -market.skew) for first, after in pairwise(edges)]
    total = sum(count * weight for count, weight in bins)
    return [(count, weight / total) for count, weight in bins]


def shares(bins: Sequence[tuple[float, float]], partitions: int, rng: random.Random) -> list[float]:
    """Return each partition's share of all orders: single loans dealt at random, the many small ones evenly."""
    dealt = [0.0] * partitions
    rest = 0.0
    for count, share in bins:
        if count == 1:
            dealt[rng.randrange(partitions)] += share
        else:
            rest += count * share
    return [share + rest / partitions for share in dealt]


def partitions_needed(market: Market, costs: Costs, rng: random.Random) -> tuple[int, list[float]]:
    """Return the fewest partitions of which the fullest keeps to its part of a processor, and their shares.

    Raises TooMuch.
    """
    bins = popularity(market)
    most = FULL / (costs.engine_us / 1e6) / market.commands_per_s  # share of the orders that an engine can carry
    if bins[0][1] > most:
        raise TooMuch(f"one loan alone has {bins[0][1]:.1%} of all orders, an engine carries {most:.1%}")
    partitions = math.ceil(1 / most)
    while max(dealt := shares(bins, partitions, rng)) > most:
        partitions = math.ceil(partitions * 1.05)
    return partitions, dealt


def arrivals(per_s: float, orders: int, rng: random.Random) -> Iterator[float]:
    """Yield times of arrival: Poisson, at a pace drawn anew each tenth of a second, up to 1.8 times the mean."""
    at = pace_until = 0.0
    pace = per_s
    for _ in range(orders):
        if at >= pace_until:
            pace, pace_until = per_s * rng.uniform(0.2, 1.8), at + 0.1
        at += rng.expovariate(pace)
        yield at


def acknowledged_ms(per_s: float, costs: Costs, *, orders: int, rng: random.Random) -> list[float]:
    """Return how long each order of one partition waits until it is durable, in ms, sorted."""
    engine_s, row_s = costs.engine_us / 1e6, costs.database_us / 1e6
    free_at = committed_at = 0.0
    waiting: deque[tuple[float, float]] = deque()  # (arrived, applied)
    taken: list[float] = []

    def commit() -> float:
        """Commit all that is applied when the last commit ends, or else as soon as there is something."""
        began = max(committed_at, waiting[0][1])
        batch = 0
        while waiting and waiting[0][1] <= began:
            batch += 1
            taken.append(waiting.popleft()[0])
        ended = began + rng.uniform(0.8, 1.6) * costs.commit_ms / 1e3 + batch * row_s
        for index in range(len(taken) - batch, len(taken)):
            taken[index] = (ended - taken[index]) * 1e3
        return ended

    for arrived in arrivals(per_s, orders, rng):
        free_at = max(free_at, arrived) + engine_s
        while waiting and max(committed_at, waiting[0][1]) <= arrived:
            committed_at = commit()
        waiting.append((arrived, free_at))
    while waiting:
        committed_at = commit()
    return sorted(taken)


def deliveries_per_s(market: Market) -> float:
    """Return messages per second to all readers: of each loan its steps, merged where they come too often."""
    return sum(
        count
        * min(market.orders_per_s * share * STEPS_PER_ORDER, MERGED_PER_S)
        * min(market.readers * market.watched * share, market.readers)
        for count, share in popularity(market)
    )


def report(market: Market, costs: Costs, room: Room, *, orders: int) -> None:
    rng = random.Random(1)
    partitions, dealt = partitions_needed(market, costs, rng)
    fullest, average = max(dealt), statistics.mean(dealt)
    print(f"engines        {partitions:,}: the fullest has {fullest * partitions:.2f} times the average's orders")
    for name, share in (("fullest", fullest), ("average", average)):
        per_s = share * market.commands_per_s
        waits = acknowledged_ms(per_s, costs, orders=orders, rng=rng)
        middle, late = waits[len(waits) // 2], waits[len(waits) * 99 // 100]
        print(f"  {name}      {per_s:,.0f} commands/s, durable after {middle:.1f} ms (median), {late:.1f} ms (p99)")
    busy = market.commands_per_s * costs.database_us / 1e6
    wal_mb = market.commands_per_s * costs.wal_bytes / 1e6
    databases = math.ceil(max(busy / FULL / room.cores, wal_mb / FULL / room.disk_mb_per_s))
    print(
        f"databases      {databases:,} of {room.cores} cores: {busy:.1f} cores busy, {wal_mb:,.0f} MB of log/s in all"
    )
    sent = deliveries_per_s(market)
    by_sockets = market.readers / room.sockets
    by_sending = sent * costs.delivery_us / 1e6 / FULL
    by_orders = market.orders_per_s * costs.gateway_us / 1e6 / FULL
    gateways = math.ceil(max(by_sockets, by_sending + by_orders))
    print(f"gateways       {gateways:,}, {by_orders:,.0f} of them for orders alone: {sent:,.0f} messages/s to readers")
    all_heard = market.orders_per_s * costs.follow_us / 1e6
    limit = FULL / (costs.follow_us / 1e6)
    print(f"  one that follows every loan would be busy {all_heard:,.1f} times over: good up to {limit:,.0f} orders/s")
    processes = 2 * partitions + gateways  # each engine has a standby, each database a copy
    machines = math.ceil(processes / room.cores) + 2 * databases
    print(f"machines       {machines:,} of {room.cores} cores, standbys and copies of databases among them")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--readers", type=int, default=1_000_000)
    parser.add_argument("--watched", type=int, default=20, help="loans per reader")
    parser.add_argument("--orders-per-s", type=float, default=100_000)
    parser.add_argument("--loans", type=int, default=10_000_000)
    parser.add_argument("--skew", type=float, default=0.6, help="0: all loans are alike, 1: as words of a language are")
    parser.add_argument("--moved", type=float, default=0.02, help="share of orders that need cash of another partition")
    parser.add_argument("--cores", type=int, default=16, help="of a machine")
    parser.add_argument("--sockets", type=int, default=10_000, help="that one gateway may hold")
    parser.add_argument("--disk-mb-per-s", type=float, default=400, help="that a database can write durably")
    for name, cost in DEFAULTS.items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=float, default=cost)
    parser.add_argument("--smoke", action="store_true", help="fewer simulated orders")
    options = parser.parse_args()
    costs = Costs(**{name: getattr(options, name) for name in DEFAULTS})
    market = Market(options.readers, options.watched, options.orders_per_s, options.loans, options.skew, options.moved)
    print(f"market         {market.readers:,} readers, {market.orders_per_s:,.0f} orders/s, {market.loans:,} loans")
    room = Room(options.cores, options.sockets, options.disk_mb_per_s)
    try:
        report(market, costs, room, orders=5_000 if options.smoke else 200_000)
    except TooMuch as e:
        sys.exit(f"no number of engines is enough: {e}")


DEFAULTS = {
    "engine_us": 220.0,
    "database_us": 140.0,
    "commit_ms": 1.5,
    "wal_bytes": 5_040.0,
    "gateway_us": 470.0,
    "follow_us": 35.0,
    "delivery_us": 0.9,
}

if __name__ == "__main__":
    main()
