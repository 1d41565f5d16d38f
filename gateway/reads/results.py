"""What an account's claims earned: money-weighted return of each, and the sums of all of them by currency.

The market price of a claim is its loan's last trade, else the best bid; a loan that ended is worth nothing any more.
Flows are dated by the business date on which they were booked: purchases and sales with accrued interest and fees, what
servicing paid, and face that an originator issued, at par. Read as of the command up to which the views were read, so
that both tell of the same moment; the sums themselves are left to another thread.
Invariant: realised + interest - fees == paid_out - paid_in + cost, in each currency.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any

import asyncpg

from gateway.reads.loan_view import LoanView, accrued_of_state
from gateway.wire import minor_text, yield_text
from market.claims.accrual import share
from market.claims.loan import LIVE_STATUSES
from market.claims.returns import money_weighted_return
from market.claims.schedule import Schedule
from market.events import ClaimChanged, LoanChanged
from market.ids import AccountId, LoanId, PriceBp, Seq
from market.money import div_half_up
from market.partitions import STRIDE

PAR = 10_000


def _heard(seq: str) -> str:
    """Say in SQL that a command is one of those up to $2, which bounds each partition's."""
    return f"{seq} <= ($2::bigint[])[1 + ({seq}) / {STRIDE}]"


FLOWS = f"""
    SELECT {{key}}, business_date, sum(amount)::bigint, coalesce(-sum(amount) FILTER (WHERE amount < 0), 0)::bigint,
           sum(interest)::bigint, sum(fee)::bigint
    FROM (
        SELECT {{key}}, business_date, -(principal + accrued + buyer_fee) AS amount, -accrued AS interest,
               buyer_fee AS fee
        FROM trade WHERE buyer = $1 AND {_heard("seq")} AND ($3::text[] IS NULL OR loan_id = ANY ($3))
        UNION ALL
        SELECT {{key}}, business_date, principal + accrued - seller_fee, accrued, seller_fee
        FROM trade WHERE seller = $1 AND {_heard("seq")} AND ($3::text[] IS NULL OR loan_id = ANY ($3))
        UNION ALL
        SELECT {{key}}, day.business_date, amount, interest, 0 FROM (
            SELECT s.{{key}}, s.seq, sum(p.amount) AS amount,
                   coalesce(sum(p.amount) FILTER (WHERE p.leg = 'interest'), 0) AS interest
            FROM servicing_event s
                JOIN journal_entry e ON e.kind = 'servicing' AND e.reference = s.event_id
                JOIN posting p ON p.entry_id = e.entry_id AND p.account_id = $1
            WHERE {_heard("s.seq")} AND ($3::text[] IS NULL OR s.loan_id = ANY ($3)) GROUP BY s.{{key}}, s.seq
        ) paid CROSS JOIN LATERAL (
            SELECT business_date FROM business_day
            WHERE since_seq <= paid.seq ORDER BY since_seq DESC LIMIT 1) day
        UNION ALL
        SELECT l.{{key}}, day.business_date,
               -div(2 * a.face::numeric * coalesce(before.outstanding, l.outstanding_at_registration)
                    + l.original_principal, 2 * l.original_principal), 0, 0
        FROM loan l JOIN assignment a ON a.loan_id = l.loan_id AND a.kind = 'issuance'
            CROSS JOIN LATERAL (SELECT business_date FROM business_day
                WHERE since_seq <= a.entry_id >> 20 ORDER BY since_seq DESC LIMIT 1) day
            LEFT JOIN LATERAL (SELECT outstanding FROM servicing_event s
                WHERE s.loan_id = l.loan_id AND s.seq < a.entry_id >> 20 ORDER BY s.nr DESC LIMIT 1) before ON true
        WHERE l.originator = $1 AND {_heard("a.entry_id >> 20")} AND ($3::text[] IS NULL OR l.loan_id = ANY ($3))
    ) flows GROUP BY {{key}}, business_date
"""
FLOWS_OF_CLAIMS, FLOWS_OF_CURRENCIES = FLOWS.format(key="loan_id"), FLOWS.format(key="currency")


@dataclass(frozen=True, slots=True)
class Flow:
    """Sums of one business date, in minor units. of: the claim or the currency.  amount: all of it, fees included.

    paid_in: what was paid of it, >= 0.  interest: received, accrued interest included, less accrued interest paid.
    """

    of: str
    on: date
    amount: int
    paid_in: int
    interest: int
    fee: int


@dataclass(frozen=True, slots=True)
class Holding:
    """A claim with what its worth follows from: values, so that another thread may add them up."""

    claim: ClaimChanged
    state: LoanChanged
    schedule: Schedule
    price: PriceBp | None

    @property
    def market_value(self) -> int | None:
        """Clean, half up; None where the loan never traded and nobody bids."""
        if self.state.status not in LIVE_STATUSES:
            return 0
        if self.price is None:
            return None
        face = div_half_up(self.claim.total * self.state.outstanding, self.state.terms.original_principal)
        return div_half_up(face * self.price, PAR)

    def accrued(self, on: date) -> int:
        of_loan = accrued_of_state(self.state, self.schedule, on)
        return share(of_loan, quantity=self.claim.total, original_principal=self.state.terms.original_principal)


def holding(loan: LoanView, claim: ClaimChanged) -> Holding:
    return Holding(claim, loan.state, loan.schedule, loan.market_price)


async def claim_flows(
    pool: "asyncpg.Pool[asyncpg.Record]", account_id: AccountId, *, up_to: Sequence[Seq], loans: Sequence[LoanId]
) -> list[Flow]:
    """Return the flows of an account's claims on those loans, as commands up to `up_to` made them."""
    return [Flow(*record) for record in await pool.fetch(FLOWS_OF_CLAIMS, account_id, up_to, loans)]


async def currency_flows(
    pool: "asyncpg.Pool[asyncpg.Record]", account_id: AccountId, *, up_to: Sequence[Seq]
) -> list[Flow]:
    """Return the flows of all its claims, by currency. Half a second for 10,000 claims with 120,000 payments."""
    return [Flow(*record) for record in await pool.fetch(FLOWS_OF_CURRENCIES, account_id, up_to, None)]


def returns_by_claim(holdings: Iterable[Holding], flows: Iterable[Flow], on: date) -> dict[LoanId, float | None]:
    """Return the money-weighted return of each holding; None also where it has no market value."""
    dated: dict[str, list[tuple[date, int]]] = defaultdict(list)
    for flow in flows:
        dated[flow.of].append((flow.on, flow.amount))
    found: dict[LoanId, float | None] = {}
    for each in holdings:
        loan_id, value = each.claim.loan_id, each.market_value
        worth = None if value is None else (on, value + each.accrued(on))
        found[loan_id] = None if worth is None else money_weighted_return([*dated[loan_id], worth])
    return found


@dataclass(slots=True)
class _Sums:
    """Of one currency, in minor units."""

    claims: int = 0
    unpriced: int = 0
    cost: int = 0
    market_value: int = 0
    accrued: int = 0
    realised: int = 0
    interest: int = 0
    fees: int = 0
    paid_in: int = 0
    paid_out: int = 0
    flows: list[tuple[date, int]] = field(default_factory=list)


def performance_rows(holdings: Sequence[Holding], flows: Iterable[Flow], on: date) -> list[dict[str, Any]]:
    """Return an account's result in each currency. holdings: of all claims that it ever had.

    A claim without a market value is counted in `unpriced` and taken at what it cost.
    About 10 us for a claim.
    """
    sums: dict[str, _Sums] = defaultdict(_Sums)
    for each in holdings:
        claim, value = each.claim, each.market_value
        total = sums[each.state.terms.currency]
        total.claims += claim.total > 0
        total.unpriced += value is None
        total.cost += claim.cost
        total.market_value += claim.cost if value is None else value
        total.accrued += each.accrued(on)
        total.realised += claim.realised
    for flow in flows:
        total = sums[flow.of]
        total.interest += flow.interest
        total.fees += flow.fee
        total.paid_in += flow.paid_in
        total.paid_out += flow.amount + flow.paid_in
        total.flows.append((flow.on, flow.amount))
    return [_row(currency, total, on) for currency, total in sorted(sums.items())]


def _row(currency: str, total: _Sums, on: date) -> dict[str, Any]:
    unrealised = total.market_value - total.cost
    worth = total.market_value + total.accrued
    amounts = {
        "cost": total.cost,
        "market_value": total.market_value,
        "accrued": total.accrued,
        "paid_in": total.paid_in,
        "paid_out": total.paid_out,
        "realised": total.realised,
        "unrealised": unrealised,
        "interest": total.interest,
        "fees": total.fees,
        "result": total.realised + unrealised + total.interest + total.accrued - total.fees,
    }
    return {
        "currency": currency,
        "business_date": on.isoformat(),
        "claims": total.claims,
        "unpriced": total.unpriced,
        **{name: minor_text(amount) for name, amount in amounts.items()},
        "xirr": yield_text(money_weighted_return([*total.flows, (on, worth)])),
    }
