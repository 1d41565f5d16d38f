"""Frames against RFC 6455, numbers against the strings that they replace."""

import json
from decimal import Decimal
from typing import Any

import pytest

from gateway.wire import dump_json
from gateway.ws.frames import Message, pong_frame, text_frame, with_numbers


@pytest.mark.parametrize(
    ("size", "head"),
    [
        pytest.param(0, b"\x81\x00", id="empty"),
        pytest.param(125, b"\x81\x7d", id="largest with a short length"),
        pytest.param(126, b"\x81\x7e\x00\x7e", id="smallest with 16 bits"),
        pytest.param(65_535, b"\x81\x7e\xff\xff", id="largest with 16 bits"),
        pytest.param(65_536, b"\x81\x7f\x00\x00\x00\x00\x00\x01\x00\x00", id="smallest with 64 bits"),
    ],
)
def test_the_length_takes_its_shortest_form(size: int, head: bytes) -> None:
    assert text_frame(b"x" * size) == head + b"x" * size


def test_a_pong_echoes_the_ping() -> None:
    assert pong_frame(b"abc") == b"\x8a\x03abc"


def test_a_message_is_encoded_once_for_all_readers() -> None:
    message = Message({"data": [{"price": "98.50"}]})
    assert message.frame(numbers=False) is message.frame(numbers=False)
    assert message.frame(numbers=True) is message.frame(numbers=True)
    assert message.frame(numbers=True)[2:] == b'{"data":[{"price":98.50}]}'


def numbers_of(value: Any) -> Any:
    return json.loads(with_numbers(dump_json(value)), parse_float=Decimal)


def test_numbers_are_the_strings_digit_for_digit() -> None:
    row = {"price": "97.10", "qty": "90071992547409.91", "change": "-0.05", "ytm_bid": None, "factor": "0.99999999"}
    assert {k: v if v is None else str(v) for k, v in numbers_of(row).items()} == row


@pytest.mark.parametrize(
    "row",
    [
        pytest.param({"cl_ord_id": "12.50", "symbol": "1/USD", "tag": "7"}, id="names that look like numbers"),
        pytest.param({"tag": '"price":"1.00"'}, id="a text that quotes a price"),
        pytest.param({"name": '","price":"1.00","x":"'}, id="a text that tries to break out"),
        pytest.param({"price": None, "status": "open"}, id="no number"),
        pytest.param({"sequence": 5, "epoch": 3}, id="integers"),
    ],
)
def test_text_stays_text(row: dict[str, Any]) -> None:
    assert numbers_of(row) == row
