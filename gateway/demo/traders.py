"""The demo's traders: originators, investors and a market-maker by orders, each with a key and a socket of its own.

They know what the public API tells anyone. A fair price is what makes a loan yield what its trader asks of it, and that
wanders; market-makers quote around it on both sides and amend as it moves, originators offer new claims a little above
it, investors mostly take what is there. All are bounded by their cash and claims, wait for each answer before the next
order, and slow down together when answers do.
"""

import asyncio
import random
import time
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any

from gateway.client import (
    ApiError,
    ApiKey,
    Client,
    Disconnected,
    Json,
    MarketClient,
    Stream,
    Unanswered,
    Unresolved,
    decimal,
    units,
)
from market.claims.accrual import Accrued
from market.claims.loan import LoanTerms, RepaymentMethod
from market.claims.schedule import schedule_of
from market.claims.yields import Flow, effective_from_nominal, price_for_yield, remaining_flows, total_cash
from market.ids import AccountId, Currency, LoanId, Minor
from market.orderbook.order import Side

FINAL = frozenset({"filled", "canceled", "expired", "rejected"})
ACKS_KEPT = 2_000  # for the p99
ACK_GOAL_S = 0.2  # above this p99 everybody slows down
PATIENCE_S = 60.0  # for an answer: the demo may share its machine with much else
INVESTOR_ORDERS_MAX = 20
PAGE_MAX = 500
PRICE_MIN, PRICE_MAX = 5_100, 14_900  # basis points; within the collar around par, where nothing was traded yet


@dataclass(slots=True)
class Tally:
    """What all traders did together. throttle: share of their pace at which they go."""

    orders: int = 0
    trades: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    acks_s: deque[float] = field(default_factory=lambda: deque(maxlen=ACKS_KEPT))
    throttle: float = 1.0

    def answered(self, seconds: float) -> None:
        self.orders += 1
        self.acks_s.append(seconds)

    def p99_s(self) -> float:
        return sorted(self.acks_s)[len(self.acks_s) * 99 // 100] if self.acks_s else 0.0

    def adapt(self) -> None:
        """Once a second: slow down fast when answers are slow, speed up gently when they are not."""
        self.throttle = max(self.throttle * 0.6, 0.05) if self.p99_s() > ACK_GOAL_S else min(self.throttle * 1.1, 1.0)
        if self.throttle < 1.0:
            self.acks_s.clear()  # judge the new pace by its own answers


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """A loan as traders see it.

    anchor: the yield around which opinions wander.  ceiling: the price above which a buyer can only lose.
    size: face of a usual order.
    """

    symbol: str
    loan_id: str
    currency: str
    originator: str
    flows: Sequence[Flow]
    outstanding: int
    accrued: Accrued
    grade: str
    remaining_months: int
    anchor: float
    ceiling: int
    size: int

    def price(self, effective: float, side: Side) -> int | None:
        """Return the price of a yield, in basis points."""
        outstanding = Minor(self.outstanding)
        price = price_for_yield(self.flows, effective, accrued=self.accrued, outstanding=outstanding, side=side)
        return None if price is None else int(price)

    def allowed(self, price: int) -> int:
        """Return the nearest price that the collar and the yield floor let through."""
        return min(max(price, PRICE_MIN), PRICE_MAX, self.ceiling)


async def listed_loans(client: Client, *, count: int, seed: int) -> list[Listed]:
    """Return the first `count` current loans of the market, priced as of its business date."""
    on = (await client.get("/v1/time"))["business_date"]
    rows = await loan_rows(client, status="current", most=count)
    return [listed_loan(row, on, anchor=_anchor(row, random.Random(f"{seed} {row['loan_id']}"))) for row in rows]


async def loan_rows(client: Client, *, status: str, most: int | None = None) -> list[Json]:
    """Return loans of GET /v1/loans. most: so many at most."""
    rows: list[Json] = []
    cursor: dict[str, str] = {}
    while most is None or len(rows) < most:
        page = await client.get("/v1/loans", status=status, limit=PAGE_MAX, **cursor)
        rows += page["items"]
        if not page["next_cursor"]:
            break
        cursor = {"cursor": page["next_cursor"]}
    return rows[:most]


def _anchor(row: Json, rng: random.Random) -> float:
    return effective_from_nominal(float(row["annual_rate"])) + rng.uniform(-0.01, 0.02)


def listed_loan(row: Json, business_date: str, *, anchor: float) -> Listed:
    """Return a loan of GET /v1/loans, priced as of a business date."""
    on = date.fromisoformat(business_date)
    rate_ppm, outstanding = units(row["annual_rate"], places=6), units(row["outstanding_principal"])
    accrued = units(row["accrued"])
    terms = LoanTerms(
        loan_id=LoanId(row["loan_id"]),
        originator=AccountId(row["originator"]),
        currency=Currency(row["currency"]),
        original_principal=Minor(units(row["original_principal"])),
        outstanding_at_registration=Minor(outstanding),
        annual_rate_ppm=rate_ppm,
        repayment_method=RepaymentMethod(row["repayment_method"]),
        term_months=row["term_months"],
        months_per_period=row["months_per_period"],
        issue_date=date.fromisoformat(row["issue_date"]),
        first_due_date=date.fromisoformat(row["first_due_date"]),
    )
    flows = remaining_flows(schedule_of(terms), on)
    return Listed(
        symbol=row["symbol"],
        loan_id=row["loan_id"],
        currency=row["currency"],
        originator=row["originator"],
        flows=flows,
        outstanding=outstanding,
        accrued=Accrued(accrued, 1),
        grade=row["grade"],
        remaining_months=row["remaining_months"],
        anchor=anchor,
        ceiling=(total_cash(flows) - accrued) * 10_000 // outstanding - 1,  # accrued is rounded, so one less
        size=500_000 if row["currency"] == "CNY" else 10_000,
    )


class Trader:
    """One account. `rate`: orders a second that it aims at.  Subclasses say what one step of theirs is."""

    def __init__(
        self, url: str, key: ApiKey, *, name: str, loans: Sequence[Listed], tally: Tally, rate: float, seed: int
    ) -> None:
        self.name = name
        self.loans = loans
        self.by_id = {loan.loan_id: loan for loan in loans}
        self.orders: dict[str, Json] = {}  # open ones, by order id, oldest first
        self.available: dict[str, int] = {}  # cash by currency, face by loan id
        self.rng = random.Random(f"{seed} {name}")
        self.market = MarketClient(url, key, session=name, timeout_s=PATIENCE_S)
        self.tally = tally
        self._rate = rate

    async def run(self) -> None:
        """Trade until cancelled, through lost connections. Raises Disconnected if there is none to begin with."""
        async with self.market as market, asyncio.TaskGroup() as group:
            balances = await market.subscribe("balances")
            self._take_balances(await anext(balances))
            group.create_task(self._hear_executions())
            group.create_task(self.hear(balances, self._take_balances))
            await self.begin(group)
            while True:
                await asyncio.sleep(self.rng.expovariate(self._rate * self.tally.throttle))
                await self.step()

    async def begin(self, group: asyncio.TaskGroup) -> None:
        """What is done at once, before the first step. group: for what goes on beside the steps."""

    async def step(self) -> None:
        raise NotImplementedError

    async def place(self, loan: Listed, side: Side, price: int, quantity: int, **more: Any) -> None:
        """Send a limit order of at most what cash or claims allow; nothing if that is too little."""
        price = loan.allowed(price)
        quantity = min(quantity, self._affordable(loan, side, price)) // 100 * 100
        if quantity >= 10_000:
            await self.count(
                self.market.add_order(
                    symbol=loan.symbol, side=side.value, order_qty=decimal(quantity), limit_price=decimal(price), **more
                )
            )

    async def count(self, answer: Awaitable[Json]) -> None:
        """Wait for the answer to a request and count how it went; a refusal is part of trading."""
        began = time.perf_counter()
        try:
            await answer
        except ApiError as e:
            self.tally.refused[e.code] += 1
        except (Disconnected, Unanswered, Unresolved):
            self.tally.refused["unanswered"] += 1
        self.tally.answered(time.perf_counter() - began)

    def _affordable(self, loan: Listed, side: Side, price: int) -> int:
        """Return a face that the free balance covers, with room for accrued interest."""
        if side is Side.SELL:
            return self.available.get(loan.loan_id, 0)
        return self.available.get(loan.currency, 0) * 10_000 // (price + 500)

    async def hear(self, messages: Stream, take: Callable[[Json], None]) -> None:
        async for message in messages:
            take(message)

    async def _hear_executions(self) -> None:
        async for report in self.market.executions():
            for row in report.rows:
                self._executed(row)

    def _executed(self, row: Json) -> None:
        if row["order_status"] in FINAL:
            self.orders.pop(row["order_id"], None)
        else:
            self.orders[row["order_id"]] = row
        self.tally.trades += row["exec_type"] == "trade" and row.get("liquidity_ind") == "t"

    def _take_balances(self, message: Json) -> None:
        for row in message["data"]:
            self.available[row["asset"]] = units(row["available"])


class Originator(Trader):
    """Offers its claims, a fifth of what is left of a loan at a time, a little above fair."""

    async def begin(self, group: asyncio.TaskGroup) -> None:  # noqa: ARG002
        for loan in self._unoffered():
            await self._offer(loan)

    async def step(self) -> None:
        if unoffered := self._unoffered():
            await self._offer(self.rng.choice(unoffered))

    def _unoffered(self) -> list[Listed]:
        offered = {row["symbol"] for row in self.orders.values()}
        return [loan for loan in self.loans if loan.originator == self.name and loan.symbol not in offered]

    async def _offer(self, loan: Listed) -> None:
        price = loan.price(loan.anchor, Side.SELL)
        if price is not None:
            amount = max(self.available.get(loan.loan_id, 0) // 5, loan.size)
            await self.place(loan, Side.SELL, price + 20, amount, time_in_force="gtc")


class MarketMaker(Trader):
    """Quotes both sides of every loan around its own opinion of the yield, and amends as the opinion moves.

    More inventory than it wants makes both its prices lower. Its quotes never take: they are post-only.
    """

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._opinion = {loan.loan_id: loan.anchor + self.rng.gauss(0, 0.001) for loan in self.loans}

    async def step(self) -> None:
        loan = self.rng.choice(self.loans)
        opinion = self._opinion[loan.loan_id]
        opinion += 0.05 * (loan.anchor - opinion) + self.rng.gauss(0, 0.0008)
        self._opinion[loan.loan_id] = opinion
        inventory, wanted = self.available.get(loan.loan_id, 0), 4 * loan.size
        fair = loan.price(opinion + 0.002 * (inventory - wanted) / wanted, Side.BUY)
        if fair is None:
            return
        half_spread = self.rng.randint(8, 25)
        if inventory < loan.size:
            await self.place(loan, Side.BUY, fair + 40, wanted, time_in_force="ioc")
        side = self.rng.choice((Side.BUY, Side.SELL))
        await self._quote(loan, side, fair - half_spread if side is Side.BUY else fair + half_spread)

    async def _quote(self, loan: Listed, side: Side, price: int) -> None:
        price = loan.allowed(price)
        mine = next((o for o in self.orders.values() if o["symbol"] == loan.symbol and o["side"] == side), None)
        if mine is None:
            size = loan.size * self.rng.randint(1, 4)
            await self.place(loan, side, price, size, post_only=True, time_in_force="gtc", tag="quote")
        elif abs(units(mine["limit_price"]) - price) > 2:
            await self.count(self.market.amend_order(order_id=mine["order_id"], limit_price=decimal(price)))


class Investor(Trader):
    """Mostly takes the best price in sight, sometimes leaves a patient order. `leaning`: chance that it buys."""

    def __init__(self, *arguments: Any, leaning: float, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._leaning = leaning

    async def step(self) -> None:
        if len(self.orders) >= INVESTOR_ORDERS_MAX:
            await self.count(self.market.cancel_order(order_id=next(iter(self.orders))))
            return
        held = [loan for loan in self.loans if self.available.get(loan.loan_id, 0) >= 10_000]
        side = Side.BUY if not held or self.rng.random() < self._leaning else Side.SELL
        loan = self.rng.choice(self.loans if side is Side.BUY else held)
        fair = loan.price(loan.anchor, side)
        if fair is None:
            return
        quantity = int(loan.size * self.rng.lognormvariate(-1, 0.8))
        towards = 1 if side is Side.BUY else -1
        if self.rng.random() < 0.7:
            await self.place(loan, side, fair + towards * 60, quantity, time_in_force="ioc")
        else:
            await self.place(loan, side, fair - towards * self.rng.randint(5, 80), quantity, time_in_force="gtc")
