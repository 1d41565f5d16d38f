"""The streams that a socket can subscribe to: what each one says first, what it says next, who reads it.

A feed renders a message once for all its readers. Book, best prices, ticker, candles, instrument and balances are
states: a slow reader gets them merged (outbox.py). Trades are not: each reaches every reader or the reader is cut off.
Left out: executions, which are numbered and replayed per account (executions.py).
"""

import asyncio
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from typing import Any, ClassVar

from sortedcontainers import SortedDict

from gateway.reads.candles import Candle, candle_of, candle_row
from gateway.reads.loan_view import LoanView
from gateway.reads.schemas import loan_object
from gateway.reads.views import Views
from gateway.wire import time_text
from gateway.ws.executions import History
from gateway.ws.frames import Message
from gateway.ws.outbox import Outbox
from gateway.ws.replay import BookSteps
from gateway.ws.rows import Row, balance_rows, best_row, level_rows, quote_row, status_row, ticker_row, trade_row
from market.events import QuoteState, Traded
from market.ids import AccountId, Face, LoanId, Nanos, PriceBp, TradeId
from market.orderbook.depth import Depth, DepthDelta

INSTRUMENTS_PER_MESSAGE = 100
CANDLES_KEPT = 120  # and told in a snapshot; older ones are a matter for REST

Key = tuple[str, str, int]  # channel, loan or account ("" for all), depth or interval (0 where there is none)


def push(channel: str, kind: str, rows: Sequence[Row]) -> Message:
    return Message({"channel": channel, "type": kind, "data": rows})


def status_message(views: Views, now: int, **more: Any) -> Message:
    return push("status", "update", [status_row(views, now) | more])


class Feed:
    """The readers of one stream. Publishing never raises and never waits."""

    channel: ClassVar[str]

    def __init__(self, key: str, depth: int = 0) -> None:
        self.key: Key = (self.channel, key, depth)
        self.readers: dict[Outbox, None] = {}
        self._joining = 0

    def is_of(self, partition: int) -> bool:  # noqa: ARG002
        """Whether a rebuild of that partition may change what it says."""
        return True

    @property
    def is_wanted(self) -> bool:
        """Whether somebody reads it or is about to: one that isn't wanted may be forgotten."""
        return bool(self.readers) or self._joining > 0

    @contextmanager
    def joining(self) -> Iterator[None]:
        """Keep the feed while a reader-to-be waits for what it needs."""
        self._joining += 1
        try:
            yield
        finally:
            self._joining -= 1

    async def prepare(self, history: History) -> None:
        """Read what a snapshot needs and memory does not have. Call it before `snapshots`."""

    def snapshots(self) -> Iterator[Message]:
        """Yield what a new reader is told first. Read it and register the reader without an await in between."""
        raise NotImplementedError


class StateFeed(Feed):
    """A feed whose latest message replaces all before it."""

    def snapshot(self) -> Message:
        return push(self.channel, "snapshot", self.rows())

    def snapshots(self) -> Iterator[Message]:
        yield self.snapshot()

    def rows(self) -> list[Row]:
        raise NotImplementedError

    def base(self) -> Any:
        return None

    def merged(self, base: Any, count: int) -> Message:  # noqa: ARG002
        return push(self.channel, "update", [row | {"conflated": count} for row in self.rows()])

    def rest(self, base: Any) -> Any:  # noqa: ARG002
        return None

    def publish(self, message: Message) -> None:
        Outbox.offer_to_all(self.readers, self, message)

    def restart(self) -> None:
        """Tell every reader the whole state anew, after a rebuild."""
        for message in self.snapshots():
            for reader in self.readers:
                reader.replace(self, message)


class LoanFeed(StateFeed):
    """A state of one loan. The view is looked up each time: a rebuild replaces it."""

    def __init__(self, views: Views, loan_id: LoanId, clock: Callable[[], int], depth: int = 0) -> None:
        super().__init__(loan_id, depth)
        self._views = views
        self._loan_id = loan_id
        self._clock = clock

    def is_of(self, partition: int) -> bool:
        return self.loan.partition == partition

    @property
    def loan(self) -> LoanView:
        return self._views.loans[self._loan_id]

    def now(self) -> Nanos:
        return Nanos(self._clock())


class BookFeed(LoanFeed):
    """The best `depth` levels: a snapshot, then steps that are numbered without a gap."""

    channel = "book"

    def __init__(self, views: Views, loan_id: LoanId, clock: Callable[[], int], depth: int, steps: BookSteps) -> None:
        super().__init__(views, loan_id, clock, depth)
        self._depth = depth
        self._steps = steps
        self._known: Depth | None = None

    @property
    def epoch(self) -> int:
        """Of the loan's writer: numbers of one mean nothing in the next."""
        return self._views.epoch_of(self.loan)

    def rows(self) -> list[Row]:
        return [self._row(self.base(), self.now())]

    def base(self) -> Depth:
        """Return the view's present state; readers that fall behind at the same time share it."""
        view = self.loan.book.view(self._depth)
        if self._known is None or self._known.seq != view.seq:
            self._known = view.snapshot()
        return self._known

    def step(self, delta: DepthDelta, at: Nanos) -> None:
        if self.readers:
            self.publish(self._update(delta, at))

    def missed(self, epoch: int | None, seq: int) -> list[Message] | None:
        """Return what leads from `seq` to now, nothing if it is the present state; None if that is no longer known.

        epoch: that the reader's book is of, None for the present one.
        """
        book = self.loan.book
        now = book.view(self._depth).seq
        if epoch not in (None, self.epoch) or seq > now:
            return None
        if seq == now:
            return []
        found = self._steps.since(self._loan_id, seq, book)
        if found is None:
            return None
        count, before = found
        return [self.merged(book.as_of(seq, before, self._depth), count)]

    def merged(self, base: Depth | None, count: int) -> Message:
        """Return the step from `base` to now, or a snapshot if what the reader has is unknown."""
        now = self.base()
        if base is None:
            return push(self.channel, "snapshot", [self._row(now, self.now()) | {"conflated": count}])
        step = now._replace(bids=difference(base.bids, now.bids), asks=difference(base.asks, now.asks))
        row = {"prev_seq": base.seq, **self._row(step, self.now()), "conflated": count}
        return push(self.channel, "update", [row])

    def _update(self, delta: DepthDelta, at: Nanos) -> Message:
        return push(self.channel, "update", [{"prev_seq": delta.prev_seq, **self._row(delta, at)}])

    def restart(self) -> None:
        self._known = None  # numbers begin anew
        super().restart()

    def _row(self, depth: Depth | DepthDelta, at: Nanos) -> Row:
        return {
            "symbol": self.loan.symbol,
            "epoch": self.epoch,
            "seq": depth.seq,
            "bids": level_rows(depth.bids),
            "asks": level_rows(depth.asks),
            "checksum": depth.checksum,
            "digest": depth.digest,
            "timestamp": time_text(at),
        }


class BestFeed(LoanFeed):
    """Best bid and offer, told when one of them changes."""

    channel = "bbo"

    def __init__(self, views: Views, loan_id: LoanId, clock: Callable[[], int]) -> None:
        super().__init__(views, loan_id, clock)
        self._told = self._best()

    def rows(self) -> list[Row]:
        return [{"symbol": self.loan.symbol, **best_row(self.loan), "timestamp": time_text(self.now())}]

    def book_changed(self) -> None:
        best = self._best()
        if best != self._told:
            self._told = best
            if self.readers:
                self.publish(push(self.channel, "update", self.rows()))

    def restart(self) -> None:
        self._told = self._best()
        super().restart()

    def _best(self) -> tuple[object, object]:
        return self.loan.best_bid, self.loan.best_ask


class TickerFeed(LoanFeed):
    """Best prices with their yields, last trade, accrued interest, factor and 24 hours of trading."""

    channel = "ticker"

    def __init__(self, views: Views, loan_id: LoanId, clock: Callable[[], int]) -> None:
        super().__init__(views, loan_id, clock)
        self._told: Row = {}

    def rows(self) -> list[Row]:
        return [ticker_row(self._views, self.loan, self.now())]

    def changed(self) -> None:
        [row] = self.rows()
        told, self._told = self._told, row
        if any(value != told.get(key) for key, value in row.items() if key != "timestamp") and self.readers:
            self.publish(push(self.channel, "update", [row]))


class CandleFeed(LoanFeed):
    """Candles of one interval: the latest from the database, then each that a batch of trades changed."""

    channel = "ohlc"

    def __init__(self, views: Views, loan_id: LoanId, clock: Callable[[], int], interval: int) -> None:
        super().__init__(views, loan_id, clock, interval)
        self._interval = interval
        self._candles: dict[int, Candle] | None = None  # by number, oldest first; None until they are read
        self._early: list[tuple[Traded, Nanos]] | None = None  # heard while they are being read
        self._reading = asyncio.Lock()
        self._last = self._told = TradeId(0)  # the last trade that is counted, and that readers know of

    async def prepare(self, history: History) -> None:
        """Read the candles once. A trade is counted by its number: whether the read saw it or not, it counts once."""
        async with self._reading:
            if self._candles is not None:
                return
            self._early = []
            try:
                found = await history.latest_candles(self._loan_id, interval=self._interval, limit=CANDLES_KEPT)
                self._candles = {candle.number: candle for candle in reversed(found)}
                self._told = self._last = max((candle.trade_id for candle in found), default=TradeId(0))
                for trade, at in self._early:
                    self._count(trade, at)
            finally:
                self._early = None

    def traded(self, trades: Sequence[Traded], at: Nanos) -> None:
        if self._early is not None:
            self._early.extend((trade, at) for trade in trades)
        elif self._candles is not None:
            for trade in trades:
                self._count(trade, at)

    def changed(self) -> None:
        """Tell the candles that were changed since the last time."""
        rows, self._told = self._rows_since(self._told), self._last
        if rows and self.readers:
            self.publish(push(self.channel, "update", rows))

    def rows(self) -> list[Row]:
        return self._rows_since(-1)

    def base(self) -> TradeId:
        return self._last

    def merged(self, base: TradeId | None, count: int) -> Message:
        if base is None:
            return push(self.channel, "snapshot", [row | {"conflated": count} for row in self.rows()])
        return push(self.channel, "update", [row | {"conflated": count} for row in self._rows_since(base)])

    def restart(self) -> None:
        """Committed trades stay committed through a rebuild; those that were missed are told like any other."""

    def _count(self, trade: Traded, at: Nanos) -> None:
        if self._candles is None or trade.trade_id <= self._last:
            return
        self._last = trade.trade_id
        new = candle_of(trade, at, self._interval)
        old = self._candles.get(new.number)
        self._candles[new.number] = new if old is None else old.plus(trade, at)
        if len(self._candles) > CANDLES_KEPT:
            del self._candles[next(iter(self._candles))]

    def _rows_since(self, base: int) -> list[Row]:
        candles = (self._candles or {}).values()
        return [candle_row(self.loan.symbol, each, self._interval) for each in candles if each.trade_id > base]


class InstrumentFeed(StateFeed):
    """Terms and status of one loan, or of all of them; told when something but the last price changes.

    Loans stand in the order in which they changed last, so what a reader knows is one number, however many there are:
    who joins, or was left behind, is told what comes behind it in parts of INSTRUMENTS_PER_MESSAGE.
    """

    channel = "instrument"

    def __init__(self, views: Views, loan_id: LoanId | None) -> None:
        super().__init__(loan_id or "")
        self._views = views
        self._loan_id = loan_id
        self._order: SortedDict[int, LoanId]
        self._place: dict[LoanId, int]
        self._begin()

    def rows(self) -> list[Row]:
        return self._rows(self._order.values())

    def snapshots(self) -> Iterator[Message]:
        """Yield snapshots of a hundred loans at most, each as it is when it is asked for."""
        loan_ids = iter(list(self._order.values()))
        while part := list(islice(loan_ids, INSTRUMENTS_PER_MESSAGE)):
            yield push(self.channel, "snapshot", self._rows(part))

    def changed(self, loans: Iterable[LoanView]) -> None:
        """Tell loans that changed. What is told is numbered first: a reader that lags from here on knows it."""
        changed = iter([loan.loan_id for loan in loans])
        while part := list(islice(changed, INSTRUMENTS_PER_MESSAGE)):
            for loan_id in part:
                self._order.pop(self._place.get(loan_id, -1), None)
                self._last += 1
                self._order[self._last], self._place[loan_id] = loan_id, self._last
            if self.readers:
                self.publish(push(self.channel, "update", self._rows(part)))

    def base(self) -> int:
        return self._last

    def merged(self, base: int | None, count: int) -> Message:
        rows = self._rows(self._order[number] for number in self._behind(base))
        return push(self.channel, "update", [row | {"conflated": count} for row in rows])

    def rest(self, base: int | None) -> int | None:
        told = self._behind(base)
        return told[-1] if told and told[-1] != self._last else None

    def restart(self) -> None:
        self._begin()
        first = next(self.snapshots(), None)
        if first is None:
            return
        rest = self.rest(None)
        for reader in self.readers:
            reader.replace(self, first)
            if rest is not None:
                reader.fall_behind(self, rest)

    def _begin(self) -> None:
        loan_ids = self._views.loans if self._loan_id is None else [self._loan_id]
        self._order = SortedDict(enumerate(loan_ids, 1))
        self._place = {loan_id: number for number, loan_id in self._order.items()}
        self._last = len(self._order)

    def _behind(self, base: int | None) -> list[int]:
        """Return the numbers of the next loans that a reader does not know of, a message full at most."""
        return list(islice(self._order.irange(base or 0, inclusive=(False, True)), INSTRUMENTS_PER_MESSAGE))

    def _rows(self, loan_ids: Iterable[LoanId]) -> list[Row]:
        loans = self._views.loans
        return [loan_object(loans[loan_id]) for loan_id in loan_ids if loan_id in loans]


class BalancesFeed(StateFeed):
    """Cash and claims of one account."""

    channel = "balances"

    def __init__(self, views: Views, account_id: AccountId) -> None:
        super().__init__(account_id)
        self._views = views
        self._account_id = account_id

    def rows(self) -> list[Row]:
        return balance_rows(self._views.account(self._account_id))

    def merged(self, base: None, count: int) -> Message:  # noqa: ARG002
        return push(self.channel, "snapshot", [row | {"conflated": count} for row in self.rows()])

    def changed(self, assets: set[str]) -> None:
        if self.readers:
            self.publish(push(self.channel, "update", balance_rows(self._views.account(self._account_id), assets)))


class QuotesFeed(StateFeed):
    """The sides of one account's quotes: those that stand, then those that changed, with the reason if one is gone."""

    channel = "quotes"

    def __init__(self, views: Views, account_id: AccountId, clock: Callable[[], int]) -> None:
        super().__init__(account_id)
        self._views = views
        self._account_id = account_id
        self._clock = clock

    def rows(self) -> list[Row]:
        return [quote_row(quote, self._clock()) for quote in self._views.account(self._account_id).quotes.values()]

    def merged(self, base: None, count: int) -> Message:  # noqa: ARG002
        return push(self.channel, "snapshot", [row | {"conflated": count} for row in self.rows()])

    def changed(self, quotes: Iterable[QuoteState], at: Nanos) -> None:
        if self.readers:
            self.publish(push(self.channel, "update", [quote_row(quote, at) for quote in quotes]))

    def restart(self) -> None:
        """Say what a rebuild has ended, in the place of what stood before."""
        lost, now = self._views.account(self._account_id).lost_quotes, self._clock()
        message = push(self.channel, "snapshot", [*(quote_row(quote, now) for quote in lost), *self.rows()])
        for reader in self.readers:
            reader.replace(self, message)


class TradeFeed(Feed):
    """Every trade of one loan."""

    channel = "trade"

    def __init__(self, views: Views, loan_id: LoanId) -> None:
        super().__init__(loan_id)
        self._views = views
        self._loan_id = loan_id

    def snapshots(self) -> Iterator[Message]:
        """Yield the latest trades, oldest first."""
        yield push(
            self.channel, "snapshot", [trade_row(trade, at) for at, trade in self._views.loan(self._loan_id).recent]
        )

    def traded(self, trades: Sequence[Traded], at: Nanos) -> None:
        message = push(self.channel, "update", [trade_row(trade, at) for trade in trades])
        for reader in self.readers:
            reader.send(message)


def difference(old: Sequence[tuple[PriceBp, Face]], new: Sequence[tuple[PriceBp, Face]]) -> list[tuple[PriceBp, Face]]:
    """Return the levels that lead from one ladder to another, best first: removals (quantity 0), then what is new."""
    before, now = dict(old), dict(new)
    gone = [(price, Face(0)) for price, _ in old if price not in now]
    return gone + [(price, quantity) for price, quantity in new if before.get(price) != quantity]
