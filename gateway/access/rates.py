"""Token buckets: how fast an account may ask, by class of request. Cancels have ten times the budget of orders.

A bucket holds `burst_s` seconds of its rate and fills continuously. A request that costs more than a full bucket is let
through when the bucket is full, and leaves it in debt: no batch is too large for ever.
"""

import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from gateway.errors import RateLimited
from market.ids import AccountId

CANCELS_PER_ORDER: Final = 10
SECOND_NS: Final = 1_000_000_000


class Bucket(StrEnum):
    ORDERS = "orders"
    AMENDS = "amends"
    CANCELS = "cancels"
    QUERIES = "queries"
    SUBSCRIPTIONS = "subscriptions"


TRADING = frozenset({Bucket.ORDERS, Bucket.AMENDS, Bucket.CANCELS})


@dataclass(frozen=True, slots=True, kw_only=True)
class RateLimits:
    """Requests per second of one account."""

    orders_per_s: int = 2_000
    amends_per_s: int = 2_000
    queries_per_s: int = 1_000
    subscriptions_per_s: int = 1_000
    burst_s: int = 5

    def per_s(self) -> dict[Bucket, int]:
        return {
            Bucket.ORDERS: self.orders_per_s,
            Bucket.AMENDS: self.amends_per_s,
            Bucket.CANCELS: self.orders_per_s * CANCELS_PER_ORDER,
            Bucket.QUERIES: self.queries_per_s,
            Bucket.SUBSCRIPTIONS: self.subscriptions_per_s,
        }


@dataclass(frozen=True, slots=True)
class Rate:
    """A bucket right now. remaining: whole requests.  reset_ms: until it is full."""

    bucket: Bucket
    capacity: int
    remaining: int
    reset_ms: int

    def shown(self) -> dict[str, Any]:
        return {"bucket": self.bucket, "remaining": self.remaining, "reset_ms": self.reset_ms}

    def headers(self) -> Mapping[str, str]:
        return {
            "RateLimit-Limit": str(self.capacity),
            "RateLimit-Remaining": str(self.remaining),
            "RateLimit-Reset": str(-(-self.reset_ms // 1_000)),
        }


class Rates:
    """All buckets. clock: nanoseconds, never going back. Counted in nanoseconds of filling, so in integers."""

    def __init__(self, limits: RateLimits | None = None, *, clock: Callable[[], int] = time.monotonic_ns) -> None:
        self.limits = limits or RateLimits()
        self._per_s = self.limits.per_s()
        self._burst_ns = self.limits.burst_s * SECOND_NS
        self._clock = clock
        self._spent: Counter[tuple[AccountId, Bucket]] | None = None  # since it was last taken, if anybody takes it
        self._full_at: dict[tuple[AccountId, Bucket], int] = {}  # when it is, or was; a bucket not here is full

    def take(self, account_id: AccountId, bucket: Bucket, count: int = 1) -> None:
        """Pay for `count` requests. Raises RateLimited (details: retry_after_ms); 0 is never refused."""
        now, price_ns = self._clock(), SECOND_NS // self._per_s[bucket]
        full_at = max(self._full_at.get((account_id, bucket), now), now)
        spare_ns = self._burst_ns - (full_at - now)
        lacking_ns = min(count * price_ns, self._burst_ns) - spare_ns
        if count and lacking_ns > 0:
            prefix = "EOrder" if bucket in TRADING else "EAPI"
            wait_ms = -(-lacking_ns // 1_000_000)
            raise RateLimited(f"too many {bucket}", prefix=prefix, retry_after_ms=wait_ms)
        self._full_at[account_id, bucket] = full_at + count * price_ns
        if self._spent is not None:
            self._spent[account_id, bucket] += count

    def owe(self, account_id: AccountId, bucket: Bucket, count: int) -> None:
        """Count what the account paid for elsewhere, even if the bucket did not have it."""
        now = self._clock()
        full_at = max(self._full_at.get((account_id, bucket), now), now)
        self._full_at[account_id, bucket] = full_at + count * (SECOND_NS // self._per_s[bucket])

    def note_spending(self) -> None:
        """From now on somebody takes it, again and again."""
        self._spent = Counter()

    def take_spent(self) -> list[tuple[tuple[AccountId, Bucket], int]]:
        """Return what was paid for here since the last call."""
        spent, self._spent = self._spent, Counter()
        return [] if spent is None else [(key, count) for key, count in spent.items() if count]

    def rate(self, account_id: AccountId, bucket: Bucket) -> Rate:
        per_s = self._per_s[bucket]
        missing_ns = max(self._full_at.get((account_id, bucket), 0) - self._clock(), 0)
        remaining = max(self._burst_ns - missing_ns, 0) * per_s // SECOND_NS
        return Rate(bucket, self.limits.burst_s * per_s, remaining, -(-missing_ns // 1_000_000))

    def published(self) -> dict[str, Any]:
        """Return what /v1/limits says of every bucket."""
        return {bucket: {"per_s": per_s, "burst": per_s * self.limits.burst_s} for bucket, per_s in self._per_s.items()}
