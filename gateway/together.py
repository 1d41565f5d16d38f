"""Several commands of one request: sent in order, committed together, answered at once when the last one is known.

Each is a command like any other and succeeds or fails by itself.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from gateway.errors import ws_error
from market.commands import Command
from market.errors import InvalidArguments, MarketError
from market.port import Answer, EnginePort

TOGETHER_MAX = 50

Told = Answer | MarketError


def send_together(
    engine: EnginePort, asked: Sequence[Command | MarketError], *, actor: str, done: Callable[[list[Told]], None]
) -> None:
    """Send what is a command; `done` hears all answers, in order of `asked`. What is a refusal already stays one.

    `done` is called once, before anybody hears of the executions of these commands.
    """
    answers: list[Told] = [InvalidArguments()] * len(asked)
    missing = len(asked)

    def told(i: int, answer: Told) -> None:
        nonlocal missing
        answers[i] = answer
        missing -= 1
        if not missing:
            done(answers)

    joined = False
    for i, command in enumerate(asked):
        if isinstance(command, MarketError):
            told(i, command)
            continue
        try:
            engine.send(command, actor=actor, reply=partial(told, i), joined=joined)
            joined = True
        except MarketError as refusal:
            told(i, refusal)


def command_or_refusal(make: Callable[[], Command]) -> Command | MarketError:
    """Return what `make` returns, or the refusal that it raises."""
    try:
        return make()
    except MarketError as refusal:
        return refusal


def error_row(error: MarketError) -> dict[str, Any]:
    """Return a refusal as it stands among several results."""
    text, detail = ws_error(error)
    return {"error": text, "error_detail": detail}
