"""One connection after another: how long is waited between them, and what ends it."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from gateway.client import ApiError, Backoff, Disconnected
from gateway.client import link as link_module
from gateway.client.link import Link
from gateway.client.wire import Json


class Line:
    """A connection that ends when it is told to."""

    def __init__(self) -> None:
        self.closed = False
        self._end: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    async def login(self, **params: Any) -> Json:
        return {"account": "A17"}

    async def wait_closed(self) -> int:
        return await self._end

    async def close(self) -> None:
        self.end(1000)

    def abort(self) -> None:
        self.end(1006)

    def end(self, code: int) -> None:
        self.closed = True
        if not self._end.done():
            self._end.set_result(code)


class Service:
    """The way to a service: each attempt meets the next of `answers`, a connection or an error."""

    key = "a key"

    def __init__(self) -> None:
        self.answers: list[Exception | None] = []
        self.lines: list[Line] = []

    async def socket(self, **_: Any) -> Line:
        error = self.answers.pop(0) if self.answers else None
        if error is not None:
            raise error
        self.lines.append(Line())
        return self.lines[-1]


class World:
    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.service = Service()
        self.slept: list[float] = []
        self.lost: list[int] = []
        self.ended: list[Exception] = []
        self.link = Link(
            self.service,  # type: ignore[arg-type]
            login={},
            backoff=Backoff(first_s=0.1, most_s=1.0, jitter=lambda: 1.0),
            on_push=lambda _: None,
            on_ready=self._ready,
            on_lost=self.lost.append,
            on_end=self.ended.append,
        )
        self._sleep = asyncio.sleep
        monkeypatch.setattr(link_module.asyncio, "sleep", self._slept)

    async def _ready(self, socket: Any, who: Json) -> None:
        assert who == {"account": "A17"}

    async def _slept(self, seconds: float) -> None:
        self.slept.append(seconds)
        await self._sleep(0)

    async def lose(self, code: int) -> None:
        """End the present connection and wait for the next."""
        before = self.link.connections
        self.service.lines[-1].end(code)
        while self.link.connections == before:
            await self._sleep(0)


@pytest.fixture
async def world(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[World]:
    world = World(monkeypatch)
    yield world
    await world.link.stop()


async def test_every_failure_makes_the_next_pause_longer(world: World) -> None:
    world.service.answers = [OSError(), Disconnected(), OSError(), OSError(), OSError()]
    await world.link.start(5)
    assert world.slept == [0.1, 0.2, 0.4, 0.8, 1.0]


async def test_short_connections_are_failures_too(world: World) -> None:
    await world.link.start(5)
    for _ in range(3):
        await world.lose(1012)
    assert (world.slept, world.lost) == ([0.1, 0.2, 0.4], [1012] * 3)


async def test_a_service_that_has_had_enough_is_left_alone_for_a_while(world: World) -> None:
    await world.link.start(5)
    await world.lose(4029)
    assert world.slept == [1.0]


async def test_a_busy_service_says_how_long_to_wait(world: World) -> None:
    world.service.answers = [ApiError("rate_limited", "", body={"retryable": True, "retry_after_ms": 3_000})]
    await world.link.start(5)
    assert world.slept == [3.0]


async def test_a_refused_login_ends_it(world: World) -> None:
    refused = ApiError("auth_invalid_key", "", body={})
    world.service.answers = [OSError(), refused]
    with pytest.raises(ApiError, match="auth_invalid_key"):
        await world.link.start(5)
    assert world.ended == [refused]
    with pytest.raises(ApiError, match="auth_invalid_key"):
        await world.link.connected(1)


async def test_a_service_that_is_not_there_is_an_error_at_the_start(world: World) -> None:
    world.service.answers = [OSError("nobody listens")] * 100_000
    with pytest.raises(Disconnected, match="nobody listens"):
        await world.link.start(0.05)
