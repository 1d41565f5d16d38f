"""What a commit costs: batches of several sizes on a durable private PostgreSQL, orders of which about a third trade.

    python benchmarks/settlement_commit.py [--smoke]

Prints, per batch size: a batch's time from rows to durable, the part of it that is this process's own (rows, JSON, hash
chain), the time per command, and the commands per second that settlement alone could carry. About 20 s, smoke under 5.
"""

import argparse
import asyncio
import os
import platform
import random
import statistics
import tempfile
import time
from collections.abc import Iterator
from datetime import date
from pathlib import Path

from market.claims.loan import LoanTerms, RepaymentMethod
from market.commands import AccountKind, Command, Deposit, OpenAccount, OpenMarket, PlaceOrder, RegisterLoan
from market.events import LogEntry, Traded
from market.ids import AccountId, ClientOrderId, Currency, Face, LoanId, Minor, Nanos, PriceBp, Seq
from market.orderbook.order import Side
from market.settlement.embedded import EmbeddedPostgres
from market.settlement.log import GENESIS
from market.settlement.migrate import migrate
from market.settlement.rows import rows_of
from market.settlement.writer import PostgresStore
from market.venue.venue import Venue

SIZES = [1, 10, 50, 100, 200, 500, 1_000]
ACCOUNTS, LOANS = 200, 500
USD, DAY = Currency("USD"), date(2024, 1, 15)


class Flow:
    """A venue and the log entries that it made: limit orders around par on many loans, by many accounts."""

    def __init__(self, seed: int = 1) -> None:
        self.rng = random.Random(seed)
        self.venue = Venue()
        self.entries: list[LogEntry] = []
        self.do(OpenMarket(business_date=DAY))
        self.do(OpenAccount(account_id=AccountId("HOUSE"), kind=AccountKind.HOUSE, name="house"))
        for i in range(ACCOUNTS):
            self.do(OpenAccount(account_id=account(i), kind=AccountKind.ORIGINATOR))
            cash = Minor(10**13)
            self.do(Deposit(account_id=account(i), currency=USD, amount=cash, custody_ref=account(i)))
        for i in range(LOANS):
            self.do(RegisterLoan(terms=loan(i), issued_face=Face(10**12)))

    def do(self, command: Command) -> None:
        seq, at = Seq(self.venue.seq + 1), Nanos(1_700_000_000_000_000_000 + self.venue.seq)
        done = self.venue.apply(seq, at, command)
        entry = LogEntry(seq=seq, at=at, actor="bench", command=command, events=done.events, result=done.result)
        self.entries.append(entry)

    def order(self, *, spread: int) -> None:
        """Sell a loan of one's own or buy another's. spread: 0 and less make prices meet, more keeps sides apart."""
        rng = self.rng
        number, side = rng.randrange(LOANS), rng.choice(list(Side))
        distance = spread + rng.randrange(20)
        owner = number % ACCOUNTS
        other = (owner + rng.randrange(1, ACCOUNTS)) % ACCOUNTS
        self.do(
            PlaceOrder(
                account_id=account(owner if side is Side.SELL else other),
                loan_id=LoanId(f"B-{number}"),
                side=side,
                price=PriceBp(9_500 + distance if side is Side.SELL else 9_500 - distance),
                quantity=Face(rng.randrange(100_00, 1_000_00)),
                client_order_id=ClientOrderId(f"b{self.venue.seq}"),
            )
        )

    def take(self) -> list[LogEntry]:
        taken, self.entries = self.entries, []
        return taken


def account(number: int) -> AccountId:
    return AccountId(f"A{number}")


def loan(number: int) -> LoanTerms:
    principal = Minor(10**12)
    return LoanTerms(
        loan_id=LoanId(f"B-{number}"),
        originator=account(number % ACCOUNTS),
        currency=USD,
        original_principal=principal,
        outstanding_at_registration=principal,
        annual_rate_ppm=120_000,
        repayment_method=RepaymentMethod.ANNUITY,
        term_months=36,
        issue_date=DAY,
        first_due_date=date(2024, 2, 15),
    )


def machine() -> str:
    return (
        f"{platform.python_implementation()} {platform.python_version()}, {os.cpu_count()} cores, {platform.machine()}"
    )


def cut(entries: list[LogEntry], size: int) -> Iterator[list[LogEntry]]:
    return (entries[i : i + size] for i in range(0, len(entries), size))


async def measure(dsn: str, *, seconds: float, sizes: list[int]) -> None:
    flow, store = Flow(), PostgresStore(dsn)
    await store.open()
    for batch in cut(flow.take(), 500):
        await store.commit(batch)
    print(f"{'batch':>6} {'ms/batch':>9} {'own ms':>7} {'us/command':>11} {'commands/s':>11} {'trades':>7}")
    for size in sizes:
        times, own, trades = [], [], 0
        until = time.perf_counter() + seconds
        while time.perf_counter() < until or len(times) < 3:
            for _ in range(size):
                flow.order(spread=-12)
            batch = flow.take()
            trades += sum(isinstance(event, Traded) for entry in batch for event in entry.events)
            started = time.perf_counter()
            rows_of(batch, epoch=1, head=GENESIS).arguments()
            own.append(time.perf_counter() - started)
            started = time.perf_counter()
            await store.commit(batch)
            times.append(time.perf_counter() - started)
        batch_s = statistics.median(times)
        print(
            f"{size:>6} {batch_s * 1e3:>9.2f} {statistics.median(own) * 1e3:>7.2f} {batch_s / size * 1e6:>11.0f} "
            f"{size / batch_s:>11.0f} {trades / size / len(times):>7.2f}"
        )
    await store.close()


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--smoke", action="store_true", help="a short run that only shows that it works")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, EmbeddedPostgres(Path(folder)) as postgres:
        await migrate(postgres.dsn)
        print(machine())
        seconds, sizes = (0.1, [1, 100]) if options.smoke else (2.0, SIZES)
        await measure(postgres.dsn, seconds=seconds, sizes=sizes)


if __name__ == "__main__":
    asyncio.run(main())
