"""A signature is good once, in one process and over several that share a Redis."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from redis.asyncio import Redis

from gateway.access.replays import REMEMBERED, WINDOW, LocalReplays, SharedReplays
from gateway.errors import AuthInvalidSignature
from market.errors import Unavailable
from tests.redis_server import RedisServer


@pytest.fixture
async def redis(redis_server: RedisServer) -> AsyncIterator[Redis]:
    async with Redis(unix_socket_path=str(redis_server.socket), socket_timeout=1.0) as client:
        yield client


async def test_a_signature_is_remembered_as_long_as_it_could_be_used() -> None:
    replays = LocalReplays()
    await replays.use("a", now=WINDOW)
    for later in (WINDOW, WINDOW + 1, WINDOW + REMEMBERED):
        with pytest.raises(AuthInvalidSignature):
            await replays.use("a", now=later)
    await replays.use("b", now=WINDOW + REMEMBERED + 1)
    assert replays._seen == {"b"}


async def test_gateways_that_share_a_redis_share_what_was_used(redis: Redis) -> None:
    one, other = SharedReplays(redis), SharedReplays(redis)
    await one.use("a", now=0)
    for replays in (one, other):
        with pytest.raises(AuthInvalidSignature):
            await replays.use("a", now=0)
    await other.use("b", now=0)
    life_ms = await redis.pttl("debt-market:signature:a")
    assert REMEMBERED // 1_000_000 - 5_000 < life_ms <= REMEMBERED // 1_000_000


async def test_only_one_of_many_at_once_gets_through(redis: Redis) -> None:
    replays = SharedReplays(redis)
    outcomes = await asyncio.gather(*(replays.use("a", now=0) for _ in range(50)), return_exceptions=True)
    assert sum(outcome is None for outcome in outcomes) == 1
    assert sum(isinstance(outcome, AuthInvalidSignature) for outcome in outcomes) == 49


async def test_without_redis_nothing_signed_gets_through(tmp_path: Path) -> None:
    async with Redis(unix_socket_path=str(tmp_path / "nobody"), socket_timeout=0.5) as redis:
        with pytest.raises(Unavailable):
            await SharedReplays(redis).use("a", now=0)
