"""How log lines look: an event name and key=value pairs, as text for people or as one JSON object for machines.

A line is written as `log.info("engine_online epoch=%d seq=%d", epoch, seq)`; as JSON its values keep their types. While
a request is served, its id is part of every line, whoever writes it.
"""

import json
import logging
import re
import sys
import time
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from market.port import CALLER

PAIR = re.compile(r"(\w+)=%[-+ #0-9.]*[a-z]")


class LogFormat(StrEnum):
    TEXT = "text"
    JSON = "json"


class TextLines(logging.Formatter):
    """Time in UTC, level, where, event and pairs."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s.%(msecs)03dZ %(levelname)s %(name)s %(message)s", "%Y-%m-%dT%H:%M:%S")
        self.converter = time.gmtime

    def formatMessage(self, record: logging.LogRecord) -> str:
        line = super().formatMessage(record)
        caller = CALLER.get()
        return line if caller is None or "request_id=" in line else f"{line} request_id={caller.request_id}"


class JsonLines(logging.Formatter):
    """One JSON object a line: time, level, logger, event, the line's own pairs, request_id, exception."""

    def format(self, record: logging.LogRecord) -> str:
        at = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
        line: dict[str, Any] = {"time": at, "level": record.levelname, "logger": record.name}
        if (caller := CALLER.get()) is not None:
            line["request_id"] = caller.request_id
        line |= _said(record)
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False, default=str)


def _said(record: logging.LogRecord) -> dict[str, Any]:
    """Return event and pairs of a line of ours, or of somebody else's its text."""
    template, values = str(record.msg), record.args
    names = PAIR.findall(template)
    event, _, rest = template.partition(" ")
    is_ours = isinstance(values, tuple) and len(values) == len(names) and not PAIR.sub("", rest).strip()
    if not is_ours or "%" in event or not re.fullmatch(r"[a-z][a-z0-9_]*", event):
        return {"event": "message", "message": record.getMessage()}
    assert isinstance(values, tuple)
    plain = (value if isinstance(value, int | float | str | None) else str(value) for value in values)
    return {"event": event, **dict(zip(names, plain, strict=True))}


def set_up_logging(level: str, style: LogFormat = LogFormat.TEXT) -> None:
    """Log to standard error, one line per fact."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines() if style is LogFormat.JSON else TextLines())
    logging.basicConfig(level=level, handlers=[handler])
