"""Public calls of the façade: time, status, assets, pairs, books, tickers, trades, candles."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Final

from gateway.facade.calls import FacadeCall, FacadeRoute
from gateway.facade.rows import (
    Row,
    asset_row,
    candle_row,
    depth_row,
    pair_row,
    public_trade_row,
    spread_row,
    ticker_row,
)
from gateway.reads.candles import MINUTE, Interval
from gateway.reads.history import NEVER, Span
from gateway.reads.loan_view import LoanView
from gateway.wire import SECOND, exact_decimal, printable, time_text
from gateway.ws.rows import SYSTEM
from market.claims.loan import LIVE_STATUSES
from market.errors import InvalidArguments, UnknownLoan
from market.ids import Nanos

ROWS_PER_TURN: Final = 500  # then the loop may do something else
PAIRS_MAX: Final = 1_000  # named in one call
DEPTHS: Final = (10, 25, 100, 500)
TRADES_MAX: Final = 1_000
CANDLES_MAX: Final = 720
LARGEST_SECOND: Final = 10**11  # a larger number counts nanoseconds


async def get_time(call: FacadeCall) -> Row:
    at = call.now // SECOND
    return {"unixtime": at, "rfc1123": format_datetime(datetime.fromtimestamp(at, UTC), usegmt=True)}


async def get_status(call: FacadeCall) -> Row:
    return {"status": SYSTEM[call.api.views.mode], "timestamp": time_text(call.now)}


async def get_assets(call: FacadeCall) -> Row:
    """Currencies and claims. All of them unless some are named: of claims, those of loans that live."""
    views = call.api.views
    if names := call.words("asset", most=PAIRS_MAX):
        known: set[str] = {loan.state.terms.currency for loan in views.loans.values()}
        known |= views.loans.keys()
        if unknown := next((name for name in names if name not in known), None):
            raise UnknownLoan(f"no asset {printable(unknown)}", field="asset")
        return {name: asset_row(name) for name in names}
    loans = _live(call)
    rows: Row = {currency: asset_row(currency) for currency in sorted({loan.state.terms.currency for loan in loans})}
    async for part in _in_parts(loans):
        rows |= {loan.loan_id: asset_row(loan.loan_id) for loan in part}
    return rows


async def get_pairs(call: FacadeCall) -> Row:
    rows: Row = {}
    async for part in _in_parts(_asked(call)):
        rows |= {loan.symbol: pair_row(call.api.views, loan) for loan in part}
    return rows


async def get_ticker(call: FacadeCall) -> Row:
    rows: Row = {}
    now = call.now
    async for part in _in_parts(_asked(call)):
        rows |= {loan.symbol: ticker_row(loan, now) for loan in part}
    return rows


async def get_depth(call: FacadeCall) -> Row:
    loan = _one(call)
    count = call.query.integer("count", default=100, low=1, high=DEPTHS[-1])
    view = loan.book.view(next(depth for depth in DEPTHS if depth >= count))
    return {loan.symbol: depth_row(view.snapshot(), count, call.now)}


async def get_trades(call: FacadeCall) -> Row:
    """The first trades behind `since` (seconds or nanoseconds), else the latest. `last`: to go on from, nanoseconds."""
    loan = _one(call)
    count = call.query.integer("count", default=TRADES_MAX, low=1, high=TRADES_MAX)
    since = time_of(call, "since")
    if since is None:
        found = await call.api.history.trades_of_loan(loan.loan_id, span=Span(), below=NEVER, limit=count)
        found.reverse()
    else:
        found = await call.api.history.trades_of_loan_after(loan.loan_id, since=since, limit=count)
    last = found[-1].at if found else since or call.now
    return {loan.symbol: [public_trade_row(each.trade, each.at) for each in found], "last": str(last)}


async def get_spreads(call: FacadeCall) -> Row:
    """The latest best bids and offers, those of `since` (seconds) or later; kept from a loan's first call on."""
    loan, since = _one(call), time_of(call, "since") or 0
    kept = call.spreads.of(loan, call.now)
    rows = [spread_row(spread) for spread in kept]
    return {loan.symbol: [row for row in rows if row[0] * SECOND >= since], "last": rows[-1][0]}


async def get_candles(call: FacadeCall) -> Row:
    """The latest intervals that had trades, oldest first; those that begin at `since` or later, if it is given."""
    loan, text = _one(call), call.query.text("interval") or "1"
    if text not in tuple(Interval):
        raise InvalidArguments(f"interval: one of {', '.join(Interval)}", field="interval")
    interval, since, everything = int(text), time_of(call, "since"), Span()
    width = interval * MINUTE
    span = Span(since=everything.since if since is None else -(-since // width) * width)
    found = await call.api.history.candles(loan.loan_id, interval=interval, span=span, below=NEVER, limit=CANDLES_MAX)
    rows = [candle_row(each, interval) for each in reversed(found)]
    return {loan.symbol: rows, "last": rows[-1][0] if rows else 0}


def time_of(call: FacadeCall, name: str) -> Nanos | None:
    """Return a time that is given in seconds, maybe with a fraction, or in nanoseconds if it is that large."""
    text = call.query.text(name)
    if text is None:
        return None
    number = exact_decimal(text)
    if number is None or not 0 <= number < NEVER:
        raise InvalidArguments(f"{name}: must be a time in seconds", field=name)
    at = int(number if number > LARGEST_SECOND else number * SECOND)
    return Nanos(min(at, NEVER))


def loan_of(call: FacadeCall, symbol: str) -> LoanView:
    return call.api.views.loan_of_symbol(symbol)


def _one(call: FacadeCall) -> LoanView:
    symbol = call.query.text("pair")
    if not symbol:
        raise InvalidArguments("pair: which one?", field="pair")
    return loan_of(call, symbol)


def _asked(call: FacadeCall) -> list[LoanView]:
    return [loan_of(call, symbol) for symbol in call.words("pair", most=PAIRS_MAX)] or _live(call)


def _live(call: FacadeCall) -> list[LoanView]:
    return [loan for loan in call.api.views.loans.values() if loan.state.status in LIVE_STATUSES]


async def _in_parts(loans: list[LoanView]) -> AsyncIterator[list[LoanView]]:
    """Yield the loans in parts, and let the loop turn in between."""
    for i in range(0, len(loans), ROWS_PER_TURN):
        yield loans[i : i + ROWS_PER_TURN]
        await asyncio.sleep(0)


ROUTES = (
    FacadeRoute("Time", get_time),
    FacadeRoute("SystemStatus", get_status),
    FacadeRoute("Assets", get_assets, frozenset({"asset"}), fixed={"aclass": ("currency",)}),
    FacadeRoute("AssetPairs", get_pairs, frozenset({"pair"}), fixed={"info": ("info",), "aclass_base": ("currency",)}),
    FacadeRoute("Ticker", get_ticker, frozenset({"pair"})),
    FacadeRoute("Depth", get_depth, frozenset({"pair", "count"})),
    FacadeRoute("OHLC", get_candles, frozenset({"pair", "interval", "since"})),
    FacadeRoute("Spread", get_spreads, frozenset({"pair", "since"})),
    FacadeRoute("Trades", get_trades, frozenset({"pair", "since", "count"})),
)
