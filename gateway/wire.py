"""Values as they stand on the wire, both ways: strict JSON, decimals, times, dates, ids. No float meets an amount.

Outside: decimals as strings in plain notation, RFC 3339 times with microseconds, dates, prefixed ids. Inside: integers
in minor units, basis points and nanoseconds.
"""

import json
import re
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from functools import lru_cache
from typing import Any, NoReturn

from market.errors import InvalidArguments
from market.ids import FIRST_QUOTE_ID, Nanos, OrderId, TradeId

PLAIN_DECIMAL = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?")
TIME = re.compile(r"([0-9-]{10})[Tt]([0-9:]{8})(?:\.([0-9]{1,9}))?([Zz]|[+-][0-9]{2}:[0-9]{2})")
DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
ORDER_ID = re.compile(r"O-([1-9][0-9]{0,17})")
TRADE_ID = re.compile(r"T-([1-9][0-9]{0,17})")
EARLIEST, LATEST = date(1900, 1, 1), date(2199, 12, 31)  # dates that are taken; their nanoseconds fit 64 bits
LONGEST_NUMBER = 400  # characters of one JSON number: int() is quadratic in them
LARGEST = 2**53  # the largest count of minor units that is taken, so that sums stay far from 64 bits
SECOND = 1_000_000_000
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def parse_json(data: bytes) -> dict[str, Any]:
    """Return the one object that `data` holds. Numbers are int or Decimal, exactly as written.

    Raises InvalidArguments for anything else: malformed UTF-8 or JSON, NaN or Infinity, a duplicate key, nesting beyond
    the interpreter's stack, and text that PostgreSQL can't store (NUL, half a surrogate pair).
    """
    value = parse_any_json(data)
    if not isinstance(value, dict):
        raise InvalidArguments("one JSON object is expected")
    return value


def parse_any_json(data: bytes) -> Any:
    """Like `parse_json`, but for a value of any kind."""
    try:
        value = _DECODER.decode(data.decode())
    except RecursionError as e:
        raise InvalidArguments("the JSON is nested too deeply") from e
    except ValueError as e:  # UnicodeDecodeError and JSONDecodeError are both
        raise InvalidArguments(f"malformed JSON: {e}") from e
    if b"\\u" in data:
        _require_storable(value)
    return value


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for i, name in enumerate(names) if name in names[:i])
        raise InvalidArguments("duplicate key", field=printable(twice))
    return members


def _integer(text: str) -> int:
    if len(text) > LONGEST_NUMBER:
        raise InvalidArguments("a number is too long")
    return int(text)


def _decimal(text: str) -> Decimal:
    if len(text) > LONGEST_NUMBER:
        raise InvalidArguments("a number is too long")
    return Decimal(text)


def _no_constant(name: str) -> NoReturn:
    raise InvalidArguments(f"{name} is not a number")


_DECODER = json.JSONDecoder(
    object_pairs_hook=_object, parse_int=_integer, parse_float=_decimal, parse_constant=_no_constant
)


def _require_storable(value: object) -> None:
    """Walk all text, keys too, that an escape could have smuggled in."""
    match value:
        case str():
            if not is_storable(value):
                raise InvalidArguments("text must not hold NUL or half a surrogate pair")
        case dict():
            for name, member in value.items():
                _require_storable(name)
                _require_storable(member)
        case list():
            for member in value:
                _require_storable(member)


def is_storable(text: str) -> bool:
    return "\0" not in text and not any("\ud800" <= c <= "\udfff" for c in text)


def printable(text: str) -> str:
    """Return foreign text fit to be shown in an answer: encodable, and not long."""
    return text.encode(errors="replace").decode()[:64]


def exact_decimal(value: object) -> Decimal | None:
    """Return the number that a JSON value says: a JSON number, or a string in plain notation. None for all else."""
    if isinstance(value, bool):
        return None
    if isinstance(value, int | Decimal):
        return Decimal(value)
    if isinstance(value, str) and len(value) <= LONGEST_NUMBER and PLAIN_DECIMAL.fullmatch(value):
        return Decimal(value)
    return None


def scaled(value: Decimal, places: int) -> int | None:
    """Return value x 10^places if that is an integer and at most LARGEST in size, else None. Exact.

    Sizes are compared before any digit is written out, so 1e999999999 costs nothing.
    """
    if value and not -LONGEST_NUMBER < value.adjusted() < 18:
        return None
    sign, digits, exponent = value.as_tuple()
    whole = int("".join(map(str, digits)))
    shift = int(exponent) + places
    if shift >= 0:
        whole *= 10**shift
    else:
        whole, rest = divmod(whole, 10**-shift)
        if rest:
            return None
    return None if whole > LARGEST else -whole if sign else whole


def minor_text(value: int) -> str:
    """Return minor units or basis points as a plain decimal with 2 places: 9725 is "97.25"."""
    if value < 0:
        return "-" + minor_text(-value)
    whole, cents = divmod(value, 100)
    return f"{whole}.{cents:02d}"


def ppm_text(ppm: int) -> str:
    """Return millionths as a plain decimal with 6 places: 128412 is "0.128412"."""
    sign, ppm = ("-", -ppm) if ppm < 0 else ("", ppm)
    return f"{sign}{ppm // 1_000_000}.{ppm % 1_000_000:06d}"


def yield_text(value: float | None) -> str | None:
    """Return a yield with 6 places, None if it is undefined."""
    return None if value is None else ppm_text(round(value * 1_000_000))


def factor_text(numerator: int, denominator: int) -> str:
    """Return numerator / denominator with 8 places, half up; both >= 0, denominator > 0. The pool factor's format."""
    scaled_up = (2 * numerator * 10**8 + denominator) // (2 * denominator)
    return f"{scaled_up // 10**8}.{scaled_up % 10**8:08d}"


def minor_or_none(value: int | None) -> str | None:
    return None if value is None else minor_text(value)


def ppm_or_none(ppm: int | None) -> str | None:
    return None if ppm is None else ppm_text(ppm)


def rate_text(ppm: int) -> str:
    """Return a rate in millionths with as many places as it needs, at least 2: 3000 is "0.003", 0 is "0.00"."""
    text = ppm_text(ppm)
    return text[:-4] + text[-4:].rstrip("0")


@lru_cache(maxsize=4096)
def _second(seconds: int) -> str:
    return (EPOCH + timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%S")


def time_text(at: int) -> str:
    """Return nanoseconds since 1970 as UTC with microseconds; what is finer is cut."""
    seconds, rest = divmod(at, SECOND)
    return f"{_second(seconds)}.{rest // 1000:06d}Z"


def time_or_none(at: int | None) -> str | None:
    return None if at is None else time_text(at)


def parse_time(text: object) -> Nanos | None:
    """Return an RFC 3339 time in nanoseconds, exactly; None if it is not one or outside the dates that are taken."""
    match = TIME.fullmatch(text) if isinstance(text, str) else None
    if match is None:
        return None
    day, clock, fraction, zone = match.groups()
    try:
        moment = datetime.fromisoformat(f"{day}T{clock}{'+00:00' if zone in 'Zz' else zone}")
    except ValueError:
        return None
    if not EARLIEST <= moment.date() <= LATEST:
        return None
    since = moment - EPOCH
    return Nanos((since.days * 86_400 + since.seconds) * SECOND + int((fraction or "0").ljust(9, "0")))


def parse_date(text: object) -> date | None:
    """Return a date written YYYY-MM-DD; None if it is not one or outside the dates that are taken."""
    if not isinstance(text, str) or not DATE.fullmatch(text):
        return None
    try:
        day = date.fromisoformat(text)
    except ValueError:
        return None
    return day if EARLIEST <= day <= LATEST else None


def order_id_text(order_id: int) -> str:
    return f"O-{order_id}" if order_id < FIRST_QUOTE_ID else f"Q-{order_id - FIRST_QUOTE_ID}"


def trade_id_text(trade_id: int) -> str:
    return f"T-{trade_id}"


def parse_order_id(text: str) -> OrderId | None:
    """Return the order that `text` names, None if no order could have that name."""
    match = ORDER_ID.fullmatch(text)
    return OrderId(int(match[1])) if match else None


def parse_trade_id(text: str) -> TradeId | None:
    """Return the trade that `text` names, None if no trade could have that name."""
    match = TRADE_ID.fullmatch(text)
    return TradeId(int(match[1])) if match else None


def dump_json(value: object) -> bytes:
    return _ENCODER.encode(value).encode()


_ENCODER = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), check_circular=False, allow_nan=False)
