"""The values that requests are made of, and what all request bodies have in common."""

from collections.abc import Callable, Sequence
from datetime import date
from decimal import Decimal
from enum import StrEnum
from functools import lru_cache
from typing import Annotated, Any, NoReturn, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, PlainValidator, StringConstraints, ValidationError, WithJsonSchema
from pydantic_core import ErrorDetails

from gateway.errors import UnknownField
from gateway.wire import LARGEST, exact_decimal, parse_date, parse_order_id, parse_time, printable, scaled
from market.errors import InvalidArguments
from market.ids import Face, Minor, Nanos, OrderId, PriceBp

RATE_PLACES = 6  # rates are counted in millionths
QUANTITY_MAX = Face(2**46)  # of one order: times any price within the band it fits 64 bits
YIELD_PPM_MAX = 100_000_000  # 10,000 %
NOT_AN_ORDER = OrderId(0)  # no order has this number
TEXTS_KEPT = 1 << 14  # decimals
N = TypeVar("N", bound=int)


def _decimal(value: object) -> Decimal:
    number = exact_decimal(value)
    if number is None:
        raise ValueError("must be a decimal number in plain notation")
    return number


def of_text_once(read: Callable[[object], N]) -> Callable[[object], N]:
    """Let `read` look at each text once, of the latest few thousand: a market-maker's figures come again and again."""
    read_text = lru_cache(maxsize=TEXTS_KEPT)(read)  # what it raises is not kept

    def read_any(value: object) -> N:
        return read_text(value) if type(value) is str else read(value)

    return read_any


@of_text_once
def _price(value: object) -> PriceBp:
    """Basis points. Finer than the unit is off every tick, so 0; too large for the wire is out of every band."""
    number = _decimal(value)
    return PriceBp(LARGEST if number > LARGEST else scaled(number, 2) or 0)


@of_text_once
def to_quantity(value: object) -> Face:
    """Original face. Finer than the unit, or more than there can be, is no quantity, so 0."""
    units = scaled(_decimal(value), 2) or 0
    return Face(units if units <= QUANTITY_MAX else 0)


def _amount(value: object) -> Minor:
    units = scaled(_decimal(value), 2)
    if units is None:
        raise ValueError("must have at most 2 decimals and be at most 90 trillion")
    return Minor(units)


def _rate(value: object) -> int:
    ppm = scaled(_decimal(value), RATE_PLACES)
    if ppm is None:
        raise ValueError("must have at most 6 decimals")
    return ppm


def _limit_yield(value: object) -> int:
    """Millionths. What a price can be found for is the venue's to say, within what its columns hold."""
    ppm = _rate(value)
    if not -1_000_000 < ppm <= YIELD_PPM_MAX:
        raise ValueError("must be more than -1 and at most 100")
    return ppm


def _time(value: object) -> Nanos:
    at = parse_time(value)
    if at is None:
        raise ValueError("must be a time like 2024-05-01T12:00:00Z (RFC 3339)")
    return at


def _date(value: object) -> date:
    day = parse_date(value)
    if day is None:
        raise ValueError("must be a date like 2024-05-01")
    return day


def _order_id(value: object) -> OrderId:
    """An id that is no order's is passed on as one, for the venue to say that it does not know it."""
    if not isinstance(value, str):
        raise ValueError("must be a string")
    return parse_order_id(value) or NOT_AN_ORDER


def _decimal_schema(description: str, *, places: int, example: str) -> WithJsonSchema:
    """Return how the contract describes a decimal: text in plain notation, or a JSON number that is read exactly."""
    text = {"type": "string", "pattern": rf"^-?(0|[1-9][0-9]*)(\.[0-9]{{1,{places}}})?$"}
    return WithJsonSchema({"description": description, "anyOf": [text, {"type": "number"}], "examples": [example]})


def text_schema(description: str, example: str, **more: str) -> WithJsonSchema:
    return WithJsonSchema({"type": "string", "description": description, "examples": [example], **more})


Price = Annotated[
    PriceBp,
    PlainValidator(_price),
    _decimal_schema("clean price in percent of current face", places=2, example="98.75"),
]
Quantity = Annotated[
    Face,
    PlainValidator(to_quantity),
    _decimal_schema("original face in currency units", places=2, example="5000.00"),
]
Amount = Annotated[
    Minor, PlainValidator(_amount), _decimal_schema("money in currency units", places=2, example="10000.00")
]
Rate = Annotated[
    int, PlainValidator(_rate), _decimal_schema("a rate as a fraction", places=RATE_PLACES, example="0.12")
]
LimitYield = Annotated[
    int,
    PlainValidator(_limit_yield),
    _decimal_schema("effective annual yield as a fraction", places=RATE_PLACES, example="0.128412"),
]
Time = Annotated[
    Nanos,
    PlainValidator(_time),
    text_schema("a time (RFC 3339)", "2024-05-01T12:00:00Z", format="date-time"),
]
Day = Annotated[date, PlainValidator(_date), text_schema("a date", "2024-05-01", format="date")]
OrderIdText = Annotated[OrderId, PlainValidator(_order_id), text_schema("an order's id", "O-1")]
Name = Annotated[str, StringConstraints(min_length=1, max_length=64)]
Text = Annotated[str, StringConstraints(max_length=500)]
E = TypeVar("E", bound=StrEnum)
Word = Annotated[E, Field(strict=False)]  # one of an enumeration's words


class Request(BaseModel):
    """Strict: nothing is converted, nothing unknown is passed over."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, hide_input_in_errors=True)

    @classmethod
    def parse(cls, body: dict[str, Any]) -> Self:
        """Return the request that `body` says. Raises UnknownField or InvalidArguments, each naming the field."""
        try:
            return cls.model_validate(body)
        except ValidationError as e:
            _refuse(e.errors(include_url=False, include_context=False, include_input=False))


def _refuse(errors: Sequence[ErrorDetails]) -> NoReturn:
    """Raise the first thing that is wrong. An unknown field comes before all else: it may be a misspelt one."""
    error = next((error for error in errors if error["type"] == "extra_forbidden"), errors[0])
    field = printable(".".join(str(part) for part in error["loc"])) or None
    if error["type"] == "extra_forbidden":
        raise UnknownField(f"there is no field {field} here", field=field)
    raise InvalidArguments(f"{field or 'request'}: {error['msg'].removeprefix('Value error, ')}", field=field)


class Empty(Request):
    """A body that has nothing to say but may give a reason."""

    reason: Text | None = None


def require(holds: bool, field: str, why: str) -> None:
    """Raises InvalidArguments that names the field."""
    if not holds:
        raise InvalidArguments(f"{field}: {why}", field=field)
