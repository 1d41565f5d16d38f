"""Who lives, who is attached where, and what is cancelled when it ends: over a real Redis."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from redis.asyncio import Redis

from gateway.ws.disconnect import Attachments, Leaving
from market.bus import presence
from market.bus.connect import connected
from market.bus.presence import Attached, Presence, Watch
from market.commands import CancelAll, Command
from market.ids import AccountId
from tests.integration.bus.wiring import NAMES, beside
from tests.patience import PATIENCE_S, until
from tests.redis_server import RedisServer

ME = AccountId("A17")


class RecordingEngine:
    """Takes every command, as a living engine does."""

    def __init__(self) -> None:
        self.commands: list[Command] = []

    async def submit(self, command: Command, *, actor: str) -> None:
        self.commands.append(command)

    @property
    def ended(self) -> list[str | None]:
        return [command.session for command in self.commands if isinstance(command, CancelAll)]


class Gateway:
    def __init__(self, redis: Redis, name: str) -> None:
        self.name = name
        self.sessions: list[str] = []
        self.attachments = Attachments()
        self.presence = Presence(redis, NAMES, name, self.attached)
        self.attachments.others = self.presence

    def attached(self) -> list[Attached]:
        return [Attached(ME, session, f"{self.name}-{session}") for session in self.sessions] + self.attachments.left()

    async def attach(self, session: str) -> None:
        self.sessions.append(session)
        self.attachments.attach(ME, session)
        await self.attachments.told()

    def close(self, session: str, engine: Any, *, everything: bool = True, grace_s: float = 0.0) -> asyncio.Task[None]:
        """End a connection; return what is done about its orders."""
        self.sessions.remove(session)
        self.attachments.detach(ME, session)
        leaving = Leaving(ME, session, "key", grace_s, everything=everything)
        return asyncio.create_task(self.attachments.cancel_orders_of(leaving, engine))


@asynccontextmanager
async def gateways(server: RedisServer, *names: str) -> AsyncIterator[list[Gateway]]:
    async with connected(server.url, NAMES) as redis:
        made = [Gateway(redis, name) for name in names]
        async with beside(*(gateway.presence.run() for gateway in made)):
            for gateway in made:
                await gateway.attachments.told()
            yield made


async def lives(gateway: Gateway) -> None:
    """Until it dies without a last word."""
    while True:
        await gateway.presence._tell()
        await asyncio.sleep(presence.TELL_S)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same in a fifth of the time."""
    for name in ("TELL_S", "MISSED_S"):
        monkeypatch.setattr(presence, name, getattr(presence, name) / 5)
    monkeypatch.setattr(presence, "LIFE_MS", presence.LIFE_MS // 5)
    monkeypatch.setattr("gateway.ws.disconnect.WATCH_S", 0.2)


async def test_a_session_at_two_gateways_ends_with_its_last_connection(redis_server: RedisServer, quick: None) -> None:
    engine = RecordingEngine()
    async with gateways(redis_server, "one", "other") as (one, other):
        await one.attach("s")
        await other.attach("s")
        first = one.close("s", engine)
        await until(lambda: Attached(ME, "s", "", waits=True) in one.attached())
        assert engine.commands == []
        await one.attachments.told()
        second = other.close("s", engine)
        await asyncio.wait_for(asyncio.gather(first, second), PATIENCE_S)
        ended = [command for command in engine.commands if isinstance(command, CancelAll)]
        assert sorted([command.cancel_on_disconnect is True for command in ended]) == [False, True]


async def test_what_one_connection_asked_for_is_done_when_another_that_did_not_ends_elsewhere(
    redis_server: RedisServer, quick: None
) -> None:
    engine = RecordingEngine()
    async with gateways(redis_server, "one", "other") as (one, other):
        await one.attach("s")
        await other.attach("s")
        left = one.close("s", engine)
        await until(lambda: Attached(ME, "s", "", waits=True) in one.attached())
        other.sessions.remove("s")
        other.attachments.detach(ME, "s")
        await asyncio.wait_for(left, PATIENCE_S)
        assert engine.ended == ["s"]


async def test_the_grace_of_the_last_one_counts_wherever_it_was(redis_server: RedisServer, quick: None) -> None:
    engine = RecordingEngine()
    async with gateways(redis_server, "one", "other") as (one, other):
        await one.attach("s")
        await other.attach("s")
        last = other.close("s", engine, grace_s=60.0)
        await other.attachments.told()
        first = one.close("s", engine)
        await until(lambda: Attached(ME, "s", "", waits=True) in one.attached())
        await one.attach("s")  # back within it
        assert engine.commands == []
        for task in (first, last):
            task.cancel()
        await asyncio.gather(first, last, return_exceptions=True)


@pytest.mark.parametrize("harm", ["none", "flushall"])
async def test_an_engine_ends_what_a_gateway_left_behind_also_if_redis_forgot_it(
    redis_server: RedisServer, quick: None, harm: str
) -> None:
    engine: Any = RecordingEngine()
    async with connected(redis_server.url, NAMES) as redis:
        watch = Watch(redis, NAMES, engine)
        dying, living = Gateway(redis, "dying"), Gateway(redis, "living")
        async with beside(watch.run(), living.presence.run()):
            async with beside(lives(dying)):
                await living.attach("moves")
                dying.sessions += ["stays", "moves"]
                await until(lambda: len(watch._known) == 2 and len(watch._known["dying"].attached) == 2)
            if harm == "flushall":  # and it dies at that moment
                await redis.flushall()
            await until(lambda: bool(engine.ended))
            await until(lambda: "dying" not in watch._known)
            assert engine.ended == ["stays"]
            assert await redis.smembers(NAMES.gateways) == {b"living"}
