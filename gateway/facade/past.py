"""What only the façade asks of the past: fees by order, how many there are in all, a ledger with running balances."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Final

import asyncpg

from gateway.reads.history import Span
from market.ids import AccountId, Currency, Minor, Nanos, OrderId, TradeId
from market.orderbook.order import FINAL_STATUSES
from market.settlement.journal import EntryKind, Unit

OF_ORDERS: Final = """
    SELECT order_id, sum(fee)::bigint AS fee, array_agg(trade_id ORDER BY trade_id) AS trades FROM (
        SELECT buy_order_id AS order_id, buyer_fee AS fee, trade_id FROM trade
            WHERE buy_order_id = ANY($2) AND buyer = $1
        UNION ALL
        SELECT sell_order_id, seller_fee, trade_id FROM trade WHERE sell_order_id = ANY($2) AND seller = $1
    ) fills GROUP BY order_id
"""
COUNT_CLOSED: Final = """
    SELECT count(*) FROM orders WHERE account_id = $1 AND status = ANY($2) AND created_at >= $3
        AND created_at < $4 AND ($5::text IS NULL OR tag = $5) AND ($6::text IS NULL OR client_order_id = $6)
"""
COUNT_TRADES: Final = """
    SELECT count(*) FROM trade WHERE (buyer = $1 OR seller = $1) AND at >= $2 AND at < $3
"""
VOLUMES: Final = """
    SELECT currency, sum(principal)::bigint FROM trade WHERE (buyer = $1 OR seller = $1) AND at >= $2
    GROUP BY currency ORDER BY 2 DESC, 1
"""
# A line for each asset that an entry moved. The balance is that of the asset behind it, whatever is asked for.
LEDGER: Final = """
    SELECT entry_id, unit, asset, change - fee AS amount, -fee AS fee, balance, kind, reference, at,
           count(*) OVER () AS matching
    FROM (
        SELECT entry_id, unit, asset, change, fee,
               sum(change) OVER (PARTITION BY unit, asset ORDER BY entry_id)::bigint AS balance
        FROM (
            SELECT entry_id, unit, asset, sum(amount)::bigint AS change,
                   coalesce(sum(amount) FILTER (WHERE leg = 'fee'), 0)::bigint AS fee
            FROM posting WHERE account_id = $1 GROUP BY entry_id, unit, asset
        ) moved
    ) running JOIN journal_entry USING (entry_id)
    WHERE at >= $2 AND at < $3 AND ($4::text[] IS NULL OR asset = ANY($4)) AND ($5::text[] IS NULL OR kind = ANY($5))
        AND ($6::text[] IS NULL OR left(unit, 1) || entry_id || '-' || asset = ANY($6))
    ORDER BY entry_id DESC, unit, asset OFFSET $7 LIMIT $8
"""


@dataclass(frozen=True, slots=True)
class OrderFills:
    """fee: in minor units."""

    fee: Minor
    trades: tuple[TradeId, ...]


@dataclass(frozen=True, slots=True)
class LedgerLine:
    """amount: signed, without the fee.  fee: what was paid.  balance: behind the entry."""

    entry_id: int
    unit: Unit
    asset: str
    amount: int
    fee: int
    balance: int
    kind: EntryKind
    reference: str
    at: Nanos

    @property
    def id(self) -> str:
        return f"{self.unit[0]}{self.entry_id}-{self.asset}"


class Past:
    """Reads through a pool whose role may read. An account is told of itself only."""

    def __init__(self, pool: "asyncpg.Pool[asyncpg.Record]", account_id: AccountId) -> None:
        self._pool = pool
        self._account_id = account_id

    async def fills_of_orders(self, order_ids: Sequence[OrderId]) -> dict[OrderId, OrderFills]:
        """Return what those of the orders that were filled, at least in part, paid and traded."""
        if not order_ids:
            return {}
        records = await self._pool.fetch(OF_ORDERS, self._account_id, order_ids)
        return {order_id: OrderFills(fee, tuple(trades)) for order_id, fee, trades in records}

    async def count_closed(self, span: Span, *, tag: str | None, client_order_id: str | None) -> int:
        states = sorted(FINAL_STATUSES)
        asked = (states, span.since, span.until, tag, client_order_id)
        count: int = await self._pool.fetchval(COUNT_CLOSED, self._account_id, *asked)
        return count

    async def count_trades(self, span: Span) -> int:
        count: int = await self._pool.fetchval(COUNT_TRADES, self._account_id, span.since, span.until)
        return count

    async def volumes(self, *, since: int) -> dict[Currency, Minor]:
        """Return the clean amounts that were traded since a time, the largest first."""
        return {Currency(c): Minor(v) for c, v in await self._pool.fetch(VOLUMES, self._account_id, since)}

    async def ledger(
        self,
        span: Span,
        *,
        assets: Sequence[str] | None = None,
        kinds: Collection[EntryKind] | None = None,
        ids: Sequence[str] | None = None,
        offset: int = 0,
        limit: int,
    ) -> tuple[list[LedgerLine], int]:
        """Return lines, newest first, and how many there are in all; 0 for a page behind the last. None: any."""
        asked = (span.since, span.until, assets, None if kinds is None else sorted(kinds), ids, offset, limit)
        records = await self._pool.fetch(LEDGER, self._account_id, *asked)
        lines = [
            LedgerLine(entry_id, Unit(unit), asset, amount, fee, balance, EntryKind(kind), reference, Nanos(at))
            for entry_id, unit, asset, amount, fee, balance, kind, reference, at, _ in records
        ]
        return lines, records[0]["matching"] if records else 0
