"""What an account spends at one gateway is missing at the others, over a real Redis."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from gateway.access.rates import Bucket, RateLimits, Rates
from gateway.access.shared_rates import share_rates
from gateway.errors import RateLimited
from market.bus.connect import connected
from market.ids import AccountId
from tests.integration.bus.wiring import NAMES, beside
from tests.patience import PATIENCE_S, until
from tests.redis_server import RedisServer

A = AccountId("A")


def still(_rates: Rates) -> int:
    return _rates.rate(A, Bucket.ORDERS).remaining


async def test_one_budget_at_two_gateways(redis_server: RedisServer) -> None:
    clock = [0]
    one, other = (Rates(RateLimits(orders_per_s=10, burst_s=1), clock=lambda: clock[0]) for _ in range(2))
    async with shared(redis_server, one, other):
        one.take(A, Bucket.ORDERS, 7)
        await until(lambda: still(other) == 3)
        assert still(one) == 3, "its own words are not counted twice"
        other.take(A, Bucket.ORDERS, 3)
        await until(lambda: still(one) == 0)
        for rates in (one, other):
            with pytest.raises(RateLimited):
                rates.take(A, Bucket.ORDERS)
        clock[0] += 200_000_000
        assert (still(one), still(other)) == (2, 2)


async def test_what_was_spent_at_both_at_once_is_owed_at_both(redis_server: RedisServer) -> None:
    clock = [0]
    one, other = (Rates(RateLimits(orders_per_s=10, burst_s=1), clock=lambda: clock[0]) for _ in range(2))
    async with shared(redis_server, one, other):
        for rates in (one, other):
            rates.take(A, Bucket.ORDERS, 10)
        full_ms = 2_000  # twenty orders at ten a second
        await until(lambda: {r.rate(A, Bucket.ORDERS).reset_ms for r in (one, other)} == {full_ms})


@asynccontextmanager
async def shared(server: RedisServer, one: Rates, other: Rates) -> AsyncIterator[None]:
    """Two gateways that hear each other."""
    async with (
        connected(server.url, NAMES) as redis,
        beside(share_rates(redis, NAMES, "one", one), share_rates(redis, NAMES, "other", other)),
    ):
        async with asyncio.timeout(PATIENCE_S):
            while dict(await redis.pubsub_numsub(NAMES.spent)).get(NAMES.spent.encode()) != 2:
                await asyncio.sleep(0.01)
        yield
