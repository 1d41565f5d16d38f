"""Re-yield a whole board: 100,000 loans at once against the scalar function, loan by loan.

    python benchmarks/bulk_yields.py [--loans 100000] [--seed 1] [--smoke]

The claim: under one second for 100,000 loans. The scalar loop is timed over every 20th loan and scaled up.
"""

import argparse
import os
import platform
import random
import time
from collections.abc import Callable
from datetime import date, timedelta

import numpy as np

from market.claims.bulk_yields import FlowTable, bulk_effective_yields
from market.claims.loan import LoanTerms, RepaymentMethod
from market.claims.schedule import due_dates, schedule_of
from market.claims.yields import effective_yield, remaining_flows
from market.ids import AccountId, Currency, LoanId, Minor

TODAY = date(2024, 5, 1)


def random_terms(rng: random.Random, number: int) -> LoanTerms:
    """A consumer loan of 36 or 60 months, issued within the last year, 5 % to 31 % a year."""
    issue = TODAY - timedelta(rng.randrange(1, 365))
    first_due = due_dates(issue=issue, first_due=issue + timedelta(30), periods=1, months_per_period=1)[0]
    principal = Minor(rng.randrange(1_000_00, 40_000_00, 25_00))
    return LoanTerms(
        loan_id=LoanId(f"B-{number}"),
        originator=AccountId("ORIG"),
        currency=Currency("USD"),
        original_principal=principal,
        outstanding_at_registration=principal,
        annual_rate_ppm=rng.randrange(50_000, 310_000, 100),
        repayment_method=RepaymentMethod.ANNUITY,
        term_months=rng.choice([36, 60]),
        issue_date=issue,
        first_due_date=first_due,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--loans", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--smoke", action="store_true", help="a few loans: only to see that it runs")
    options = parser.parse_args()
    if options.smoke:
        options.loans = 2_000
    rng = random.Random(options.seed)
    all_terms = [random_terms(rng, number) for number in range(options.loans)]
    flows = [[flow for flow in remaining_flows(schedule_of(terms), TODAY) if flow[0] > 1] for terms in all_terms]
    dirty = np.array([rng.uniform(0.85, 1.05) * terms.original_principal for terms in all_terms])

    table = FlowTable.of(flows)
    bulk_s = min(timed(lambda: bulk_effective_yields(table, dirty)) for _ in range(3))
    yields = bulk_effective_yields(table, dirty)
    sample = range(0, options.loans, 20)
    scalar: list[float | None] = []
    scalar_s = timed(lambda: scalar.extend(effective_yield(flows[i], float(dirty[i])) for i in sample))
    scalar_s *= options.loans / len(sample)
    worst = max(abs(yields[i] - found) for i, found in zip(sample, scalar, strict=True) if found is not None)

    versions = f"Python {platform.python_version()}, numpy {np.__version__}"
    print(f"machine  {platform.machine()}, {os.cpu_count()} cores, {versions}")
    print(f"input    {options.loans:,} loans, {len(table.days):,} flows, seed {options.seed}")
    print(f"bulk     {bulk_s:.3f} s  ({bulk_s / options.loans * 1e6:.1f} us a loan)")
    print(f"scalar   {scalar_s:.3f} s  ({scalar_s / options.loans * 1e6:.1f} us a loan, from {len(sample):,} loans)")
    print(f"ratio    {scalar_s / bulk_s:.1f} times faster; largest difference {worst:.1e}")


def timed(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
