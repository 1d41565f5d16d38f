"""How often something may be tried: `burst` times at once, then once every `every_s`, for each key by itself.

A key is what tries or what is tried: an address, a login name. Only what was used lately is remembered, and no more
than KEYS_MAX keys: who tried longest ago is forgotten first.
"""

import time
from collections import OrderedDict
from collections.abc import Callable

from gateway.errors import RateLimited

KEYS_MAX = 100_000
SECOND_NS = 1_000_000_000


class Throttle:
    """clock: nanoseconds, never going back."""

    def __init__(self, what: str, *, burst: int, every_s: float, clock: Callable[[], int] = time.monotonic_ns) -> None:
        self._what = what
        self._every_ns = max(int(every_s * SECOND_NS), 1)
        self._burst_ns = burst * self._every_ns
        self._clock = clock
        self._full_at: OrderedDict[str, int] = OrderedDict()  # when all tries are there again; used last comes last

    def take(self, key: str) -> None:
        """Use up one try. Raises RateLimited (details: retry_after_ms)."""
        now = self._clock()
        full_at = max(self._full_at.get(key, now), now) + self._every_ns
        lacking_ns = full_at - now - self._burst_ns
        if lacking_ns > 0:
            raise RateLimited(f"too many {self._what}", prefix="EAPI", retry_after_ms=-(-lacking_ns // 1_000_000))
        self._full_at[key] = full_at
        self._full_at.move_to_end(key)
        while self._full_at and (len(self._full_at) > KEYS_MAX or next(iter(self._full_at.values())) <= now):
            self._full_at.popitem(last=False)

    def give_back(self, key: str) -> None:
        """Take back one try that turned out to be a good one."""
        if key in self._full_at:
            self._full_at[key] -= self._every_ns
