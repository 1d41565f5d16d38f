"""Connections to Redis as the bus needs them: a call is sent once, and one that takes too long has failed."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

TIMEOUT_S: Final = 2.0  # above every blocking read
TROUBLE: Final = (RedisError, OSError, TimeoutError)  # Redis is away, or too slow


@asynccontextmanager
async def connected(url: str) -> AsyncIterator[Redis]:
    """A client that never repeats a call: a command that is sent twice could be carried out twice."""
    once = Retry(NoBackoff(), 0)
    async with Redis.from_url(url, socket_timeout=TIMEOUT_S, socket_connect_timeout=TIMEOUT_S, retry=once) as redis:
        yield redis


def ending() -> bool:
    """Whether this task was cancelled: the client may swallow a cancellation that meets the answer to its call."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
