"""What all commands share with the shell: exit codes, words for what is wrong, the event loop."""

import asyncio
import json
import re
import sys
from collections.abc import Coroutine
from typing import Any, TypeVar

import uvloop

DONE, REFUSED, USAGE = 0, 1, 2

T = TypeVar("T")


class UsageError(Exception):
    """The command line is wrong; the message says how."""


def said(error: Any) -> str:
    """Return one validation error in the words of the command line."""
    names = [str(part) for part in error["loc"][1:]]
    flag = f"--{names[0].replace('_', '-')}: " if names else ""
    message = re.sub("^(Value|Assertion) error, ", "", error["msg"])
    given = error["input"]
    is_shown = isinstance(given, str) and not (names and names[0].endswith("url"))  # a URL may have a password
    return f"{flag}{message}" + (f" (was {given!r})" if is_shown else "")


def run_async(work: Coroutine[Any, Any, T]) -> T:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(work)


def refused(reason: str, *, as_json: bool) -> int:
    if as_json:
        print_json({"error": reason})
    print(f"debt-market: {reason}", file=sys.stderr)
    return REFUSED


def fail(reason: str, code: int) -> None:
    print(f"debt-market: {reason}", file=sys.stderr)
    sys.exit(code)


def print_json(answer: dict[str, Any]) -> None:
    print(json.dumps(answer, ensure_ascii=False))
