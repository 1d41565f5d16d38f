"""The intake of commands, where Redis is not what it should be."""

import asyncio
from typing import Any

from market.bus.intake import Intake
from market.bus.names import Names


class AnsweringRedis:
    """Answers just when its caller is cancelled, as the real client may: the cancellation is lost."""

    def __init__(self) -> None:
        self.asked = asyncio.Event()

    async def xrange(self, *_: Any, **__: Any) -> list[Any]:
        return []

    async def xread(self, *_: Any, **__: Any) -> list[Any]:
        self.asked.set()
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            await asyncio.sleep(0)
        return []


class OnlineEngine:
    def __init__(self) -> None:
        self.consumed: dict[str, str] = {}

    async def online(self) -> None: ...


async def test_an_intake_that_is_told_to_stop_stops_also_if_an_answer_came_at_that_moment() -> None:
    redis, engine, nobody = AnsweringRedis(), OnlineEngine(), None
    intake = Intake(redis, engine, nobody, Names(), outstanding_max=1)  # type: ignore[arg-type]
    running = asyncio.create_task(intake.run())
    await redis.asked.wait()
    running.cancel()
    done, _ = await asyncio.wait({running}, timeout=5)
    running.cancel()  # for a test that fails
    assert done == {running}
