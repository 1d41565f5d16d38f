"""Which signatures were used: a signed request is good once, for as long as its timestamp is inside the window.

One process remembers in memory. Several gateways in front of one market remember together, in Redis, where a signature
is a key that is set only if it is not there and ends by itself. Without Redis nothing signed is let through then: a
replayed order is worse than an order that is asked to come back.
"""

from collections import deque
from typing import Protocol

from redis.asyncio import Redis
from redis.exceptions import RedisError

from gateway.errors import AuthInvalidSignature
from gateway.wire import SECOND
from market.errors import Busy, Unavailable

WINDOW = 5 * SECOND
REMEMBERED = 2 * WINDOW  # signed a whole window ahead of its use, it stays good for one more
SIGNATURES = "debt-market:signature:"  # keys in a Redis that is alone; a version that runs beside this one looks there
SIGNATURES_MAX = 1_000_000  # in memory: 100,000 signed requests a second


class Replays(Protocol):
    async def use(self, signature: str, *, now: int) -> None:
        """Remember a signature. Raises AuthInvalidSignature if it was used before. now: nanoseconds since 1970."""


class LocalReplays:
    """In the memory of one process."""

    def __init__(self) -> None:
        self._seen: set[str] = set()
        self._order: deque[tuple[int, str]] = deque()  # (when it was used, signature)

    async def use(self, signature: str, *, now: int) -> None:
        """Raises Busy too, if there are too many to remember."""
        while self._order and self._order[0][0] < now - REMEMBERED:
            self._seen.discard(self._order.popleft()[1])
        if signature in self._seen:
            raise AuthInvalidSignature("this signature was used before")
        if len(self._seen) >= SIGNATURES_MAX:
            raise Busy("too many signed requests")
        self._seen.add(signature)
        self._order.append((now, signature))


class SharedReplays:
    """In Redis, for all gateways that share it. prefix: of the keys; in a cluster it says where they are."""

    def __init__(self, redis: Redis, prefix: str = SIGNATURES) -> None:
        self._redis = redis
        self._prefix = prefix

    async def use(self, signature: str, *, now: int) -> None:  # noqa: ARG002  Redis has a clock of its own
        """Raises Unavailable if Redis does not answer."""
        key, life_ms = f"{self._prefix}{signature}", REMEMBERED // 1_000_000
        try:
            is_new = await self._redis.set(key, b"", nx=True, px=life_ms)
        except (RedisError, OSError) as e:
            raise Unavailable(f"used signatures can't be looked up: {e}") from e
        if not is_new:
            raise AuthInvalidSignature("this signature was used before")
