"""Frozen dataclasses of plain values as compact JSON text, and back to equal values.

Fields appear under their names in the order of the class, so that equal values give equal text. None is left out where
it is the field's default. A field that is added later needs a default, for text that was written before.
"""

import json
from collections.abc import Callable
from dataclasses import fields
from datetime import date
from functools import cache
from operator import attrgetter
from typing import Any, TypeVar

import msgspec
from msgspec.structs import astuple
from pydantic import TypeAdapter

from market.events import ExecutionRow

T = TypeVar("T")


@cache
def values_of(cls: Any) -> Callable[[Any], tuple[Any, ...]]:
    """Return what reads all fields of a `cls`, in order, at the price of one call."""
    if issubclass(cls, msgspec.Struct):
        return astuple
    names = [field.name for field in fields(cls)]
    if len(names) > 1:
        return attrgetter(*names)
    return lambda value: tuple(getattr(value, name) for name in names)


@cache
def _names_of(cls: Any) -> tuple[tuple[str, ...], frozenset[str]]:
    """Return a class's field names, and those of them that may be left out when None."""
    return tuple(f.name for f in fields(cls)), frozenset(f.name for f in fields(cls) if f.default is None)


def _plain(value: Any) -> Any:
    """Turn what JSON has no word for into what it has; enums of strings pass as the strings that they are."""
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, frozenset):
        return sorted(value)
    cls: Any = type(value)
    names, optional = _names_of(cls)  # raises TypeError for anything but a dataclass
    pairs = zip(names, values_of(cls)(value), strict=True)
    if not optional:
        return dict(pairs)
    return {name: v for name, v in pairs if v is not None or name not in optional}


dumps = json.JSONEncoder(default=_plain, ensure_ascii=False, check_circular=False, separators=(",", ":")).encode


@cache
def _adapter(cls: Any) -> TypeAdapter[Any]:
    return TypeAdapter(cls)


def loads(cls: type[T], text: str) -> T:
    """Return the `cls` that `dumps` wrote. Raises ValueError if `text` is none."""
    kind: Any = cls  # for mypy a class is not hashable
    value: T = _adapter(kind).validate_json(text)
    return value


_rows_encoder, _rows_decoder = msgspec.json.Encoder(), msgspec.json.Decoder(tuple[ExecutionRow, ...])


def dump_rows(rows: tuple[ExecutionRow, ...]) -> str:
    """Return the rows of one `Executed` message as kept in market.execution; what has its default is left out."""
    return _rows_encoder.encode(rows).decode()


def load_rows(text: str) -> tuple[ExecutionRow, ...]:
    """Return the rows that `dump_rows` wrote. Raises ValueError if `text` is none."""
    rows: tuple[ExecutionRow, ...] = _rows_decoder.decode(text)
    return rows
