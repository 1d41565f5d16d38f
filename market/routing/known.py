"""What a router knows of its partitions: which loans and open orders each has, what cash each keeps for an account.

Built from what the engines tell, one ear for each. It may be a commit behind, and is never asked for the truth: a
partition that has not what was looked for there says so.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from market.errors import Unavailable
from market.events import CashChanged, Event, Executed, LoanChanged, OpenOrder, OrderState
from market.ids import FIRST_QUOTE_ID, AccountId, ClientOrderId, Currency, LoanId, OrderId, Seq
from market.orderbook.order import FINAL_STATUSES
from market.partitions import home_of, partition_of
from market.port import Committed

Purse = tuple[AccountId, Currency]


@dataclass(frozen=True, slots=True)
class Line:
    """Of an account's cash what one partition keeps, in minor units. moved: received less sent, ever."""

    total: int
    held: int
    moved: int

    @property
    def free(self) -> int:
        return self.total - self.held


NOTHING = Line(0, 0, 0)


class Known:
    """What is known of all partitions. changed: called with each purse of which a line changed."""

    def __init__(self, partitions: int, changed: Callable[[Purse], None]) -> None:
        self.loans: dict[LoanId, int] = {}  # partition
        self.named: dict[tuple[AccountId, ClientOrderId], OrderId] = {}  # open orders
        self.partitions = partitions
        self.heard: set[int] = set()  # partitions whose state was told
        self._lines: list[dict[Purse, Line]] = [{} for _ in range(partitions)]
        self._changed = changed

    def where(self, loan_id: LoanId) -> int:
        """Return the partition of a loan; of one that nobody has, where it would be registered.

        Raises Unavailable if that is open, because a partition was not heard yet.
        """
        where = self.loans.get(loan_id)
        if where is not None:
            return where
        if len(self.heard) < self.partitions:
            raise Unavailable(f"a part of the market is away, which may have loan {loan_id}")
        return home_of(loan_id, self.partitions)

    def line(self, partition: int, purse: Purse) -> Line:
        return self._lines[partition].get(purse, NOTHING)

    def lines(self, purse: Purse) -> list[Line]:
        return [lines.get(purse, NOTHING) for lines in self._lines]

    def correct(self, partition: int, purse: Purse, free: int) -> None:
        """A partition has said what is free there now."""
        line = self.line(partition, purse)
        self._lines[partition][purse] = Line(line.total, line.total - free, line.moved)

    def order_named(self, account_id: AccountId, client_order_id: ClientOrderId | None) -> OrderId | None:
        """Return the open order of a client order id, None if it is not known to be open."""
        return None if client_order_id is None else self.named.get((account_id, client_order_id))

    def forget(self, partition: int) -> None:
        """All of a partition is told anew."""
        self.heard.add(partition)
        for loan_id in [loan_id for loan_id, where in self.loans.items() if where == partition]:
            del self.loans[loan_id]
        for name in [name for name, order_id in self.named.items() if partition_of(order_id) == partition]:
            del self.named[name]
        self._lines[partition].clear()

    def quotes_dropped(self, partition: int) -> None:
        """Quotes are gone with their writer, and no event says what they held: all is taken to be free again."""
        lines = self._lines[partition]
        for purse, line in lines.items():
            lines[purse] = Line(line.total, 0, line.moved)

    def hear(self, partition: int, event: Event) -> None:
        kind: type[Any] = type(event)
        if kind is CashChanged:
            self._cash(partition, event)  # type: ignore[arg-type]
        elif kind is Executed:
            for row in event.rows:  # type: ignore[union-attr]
                self._order(row.order)
        elif kind is LoanChanged:
            self.loans[event.terms.loan_id] = partition  # type: ignore[union-attr]
        elif kind is OpenOrder:
            self._order(event.order)  # type: ignore[union-attr]

    def _cash(self, partition: int, event: CashChanged) -> None:
        purse = event.account_id, event.currency
        self._lines[partition][purse] = Line(event.total, event.held, event.moved)
        self._changed(purse)

    def _order(self, order: OrderState) -> None:
        if order.order_id >= FIRST_QUOTE_ID or order.client_order_id is None:
            return
        name = order.account_id, order.client_order_id
        if order.status not in FINAL_STATUSES:
            self.named[name] = order.order_id
        elif self.named.get(name) == order.order_id:
            del self.named[name]


class Ear:
    """Hears one partition; the first of its listeners."""

    def __init__(self, partition: int, known: Known) -> None:
        self._partition, self._known = partition, known

    def on_snapshot(self, _epoch: int, _seq: Seq, events: Sequence[Event]) -> None:
        self._known.forget(self._partition)
        self._hear(events)

    def on_epoch(self, _epoch: int, _seq: Seq) -> None:
        self._known.quotes_dropped(self._partition)

    def on_entry(self, entry: Committed) -> None:
        self._hear(entry.events)

    def on_batch_end(self) -> None: ...

    def _hear(self, events: Sequence[Event]) -> None:
        for event in events:
            self._known.hear(self._partition, event)
