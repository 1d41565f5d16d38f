"""Private calls of the façade that only tell: tokens, balances, orders, trades, the ledger, what was traded.

Pages are newest first and go by an offset, as clients of this shape do it; `count` says how many there are in all.
"""

from collections.abc import Iterable, Sequence
from functools import partial
from typing import Final

from gateway.access.auth import TOKEN_LIFE
from gateway.access.rates import Bucket
from gateway.facade.calls import FacadeCall, FacadeRoute
from gateway.facade.past import LedgerLine, Past
from gateway.facade.public import loan_of, time_of
from gateway.facade.rows import Row, balance_row, fee_percent, ledger_row, order_row, own_trade_row, volume_fee_row
from gateway.reads.history import Span, StoredOrder, StoredTrade
from gateway.requests.access import Scope
from gateway.requests.orders import client_order_id
from gateway.wire import SECOND, minor_text, order_id_text, parse_order_id, parse_trade_id, trade_id_text
from market.errors import InvalidArguments
from market.events import OrderState
from market.ids import ClientOrderId
from market.orderbook.order import FINAL_STATUSES
from market.settlement.journal import EntryKind

PAGE: Final = 50
OFFSET_MAX: Final = 10_000
LEDGERS_MAX: Final = 20  # named in one call
PAIRS_MAX: Final = 50
VOLUME_SPAN: Final = 30 * 24 * 3_600 * SECOND
KINDS: Final = {  # what a line of the ledger is called: the façade's word, ours
    "trade": EntryKind.TRADE,
    "deposit": EntryKind.DEPOSIT,
    "withdrawal": EntryKind.WITHDRAWAL,
    "transfer": EntryKind.ISSUANCE,
    "dividend": EntryKind.SERVICING,
}
WORDS: Final = {ours: theirs for theirs, ours in KINDS.items()}
OTHER_KINDS: Final = frozenset(
    {"margin", "adjustment", "rollover", "credit", "settled", "staking", "sale", "nft_rebate", "spend", "receive"}
)


# Credentials and balances


async def get_token(call: FacadeCall) -> Row:
    token, _ = call.api.keys.new_token(call.principal)
    return {"token": token, "expires": TOKEN_LIFE // SECOND}


async def get_balance(call: FacadeCall) -> Row:
    return {name: row["balance"] for name, row in (await get_balances(call)).items()}


async def get_balances(call: FacadeCall) -> Row:
    """Cash by currency and claims by loan, with what open orders hold of them."""
    account = call.account
    cash = {currency: balance_row(balance) for currency, balance in sorted(account.cash.items())}
    return cash | {loan_id: balance_row(claim) for loan_id, claim in sorted(account.claims.items())}


# Orders


async def get_open_orders(call: FacadeCall) -> Row:
    """Every open order of the account, newest first."""
    orders = [each for each in reversed(call.account.open_orders.values()) if _is_wanted(call, each)]
    return {"open": await _order_rows(call, [(each, None) for each in orders])}


async def get_closed_orders(call: FacadeCall) -> Row:
    """A page of ended orders, newest first: those created between `start` and `end`, behind the first `ofs` of them."""
    offset, span = _offset(call), _span(call)
    tag, cid = call.query.text("userref"), _client_id(call)
    found, _ = await call.api.history.orders(
        call.principal.account_id,
        statuses=FINAL_STATUSES,
        span=span,
        limit=offset + PAGE,
        tag=tag,
        client_order_id=cid,
    )
    row: Row = {"closed": await _order_rows(call, _states(found[offset:]))}
    return (
        row
        if call.flag("without_count")
        else row | {"count": await _past(call).count_closed(span, tag=tag, client_order_id=cid)}
    )


async def get_orders(call: FacadeCall) -> Row:
    """Those of the named orders that the account has; up to 50."""
    names = call.words("txid", most=PAGE)
    numbers = [number for name in names if (number := parse_order_id(name)) is not None]
    history, account_id = call.api.history, call.principal.account_id
    found = await history.orders_by_id(account_id, numbers)
    if not names and (cid := _client_id(call)) is not None:
        found = [await history.order_of_client(account_id, cid)]
    return await _order_rows(call, _states([each for each in found if _is_wanted(call, each.state)]))


def _states(found: Sequence[StoredOrder]) -> list[tuple[OrderState, int | None]]:
    return [(each.state, each.updated_at) for each in found]


async def _order_rows(call: FacadeCall, found: Sequence[tuple[OrderState, int | None]]) -> Row:
    """Return orders with what they paid, and with the ids of their trades if `trades` asks for them."""
    with_trades = call.flag("trades")
    fills = await _past(call).fills_of_orders([order.order_id for order, _ in found if order.filled])
    rows: Row = {}
    for order, updated_at in found:
        made = fills.get(order.order_id)
        row = order_row(order, updated_at=updated_at) | {"fee": minor_text(0 if made is None else made.fee)}
        if with_trades:
            row["trades"] = [] if made is None else [trade_id_text(trade_id) for trade_id in made.trades]
        rows[order_id_text(order.order_id)] = row
    return rows


def _is_wanted(call: FacadeCall, order: OrderState) -> bool:
    userref, cl_ord_id = call.query.text("userref"), call.query.text("cl_ord_id")
    return userref in (None, order.tag) and cl_ord_id in (None, order.client_order_id)


# Trades


async def get_trades_history(call: FacadeCall) -> Row:
    """A page of own trades, newest first: those between `start` and `end`, behind the first `ofs` of them."""
    offset, span = _offset(call), _span(call)
    found, _ = await call.api.history.trades_of_account(call.principal.account_id, span=span, limit=offset + PAGE)
    row: Row = {"trades": _own_trades(call, found[offset:])}
    return row if call.flag("without_count") else row | {"count": await _past(call).count_trades(span)}


async def get_own_trades(call: FacadeCall) -> Row:
    """Those of the named trades that the account has; up to 50."""
    numbers = [number for name in call.words("txid", most=PAGE) if (number := parse_trade_id(name)) is not None]
    return _own_trades(call, await call.api.history.trades_by_id(call.principal.account_id, numbers))


def _own_trades(call: FacadeCall, found: Iterable[StoredTrade]) -> Row:
    account_id = call.principal.account_id
    return {trade_id_text(each.trade.trade_id): own_trade_row(each.trade, account_id, each.at) for each in found}


async def get_volume(call: FacadeCall) -> Row:
    """What was traded in thirty days, in the currency of the first pair that is named, and the fees of the pairs.

    Without a pair it is the currency in which most was traded.
    """
    volumes = await _past(call).volumes(since=call.now - VOLUME_SPAN)
    loans = [loan_of(call, symbol) for symbol in call.words("pair", most=PAIRS_MAX)]
    currency = loans[0].state.terms.currency if loans else next(iter([*volumes, *sorted(call.account.cash)]), None)
    row: Row = {"currency": currency, "volume": minor_text(volumes.get(currency, 0) if currency else 0)}
    if loans:
        fees = {loan.symbol: volume_fee_row(fee_percent(loan)) for loan in loans}
        row |= {"fees": fees, "fees_maker": fees}
    return row


# The ledger


async def get_ledger(call: FacadeCall) -> Row:
    """A page of what moved the account's assets, newest first, each with the balance behind it."""
    kind, assets = call.query.text("type") or "all", call.words("asset")
    if kind != "all" and kind not in KINDS and kind not in OTHER_KINDS:
        raise InvalidArguments("type: there is no such line", field="type")
    wanted = None if kind == "all" else [KINDS[kind]] if kind in KINDS else []
    lines, count = await _past(call).ledger(
        _span(call), assets=None if assets in ([], ["all"]) else assets, kinds=wanted, offset=_offset(call), limit=PAGE
    )
    row: Row = {"ledger": _lines(lines)}
    return row if call.flag("without_count") else row | {"count": count}


async def get_ledger_lines(call: FacadeCall) -> Row:
    """Those of the named lines that the account has; up to 20."""
    names = call.words("id", most=LEDGERS_MAX)
    if not names:
        raise InvalidArguments("id: which ones?", field="id")
    lines, _ = await _past(call).ledger(Span(), ids=names, limit=LEDGERS_MAX)
    return _lines(lines)


def _lines(lines: Iterable[LedgerLine]) -> Row:
    return {line.id: ledger_row(line, WORDS[line.kind]) for line in lines}


# What calls have in common


def _past(call: FacadeCall) -> Past:
    return Past(call.api.pool, call.principal.account_id)


def _offset(call: FacadeCall) -> int:
    return call.query.integer("ofs", default=0, low=0, high=OFFSET_MAX)


def _client_id(call: FacadeCall) -> ClientOrderId | None:
    text = call.query.text("cl_ord_id")
    return None if text is None else client_order_id(text)


def _span(call: FacadeCall) -> Span:
    start, end, everything = time_of(call, "start"), time_of(call, "end"), Span()
    return Span(
        since=everything.since if start is None else start,
        until=everything.until if end is None else end,
    )


_LISTED = frozenset({"trades", "userref", "cl_ord_id"})
_PAGED = frozenset({"start", "end", "ofs", "without_count"})
NOT_CONSOLIDATED: Final = {"consolidate_taker": ("true", "false")}  # a trade is always one fill
_told = partial(FacadeRoute, scope=Scope.READ, bucket=Bucket.QUERIES)
ROUTES = (
    _told("GetWebSocketsToken", get_token),
    _told("Balance", get_balance),
    _told("BalanceEx", get_balances),
    _told("OpenOrders", get_open_orders, _LISTED),
    _told(
        "ClosedOrders", get_closed_orders, _LISTED | _PAGED, fixed={"closetime": ("open", "both"), **NOT_CONSOLIDATED}
    ),
    _told("QueryOrders", get_orders, _LISTED | {"txid"}, fixed=NOT_CONSOLIDATED),
    _told(
        "TradesHistory",
        get_trades_history,
        _PAGED,
        fixed={"type": ("all",), "trades": ("false",), "ledgers": ("false",), **NOT_CONSOLIDATED},
    ),
    _told("QueryTrades", get_own_trades, frozenset({"txid"}), fixed={"trades": ("false",)}),
    _told("TradeVolume", get_volume, frozenset({"pair"}), fixed={"fee-info": ("true", "false")}),
    _told("Ledgers", get_ledger, _PAGED | {"asset", "type"}, fixed={"aclass": ("currency",)}),
    _told("QueryLedgers", get_ledger_lines, frozenset({"id"}), fixed={"trades": ("false",)}),
)
