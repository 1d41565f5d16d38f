"""What a loan trades at: book, trades, candles, the quote of a price."""

from pydantic import BaseModel

from gateway.answers.fields import Checksum, Count, Moment, Money, TradeIdOut, Yield, Ytm, YtmConservative, YtmNominal
from market.orderbook.order import OrderType, Side


class PriceLevel(BaseModel):
    price: Money
    qty: Money


class Book(BaseModel):
    """Best first. `epoch`, `seq`, `checksum` and `digest` are those of the feed of the same depth."""

    symbol: str
    loan_id: str
    epoch: Count
    seq: Count
    bids: list[PriceLevel]
    asks: list[PriceLevel]
    checksum: Checksum
    digest: Checksum
    timestamp: Moment


class PublicTrade(BaseModel):
    """side: of the taker."""

    symbol: str
    side: Side
    price: Money
    qty: Money
    ord_type: OrderType
    trade_id: TradeIdOut
    accrued: Money
    ytm: Ytm | None
    timestamp: Moment


class CandleRow(BaseModel):
    """What was traded within `interval` minutes.  timestamp: of the last trade in it."""

    symbol: str
    open: Money
    high: Money
    low: Money
    close: Money
    trades: Count
    volume: Money
    vwap: Money
    interval: Count
    interval_begin: Moment
    timestamp: Moment


class Quote(BaseModel):
    """price: the average of the fills.  total: what a buyer pays or a seller gets.

    duration: modified, in years.  weighted_life: mean time to the principal to come, in years.  total_cash: all that
    the contract still owes on what is filled.  ytm_conservative: the yield if all that is overdue is never paid.
    """

    price: Money | None
    qty: Money
    current_face: Money
    principal: Money
    accrued: Money
    dirty: Money
    fee: Money
    total: Money
    ytm: Ytm | None
    ytm_nominal: YtmNominal | None
    ytm_conservative: YtmConservative | None
    duration: Yield | None
    weighted_life: Yield | None
    total_cash: Money
    fills: list[PriceLevel]
    unfilled_qty: Money
