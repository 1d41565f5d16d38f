"""Text and numbers as the wire has them. JSON numbers with a fraction become Decimal, never a float."""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import msgspec

Json = dict[str, Any]

_DECODER = msgspec.json.Decoder(float_hook=Decimal)
_ENCODER = msgspec.json.Encoder(decimal_format="string")


def parse(text: str | bytes) -> Json:
    """Return the object in a text, empty for no text. Raises ValueError."""
    parsed: Json = _DECODER.decode(text) if text else {}
    return parsed


def encode(message: Mapping[str, Any]) -> bytes:
    return _ENCODER.encode(message)


def decimal(units: int, *, places: int = 2, thousands: str = "") -> str:
    """Return units of 10^-places in plain notation: 12345 is "123.45". thousands: "," to set them apart, for people."""
    whole, fraction = divmod(abs(units), 10**places)
    return f"{'-' if units < 0 else ''}{whole:{thousands}}.{fraction:0{places}}"


def units(text: str, *, places: int = 2) -> int:
    """Return a decimal string in units of 10^-places. Raises ValueError if it is finer than that."""
    scaled = Decimal(text).scaleb(places)
    if scaled != int(scaled):
        raise ValueError(f"{text} has more than {places} decimals")
    return int(scaled)
