"""What was, read from PostgreSQL: orders in any state, fills, trades. It was committed before it could be asked for.

Pages go by a key that never changes, so that nothing is shown twice or skipped while the market moves on.
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import asyncpg

from gateway.reads.candles import MINUTE, Candle, read_candles
from gateway.wire import minor_text, time_text, trade_id_text
from market.commands import AmendOrder, CancelOrder
from market.errors import MarketError, OrderClosed, UnknownOrder
from market.events import ExecutionRow, OrderState, Serviced, Traded
from market.ids import AccountId, ClientOrderId, LoanId, Nanos, OrderId, Seq, TradeId
from market.orderbook.order import FINAL_STATUSES, OrderStatus, OrderType, Side
from market.partitions import STRIDE, partition_of, schema_of
from market.settlement.codec import load_rows
from market.settlement.recovery import ORDER_COLUMNS, SERVICING_COLUMNS, order_state, serviced
from market.settlement.title import FIRST, Link

T = TypeVar("T")

ORDERS = f"SELECT {ORDER_COLUMNS}, engine_seq, updated_at FROM"
TRADE_COLUMNS = ", ".join(Traded.__struct_fields__)
TRADES = f"SELECT {TRADE_COLUMNS}, seq, at FROM"
ASSIGNMENTS = """
    SELECT a.n, a.kind, a.trade_id,
           CASE WHEN a.assignor <> 'ISSUE' THEN title_party(a.loan_id, a.assignor) END AS assignor,
           title_party(a.loan_id, a.assignee) AS assignee,
           a.face, a.at, encode(before.hash, 'hex') AS previous_hash, encode(a.hash, 'hex') AS hash
    FROM assignment a LEFT JOIN assignment before ON (before.loan_id, before.n) = (a.loan_id, a.n - 1)
    WHERE a.loan_id = $1 AND {behind} LIMIT $3
"""
ASSIGNMENTS_OLDEST_FIRST = ASSIGNMENTS.format(behind="a.n > $2 ORDER BY a.n")
ASSIGNMENTS_NEWEST_FIRST = ASSIGNMENTS.format(behind="a.n < $2 ORDER BY a.n DESC")
NEVER = 1 << 62  # a key, or a time, above all others
MESSAGES_PER_READ = 500
CHARTS_AT_ONCE = 2  # a long candle adds up many trades, and anybody may ask for it


@dataclass(frozen=True, slots=True)
class StoredOrder:
    """An order as it is after its last change, and the command and time of that change."""

    state: OrderState
    engine_seq: Seq
    updated_at: Nanos


@dataclass(frozen=True, slots=True)
class StoredExecution:
    """One row of an account's stream; index: its place in its message."""

    row: ExecutionRow
    sequence: int
    index: int
    engine_seq: Seq
    at: Nanos


@dataclass(frozen=True, slots=True)
class StoredTrade:
    trade: Traded
    engine_seq: Seq
    at: Nanos


@dataclass(frozen=True, slots=True)
class StoredServicing:
    """place: of the event in the order of all of them."""

    event: Serviced
    engine_seq: Seq
    at: Nanos
    place: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """What part of history is wanted: engine_seq > after_seq, since <= at < until."""

    after_seq: int = 0
    since: int = -NEVER
    until: int = NEVER
    loan_id: LoanId | None = None


class History:
    """Reads through a pool whose role may read. An account is told of itself only.

    partitions: of the market; where there are several the pool finds all that they have in one table each, but for
    executions, which each numbers for itself.
    """

    def __init__(self, pool: "asyncpg.Pool[asyncpg.Record]", partitions: int = 1) -> None:
        self._pool = pool
        self._partitions = partitions
        self._charting = asyncio.Semaphore(CHARTS_AT_ONCE)

    async def order(self, account_id: AccountId, order_id: OrderId) -> StoredOrder:
        """Raises UnknownOrder, also for another account's order."""
        return await self._order(account_id, "order_id", order_id)

    async def order_of_client(self, account_id: AccountId, client_order_id: ClientOrderId) -> StoredOrder:
        return await self._order(account_id, "client_order_id", client_order_id)

    async def _order(self, account_id: AccountId, column: str, value: object) -> StoredOrder:
        record = await self._pool.fetchrow(
            f"{ORDERS} orders WHERE account_id = $1 AND {column} = $2",
            account_id,
            value,
        )
        if record is None:
            raise UnknownOrder("there is no such order of this account")
        return _stored_order(record)

    async def why_unknown(self, error: MarketError, command: AmendOrder | CancelOrder) -> MarketError:
        """Return what to say of an order that the venue does not know: that it is closed, if it once was open."""
        if not isinstance(error, UnknownOrder):
            return error
        try:
            if command.order_id is not None:
                found = await self.order(command.account_id, command.order_id)
            elif command.client_order_id is not None:
                found = await self.order_of_client(command.account_id, command.client_order_id)
            else:
                return error
        except UnknownOrder:
            return error
        if found.state.status not in FINAL_STATUSES:
            return error
        return OrderClosed(f"the order is {found.state.status}", order_status=found.state.status)

    async def orders(
        self,
        account_id: AccountId,
        *,
        statuses: Collection[OrderStatus] | None,
        span: Span,
        below: Sequence[int] = (),
        limit: int,
        tag: str | None = None,
        client_order_id: ClientOrderId | None = None,
    ) -> tuple[list[StoredOrder], Sequence[int] | None]:
        """Return orders, newest first, and where the next page begins. statuses: None for open ones. Span: by creation.

        below: the lowest number that was seen in each partition, nothing for the first page.
        tag, client_order_id: None for any.
        """
        state = "is_open" if statuses is None else "status = ANY($9)"
        wanted = (
            "WHERE account_id = $1 AND order_id < $2 AND created_at >= $4 AND created_at < $5 "
            "AND ($6::text IS NULL OR loan_id = $6) AND ($7::text IS NULL OR tag = $7) "
            f"AND ($8::text IS NULL OR client_order_id = $8) AND {state} ORDER BY order_id DESC LIMIT $3"
        )
        asked: list[object] = [span.since, span.until, span.loan_id, tag, client_order_id]
        if statuses is not None:
            asked.append(sorted(statuses))

        async def read(partition: int, below: int) -> list[StoredOrder]:
            query = f"{ORDERS} {self._table('orders', partition)} {wanted}"
            return [_stored_order(record) for record in await self._pool.fetch(query, account_id, below, limit, *asked)]

        return await self._newest(read, below, limit, lambda each: (each.state.created_at, each.state.order_id))

    async def _newest(
        self,
        read: Callable[[int, int], Awaitable[list[T]]],
        below: Sequence[int],
        limit: int,
        key: Callable[[T], tuple[int, int]],
    ) -> tuple[list[T], Sequence[int] | None]:
        """Return what is newest in all partitions, and where the next page begins in each.

        read: a page of one partition, below a number.  key: time and number.
        """
        places = list(below) or [NEVER] * self._partitions
        found = [each for partition, place in enumerate(places) for each in await read(partition, place)]
        if self._partitions > 1:
            found.sort(key=key, reverse=True)
        page = found[:limit]
        for _, number in map(key, page):
            places[partition_of(number)] = number
        return page, places if len(page) == limit else None

    async def fills(
        self, account_id: AccountId, *, span: Span, after: tuple[int, int], limit: int
    ) -> tuple[list[StoredExecution], tuple[int, int] | None]:
        """Return fills behind `after` (message number, index in it), oldest first, and where the next page begins.

        A page may have fewer fills than the limit though more follow, if a loan is asked for. Where there are several
        partitions a page is of one, the lowest first; message numbers are counted from partition * STRIDE then.
        """
        partition, sequence = divmod(after[0], STRIDE)
        found, more = await self._fills(account_id, partition, span, (sequence, after[1]), limit)
        if more is not None:
            return found, (partition * STRIDE + more[0], more[1])
        return found, ((partition + 1) * STRIDE, 0) if partition + 1 < self._partitions else None

    def _table(self, name: str, partition: int) -> str:
        """Return what a table is called that is read for one partition."""
        return name if self._partitions == 1 else f"{schema_of(partition)}.{name}"

    async def _fills(
        self, account_id: AccountId, partition: int, span: Span, after: tuple[int, int], limit: int
    ) -> tuple[list[StoredExecution], tuple[int, int] | None]:
        if partition >= self._partitions:
            return [], None
        records = await self._pool.fetch(
            f"SELECT sequence, engine_seq, at, rows::text AS rows FROM {self._table('execution', partition)} "
            "WHERE account_id = $1 AND is_trade AND sequence >= $2 AND engine_seq > $3 AND at >= $4 AND at < $5 "
            "ORDER BY sequence LIMIT $6",
            account_id,
            after[0],
            span.after_seq,
            span.since,
            span.until,
            min(limit + 1, MESSAGES_PER_READ),
        )
        behind = [row for record in records for row in _executions(record) if (row.sequence, row.index) > after]
        page = behind[:limit]
        is_last = len(behind) <= limit and len(records) < min(limit + 1, MESSAGES_PER_READ)
        found = [row for row in page if span.loan_id is None or row.row.order.loan_id == span.loan_id]
        return found, None if is_last or not page else (page[-1].sequence, page[-1].index)

    async def trades_of_account(
        self, account_id: AccountId, *, span: Span, below: Sequence[int] = (), limit: int
    ) -> tuple[list[StoredTrade], Sequence[int] | None]:
        """Return the account's trades, newest first, and where the next page begins; below as in `orders`."""

        async def read(partition: int, below: int) -> list[StoredTrade]:
            table = self._table("trade", partition)
            return await self._trades("(buyer = $1 OR seller = $1)", account_id, span, below, limit, table)

        return await self._newest(read, below, limit, lambda each: (each.at, each.trade.trade_id))

    async def trades_of_loan(self, loan_id: LoanId, *, span: Span, below: int, limit: int) -> list[StoredTrade]:
        return await self._trades("loan_id = $1", loan_id, span, below, limit, "trade")

    async def trades_of_loan_after(self, loan_id: LoanId, *, since: Nanos, limit: int) -> list[StoredTrade]:
        """Return the loan's first `limit` trades behind a time, oldest first, and all that were at the last one's time.

        So the last one's time is where the next page begins.
        """
        records = await self._pool.fetch(
            f"{TRADES} trade WHERE loan_id = $1 AND at > $2 AND at <= coalesce("
            "(SELECT at FROM trade WHERE loan_id = $1 AND at > $2 ORDER BY trade_id OFFSET $3 LIMIT 1), $4) "
            "ORDER BY trade_id",
            loan_id,
            since,
            limit - 1,
            NEVER,
        )
        return [_stored_trade(record) for record in records]

    async def trades_by_id(self, account_id: AccountId, trade_ids: Sequence[TradeId]) -> list[StoredTrade]:
        """Return those of the trades that are the account's, oldest first."""
        records = await self._pool.fetch(
            f"{TRADES} trade WHERE trade_id = ANY($2) AND (buyer = $1 OR seller = $1) ORDER BY trade_id",
            account_id,
            trade_ids,
        )
        return [_stored_trade(record) for record in records]

    async def orders_by_id(self, account_id: AccountId, order_ids: Sequence[OrderId]) -> list[StoredOrder]:
        """Return those of the orders that are the account's, newest first."""
        records = await self._pool.fetch(
            f"{ORDERS} orders WHERE account_id = $1 AND order_id = ANY($2) ORDER BY order_id DESC",
            account_id,
            order_ids,
        )
        return [_stored_order(record) for record in records]

    async def candles(self, loan_id: LoanId, *, interval: int, span: Span, below: int, limit: int) -> list[Candle]:
        """Return candles with a number < `below`, newest first; those at the ends of the span may be cut by it.

        interval: minutes.  after_seq of the span has no meaning here.
        """
        until = span.until if below == NEVER else min(span.until, below * interval * MINUTE)
        async with self._charting:
            return await read_candles(
                self._pool, loan_id, interval=interval, since=max(span.since, 0), until=until, limit=limit
            )

    async def latest_trades(self, partition: int, *, since: Nanos, until: Seq, limit: int) -> list[StoredTrade]:
        """Return the trades of a partition since a time, by commands up to `until`: the last `limit`, oldest first."""
        trades = f"{TRADES} {self._table('trade', partition)} WHERE seq <= $3"
        found = await self._pool.fetch(
            f"SELECT * FROM ({trades} ORDER BY trade_id DESC LIMIT $2) latest WHERE at >= $1 ORDER BY trade_id",
            since,
            limit,
            until,
        )
        return [_stored_trade(record) for record in found]

    async def trades_between(self, behind: TradeId, *, after: Seq, until: Seq) -> list[StoredTrade]:
        """Return the trades behind `behind` of the commands after < seq <= until, oldest first."""
        records = await self._pool.fetch(
            f"{TRADES} trade WHERE trade_id > $1 AND seq > $2 AND seq <= $3 ORDER BY trade_id",
            behind,
            after,
            until,
        )
        return [_stored_trade(record) for record in records]

    async def servicing_of_loan(self, loan_id: LoanId, *, after: int, limit: int) -> list[StoredServicing]:
        """Return the loan's servicing events behind the place `after`, oldest first."""
        records = await self._pool.fetch(
            f"SELECT {SERVICING_COLUMNS}, seq, at, nr FROM servicing_event "
            "WHERE loan_id = $1 AND nr > $2 ORDER BY nr LIMIT $3",
            loan_id,
            after,
            limit,
        )
        return [_stored_servicing(record) for record in records]

    async def assignments_of_loan(
        self, loan_id: LoanId, *, after: int, limit: int, newest_first: bool = False
    ) -> list[Link]:
        """Return the links of the loan's chain of title behind number `after`, oldest first; or newest first."""
        query = ASSIGNMENTS_NEWEST_FIRST if newest_first else ASSIGNMENTS_OLDEST_FIRST
        records = await self._pool.fetch(query, loan_id, after, limit)
        return [_link(loan_id, record) for record in records]

    async def title_opening(self, loan_id: LoanId, account_id: AccountId) -> str:
        """Return what shows which party of the loan's chain the account is. It is for that account alone."""
        opening: str = await self._pool.fetchval("SELECT title_opening($1, $2)", loan_id, account_id)
        return opening

    async def _trades(self, whose: str, key: str, span: Span, below: int, limit: int, table: str) -> list[StoredTrade]:
        records = await self._pool.fetch(
            f"{TRADES} {table} WHERE {whose} AND trade_id < $2 AND seq > $3 "
            "AND at >= $4 AND at < $5 AND ($6::text IS NULL OR loan_id = $6) ORDER BY trade_id DESC LIMIT $7",
            key,
            below,
            span.after_seq,
            span.since,
            span.until,
            span.loan_id,
            limit,
        )
        return [_stored_trade(record) for record in records]


def _stored_order(record: asyncpg.Record) -> StoredOrder:
    values = dict(record)
    engine_seq, updated_at = values.pop("engine_seq"), values.pop("updated_at")
    return StoredOrder(order_state(values), Seq(engine_seq), Nanos(updated_at))


def _executions(record: asyncpg.Record) -> Sequence[StoredExecution]:
    seq, at = Seq(record["engine_seq"]), Nanos(record["at"])
    return [
        StoredExecution(row, record["sequence"], index, seq, at) for index, row in enumerate(load_rows(record["rows"]))
    ]


def _stored_servicing(record: asyncpg.Record) -> StoredServicing:
    values = dict(record)
    seq, at, place = (values.pop(name) for name in ("seq", "at", "nr"))
    return StoredServicing(serviced(values), Seq(seq), Nanos(at), place)


def _link(loan_id: LoanId, record: asyncpg.Record) -> Link:
    n, kind, trade_id, assignor, assignee, face, at, previous_hash, own_hash = record
    return Link(
        loan_id=loan_id,
        n=n,
        kind=kind,
        trade_id=None if trade_id is None else trade_id_text(trade_id),
        assignor=assignor,
        assignee=assignee,
        face=minor_text(face),
        effective_between_parties_at=time_text(at),
        previous_hash=previous_hash or FIRST,
        hash=own_hash,
    )


def _stored_trade(record: asyncpg.Record) -> StoredTrade:
    values: dict[str, Any] = dict(record)
    seq, at = values.pop("seq"), values.pop("at")
    values["taker_side"] = Side(values["taker_side"])
    values["taker_order_type"] = OrderType(values["taker_order_type"])
    return StoredTrade(Traded(**values), Seq(seq), Nanos(at))
