"""Commands, answers and events as bytes between processes, and back to equal values: MessagePack by msgspec.

Every message is framed: the version of who wrote it, its kind, its body. Values travel as the name of their class and
their fields by name; bodies are arrays that may only grow at their end. A reader passes over what it does not know, in
either, and takes defaults for what is missing, so that a version and the next one run side by side; from a version
further away it takes nothing. Every integer has at most 64 bits.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, get_args

import msgspec

from market import errors
from market.commands import Command, Result
from market.errors import MarketError, RuleViolation
from market.events import (
    CashReceived,
    CashSent,
    CustodyMoved,
    Event,
    IdFenced,
    OrderAccepted,
    Posted,
    Serviced,
)
from market.ids import Nanos, Seq
from market.port import Answer, Committed

KINDS: dict[str, type[Any]] = {kind.__name__: kind for kind in (*get_args(Command), *get_args(Result))}
# For the ledger and the venue, not for readers.
NOT_TOLD = frozenset({Posted, OrderAccepted, CustodyMoved, CashSent, CashReceived, IdFenced, Serviced})
EVENTS: dict[str, type[Any]] = {kind.__name__: kind for kind in get_args(Event) if kind not in NOT_TOLD}
REFUSALS: dict[str, type[MarketError]] = {
    kind.__name__: kind for kind in MarketError.__subclasses__() if kind.__module__ == errors.__name__
}  # those of the edge are subclasses too, where the edge is loaded

VERSION = 1  # of what is written here; raise it when a reader of the version before would go wrong

Tagged = tuple[str, msgspec.Raw]


@dataclass(frozen=True, slots=True)
class Told:
    """What readers hear of one command: a LogEntry without what only the ledger needs."""

    seq: Seq
    at: Nanos
    events: tuple[Event, ...]


class UnknownVersion(ValueError):
    """Written by a version of this package that is neither ours nor next to ours."""


class Body(msgspec.Struct, array_like=True):
    """The body of a message. A field that is added later comes last and has a default."""


class Sent(Body):
    """A command on its way. number: by which its gateway knows it.  joined: to the one before it.

    request_id, trace: see port.Caller.
    """

    number: int
    actor: str
    joined: bool
    command: Tagged
    request_id: str | None = None
    trace: str | None = None


class Entry(Body):
    """A `Told` on its way."""

    seq: int
    at: int
    events: list[Tagged]


class Batch(Body):
    """What one commit tells. previous: the last seq that was told before it; equal to seq for a sign of life.

    began: where the log stood when this epoch began; consumed: how far the stream of commands was then.
    """

    epoch: int
    previous: Seq
    seq: Seq
    entries: tuple[Entry, ...] = ()
    began: Seq = Seq(-1)
    consumed: str = ""


class Ask(Body):
    """A gateway asks for the whole state."""

    gateway: str


class State(Body):
    """Where the whole state lies, as of `seq`. consumed: as in Batch.

    is_numbered: whether it says which command last changed each book, FIRST_SEQ where it says nothing.
    """

    epoch: int
    seq: Seq
    key: str
    consumed: str
    is_numbered: bool = False


class Outcome(Body):
    """What became of the command that its gateway knows by `number`. refusal: the name of its class."""

    number: int
    seq: int = 0
    at: int = 0
    result: Tagged | None = None
    refusal: str | None = None
    message: str = ""
    field: str | None = None
    details: dict[str, int | str | None] = {}


_encoder = msgspec.msgpack.Encoder()


@cache
def _decoder(kind: Any) -> msgspec.msgpack.Decoder[Any]:
    return msgspec.msgpack.Decoder(kind)


def pack(value: Any) -> bytes:
    """Return plain containers, numbers, texts and bytes as bytes."""
    return _encoder.encode(value)


def unpack(kind: Any, data: bytes | msgspec.Raw) -> Any:
    """Return the `kind` that was packed. Raises ValueError."""
    return _decoder(kind).decode(data)


def tagged(value: Any) -> Tagged:
    return type(value).__name__, msgspec.Raw(_encoder.encode(value))


def untagged(kinds: dict[str, type[Any]], pair: Tagged) -> Any:
    """Raises ValueError for a kind that this version does not know."""
    name, body = pair
    if name not in kinds:
        raise ValueError(f"unknown kind {name!r}")
    return unpack(kinds[name], body)


def framed(kind: str, body: Any) -> bytes:
    """Return a message. body: a Body, or a list of them."""
    return pack((VERSION, kind, body))


def unframed(message: bytes) -> tuple[str, msgspec.Raw]:
    """Return kind and body of a message. Raises UnknownVersion, or another ValueError if it is none."""
    frame = unpack(list[msgspec.Raw], message)
    version, kind = unpack(int, frame[0]), unpack(str, frame[1])
    if abs(version - VERSION) > 1:
        raise UnknownVersion(f"a message of version {version}, ours is {VERSION}")
    return kind, frame[2]


def outcome_of(number: int, told: Answer | MarketError) -> Outcome:
    if isinstance(told, MarketError):
        details = {name: value if isinstance(value, int | None) else str(value) for name, value in told.details.items()}
        return Outcome(number, refusal=type(told).__name__, message=str(told), field=told.field, details=details)
    return Outcome(number, told.seq, told.at, tagged(told.result))


def told_by(outcome: Outcome) -> Answer | MarketError:
    """A refusal that only another version knows is told as a rule that was broken."""
    if outcome.refusal is not None:
        return REFUSALS.get(outcome.refusal, RuleViolation)(outcome.message, field=outcome.field, **outcome.details)
    assert outcome.result is not None
    return Answer(Seq(outcome.seq), Nanos(outcome.at), untagged(KINDS, outcome.result))


def pack_events(events: Sequence[Event]) -> bytes:
    return pack([tagged(event) for event in events if type(event) not in NOT_TOLD])


def unpack_events(data: bytes | msgspec.Raw) -> tuple[Event, ...]:
    """Return the events; a kind that only a newer version knows is left out."""
    return _events(unpack(list[Tagged], data))


def _events(pairs: Sequence[Tagged]) -> tuple[Event, ...]:
    return tuple(untagged(EVENTS, pair) for pair in pairs if pair[0] in EVENTS)


def entry_of(entry: Committed) -> Entry:
    return Entry(entry.seq, entry.at, [tagged(event) for event in entry.events if type(event) not in NOT_TOLD])


def told(entry: Entry) -> Told:
    """Return what the entry says, without events of a kind that only another version knows."""
    return Told(Seq(entry.seq), Nanos(entry.at), _events(entry.events))
