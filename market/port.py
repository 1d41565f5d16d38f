"""What the edge asks of an engine, whether it runs in this process or behind Redis: send commands, hear of commits."""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from market.commands import CancelAll, CancelQuotes, Command, Result
from market.errors import MarketError
from market.events import Event
from market.ids import Nanos, Seq

ENGINE_ACTOR = "engine"  # who commands are recorded under that nobody sent


@dataclass(frozen=True, slots=True)
class Answer:
    """A command done and durable (or a repeat of one)."""

    seq: Seq
    at: Nanos
    result: Result


@dataclass(frozen=True, slots=True)
class Caller:
    """What a command was sent for, to be found again in logs and traces of every process; no rule looks at it.

    trace: W3C traceparent of the span that sends it, if requests are traced.
    """

    request_id: str
    trace: str | None = None


CALLER: ContextVar[Caller | None] = ContextVar("caller", default=None)

Reply = Callable[[Answer | MarketError], None]


class Committed(Protocol):
    """What is told of one command that changed the state."""

    @property
    def seq(self) -> Seq: ...

    @property
    def at(self) -> Nanos: ...

    @property
    def events(self) -> tuple[Event, ...]: ...


class Listener(Protocol):
    """Hears of everything after it was committed, in sequence order, on the engine's loop."""

    def on_snapshot(self, epoch: int, seq: Seq, events: Sequence[Event]) -> None:
        """The whole state, after start and after every rebuild: replaces all that was heard before."""

    def on_entry(self, entry: Committed) -> None: ...

    def on_batch_end(self) -> None:
        """The entries since the last call were one commit: the moment to flush what is merged per batch."""


class Follower(Listener, Protocol):
    """A listener that may outlive the writer: what an engine in another process tells."""

    def on_epoch(self, epoch: int, seq: Seq) -> None:
        """Another writer goes on at `seq`, of which we have heard. Quotes, which no table holds, are gone."""


class Phase(StrEnum):
    STARTING = "starting"
    ONLINE = "online"
    RECOVERING = "recovering"
    STOPPED = "stopped"


def room_for(command: Command, most: int) -> int:
    """Return how many commands may wait ahead of one. What only takes orders out is let in when nothing else is."""
    return 2 * most if isinstance(command, CancelAll | CancelQuotes) else most


class EnginePort(ABC):
    """One engine as the edge sees it. seq: the last committed command that was told.  phase: whether it takes more."""

    phase: Phase
    seq: Seq

    @property
    @abstractmethod
    def epoch(self) -> int:
        """Which writer it is, counted over the market's life."""

    @property
    def parts(self) -> "Sequence[EnginePort]":
        """The engine of each partition, where several are seen as one."""
        return [self]

    @property
    def phases(self) -> list[Phase]:
        return [part.phase for part in self.parts]

    @abstractmethod
    def listen(self, listener: Follower) -> None:
        """Add a listener; listeners hear in the order in which they were added."""

    @abstractmethod
    async def online(self) -> None:
        """Wait until commands are taken."""

    @abstractmethod
    def send(self, command: Command, *, actor: str, reply: Reply, joined: bool = False) -> None:
        """Hand a command over. `reply` is called exactly once, before any listener hears of its commit.

        joined: commit it together with the command sent just before, so that listeners hear of both after both replies.
        Raises Busy or Unavailable at once: the command was not taken then.
        """

    async def submit(self, command: Command, *, actor: str) -> Answer:
        """Send a command and wait for its answer. Raises the MarketError that refused it."""
        future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()

        def reply(told: Answer | MarketError) -> None:
            if future.done():  # the client may have gone; its order stands
                return
            if isinstance(told, MarketError):
                future.set_exception(told)
            else:
                future.set_result(told)

        self.send(command, actor=actor, reply=reply)
        return await future
