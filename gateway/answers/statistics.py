"""What was traded and how long claims waited for a buyer (docs/statistics.md)."""

from typing import Literal

from pydantic import BaseModel

from gateway.answers.fields import Count, Moment, Money, Page


class TradedWithin(BaseModel):
    """What was traded in the last `days` times 24 hours.  face: original face.  discount: 100 less vwap."""

    days: Literal[1, 7, 30]
    trades: Count
    face: Money
    vwap: Money | None
    discount: Money | None


class TimeToSell(BaseModel):
    """Of the last 30 days: sales of orders that had waited in the book, and within how many seconds of waiting half and
    nine tenths of their face were sold."""

    fills: Count
    face: Money
    p50_s: Count | None
    p90_s: Count | None


class StatisticsFigures(BaseModel):
    currency: str
    last: Money | None
    last_at: Moment | None
    windows: list[TradedWithin]
    time_to_sell: TimeToSell


class StatisticsRow(StatisticsFigures):
    """grade: null where the row is of all grades.  discount_from, discount_to: in percent, from (inclusive) to
    (exclusive); null where that end is open, and both where the row is of all prices."""

    grade: str | None
    discount_from: Money | None
    discount_to: Money | None


class MarketStatistics(Page[StatisticsRow]):
    """computed_at: the moment that all rows are of."""

    computed_at: Moment


class LoanStatistics(StatisticsFigures):
    """computed_at: the moment that all of it is of."""

    loan_id: str
    symbol: str
    grade: str
    computed_at: Moment
    by_discount: list[StatisticsRow]
