"""Candles: what was traded in one loan within one interval of time. Intervals without a trade have none.

Added up from the trades in PostgreSQL, and kept up trade by trade from then on; both ways give the same figures.
Intervals are counted from 1970-01-01T00:00Z, so a week begins on a Thursday.
"""

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from gateway.wire import minor_text, time_text
from market.events import Traded
from market.ids import LoanId, Nanos, PriceBp, TradeId
from market.money import div_half_up

MINUTE = 60_000_000_000


class Interval(StrEnum):
    """Minutes, as a query says them."""

    MINUTE = "1"
    MINUTES_5 = "5"
    MINUTES_15 = "15"
    MINUTES_30 = "30"
    HOUR = "60"
    HOURS_4 = "240"
    DAY = "1440"
    WEEK = "10080"
    DAYS_15 = "21600"


INTERVALS = tuple(int(minutes) for minutes in Interval)

# The latest intervals with trades are found by one index probe each; only the trades in them are added up.
SELECT_CANDLES = """
    WITH RECURSIVE latest AS (
        (SELECT at / $2 AS number FROM trade
         WHERE loan_id = $1 AND at >= $3 AND at < $4 ORDER BY at DESC LIMIT 1)
        UNION ALL
        SELECT older.number FROM latest, LATERAL (
            SELECT at / $2 AS number FROM trade
            WHERE loan_id = $1 AND at >= $3 AND at < latest.number * $2 ORDER BY at DESC LIMIT 1
        ) older
    ), wanted AS (SELECT number FROM latest LIMIT $5)
    SELECT at / $2 AS number, (min(ARRAY[trade_id, price]))[2] AS open, max(price) AS high, min(price) AS low,
           (max(ARRAY[trade_id, price]))[2] AS close, count(*) AS trades, sum(quantity)::bigint AS volume,
           sum(price::numeric * quantity) AS turnover, max(at) AS at, max(trade_id) AS trade_id
    FROM trade
    WHERE loan_id = $1 AND at >= (SELECT min(number) FROM wanted) * $2 AND at >= $3 AND at < $4
    GROUP BY 1 ORDER BY 1 DESC
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Candle:
    """number: of the interval, from 1970.  turnover: sum of price times face.  at, trade_id: of the last trade."""

    number: int
    open: PriceBp
    high: PriceBp
    low: PriceBp
    close: PriceBp
    trades: int
    volume: int
    turnover: int
    at: Nanos
    trade_id: TradeId

    def plus(self, trade: Traded, at: Nanos) -> "Candle":
        """Return the candle with one more trade, which is later than those in it."""
        return replace(
            self,
            high=max(self.high, trade.price),
            low=min(self.low, trade.price),
            close=trade.price,
            trades=self.trades + 1,
            volume=self.volume + trade.quantity,
            turnover=self.turnover + trade.price * trade.quantity,
            at=max(self.at, at),
            trade_id=trade.trade_id,
        )


def candle_of(trade: Traded, at: Nanos, interval: int) -> Candle:
    """Return the candle of a single trade. interval: minutes."""
    price = trade.price
    return Candle(
        number=at // (interval * MINUTE),
        open=price,
        high=price,
        low=price,
        close=price,
        trades=1,
        volume=trade.quantity,
        turnover=price * trade.quantity,
        at=at,
        trade_id=trade.trade_id,
    )


def candle_row(symbol: str, candle: Candle, interval: int) -> dict[str, Any]:
    """vwap: half up to a basis point.  timestamp: of the last trade in it."""
    return {
        "symbol": symbol,
        "open": minor_text(candle.open),
        "high": minor_text(candle.high),
        "low": minor_text(candle.low),
        "close": minor_text(candle.close),
        "trades": candle.trades,
        "volume": minor_text(candle.volume),
        "vwap": minor_text(div_half_up(candle.turnover, candle.volume)),
        "interval": interval,
        "interval_begin": time_text(candle.number * interval * MINUTE),
        "timestamp": time_text(candle.at),
    }


async def read_candles(
    pool: Any, loan_id: LoanId, *, interval: int, since: int, until: int, limit: int
) -> list[Candle]:
    """Return the last `limit` candles of the trades with since <= at < until, newest first. interval: minutes."""
    records = await pool.fetch(SELECT_CANDLES, loan_id, interval * MINUTE, since, until, limit)
    return [Candle(**{**record, "turnover": int(record["turnover"])}) for record in records]
