"""The private stream of an account: orders and fills, one number per message, without a gap, through any reconnect.

What was committed before a reader joins is read from the database; from the moment its position is the account's last
number it hears live. That needs no buffer: a reader joins in the very step in which it finds nothing missing.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from gateway.reads.candles import Candle
from gateway.reads.history import StoredTrade
from gateway.reads.schemas import execution_row
from gateway.reads.views import Views
from gateway.ws.frames import Message
from gateway.ws.outbox import Outbox
from market.errors import InvariantViolation
from market.events import Executed, ExecutionRow, OrderState
from market.ids import AccountId, LoanId, Nanos, Seq, TradeId
from market.orderbook.order import ExecType, OrderStatus
from market.partitions import partition_of

CHANNEL = "executions"
MESSAGES_PER_READ = 500


@dataclass(frozen=True, slots=True)
class CommittedExecution:
    """A message of the past, as the database has it."""

    executed: Executed
    engine_seq: Seq
    at: Nanos


class History(Protocol):
    """Where past messages are read."""

    async def executions(
        self, account_id: AccountId, *, after: int, until: int, limit: int, partition: int
    ) -> Sequence[CommittedExecution]:
        """Return messages of a partition with after < sequence <= until, in order, at most `limit` of them."""

    async def last_fills(
        self, account_id: AccountId, *, until: int, limit: int, partition: int
    ) -> Sequence[CommittedExecution]:
        """Return the last messages of trades with sequence <= until, in order, at most `limit` of them."""

    async def trades_between(self, behind: TradeId, *, after: Seq, until: Seq) -> Sequence[StoredTrade]:
        """Return the trades behind `behind` of the commands after < seq <= until, oldest first."""

    async def latest_candles(self, loan_id: LoanId, *, interval: int, limit: int) -> Sequence[Candle]:
        """Return the last candles of a loan, newest first. interval: minutes."""


class ExecutionsFeed:
    """The readers of one account's stream in one partition. readers: the number of the last message each was sent.

    Where there are several partitions a message says which one's it is, and its number counts there.
    """

    def __init__(self, views: Views, account_id: AccountId, partition: int = 0) -> None:
        self.readers: dict[Outbox, int] = {}
        self.partition = partition
        self._views = views
        self._account_id = account_id
        self._more = {"partition": partition} if views.partitions > 1 else {}

    @property
    def sequence(self) -> int:
        """The number of the account's last committed message."""
        return self._views.account(self._account_id).exec_seqs.get(self.partition, 0)

    def executed(self, event: Executed, engine_seq: Seq, at: Nanos) -> None:
        """Send a message that was just committed. Every reader has its predecessor: that is what joining means."""
        if self.readers:
            message = self._update(event, engine_seq, at)
            for reader in self.readers:
                reader.send(message)
                self.readers[reader] = event.sequence

    def left_behind(self) -> dict[Outbox, int]:
        """Take off and return the readers that a rebuild left without messages: they must join again."""
        late = {reader: position for reader, position in self.readers.items() if position != self.sequence}
        for reader in late:
            del self.readers[reader]
        return late

    async def join(self, reader: Outbox, position: int, history: History) -> None:
        """Send what was committed after `position`, then go live."""
        while position < (target := self.sequence):
            messages = await history.executions(
                self._account_id, after=position, until=target, limit=MESSAGES_PER_READ, partition=self.partition
            )
            if not messages:
                raise InvariantViolation(f"executions of {self._account_id} after {position} are not in the database")
            for message in messages:
                reader.send(self._update(message.executed, message.engine_seq, message.at), excused=True)
            position = messages[-1].executed.sequence
            await reader.drain()
        if not reader.closed:
            self.readers[reader] = position

    async def snapshot(self, reader: Outbox, history: History, *, orders: bool, trades: bool) -> int:
        """Send open orders and the last fills, both as of one sequence number; return that number."""
        sequence = self.sequence
        if orders:
            rows = [order_row(order) for order in self._open_orders()]
            reader.send(self._message("snapshot", rows, sequence), excused=True)
        if trades:
            fills = await history.last_fills(self._account_id, until=sequence, limit=50, partition=self.partition)
            rows = [row for fill in fills for row in rows_of(fill.executed, fill.engine_seq, fill.at)]
            reader.send(self._message("snapshot", rows[-50:], sequence), excused=True)
        return sequence

    def _open_orders(self) -> Iterator[OrderState]:
        orders = self._views.account(self._account_id).open_orders.values()
        return (order for order in orders if partition_of(order.order_id) == self.partition)

    def _update(self, event: Executed, engine_seq: Seq, at: Nanos) -> Message:
        rows = rows_of(event, engine_seq, at)
        return self._message("update", rows, event.sequence, prev_sequence=event.sequence - 1)

    def _message(self, kind: str, rows: list[dict[str, Any]], sequence: int, **more: int) -> Message:
        return Message({"channel": CHANNEL, "type": kind, "data": rows, "sequence": sequence, **self._more, **more})


def rows_of(event: Executed, engine_seq: Seq, at: Nanos) -> list[dict[str, Any]]:
    return [execution_row(row, engine_seq=engine_seq, at=at) for row in event.rows]


def order_row(order: OrderState) -> dict[str, Any]:
    """Return an open order as a snapshot shows it, with the id of its last execution."""
    exec_type = ExecType.SUSPENDED if order.status is OrderStatus.SUSPENDED else ExecType.NEW
    row = ExecutionRow(exec_id=order.exec_id, exec_type=exec_type, order=order)
    return execution_row(row, engine_seq=engine_seq_of(order.exec_id), at=order.created_at)


def engine_seq_of(exec_id: str) -> Seq:
    """Return the number of the command that made an execution: it is the first part of its id, `E<seq>-<n>`."""
    return Seq(int(exec_id[1:].partition("-")[0]))
