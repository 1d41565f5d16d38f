"""Waiting for what must come: for a condition, never for a time that should do."""

import asyncio
from collections.abc import Callable

PATIENCE_S = 60.0  # only a failing test waits so long: a busy machine stands still for seconds now and then


async def until(holds: Callable[[], object], what: str = "what was waited for") -> None:
    """Let the loop turn until `holds`; bounded, so that a test fails instead of hanging."""
    try:
        async with asyncio.timeout(PATIENCE_S):
            while not holds():
                await asyncio.sleep(0.005)
    except TimeoutError as e:
        raise AssertionError(f"{what} did not happen") from e
