"""How long to wait before the next attempt: longer each time, never too long, never in step with others."""

import random
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Backoff:
    """Exponential delays with full jitter: the n-th lies between 0 and min(first_s * 2^n, most_s), seconds.

    A service that restarts loses all its clients at one moment; chance spreads their return.
    jitter: returns numbers in [0, 1); a test passes its own.
    """

    first_s: float = 0.1
    most_s: float = 10.0
    jitter: Callable[[], float] = random.random

    def delay_s(self, attempt: int) -> float:
        """Return the delay before a further attempt. attempt: so many have failed in a row, counted from 0."""
        doublings = min(attempt, 62)  # beyond, the power outgrows what a float holds
        return min(self.first_s * 2.0**doublings, self.most_s) * self.jitter()
