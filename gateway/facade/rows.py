"""The venue's facts in the shapes of the façade: pairs, books, trades, orders, balances.

Amounts and prices stay decimal text with two places; times are seconds since 1970. A price is in percent of current
face, a volume is original face, a cost is money. Figures that do not exist are null, in the place where they would be.
"""

from typing import Any

from gateway.facade.past import LedgerLine
from gateway.facade.spreads import Spread
from gateway.reads.candles import Candle
from gateway.reads.loan_view import LoanView
from gateway.reads.views import Views
from gateway.wire import SECOND, minor_or_none, minor_text, order_id_text, trade_id_text
from market.commands import Mode
from market.events import CashChanged, ClaimChanged, OrderState, Traded
from market.ids import AccountId, Nanos, PriceBp, TradeId
from market.money import div_half_up
from market.orderbook.depth import Depth
from market.orderbook.order import FINAL_STATUSES, OrderStatus, OrderType, Side
from market.settlement.journal import EntryKind

Row = dict[str, Any]
DECIMALS = 2
MODES = {Mode.OPEN: "online", Mode.POST_ONLY: "post_only", Mode.CANCEL_ONLY: "cancel_only", Mode.HALTED: "cancel_only"}
STATUSES = {OrderStatus.FILLED: "closed", OrderStatus.CANCELED: "canceled", OrderStatus.EXPIRED: "expired"}


def seconds(at: int) -> float:
    """Return nanoseconds as seconds with microseconds, what is finer is cut."""
    return at // 1_000 / 1_000_000


def asset_row(name: str) -> Row:
    return {
        "aclass": "currency",
        "altname": name,
        "decimals": DECIMALS,
        "display_decimals": DECIMALS,
        "status": "enabled",
    }


def pair_row(views: Views, loan: LoanView) -> Row:
    """Return a loan as a pair of claim and currency. fees: percent, the dearer side's, since ours are by side."""
    rules, terms = loan.state.rulebook, loan.state.terms
    fees = [[0, fee_percent(loan)]]
    return {
        "altname": loan.symbol,
        "wsname": loan.symbol,
        "aclass_base": "currency",
        "base": loan.loan_id,
        "aclass_quote": "currency",
        "quote": terms.currency,
        "lot": "unit",
        "cost_decimals": DECIMALS,
        "pair_decimals": DECIMALS,
        "lot_decimals": DECIMALS,
        "lot_multiplier": 1,
        "leverage_buy": [],
        "leverage_sell": [],
        "fees": fees,
        "fees_maker": fees,
        "fee_volume_currency": terms.currency,
        "ordermin": minor_text(rules.min_face),
        "costmin": minor_text(rules.min_consideration),
        "tick_size": minor_text(rules.tick),
        "status": pair_status(views, loan),
    }


def fee_percent(loan: LoanView) -> float:
    """Return the dearer side's rate: fees are by side here, by maker and taker there."""
    rules = loan.state.rulebook
    return max(rules.buyer_fee.rate_ppm, rules.seller_fee.rate_ppm) / 10_000


def volume_fee_row(percent: float) -> Row:
    """Fees do not depend on what was traded before."""
    fee = f"{percent:.4f}"
    return {"fee": fee, "minfee": fee, "maxfee": fee, "nextfee": None, "nextvolume": None, "tiervolume": "0.00"}


def pair_status(views: Views, loan: LoanView) -> str:
    state = loan.state
    trades = state.status in state.rulebook.tradable_statuses and state.terms.transferable
    return MODES[views.mode] if trades and state.halt_reason is None else "cancel_only"


def ticker_row(loan: LoanView, now: Nanos) -> Row:
    """Return the last 24 hours, for both of what the façade calls today and the last 24 hours."""
    day, last = loan.day(now), loan.last
    opening = None if day.change is None or loan.last_price is None else PriceBp(loan.last_price - day.change)
    volume, vwap = minor_text(day.volume), minor_or_none(day.vwap)
    low, high = minor_or_none(day.low), minor_or_none(day.high)
    return {
        "a": _best(loan.best_ask),
        "b": _best(loan.best_bid),
        "c": [minor_or_none(loan.last_price), None if last is None else minor_text(last.quantity)],
        "v": [volume, volume],
        "p": [vwap, vwap],
        "t": [day.trades, day.trades],
        "l": [low, low],
        "h": [high, high],
        "o": minor_or_none(opening),
    }


def _best(level: tuple[PriceBp, int] | None) -> list[str | None]:
    if level is None:
        return [None, None, None]
    price, quantity = level
    return [minor_text(price), str(quantity // 100), minor_text(quantity)]


def depth_row(depth: Depth, count: int, now: int) -> Row:
    at = now // SECOND
    return {
        name: [[minor_text(price), minor_text(quantity), at] for price, quantity in levels[:count]]
        for name, levels in (("asks", depth.asks), ("bids", depth.bids))
    }


def public_trade_row(trade: Traded, at: int) -> list[Any]:
    side = "b" if trade.taker_side is Side.BUY else "s"
    kind = "m" if trade.taker_order_type is OrderType.MARKET else "l"
    number = trade_id_text(trade.trade_id)
    return [minor_text(trade.price), minor_text(trade.quantity), seconds(at), side, kind, "", number]


def candle_row(candle: Candle, interval: int) -> list[Any]:
    """Return one interval of `interval` minutes; it bears the second in which it begins."""
    vwap = div_half_up(candle.turnover, candle.volume)
    prices = [minor_text(price) for price in (candle.open, candle.high, candle.low, candle.close, vwap)]
    return [candle.number * interval * 60, *prices, minor_text(candle.volume), candle.trades]


def balance_row(balance: CashChanged | ClaimChanged) -> Row:
    return {"balance": minor_text(balance.total), "hold_trade": minor_text(balance.held)}


def order_words(order: OrderState) -> str:
    return description(order.side, order.quantity, f"{order.loan_id}/{order.currency}", order.order_type, order.price)


def description(side: str, quantity: int, symbol: str, order_type: OrderType, price: int | None) -> str:
    """Return an order in a sentence that clients take apart: `buy 100.00 L1/USD @ limit 98.00`."""
    words = f"{side} {minor_text(quantity)} {symbol} @ "
    if order_type is OrderType.MARKET or price is None:
        return words + "market"
    return words + f"limit {minor_text(price)}"


def order_row(order: OrderState, *, updated_at: int | None = None) -> Row:
    """Return an order. An order by yield is shown as the limit order that it is in the book.

    updated_at: when it ended, None while it is open.
    """
    is_market = order.order_type is OrderType.MARKET
    row: Row = {
        "refid": None,
        "userref": userref_of(order.tag),
        "cl_ord_id": order.client_order_id,
        "status": STATUSES.get(order.status, "open"),
        "opentm": seconds(order.created_at),
        "starttm": 0,
        "expiretm": 0 if order.expire_at is None else seconds(order.expire_at),
        "descr": {
            "pair": f"{order.loan_id}/{order.currency}",
            "type": order.side,
            "ordertype": OrderType.MARKET if is_market else OrderType.LIMIT,
            "price": "0" if is_market else minor_text(order.price),
            "price2": "0",
            "leverage": "none",
            "order": order_words(order),
            "close": "",
        },
        "vol": minor_text(order.quantity),
        "vol_exec": minor_text(order.filled),
        "cost": minor_text(order.cum_cost),
        "price": minor_text(div_half_up(order.turnover, order.filled)) if order.filled else "0.00",
        "stopprice": "0.00",
        "limitprice": "0.00",
        "misc": "",
        "oflags": "post,fciq" if order.post_only else "fciq",
        "timeinforce": order.time_in_force.upper(),
    }
    if order.status in FINAL_STATUSES and updated_at is not None:
        row |= {"closetm": seconds(updated_at), "reason": order.cancel_reason}
    return row


def userref_of(tag: str | None) -> int | None:
    """Return the number that a tag is to clients of the façade, None if it is none."""
    return int(tag) if tag is not None and tag.isascii() and tag.isdigit() and len(tag) <= 10 else None


def own_trade_row(trade: Traded, account_id: AccountId, at: int) -> Row:
    """Return a trade as one of its two sides sees it. cost: clean money, without accrued interest and fee."""
    is_buyer = trade.buyer == account_id
    side = Side.BUY if is_buyer else Side.SELL
    is_maker = trade.taker_side is not side
    is_market = not is_maker and trade.taker_order_type is OrderType.MARKET
    return {
        "ordertxid": order_id_text(trade.buy_order_id if is_buyer else trade.sell_order_id),
        "postxid": trade_id_text(trade.trade_id),
        "pair": f"{trade.loan_id}/{trade.currency}",
        "time": seconds(at),
        "type": side,
        "ordertype": OrderType.MARKET if is_market else OrderType.LIMIT,
        "price": minor_text(trade.price),
        "cost": minor_text(trade.principal),
        "accrued": minor_text(trade.accrued),
        "fee": minor_text(trade.buyer_fee if is_buyer else trade.seller_fee),
        "vol": minor_text(trade.quantity),
        "margin": "0.00",
        "misc": "",
        "maker": is_maker,
        "trade_id": trade_id_text(trade.trade_id),
    }


def ledger_row(line: LedgerLine, kind: str) -> Row:
    """Return one line of an account's ledger. A claim is an asset like any other."""
    return {
        "aclass": "currency",
        "amount": minor_text(line.amount),
        "asset": line.asset,
        "balance": minor_text(line.balance),
        "fee": minor_text(line.fee),
        "refid": trade_id_text(TradeId(int(line.reference))) if line.kind is EntryKind.TRADE else line.reference,
        "time": seconds(line.at),
        "type": kind,
        "subtype": "",
    }


def spread_row(spread: Spread) -> list[Any]:
    at, bid, ask = spread
    return [at // SECOND, minor_or_none(bid), minor_or_none(ask)]
