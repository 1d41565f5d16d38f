"""What sockets need of the past beyond single orders: whole messages of an account's stream, by their numbers."""

from collections.abc import Sequence
from typing import Any, Final

from gateway.reads.candles import Candle
from gateway.reads.history import NEVER, History, Span
from gateway.ws.executions import CommittedExecution
from market.events import Executed
from market.ids import AccountId, LoanId, Nanos, Seq
from market.settlement.codec import load_rows

AFTER: Final = """
SELECT sequence, engine_seq, at, rows::text AS rows FROM {execution}
WHERE account_id = $1 AND sequence > $2 AND sequence <= $3 ORDER BY sequence LIMIT $4"""
LAST_FILLS: Final = """
SELECT sequence, engine_seq, at, rows::text AS rows FROM {execution}
WHERE account_id = $1 AND is_trade AND sequence <= $2 ORDER BY sequence DESC LIMIT $3"""


class StreamHistory(History):
    async def executions(
        self, account_id: AccountId, *, after: int, until: int, limit: int, partition: int = 0
    ) -> Sequence[CommittedExecution]:
        """Return messages of a partition with after < sequence <= until, in order, at most `limit` of them."""
        query = AFTER.format(execution=self._table("execution", partition))
        records = await self._pool.fetch(query, account_id, after, until, limit)
        return [_execution(account_id, record) for record in records]

    async def last_fills(
        self, account_id: AccountId, *, until: int, limit: int, partition: int = 0
    ) -> Sequence[CommittedExecution]:
        """Return the last messages of trades with sequence <= until, in order, at most `limit` of them."""
        query = LAST_FILLS.format(execution=self._table("execution", partition))
        records = await self._pool.fetch(query, account_id, until, limit)
        return [_execution(account_id, record) for record in reversed(records)]

    async def latest_candles(self, loan_id: LoanId, *, interval: int, limit: int) -> Sequence[Candle]:
        """Return the last candles of a loan, newest first. interval: minutes."""
        return await self.candles(loan_id, interval=interval, span=Span(), below=NEVER, limit=limit)


def _execution(account_id: AccountId, record: Any) -> CommittedExecution:
    executed = Executed(account_id=account_id, sequence=record["sequence"], rows=load_rows(record["rows"]))
    return CommittedExecution(executed, Seq(record["engine_seq"]), Nanos(record["at"]))
