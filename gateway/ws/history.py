"""What sockets need of the past, read from PostgreSQL: executions after a reconnect, single orders."""

from collections.abc import Sequence
from typing import Any, Final

import asyncpg

from gateway.schemas import order_object
from gateway.ws.executions import CommittedExecution
from market.errors import UnknownOrder
from market.events import Executed
from market.ids import AccountId, ClientOrderId, Nanos, OrderId, Seq
from market.settlement.codec import load_rows
from market.settlement.recovery import ORDER_COLUMNS, order_state

AFTER: Final = """
SELECT sequence, engine_seq, at, rows::text AS rows FROM market.execution
WHERE account_id = $1 AND sequence > $2 AND sequence <= $3 ORDER BY sequence LIMIT $4"""
LAST_FILLS: Final = """
SELECT sequence, engine_seq, at, rows::text AS rows FROM market.execution
WHERE account_id = $1 AND is_trade AND sequence <= $2 ORDER BY sequence DESC LIMIT $3"""

ORDER: Final = f"""
SELECT {ORDER_COLUMNS}, engine_seq, updated_at FROM market.orders
WHERE account_id = $1 AND (order_id = $2 OR client_order_id = $3)"""


class DatabaseHistory:
    """Reads through a pool whose role may only read. Everything committed is there."""

    def __init__(self, pool: "asyncpg.Pool[asyncpg.Record]") -> None:
        self._pool = pool

    async def executions(
        self, account_id: AccountId, *, after: int, until: int, limit: int
    ) -> Sequence[CommittedExecution]:
        records = await self._pool.fetch(AFTER, account_id, after, until, limit)
        return [_execution(account_id, record) for record in records]

    async def last_fills(self, account_id: AccountId, *, until: int, limit: int) -> Sequence[CommittedExecution]:
        records = await self._pool.fetch(LAST_FILLS, account_id, until, limit)
        return [_execution(account_id, record) for record in reversed(records)]

    async def order(
        self, account_id: AccountId, *, order_id: OrderId | None = None, client_order_id: ClientOrderId | None = None
    ) -> dict[str, Any]:
        """Return an order of the account as it is shown, open or not. Raises UnknownOrder."""
        record = await self._pool.fetchrow(ORDER, account_id, order_id, client_order_id)
        if record is None:
            raise UnknownOrder(field="cl_ord_id" if order_id is None else "order_id")
        values = dict(record)
        engine_seq, updated_at = values.pop("engine_seq"), values.pop("updated_at")
        return order_object(order_state(values), engine_seq=engine_seq, updated_at=updated_at)


def _execution(account_id: AccountId, record: Any) -> CommittedExecution:
    executed = Executed(account_id=account_id, sequence=record["sequence"], rows=load_rows(record["rows"]))
    return CommittedExecution(executed, Seq(record["engine_seq"]), Nanos(record["at"]))
