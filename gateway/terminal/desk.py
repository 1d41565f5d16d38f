"""What the terminal knows of the market and of its own account: plain data, changed by rows of the wire.

Prices are in basis points of par (9_850 is 98.50), quantities and money in minor units, as everywhere inside. Each part
says whether it is fresh: what was heard before the connection was lost is kept and shown, but never as if it were new.
"""

from collections import deque
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from gateway.client import Json, units

FILLS_MAX: Final = 200
MESSAGES_MAX: Final = 200
GONE: Final = frozenset({"filled", "canceled", "expired"})


class Part(StrEnum):
    """What can be fresh or stale by itself."""

    ORDERS = "orders"
    QUOTES = "quotes"
    FILLS = "fills"
    POSITIONS = "positions"
    MARKET = "market"


@dataclass(slots=True)
class Side:
    """One side of a quote, or an order. qty: what is still open."""

    id: str
    price: int | None
    qty: int
    filled: int
    status: str


@dataclass(slots=True)
class Working:
    """What stands in a book for the account: the two sides of a quote, or one order.

    key: `order:<id>` or `quote:<symbol>:<set>`.  label: the quote's set, or the order's client id.
    """

    key: str
    symbol: str
    label: str
    is_quote: bool
    bid: Side | None = None
    ask: Side | None = None
    version: int = 0

    @property
    def sides(self) -> list[Side]:
        return [side for side in (self.bid, self.ask) if side is not None]

    @property
    def status(self) -> str:
        return "/".join(dict.fromkeys(side.status for side in self.sides))


@dataclass(slots=True)
class Top:
    """A loan's best prices. fresh: told on the connection that there is now."""

    symbol: str
    loan_id: str
    grade: str | None
    remaining_months: int
    status: str
    bid: int | None = None
    bid_qty: int | None = None
    ask: int | None = None
    ask_qty: int | None = None
    last: int | None = None
    ytm_bid: str | None = None
    ytm_ask: str | None = None
    fresh: bool = False


@dataclass(frozen=True, slots=True)
class Fill:
    trade_id: str
    order_id: str
    symbol: str
    side: str
    qty: int
    price: int
    dirty: int
    fee: int
    liquidity: str
    timestamp: str

    @property
    def key(self) -> str:
        """One trade fills two orders, perhaps both of them ours."""
        return f"{self.trade_id}:{self.order_id}"


@dataclass(frozen=True, slots=True)
class Message:
    text: str
    is_bad: bool = False


@dataclass(slots=True)
class Desk:
    """changed: keys of `tops` that a reader has not looked at yet; it empties the set.

    knows_orders: it began with a snapshot of them and took all since, so that it goes on on the next connection.
    tellings: grows with every change of anything else.  blocked: by the kill switch; None if that is not known.
    """

    account: str = ""
    mode: str = ""
    epoch: int = 0
    business_date: str = ""
    connected: bool = False
    quiet_since: float | None = None  # loop time of the last sign of life
    blocked: bool | None = None
    working: dict[str, Working] = field(default_factory=dict)
    fills: deque[Fill] = field(default_factory=lambda: deque(maxlen=FILLS_MAX))
    positions: list[Json] = field(default_factory=list)
    results: list[Json] = field(default_factory=list)
    tops: dict[str, Top] = field(default_factory=dict)
    loans_in_all: int = 0
    knows_orders: bool = False
    fresh: set[Part] = field(default_factory=set)
    changed: set[str] = field(default_factory=set)
    messages: deque[Message] = field(default_factory=lambda: deque(maxlen=MESSAGES_MAX))
    act: Message | None = None  # how the latest act stands
    news: Message | None = None  # what has happened latest
    tellings: int = 0
    _known_fills: set[tuple[str, str]] = field(default_factory=set)

    def say(self, text: str, *, is_bad: bool = False) -> None:
        """Say what has happened."""
        self.news = Message(text, is_bad)
        self.messages.append(self.news)
        self.tellings += 1

    def tell(self, text: str, *, is_bad: bool = False) -> None:
        """Tell how an act stands: news do not push it out of sight."""
        self.act = Message(text, is_bad)
        self.messages.append(self.act)
        self.tellings += 1

    def lose(self) -> None:
        """The connection is gone: nothing is fresh any more."""
        self.connected = False
        self.fresh.clear()
        for symbol, top in self.tops.items():
            top.fresh = False
            self.changed.add(symbol)
        self.tellings += 1

    def freshen(self, part: Part) -> None:
        self.fresh.add(part)
        self.tellings += 1

    def _is_now(self, message: Json) -> bool:
        """Whether a message is of the connection that there is: one that was lost may have left some unread.

        A snapshot comes before the connection is known to be ready for use.
        """
        return self.connected or message["type"] == "snapshot"

    # The market

    def list_loan(self, row: Json) -> bool:
        """Note a loan's terms (`GET /v1/loans`, `instrument`). True if it was not known before."""
        symbol = row["symbol"]
        top, is_new = self.tops.get(symbol), symbol not in self.tops
        if top is None:
            top = self.tops[symbol] = Top(symbol, row["loan_id"], None, 0, "")
        top.grade, top.remaining_months = row["grade"], row["remaining_months"]
        top.status = "halted" if row["halted"] else row["status"]
        self.changed.add(symbol)
        return is_new

    def take_ticker(self, message: Json) -> None:
        for row in message["data"]:
            if (top := self.tops.get(row["symbol"])) is not None:
                top.bid, top.bid_qty = _units(row["bid"]), _units(row["bid_qty"])
                top.ask, top.ask_qty = _units(row["ask"]), _units(row["ask_qty"])
                top.last, top.ytm_bid, top.ytm_ask = _units(row["last"]), row["ytm_bid"], row["ytm_ask"]
                top.fresh = self._is_now(message)
                self.changed.add(top.symbol)
        self.fresh.add(Part.MARKET)

    # Orders and quotes of one's own

    def take_report(self, rows: list[Json], *, is_snapshot: bool) -> list[Fill]:
        """Take rows of `executions`; return the fills among them that were not known."""
        if is_snapshot:
            self._forget(is_quote=False)
            self.knows_orders = True
        fills = []
        for row in rows:
            if row["exec_type"] == "trade" and (fill := self._new_fill(row)) is not None:
                fills.append(fill)
            if row["order_id"].startswith("O-"):  # quotes trade, too, but are told of on their own channel
                self._order(row)
        if self.connected:
            self.fresh |= {Part.ORDERS, Part.FILLS}
        self.tellings += 1
        return fills

    def take_quotes(self, message: Json) -> None:
        if message["type"] == "snapshot":
            self._forget(is_quote=True)
        for row in message["data"]:
            self._quote(row)
        if self._is_now(message):
            self.fresh.add(Part.QUOTES)
        self.tellings += 1

    def _forget(self, *, is_quote: bool) -> None:
        self.working = {key: each for key, each in self.working.items() if each.is_quote is not is_quote}

    def _order(self, row: Json) -> None:
        key = f"order:{row['order_id']}"
        if row["order_status"] in GONE:
            self.working.pop(key, None)
            return
        side = Side(
            row["order_id"],
            _units(row["limit_price"]),
            units(row["leaves_qty"]),
            units(row["cum_qty"]),
            row["order_status"],
        )
        order = Working(key, row["symbol"], row["cl_ord_id"] or row["order_id"], is_quote=False, version=row["version"])
        if row["side"] == "buy":
            order.bid = side
        else:
            order.ask = side
        self.working[key] = order

    def _quote(self, row: Json) -> None:
        key = f"quote:{row['symbol']}:{row['quote_set']}"
        quote = self.working.get(key) or Working(key, row["symbol"], row["quote_set"], is_quote=True)
        gone = row["status"] in GONE
        qty, filled = units(row["qty"]), units(row["cum_qty"])
        side = None if gone else Side(row["order_id"], units(row["price"]), qty, filled, row["status"])
        if row["side"] == "buy":
            quote.bid = side
        else:
            quote.ask = side
        if quote.sides:
            self.working[key] = quote
        else:
            self.working.pop(key, None)
        if gone and row["reason"] not in (None, "user"):
            self.say(f"{row['symbol']} {row['side']} quote gone: {row['reason']}", is_bad=row["reason"] == "mmp")

    # Fills and positions

    def take_past_trades(self, rows: list[Json]) -> None:
        """Take `GET /v1/trades`, newest first, for what happened before the terminal was started."""
        for row in reversed(rows):
            self._new_fill({"last_qty": row["qty"], "last_price": row["price"], **row})
        self.freshen(Part.FILLS)

    def take_positions(self, positions: list[Json], results: list[Json]) -> None:
        self.positions, self.results = positions, results
        self.freshen(Part.POSITIONS)

    def _new_fill(self, row: Json) -> Fill | None:
        key = (row["trade_id"], row["order_id"])
        if key in self._known_fills:
            return None
        self._known_fills.add(key)
        fill = Fill(
            trade_id=row["trade_id"],
            order_id=row["order_id"],
            symbol=row["symbol"],
            side=row["side"],
            qty=units(row["last_qty"]),
            price=units(row["last_price"]),
            dirty=units(row["dirty"]),
            fee=units(row["fee"]),
            liquidity=row["liquidity_ind"],
            timestamp=row["timestamp"],
        )
        if len(self.fills) == FILLS_MAX:
            self._known_fills.discard((self.fills[0].trade_id, self.fills[0].order_id))
        self.fills.append(fill)
        return fill


def _units(text: str | None) -> int | None:
    return None if text is None else units(text)
