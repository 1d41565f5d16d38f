"""From a desk to the cells of its panels."""

from collections.abc import Iterable, Sequence

from gateway.client import Json, decimal, units
from gateway.terminal.desk import Desk, Fill, Side, Top, Working
from gateway.terminal.table import Cell, Cells

STALE = "dim italic"
BUY, SELL = "green", "red"

WORKING = ("loan", "bid qty", "bid", "ask", "ask qty", "filled", "state", "set / id")
MARKET = ("loan", "bid qty", "bid", "ask", "ask qty", "own", "ytm bid", "ytm ask", "last", "grade", "months", "state")
POSITIONS = ("loan", "face", "cost", "market", "unrealised", "realised", "accrued", "value", "sellable", "ytm")
FILLS = ("time", "loan", "side", "face", "price", "paid", "fee", "m/t", "order")


def working_rows(desk: Desk, *, fresh: bool) -> dict[str, Cells]:
    return {key: _working(each, "" if fresh else STALE) for key, each in desk.working.items()}


def market_rows(desk: Desk, symbols: Iterable[str]) -> dict[str, Cells]:
    own = {each.symbol: "" for each in desk.working.values()}
    for each in desk.working.values():
        own[each.symbol] += ("b" if each.bid else "") + ("a" if each.ask else "")
    return {symbol: _top(desk.tops[symbol], own.get(symbol, "")) for symbol in symbols}


def position_rows(desk: Desk, *, fresh: bool) -> dict[str, Cells]:
    return {row["symbol"]: _position(row, "" if fresh else STALE) for row in desk.positions}


def fill_rows(desk: Desk, *, fresh: bool) -> dict[str, Cells]:
    return {fill.key: _fill(fill, "" if fresh else STALE) for fill in desk.fills}


def results_text(results: Sequence[Json]) -> str:
    """Return the result of all claims, by currency."""
    parts = ("realised", "unrealised", "interest", "accrued", "fees")
    lines = []
    for row in results:
        lines.append(f"{row['currency']}  {'result':<11}{grouped(row['result']):>18}")
        lines += [f"     {'− ' if name == 'fees' else '+ '}{name:<11}{grouped(row[name]):>16}" for name in parts]
        lines.append(f"     {'value':<11}{grouped(row['market_value']):>18}  cost {grouped(row['cost'])}")
        lines.append(f"     {'xirr':<11}{percent(row['xirr']):>18}")
    return "\n".join(lines)


def grouped(text: str | None) -> str:
    """Return a decimal string with its thousands apart."""
    return "" if text is None else amount(units(text))


def amount(minor: int | None) -> str:
    return "" if minor is None else decimal(minor, thousands=",")


def price(bp: int | None) -> str:
    return "" if bp is None else decimal(bp)


def percent(fraction: str | None) -> str:
    return "" if fraction is None else f"{float(fraction) * 100:.2f}%"


def _number(minor: int | None, style: str) -> Cell:
    return Cell(amount(minor), minor, style=style)


def _price(bp: int | None, style: str) -> Cell:
    return Cell(price(bp), bp, style=style)


def _share(fraction: str | None, style: str) -> Cell:
    return Cell(percent(fraction), None if fraction is None else float(fraction), style=style)


def _text(text: str, style: str) -> Cell:
    return Cell(text, style=style, right=False)


def _working(each: Working, style: str) -> Cells:
    bid, ask = each.bid or NO_SIDE, each.ask or NO_SIDE
    return (
        _text(each.symbol, style),
        _number(bid.qty if each.bid else None, style),
        _price(bid.price, style or BUY),
        _price(ask.price, style or SELL),
        _number(ask.qty if each.ask else None, style),
        _number(bid.filled + ask.filled, style),
        _text(each.status, style),
        _text(f"{'quote' if each.is_quote else 'order'} {each.label}", style),
    )


NO_SIDE = Side("", None, 0, 0, "")


def _top(top: Top, own: str) -> Cells:
    style = "" if top.fresh else STALE
    return (
        _text(top.symbol, style),
        _number(top.bid_qty, style),
        _price(top.bid, style or BUY),
        _price(top.ask, style or SELL),
        _number(top.ask_qty, style),
        _text(own, style or "bold"),
        _share(top.ytm_bid, style),
        _share(top.ytm_ask, style),
        _price(top.last, style),
        _text(top.grade or "", style),
        Cell(str(top.remaining_months), top.remaining_months, style=style),
        _text(top.status, style),
    )


FIGURES = ("total", "cost_price", "market_price", "unrealised", "realised", "accrued", "market_value", "sellable")


def _position(row: Json, style: str) -> Cells:
    figures = (_number(None if row[name] is None else units(row[name]), style) for name in FIGURES)
    return (_text(row["symbol"], style), *figures, _share(row["ytm"], style))


def _fill(fill: Fill, style: str) -> Cells:
    side = "buy" if fill.side == "buy" else "sell"
    return (
        _text(f"{fill.timestamp[5:10]} {fill.timestamp[11:19]}", style),
        _text(fill.symbol, style),
        _text(side, style or (BUY if side == "buy" else SELL)),
        _number(fill.qty, style),
        _price(fill.price, style),
        _number(fill.dirty, style),
        _number(fill.fee, style),
        _text("maker" if fill.liquidity == "m" else "taker", style),
        _text(fill.order_id, style),
    )
