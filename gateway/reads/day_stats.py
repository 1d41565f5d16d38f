"""What was traded in one loan within the last 24 hours, in bounded memory.

Layout: a queue of buckets of five minutes, so at most 289 of them; sums are kept as trades come, extremes are found
anew only when a bucket falls out. A trade leaves the window up to one bucket's width late.
"""

from collections import deque
from dataclasses import dataclass

from market.ids import Face, Nanos, PriceBp
from market.money import div_half_up

SECOND = 1_000_000_000
WINDOW = 24 * 3600 * SECOND
BUCKET = 300 * SECOND


@dataclass(frozen=True, slots=True)
class DayStats:
    """volume: original face traded.  The rest is None if nothing was.

    vwap: half up to a basis point.  change: last price less the first of the window.  change_pct_bp: of that first
    price, in hundredths of a percent, half away from zero.
    """

    volume: Face = Face(0)
    trades: int = 0
    vwap: PriceBp | None = None
    low: PriceBp | None = None
    high: PriceBp | None = None
    change: int | None = None
    change_pct_bp: int | None = None


NO_TRADES = DayStats()


@dataclass(slots=True)
class _Bucket:
    number: int  # time // BUCKET
    first: PriceBp
    last: PriceBp
    low: PriceBp
    high: PriceBp
    volume: int = 0
    price_volume: int = 0
    trades: int = 0


class RollingDay:
    __slots__ = ("_buckets", "_high", "_low", "_price_volume", "_trades", "_volume")

    def __init__(self) -> None:
        self._buckets: deque[_Bucket] = deque()
        self._volume = self._price_volume = self._trades = 0
        self._low = self._high = PriceBp(0)

    def add(self, at: Nanos, price: PriceBp, quantity: Face) -> None:
        """Count one trade. Times come in order; one that is older than the newest counts as that."""
        self._expire(at)
        number = at // BUCKET
        if not self._buckets:
            self._low = self._high = price
        if not self._buckets or self._buckets[-1].number < number:
            self._buckets.append(_Bucket(number, first=price, last=price, low=price, high=price))
        bucket = self._buckets[-1]
        bucket.last = price
        bucket.low, bucket.high = min(bucket.low, price), max(bucket.high, price)
        self._low, self._high = min(self._low, price), max(self._high, price)
        bucket.volume += quantity
        bucket.price_volume += price * quantity
        bucket.trades += 1
        self._volume += quantity
        self._price_volume += price * quantity
        self._trades += 1

    def stats(self, now: Nanos) -> DayStats:
        self._expire(now)
        if not self._buckets:
            return NO_TRADES
        first, change = self._buckets[0].first, self._buckets[-1].last - self._buckets[0].first
        pct = div_half_up(abs(change) * 10_000, first)
        return DayStats(
            volume=Face(self._volume),
            trades=self._trades,
            vwap=PriceBp(div_half_up(self._price_volume, self._volume)),
            low=self._low,
            high=self._high,
            change=change,
            change_pct_bp=pct if change >= 0 else -pct,
        )

    def _expire(self, now: Nanos) -> None:
        oldest = (now - WINDOW) // BUCKET
        buckets = self._buckets
        if not buckets or buckets[0].number >= oldest:
            return
        while buckets and buckets[0].number < oldest:
            gone = buckets.popleft()
            self._volume -= gone.volume
            self._price_volume -= gone.price_volume
            self._trades -= gone.trades
        if buckets:
            self._low = min(bucket.low for bucket in buckets)
            self._high = max(bucket.high for bucket in buckets)
