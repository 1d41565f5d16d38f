"""What goes out on a socket: JSON encoded once, framed once, however many read it.

Server frames are not masked, so one run of bytes serves every reader (RFC 6455, section 5.1).
"""

import re
import struct
from collections.abc import Mapping
from typing import Any

from gateway.wire import dump_json

_TEXT, _CLOSE, _PING, _PONG = 0x81, 0x88, 0x89, 0x8A  # opcodes with the FIN bit

# Keys whose values are decimals. A text value can't pass for one of them: its own quotes are escaped.
_DECIMALS = (
    "price|qty|bid|bid_qty|ask|ask_qty|last|volume|vwap|low|high|change|change_pct"
    "|ytm|ytm_nominal|ytm_conservative|ytm_bid|ytm_ask|ytm_last"
    "|accrued|factor|order_qty|limit_price|cum_qty|cum_cost|leaves_qty|avg_price|display_qty|min_qty|last_qty|last_price"
    "|principal|dirty|fee|balance|available|held|total|have|need|rate|tick|lot|min_face|min_consideration|price_min|price_max"
    "|collar_pct|max_discount_pct|yield_floor|annual_rate|original_principal|outstanding_principal|issued_face"
    "|payment|interest|min|cap|current_face|open|close"
)
_QUOTED_DECIMAL = re.compile(rf'"({_DECIMALS})":"(-?[0-9]+(?:\.[0-9]+)?)"'.encode())


def with_numbers(payload: bytes) -> bytes:
    """Return encoded JSON with its decimal strings as JSON numbers, digit for digit (`?num=json`)."""
    return _QUOTED_DECIMAL.sub(rb'"\1":\2', payload)


def text_frame(payload: bytes) -> bytes:
    return _framed(_TEXT, payload)


def close_frame(code: int, reason: str) -> bytes:
    return _framed(_CLOSE, struct.pack("!H", code) + reason.encode()[:123])


def pong_frame(payload: bytes) -> bytes:
    return _framed(_PONG, payload)


PING_FRAME = bytes((_PING, 0))


def _framed(opcode: int, payload: bytes) -> bytes:
    size = len(payload)
    if size < 126:
        return bytes((opcode, size)) + payload
    if size < 1 << 16:
        return struct.pack("!BBH", opcode, 126, size) + payload
    return struct.pack("!BBQ", opcode, 127, size) + payload


class Message:
    """One message to any number of sockets. Nothing is encoded before the first of them needs it."""

    __slots__ = ("_body", "_numbers", "_payload", "_strings")

    def __init__(self, body: Mapping[str, Any]) -> None:
        self._body = body
        self._payload: bytes | None = None
        self._strings: bytes | None = None
        self._numbers: bytes | None = None

    def frame(self, *, numbers: bool) -> bytes:
        """Return the text frame, with decimals as strings or as JSON numbers."""
        if numbers:
            if self._numbers is None:
                self._numbers = text_frame(with_numbers(self._encoded()))
            return self._numbers
        if self._strings is None:
            self._strings = text_frame(self._encoded())
        return self._strings

    def _encoded(self) -> bytes:
        if self._payload is None:
            self._payload = dump_json(self._body)
        return self._payload
