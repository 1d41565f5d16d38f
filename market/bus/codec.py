"""Commands, answers and events as bytes between processes, and back to equal values: MessagePack by msgspec.

A value travels as the name of its class and its fields by name. A reader ignores fields that it does not know and takes
defaults for those that are missing, so that two versions may run side by side. Every integer has at most 64 bits.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, get_args

import msgspec

from market import errors
from market.commands import Command, Result
from market.errors import MarketError
from market.events import (
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
NOT_TOLD = (Posted, OrderAccepted, CustodyMoved, IdFenced, Serviced)  # for the ledger and the venue, not for readers
EVENTS: dict[str, type[Any]] = {kind.__name__: kind for kind in get_args(Event) if kind not in NOT_TOLD}
REFUSALS: dict[str, type[MarketError]] = {
    kind.__name__: kind for kind in MarketError.__subclasses__() if kind.__module__ == errors.__name__
}  # those of the edge are subclasses too, where the edge is loaded

Tagged = tuple[str, msgspec.Raw]


@dataclass(frozen=True, slots=True)
class Told:
    """What readers hear of one command: a LogEntry without what only the ledger needs."""

    seq: Seq
    at: Nanos
    events: tuple[Event, ...]


@dataclass(frozen=True, slots=True)
class Batch:
    """What one commit tells. previous: the last seq that was told before it; equal to seq for a sign of life."""

    epoch: int
    previous: Seq
    seq: Seq
    entries: tuple[Told, ...] = ()


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


def pack_outcome(told: Answer | MarketError) -> msgspec.Raw:
    if isinstance(told, MarketError):
        details = {name: value if isinstance(value, int | None) else str(value) for name, value in told.details.items()}
        return msgspec.Raw(pack((type(told).__name__, str(told), told.field, details)))
    return msgspec.Raw(pack((told.seq, told.at, tagged(told.result))))


def unpack_outcome(data: msgspec.Raw) -> Answer | MarketError:
    values = unpack(list[msgspec.Raw], data)
    if len(values) == 4:
        name, message, field, details = unpack(tuple[str, str, str | None, dict[str, int | str | None]], data)
        return REFUSALS[name](message, field=field, **details)
    seq, at, result = unpack(tuple[int, int, Tagged], data)
    return Answer(Seq(seq), Nanos(at), untagged(KINDS, result))


def pack_events(events: Sequence[Event]) -> bytes:
    return pack([tagged(event) for event in events if not isinstance(event, NOT_TOLD)])


def unpack_events(data: bytes | msgspec.Raw) -> tuple[Event, ...]:
    """Return the events; a kind that only a newer version knows is left out."""
    return tuple(untagged(EVENTS, pair) for pair in unpack(list[Tagged], data) if pair[0] in EVENTS)


def pack_batch(epoch: int, previous: Seq, seq: Seq, entries: Sequence[Committed]) -> bytes:
    rows = [(entry.seq, entry.at, msgspec.Raw(pack_events(entry.events))) for entry in entries]
    return pack((epoch, previous, seq, rows))


def unpack_batch(data: bytes) -> Batch:
    epoch, previous, seq, rows = unpack(tuple[int, int, int, list[tuple[int, int, msgspec.Raw]]], data)
    entries = tuple(Told(Seq(number), Nanos(at), unpack_events(events)) for number, at, events in rows)
    return Batch(epoch, Seq(previous), Seq(seq), entries)
