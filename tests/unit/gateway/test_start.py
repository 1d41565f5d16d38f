"""How long a gateway that starts waits for an engine."""

import asyncio
import math
from typing import Any

import pytest

from gateway.process.lifecycle import StartError
from gateway.process.serve import _heard
from market.bus.names import Names
from market.bus.remote import RemoteEngine
from market.port import Phase

NO_REDIS: Any = None
PATIENCE_S = 0.01


class Engine(RemoteEngine):
    """An engine that was last heard so many seconds ago, and does nothing else by itself."""

    def __init__(self, quiet_s: float) -> None:
        super().__init__(NO_REDIS, Names())
        self._quiet = quiet_s

    def quiet_for_s(self) -> float:
        return self._quiet


async def test_an_engine_that_is_not_heard_is_not_there() -> None:
    engine = Engine(math.inf)
    with pytest.raises(StartError, match="no engine was heard"):
        await _heard(engine, [engine], PATIENCE_S)


async def test_an_engine_that_is_heard_is_waited_for_until_its_state_is_here() -> None:
    engine = Engine(0)
    waiting = asyncio.create_task(_heard(engine, [engine], PATIENCE_S))
    await asyncio.sleep(3 * PATIENCE_S)
    assert not waiting.done(), "a large state takes longer than a silent engine is given"
    engine._go(Phase.ONLINE)
    await waiting


async def test_a_state_that_never_comes_is_not_waited_for_forever() -> None:
    engine = Engine(0)
    with pytest.raises(StartError, match="is heard over Redis, but its state did not come"):
        await _heard(engine, [engine], PATIENCE_S / 10)
