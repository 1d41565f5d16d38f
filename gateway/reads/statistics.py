"""What was traded in the last 30 days and how long claims waited for a buyer: by grade, by discount, of one loan.

PostgreSQL adds up, by currency, grade, step of discount and step of waiting, what entered and what left each window of
time since the last look, and that is added to what was known: figures are exact to the trade, and keeping them up costs
as much as what is new. All figures of one answer are of one moment, and shown until they are too old (see Statistics).

A claim waited from when its order began to rest to a fill that somebody else's order made. Only such fills count: an
order that trades at once does not wait, quotes have no row, and what was never sold is not in it.
"""

import asyncio
from collections import OrderedDict, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import asyncpg

from market.ids import FIRST_QUOTE_ID, LoanId, Nanos, PriceBp
from market.money import div_half_up
from market.partitions import schema_of

SECOND = 1_000_000_000
HOUR_S, DAY_S = 3_600, 86_400
WINDOWS_DAYS = (1, 7, 30)
PAR = 10_000

DISCOUNTS_BP = (0, 100, 200, 300, 500, 1_000, 2_000)
"""Where a step of discount begins; it ends where the next begins. Before the first are premiums, the last is open."""

WAITS_S: tuple[int, ...] = (
    *range(0, 60),
    *range(60, 600, 10),
    *range(600, HOUR_S, 60),
    *range(HOUR_S, 10 * HOUR_S, 600),
    *range(10 * HOUR_S, 2 * DAY_S, HOUR_S),
    *range(2 * DAY_S, 30 * DAY_S, DAY_S // 4),
    *range(30 * DAY_S, 366 * DAY_S, DAY_S),
)
"""Where a step of waiting begins, in seconds. A wait is rounded down to that: by less than a sixth of it."""

KEPT_MAX = 300  # loans whose figures are kept
AT_ONCE = 2  # additions in PostgreSQL; anybody may ask for them
PARTS = 3  # trades, face, and the sum of price times face

# $1: the last trade that is counted.  $2: the loan, if it is one loan's.  $3, $4: steps of discount and of waiting.
# From $5 on: where each window began at the last look, and where each begins now, one by one, for the planner.
# The first slice is what is new, the others are what each window lost.
SELECT_NEWS = f"""
    WITH slice AS (
        {{slices}}
    )
    SELECT l.currency, l.grade, width_bucket({PAR} - slice.price, $3::bigint[]) AS discount,
           CASE WHEN o.order_id IS NOT NULL
                THEN width_bucket(greatest(slice.at - o.created_at, 0) / {SECOND}, $4::bigint[]) - 1 END AS wait,
           {{sums}}, max(slice.trade_id) AS trade_id
    FROM slice
    JOIN {{ledger}}loan l USING (loan_id)
    LEFT JOIN {{ledger}}orders o ON o.order_id = slice.waiting_order
    GROUP BY 1, 2, 3, 4
"""
SLICE = f"""
        SELECT trade_id, loan_id, price, quantity, at, {{signs}},
               CASE WHEN taker_side = 'buy' AND sell_order_id < {FIRST_QUOTE_ID} THEN sell_order_id END AS waiting_order
        FROM {{ledger}}trade WHERE {{whose}} AND {{which}}"""
# A first look reads a month, a later one some seconds: one plan for both would read a month each time.
PLANNED_ANEW = "SET LOCAL plan_cache_mode = force_custom_plan"
SELECT_LAST = "SELECT trade_id, price, at FROM trade WHERE trade_id = ANY($1)"


def _query(whose: str, ledger: str) -> str:
    """Return what to ask a ledger. ledger: the name of its schema with a point, or nothing."""
    windows = range(len(WINDOWS_DAYS))
    before, begins = ([f"${5 + len(windows) * part + n}::bigint" for n in windows] for part in range(2))
    signs = ", ".join(f"(at >= {begin})::int AS sign_{n}" for n, begin in enumerate(begins))
    new = f"trade_id > $1 AND at >= {begins[-1]}"
    slices = [SLICE.format(ledger=ledger, whose=whose, signs=signs, which=new)]
    for lost in windows:
        signs = ", ".join("-1" if n == lost else "0" for n in windows)
        which = f"trade_id <= $1 AND at >= {before[lost]} AND at < {begins[lost]}"
        slices.append(SLICE.format(ledger=ledger, whose=whose, signs=signs, which=which))
    sums = [
        f"sum(sign_{n}), sum(sign_{n} * slice.quantity), sum(sign_{n} * slice.price * slice.quantity)" for n in windows
    ]
    return SELECT_NEWS.format(ledger=ledger, slices="\n        UNION ALL".join(slices), sums=", ".join(sums))


class By(StrEnum):
    """What a row of statistics is of, beside its currency."""

    GRADE = "grade"
    DISCOUNT = "discount"


CHOICES = (frozenset({By.GRADE}), frozenset({By.DISCOUNT}), frozenset({By.GRADE, By.DISCOUNT}))
Last = tuple[int, PriceBp, Nanos]  # trade id, price, time
NEVER_TRADED: Last = (0, PriceBp(0), Nanos(0))


@dataclass(slots=True)
class Tally:
    """What was traded, and sold after waiting.

    sums: PARTS for each of WINDOWS_DAYS in turn.  fills, waits: sales after waiting within the longest window, and
    their face by step of waiting (index in WAITS_S).  last: the newest trade.
    """

    sums: list[int] = field(default_factory=lambda: [0] * PARTS * len(WINDOWS_DAYS))
    fills: int = 0
    waits: dict[int, int] = field(default_factory=dict)
    last: Last = NEVER_TRADED

    def add(self, sums: Sequence[int], wait: int | None, last: Last = NEVER_TRADED) -> None:
        """Count what came, or with negative sums what went. wait: None where nobody waited."""
        for index, amount in enumerate(sums):
            self.sums[index] += amount
        self.last = max(self.last, last, key=lambda each: (each[2], each[0]))
        if wait is not None:
            trades, face, _ = sums[-PARTS:]
            self.fills += trades
            self._wait(wait, face)

    def join(self, other: "Tally") -> None:
        self.add(other.sums, None, other.last)
        self.fills += other.fills
        for wait, face in other.waits.items():
            self._wait(wait, face)

    def _wait(self, wait: int, face: int) -> None:
        total = self.waits.get(wait, 0) + face
        if total:
            self.waits[wait] = total
        else:
            self.waits.pop(wait, None)


Tallies = dict[tuple[str, str, int], Tally]  # by currency, grade, and number of the step of discount, 0 for premiums


@dataclass(frozen=True, slots=True)
class Traded:
    """vwap: half up to a basis point, None if nothing was traded."""

    days: int
    trades: int
    face: int
    vwap: PriceBp | None


@dataclass(frozen=True, slots=True)
class Sold:
    """p50_s, p90_s: the shortest wait within which at least so much of the face was sold; None if nothing was."""

    fills: int
    face: int
    p50_s: int | None
    p90_s: int | None


@dataclass(frozen=True, slots=True)
class Figures:
    """grade, discount: None where the figures are of all of them.  last: (price, time) of the newest trade."""

    currency: str
    grade: str | None
    discount: int | None
    traded: tuple[Traded, ...]
    sold: Sold
    last: tuple[PriceBp, Nanos] | None


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All figures as of one moment: rows for each choice of `By`, in order of currency, grade, discount."""

    at: Nanos
    rows: Mapping[frozenset[By], Sequence[Figures]]


def discount_step(number: int) -> tuple[int | None, int | None]:
    """Return where a step of discount begins and ends, in basis points; None where it is open."""
    begin = DISCOUNTS_BP[number - 1] if number > 0 else None
    end = DISCOUNTS_BP[number] if number < len(DISCOUNTS_BP) else None
    return begin, end


def grouped(tallies: Tallies, by: frozenset[By]) -> list[Figures]:
    groups: defaultdict[tuple[str, str, int], Tally] = defaultdict(Tally)
    has_grade, has_discount = By.GRADE in by, By.DISCOUNT in by
    for (currency, grade, discount), tally in tallies.items():
        groups[currency, grade if has_grade else "", discount if has_discount else 0].join(tally)
    return [
        figures_of(currency, grade if has_grade else None, discount if has_discount else None, tally)
        for (currency, grade, discount), tally in sorted(groups.items(), key=lambda item: item[0])
    ]


def figures_of(currency: str, grade: str | None, discount: int | None, tally: Tally) -> Figures:
    traded = []
    for index, days in enumerate(WINDOWS_DAYS):
        trades, face, turnover = tally.sums[PARTS * index : PARTS * (index + 1)]
        traded.append(Traded(days, trades, face, PriceBp(div_half_up(turnover, face)) if face else None))
    last = None if tally.last == NEVER_TRADED else tally.last[1:]
    return Figures(currency, grade, discount, tuple(traded), sold_of(tally), last)


def sold_of(tally: Tally) -> Sold:
    waits = sorted(tally.waits.items())
    face = sum(each for _, each in waits)
    return Sold(tally.fills, face, _within(waits, face, 50), _within(waits, face, 90))


def _within(waits: Sequence[tuple[int, int]], total: int, percent: int) -> int | None:
    """Return the first step of waiting up to which at least `percent` of the face was sold, in seconds."""
    sold = 0
    for wait, face in waits:
        sold += face
        if 100 * sold >= percent * total:
            return WAITS_S[wait]
    return None


class _Scope:
    """The whole market, or one loan: what was counted of it so far.

    ledgers: of the partitions, as `_query` takes them; each numbers its own trades.
    """

    def __init__(self, loan_id: LoanId | None, ledgers: Sequence[str]) -> None:
        self.snapshot: Snapshot | None = None
        self.good_until = 0.0  # on the loop's clock
        self.running: asyncio.Task[Snapshot] | None = None
        self._loan_id = loan_id
        whose = "$2::text IS NULL" if loan_id is None else "loan_id = $2"
        self._queries = [_query(whose, ledger) for ledger in ledgers]
        self._counted = [0] * len(ledgers)  # trades up to this one
        self._begins: list[int] | None = None  # of each window, at the last look
        self._tallies: Tallies = {}

    async def look(self, connection: Any, now: Nanos, *, timeout_s: float) -> Snapshot:
        """Count what happened since the last look. If it fails, all is as it was."""
        begins = [now - days * DAY_S * SECOND for days in WINDOWS_DAYS]
        before = self._begins or begins
        begins = [max(pair) for pair in zip(begins, before, strict=True)]  # a clock that was set back moves no window
        news, newest, counted = [], set[int](), []
        for query, last in zip(self._queries, self._counted, strict=True):
            values = (last, self._loan_id, DISCOUNTS_BP, WAITS_S, *before, *begins)
            found = await connection.fetch(query, *values, timeout=timeout_s)
            fresh = {trade_id for *_, trade_id in found if trade_id > last}
            counted.append(max(fresh, default=last))
            news += found
            newest |= fresh
        lasts = {last[0]: tuple(last) for last in await connection.fetch(SELECT_LAST, list(newest))} if newest else {}
        for currency, grade, discount, wait, *sums, trade_id in news:
            tally = self._tallies.setdefault((currency, grade, discount), Tally())
            tally.add([int(amount) for amount in sums], wait, lasts.get(trade_id, NEVER_TRADED))
        self._tallies = {key: tally for key, tally in self._tallies.items() if tally.sums[-PARTS]}
        self._counted, self._begins = counted, begins
        rows = {}
        for by in CHOICES:
            rows[by] = grouped(self._tallies, by)
            await asyncio.sleep(0)  # some milliseconds each
        self.snapshot = Snapshot(now, rows)
        return self.snapshot


class Statistics:
    """Reads through a pool whose role may read.

    Figures are shown for `age_s_max`, then brought up to date when somebody asks; who asks meanwhile waits for that.
    """

    def __init__(
        self,
        pool: "asyncpg.Pool[asyncpg.Record]",
        *,
        clock: Callable[[], int],
        age_s_max: float,
        timeout_s: float = 60.0,
        partitions: int = 1,
    ) -> None:
        self._pool = pool
        self._clock = clock
        self._age_s_max = age_s_max
        self._timeout_s = timeout_s
        self._ledgers = [""] if partitions == 1 else [f"{schema_of(each)}." for each in range(partitions)]
        self._market = _Scope(None, self._ledgers)
        self._loans: OrderedDict[LoanId, _Scope] = OrderedDict()  # longest unasked first
        self._looking = asyncio.Semaphore(AT_ONCE)

    async def of_market(self) -> Snapshot:
        return await self._of(self._market)

    async def of_loan(self, loan_id: LoanId) -> Snapshot:
        scope = self._loans.get(loan_id) or self._loans.setdefault(loan_id, _Scope(loan_id, self._ledgers))
        self._loans.move_to_end(loan_id)
        if len(self._loans) > KEPT_MAX:
            self._loans.popitem(last=False)
        return await self._of(scope)

    async def _of(self, scope: _Scope) -> Snapshot:
        if scope.snapshot is not None and asyncio.get_running_loop().time() < scope.good_until:
            return scope.snapshot
        if scope.running is None:
            scope.running = asyncio.create_task(self._look(scope))
        return await asyncio.shield(scope.running)  # who leaves does not take it from the others

    async def _look(self, scope: _Scope) -> Snapshot:
        try:
            async with self._looking, self._pool.acquire() as connection, connection.transaction(readonly=True):
                await connection.execute(PLANNED_ANEW)
                snapshot = await scope.look(connection, Nanos(self._clock()), timeout_s=self._timeout_s)
            scope.good_until = asyncio.get_running_loop().time() + self._age_s_max
            return snapshot
        finally:
            scope.running = None
