"""How log lines look, as text and as JSON."""

import io
import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest

from gateway.process.logs import JsonLines, TextLines
from market.port import CALLER, Caller


@pytest.fixture
def served() -> Iterator[None]:
    token = CALLER.set(Caller("r-7"))
    yield
    CALLER.reset(token)


def written(formatter: logging.Formatter, template: str, *values: Any, error: BaseException | None = None) -> str:
    log, stream = logging.Logger("market.engine"), io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(formatter)
    log.addHandler(handler)
    log.error(template, *values, exc_info=error)
    return stream.getvalue()


def as_json(template: str, *values: Any, error: BaseException | None = None) -> dict[str, Any]:
    line = written(JsonLines(), template, *values, error=error)
    assert line.count("\n") == 1, "one line a fact"
    found: dict[str, Any] = json.loads(line)
    assert found.pop("time").endswith("Z")
    assert (found.pop("level"), found.pop("logger")) == ("ERROR", "market.engine")
    return found


@pytest.mark.parametrize(
    ("template", "values", "told"),
    [
        pytest.param("standing_by", (), {"event": "standing_by"}, id="an event alone"),
        pytest.param(
            "engine_online epoch=%d seq=%d", (3, 17), {"event": "engine_online", "epoch": 3, "seq": 17}, id="numbers"
        ),
        pytest.param(
            "lost error=%s seconds=%.1f",
            (OSError("no route"), 1.25),
            {"event": "lost", "error": "no route", "seconds": 1.25},
            id="a float is not rounded, an error is text",
        ),
        pytest.param("found what=%s", (None,), {"event": "found", "what": None}, id="nothing"),
        pytest.param("found what=%s", ("a\nb",), {"event": "found", "what": "a\nb"}, id="no second line is made up"),
        pytest.param(
            "Task was destroyed: %s", ("x",), {"event": "message", "message": "Task was destroyed: x"}, id="not ours"
        ),
        pytest.param("50% done", (), {"event": "message", "message": "50% done"}, id="no template"),
    ],
)
def test_a_line_is_its_event_and_its_pairs(template: str, values: tuple[Any, ...], told: dict[str, Any]) -> None:
    assert as_json(template, *values) == told


def test_a_trace_stays_on_its_line() -> None:
    try:
        raise ValueError("bad")
    except ValueError as e:
        told = as_json("request_failed path=%s", "/v1", error=e)
    assert "ValueError: bad" in told["exception"]


@pytest.mark.usefixtures("served")
def test_the_request_is_on_every_line() -> None:
    assert as_json("reply_failed") == {"event": "reply_failed", "request_id": "r-7"}
    assert written(TextLines(), "reply_failed n=%d", 1).endswith(
        " ERROR market.engine reply_failed n=1 request_id=r-7\n"
    )
    assert written(TextLines(), "released request_id=%s", "r-1").count("request_id=") == 1
