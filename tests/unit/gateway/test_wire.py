"""Values on the wire: exact both ways, and strict on the way in."""

from datetime import date
from decimal import Decimal

import pytest

from gateway.wire import (
    LARGEST,
    dump_json,
    exact_decimal,
    factor_text,
    minor_text,
    parse_date,
    parse_json,
    parse_order_id,
    parse_time,
    ppm_text,
    rate_text,
    scaled,
    time_text,
    yield_text,
)
from market.errors import InvalidArguments


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b'{"a":1', id="cut off"),
        pytest.param(b"{'a':1}", id="single quotes"),
        pytest.param(b'{"a":1}x', id="something after it"),
        pytest.param(b"[]", id="not an object"),
        pytest.param(b"3", id="a number"),
        pytest.param(b"null", id="null"),
        pytest.param(b'{"a":NaN}', id="NaN"),
        pytest.param(b'{"a":-Infinity}', id="Infinity"),
        pytest.param(b'{"a":1,"a":1}', id="duplicate key"),
        pytest.param(b'{"a":{"b":1,"c":2,"b":3}}', id="duplicate key inside"),
        pytest.param(b'{"a":"\xff"}', id="not UTF-8"),
        pytest.param(b'\xef\xbb\xbf{"a":1}', id="byte order mark"),
        pytest.param('{"a":1}'.encode("utf-16"), id="UTF-16"),
        pytest.param(b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}", id="too deep"),
        pytest.param(b'{"a":' + b"9" * 5_000 + b"}", id="a number of 5,000 digits"),
        pytest.param(b'{"a":0.' + b"9" * 5_000 + b"}", id="a fraction of 5,000 digits"),
        pytest.param(b'{"a":"\\u0000"}', id="NUL"),
        pytest.param(b'{"a":["\\ud800"]}', id="half a surrogate pair"),
        pytest.param(b'{"\\udfff":1}', id="half a surrogate pair as key"),
    ],
)
def test_json_that_is_refused(data: bytes) -> None:
    with pytest.raises(InvalidArguments):
        parse_json(data)


def test_a_duplicate_key_is_named() -> None:
    with pytest.raises(InvalidArguments) as caught:
        parse_json(b'{"x":1,"qty":1,"qty":2}')
    assert caught.value.field == "qty"


def test_numbers_are_read_exactly() -> None:
    value = parse_json(b'{"a":97.250000000000000000001,"b":9007199254740993,"c":1e2,"d":"\\u00fc"}')
    assert value == {"a": Decimal("97.250000000000000000001"), "b": 9007199254740993, "c": Decimal("100"), "d": "ü"}


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("97.25", Decimal("97.25")),
        ("-0.5", Decimal("-0.5")),
        ("0", Decimal(0)),
        (3, Decimal(3)),
        (Decimal("1e2"), Decimal(100)),
        ("9.725e1", None),
        ("1E2", None),
        ("NaN", None),
        ("Infinity", None),
        ("+1", None),
        (" 1", None),
        ("1\n", None),
        (".5", None),
        ("5.", None),
        ("01", None),
        ("1_000", None),
        ("1,000", None),
        ("٣", None),
        ("", None),
        (True, None),
        (None, None),
        ([], None),
        (1.5, None),
    ],
)
def test_decimals_are_strings_in_plain_notation_or_numbers(value: object, expected: Decimal | None) -> None:
    assert exact_decimal(value) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("97.25", 9725),
        ("97.250", 9725),
        ("97.255", None),
        ("-1", -100),
        ("-0", 0),
        ("0.00", 0),
        ("0e999999", 0),
        ("90071992547409.92", LARGEST),
        ("90071992547409.93", None),
        ("1e999999999", None),
        ("1e-999999999", None),
        ("1e3", 100_000),
    ],
)
def test_scaling_is_exact_or_refused(text: str, expected: int | None) -> None:
    assert scaled(Decimal(text), 2) == expected


@pytest.mark.parametrize(
    ("value", "text"),
    [(9725, "97.25"), (0, "0.00"), (5, "0.05"), (-5, "-0.05"), (-9725, "-97.25"), (10**17, "1" + "0" * 15 + ".00")],
)
def test_minor_units_have_two_places(value: int, text: str) -> None:
    assert minor_text(value) == text


def test_yields_have_six_places_and_factors_eight() -> None:
    assert ppm_text(128_412) == "0.128412"
    assert ppm_text(-1_500_000) == "-1.500000"
    assert yield_text(None) is None
    assert yield_text(-0.0000001) == "0.000000"
    assert [rate_text(ppm) for ppm in (3_000, 0, 140_700, 1)] == ["0.003", "0.00", "0.1407", "0.000001"]
    assert factor_text(2, 3) == "0.66666667"
    assert factor_text(1, 1) == "1.00000000"
    assert factor_text(0, 7) == "0.00000000"


@pytest.mark.parametrize(
    ("text", "at"),
    [
        ("1970-01-01T00:00:00Z", 0),
        ("2024-05-01T12:00:00.000001Z", 1_714_564_800_000_001_000),
        ("2024-05-01T14:00:00.123456789+02:00", 1_714_564_800_123_456_789),
        ("2024-05-01 12:00:00Z", None),
        ("2024-05-01T12:00:00", None),
        ("2024-13-01T12:00:00Z", None),
        ("2024-05-01T25:00:00Z", None),
        ("9999-12-31T00:00:00Z", None),
        ("2024-05-01", None),
        (1_714_564_800, None),
    ],
)
def test_times_are_rfc_3339_with_a_zone(text: object, at: int | None) -> None:
    assert parse_time(text) == at


def test_times_are_shown_in_microseconds() -> None:
    assert time_text(1_714_564_800_123_456_789) == "2024-05-01T12:00:00.123456Z"
    assert time_text(0) == "1970-01-01T00:00:00.000000Z"


def test_dates_are_calendar_dates_of_this_age() -> None:
    assert parse_date("2024-02-29") == date(2024, 2, 29)
    for bad in ("2023-02-29", "20240229", "2024-2-9", "0001-01-01", "9999-12-31", "2024-W01-1", 20240229, None):
        assert parse_date(bad) is None


def test_only_names_the_venue_could_have_given_are_orders() -> None:
    assert parse_order_id("O-190233") == 190_233
    for bad in ("O-0", "O-01", "190233", "T-1", "O-", "O--1", "O-1 ", "O-" + "9" * 30):
        assert parse_order_id(bad) is None


def test_json_is_written_compactly_in_utf8() -> None:
    assert dump_json({"a": ["ü", None, True]}) == '{"a":["ü",null,true]}'.encode()
