"""The single writer: stamp, apply, commit, answer, publish, in that order."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from market.commands import Result
from market.errors import MarketError
from market.events import Event, LogEntry
from market.ids import Nanos, Seq
from market.venue.venue import Venue


class NotCommitted(Exception):
    """The batch is certain not to have been committed: nothing of it is in the database. permanent: a retry would fail the same way."""

    def __init__(self, message: str, *, permanent: bool) -> None:
        super().__init__(message)
        self.permanent = permanent


class Doubtful(Exception):
    """COMMIT may have been sent: only `Store.resolve` can tell whether it happened."""


class LeaseLost(Exception):
    """Another engine holds a newer epoch: this one must stop writing for good."""


class Store(Protocol):
    """Where batches become durable. One implementation: settlement/writer.py on PostgreSQL."""

    epoch: int

    async def open(self) -> None:
        """Take the lease (advisory lock, then raise the epoch) and connect. Raises LeaseLost if another engine lives."""

    async def recover(self) -> Venue:
        """Rebuild the venue from the tables, as of the last committed sequence number."""

    async def commit(self, entries: Sequence[LogEntry]) -> None:
        """Make a batch durable in one transaction, every entry or none. Raises NotCommitted, Doubtful, LeaseLost."""

    async def resolve(self) -> Seq:
        """After a failure, fence-first: raise the epoch (which waits for the old transaction), then return the committed sequence."""

    async def quarantine(self, entry: LogEntry, error: str) -> None:
        """Record a command that the database refuses, for people to look at."""

    async def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Answer:
    """A command done and durable (or a repeat of one)."""

    seq: Seq
    at: Nanos
    result: Result


Reply = Callable[[Answer | MarketError], None]


class Listener(Protocol):
    """Hears of everything after it was committed, in sequence order, on the engine's loop. Must not raise."""

    def on_snapshot(self, epoch: int, seq: Seq, events: Sequence[Event]) -> None:
        """The whole state, after start and after every rebuild: replaces all that was heard before."""

    def on_entry(self, entry: LogEntry) -> None: ...

    def on_batch_end(self) -> None:
        """The entries since the last call were one commit: the moment to flush what is merged per batch."""
