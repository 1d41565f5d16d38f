"""From committed entries to sockets: an engine listener that knows every feed and every socket.

Per entry, in order: executions to their owners, then public trades. Per batch, once: books, best prices, candles,
tickers, instruments, balances. An acknowledgement was queued before its entry is heard of, so it comes first.
Invariant: nothing in here raises into the engine or waits. What goes wrong in showing the market must not stop it.
"""

import asyncio
import logging
from collections.abc import Callable, Coroutine, Iterable, Sequence
from itertools import chain
from typing import Any, Protocol, TypeVar

from gateway.process.metrics import Metrics
from gateway.reads.candles import INTERVALS
from gateway.reads.views import Views
from gateway.ws.executions import ExecutionsFeed, History
from gateway.ws.feeds import (
    BalancesFeed,
    BestFeed,
    BookFeed,
    CandleFeed,
    Feed,
    InstrumentFeed,
    Key,
    QuotesFeed,
    StateFeed,
    TickerFeed,
    TradeFeed,
    status_message,
)
from gateway.ws.frames import Message
from gateway.ws.outbox import Outbox
from gateway.ws.replay import BookSteps
from market.bus.presence import Attached
from market.commands import Mode
from market.events import (
    CashChanged,
    ClaimChanged,
    Event,
    Executed,
    MarketChanged,
    QuotesChanged,
    QuoteState,
    Traded,
)
from market.ids import AccountId, LoanId, Nanos, OrderId, Seq, TradeId
from market.partitions import partition_of
from market.port import Committed

log = logging.getLogger(__name__)

REPLAY_BYTES_MAX = 128 << 20
POLL_S = 0.1
STOP_S = 0.5
POLLS_PER_TICK = 10
POLLS_PER_CHECK = 5
HEARTBEAT = Message({"channel": "heartbeat", "type": "update", "data": []})

F = TypeVar("F", bound=Feed)


class Connected(Protocol):
    """What the hub needs of a session."""

    outbox: Outbox

    @property
    def is_subscribed(self) -> bool: ...

    def attached(self) -> Iterable[Attached]:
        """What would be left behind if this gateway died now."""

    def tick(self, now: float) -> None:
        """Called every second: ping, or give up a peer that has gone silent."""

    def check_credentials(self) -> None:
        """Called twice a second: close if the credential has ended."""

    def close(self, code: int, reason: str) -> None:
        """Begin to close; never waits."""


class Hub:
    """Register it with the engine after the views."""

    def __init__(
        self,
        *,
        views: Views,
        history: History,
        clock: Callable[[], int],
        metrics: Metrics,
        replay_bytes_max: int = REPLAY_BYTES_MAX,
    ) -> None:
        self.views = views
        self.steps = BookSteps(bytes_max=replay_bytes_max)
        self.sessions: dict[Connected, None] = {}
        self._history = history
        self._clock = clock
        self._metrics = metrics
        self._feeds: dict[Key, Feed] = {}
        self._executions: dict[AccountId, tuple[ExecutionsFeed, ...]] = {}  # of each partition
        self._written: set[Outbox] = set()  # have written something that may not have left yet
        self._tasks: set[asyncio.Task[None]] = set()
        self._at = Nanos(0)  # of the last entry that was heard
        self._partition = 0  # and whose it is
        self._mode = Mode.OPEN
        self._epochs: dict[int, int] = {}  # of each partition
        self._told: dict[int, Seq] = {}  # the last command of each whose trades were told
        self._last_trade: dict[int, TradeId] = {}  # of those, where this process told any
        self._handlers: dict[type[Event], Callable[[Any, Committed], None]] = {
            Executed: self._tell_execution,
            Traded: self._hear_trade,
            CashChanged: self._hear_cash,
            ClaimChanged: self._hear_claim,
            QuotesChanged: self._hear_quotes,
            MarketChanged: self._market_changed,
        }
        self._trades: dict[LoanId, list[Traded]] = {}  # of the entry that is told
        # What this batch touched.
        self._tickers: dict[LoanId, None] = {}
        self._traded: dict[LoanId, None] = {}
        self._balances: dict[AccountId, set[str]] = {}
        self._quotes: dict[AccountId, dict[OrderId, QuoteState]] = {}
        metrics.watch("gateway_sockets", "Open WebSocket connections", lambda: len(self.sessions))
        metrics.watch("gateway_subscriptions", "What all sockets subscribed to", lambda: self.reader_count)
        metrics.watch("gateway_queued_bytes", "Bytes that wait for slow readers", self._queued_bytes)
        metrics.watch("gateway_replay_bytes", "Steps of books kept for readers that come back", self._replay_bytes)
        metrics.watch("market_open_orders", "Open orders", self._open_orders)
        metrics.watch("market_open_quotes", "Open sides of mass quotes", self._open_quotes)

    # Feeds and their readers

    def book(self, loan_id: LoanId, depth: int) -> BookFeed:
        return self._feed(
            ("book", loan_id, depth), lambda: BookFeed(self.views, loan_id, self._clock, depth, self.steps)
        )

    def bbo(self, loan_id: LoanId) -> BestFeed:
        return self._feed(("bbo", loan_id, 0), lambda: BestFeed(self.views, loan_id, self._clock))

    def ticker(self, loan_id: LoanId) -> TickerFeed:
        return self._feed(("ticker", loan_id, 0), lambda: TickerFeed(self.views, loan_id, self._clock))

    def trade(self, loan_id: LoanId) -> TradeFeed:
        return self._feed(("trade", loan_id, 0), lambda: TradeFeed(self.views, loan_id))

    def ohlc(self, loan_id: LoanId, interval: int) -> CandleFeed:
        return self._feed(("ohlc", loan_id, interval), lambda: CandleFeed(self.views, loan_id, self._clock, interval))

    def instrument(self, loan_id: LoanId | None) -> InstrumentFeed:
        return self._feed(("instrument", loan_id or "", 0), lambda: InstrumentFeed(self.views, loan_id))

    def balances(self, account_id: AccountId) -> BalancesFeed:
        return self._feed(("balances", account_id, 0), lambda: BalancesFeed(self.views, account_id))

    def quotes(self, account_id: AccountId) -> QuotesFeed:
        return self._feed(("quotes", account_id, 0), lambda: QuotesFeed(self.views, account_id, self._clock))

    def executions(self, account_id: AccountId) -> Sequence[ExecutionsFeed]:
        """Return an account's stream in each partition."""
        feeds = self._executions.get(account_id)
        if feeds is None:
            partitions = range(self.views.partitions)
            feeds = self._executions[account_id] = tuple(
                ExecutionsFeed(self.views, account_id, partition) for partition in partitions
            )
        return feeds

    def leave(self, feed: Feed, reader: Outbox) -> None:
        """Take a reader off a feed; a feed that nobody reads is forgotten."""
        feed.readers.pop(reader, None)
        if isinstance(feed, StateFeed):
            reader.forget(feed)
        if not feed.is_wanted and self._feeds.get(feed.key) is feed:
            del self._feeds[feed.key]

    @property
    def reader_count(self) -> int:
        """Subscriptions of all sockets."""
        feeds: list[Feed | ExecutionsFeed] = [*self._feeds.values(), *chain(*self._executions.values())]
        return sum(len(feed.readers) for feed in feeds)

    def written(self, outbox: Outbox) -> None:
        """Remember to look whether what an outbox wrote has left."""
        self._written.add(outbox)

    def _feed(self, key: Key, make: Callable[[], F]) -> F:
        feed = self._feeds.get(key)
        if feed is None:
            feed = self._feeds[key] = make()
        return feed  # type: ignore[return-value]  # the first word of a key names its class

    # What the engine tells

    def on_snapshot(self, epoch: int, seq: Seq, events: Sequence[Event]) -> None:  # noqa: ARG002
        """Every state is told anew, executions and trades that were missed come from the database.

        Of the partition that was rebuilt, that is: what the others told stands.
        """
        self._mode = self.views.mode
        self._forget_batch()
        partition = partition_of(seq)
        if epoch != self._epochs.get(partition):
            self._epochs[partition] = epoch
            self._forget_steps(partition)
        self._guard(self._restart, seq)

    def on_epoch(self, epoch: int, seq: Seq) -> None:
        self.on_snapshot(epoch, seq, ())

    def on_entry(self, entry: Committed) -> None:
        self._at, self._partition = entry.at, partition_of(entry.seq)
        self._guard(self._tell, entry)

    def on_batch_end(self) -> None:
        self._guard(self._tell_batch)
        self._forget_batch()

    def _guard(self, step: Callable[..., None], *arguments: Any) -> None:
        try:
            step(*arguments)
        except Exception:  # our bug, but the market's data is no part of its money
            log.exception("publish_failed")

    def _tell(self, entry: Committed) -> None:
        partition = partition_of(entry.seq)
        self._told[partition] = entry.seq
        self._trades.clear()
        for event in entry.events:
            handler = self._handlers.get(type(event))
            if handler is not None:
                handler(event, entry)
        for loan_id, traded in self._trades.items():
            self._tickers[loan_id] = None
            self._traded[loan_id] = None
            self._tell_trades(loan_id, traded, entry.at)

    def _tell_execution(self, event: Executed, entry: Committed) -> None:
        if (executions := self._executions.get(event.account_id)) is not None:
            executions[partition_of(entry.seq)].executed(event, entry.seq, entry.at)

    def _hear_trade(self, event: Traded, entry: Committed) -> None:
        self._last_trade[partition_of(entry.seq)] = event.trade_id
        self._trades.setdefault(event.loan_id, []).append(event)

    def _hear_cash(self, event: CashChanged, _entry: Committed) -> None:
        self._balances.setdefault(event.account_id, set()).add(event.currency)

    def _hear_claim(self, event: ClaimChanged, _entry: Committed) -> None:
        self._balances.setdefault(event.account_id, set()).add(event.loan_id)

    def _hear_quotes(self, event: QuotesChanged, _entry: Committed) -> None:
        changed = self._quotes.setdefault(event.account_id, {})
        changed.update((quote.order_id, quote) for quote in event.quotes)

    def _tell_trades(self, loan_id: LoanId, trades: Sequence[Traded], at: Nanos) -> None:
        if isinstance(feed := self._feeds.get(("trade", loan_id, 0)), TradeFeed):
            feed.traded(trades, at)
        for feed in self._candle_feeds(loan_id):
            feed.traded(trades, at)

    def _candle_feeds(self, loan_id: LoanId) -> list[CandleFeed]:
        feeds = (self._feeds.get(("ohlc", loan_id, interval)) for interval in INTERVALS)
        return [feed for feed in feeds if isinstance(feed, CandleFeed)]

    def _tell_candles(self, loan_ids: Iterable[LoanId]) -> None:
        for loan_id in loan_ids:
            for feed in self._candle_feeds(loan_id):
                feed.changed()

    def _tell_batch(self) -> None:
        feeds = self._feeds
        for loan, deltas in self.views.book_deltas:
            self._tickers[loan.loan_id] = None
            self.steps.add(loan.loan_id, loan.book)
            for delta in deltas:
                feed = feeds.get(("book", loan.loan_id, delta.depth))
                if isinstance(feed, BookFeed):
                    feed.step(delta, self._at)
            if isinstance(feed := feeds.get(("bbo", loan.loan_id, 0)), BestFeed):
                feed.book_changed()
        self._tell_candles(self._traded)
        self._tell_instruments()
        for loan_id in self._tickers:
            if isinstance(feed := feeds.get(("ticker", loan_id, 0)), TickerFeed):
                feed.changed()
        for account_id, assets in self._balances.items():
            if isinstance(feed := feeds.get(("balances", account_id, 0)), BalancesFeed):
                feed.changed(assets)
        for account_id, quotes in self._quotes.items():
            if isinstance(feed := feeds.get(("quotes", account_id, 0)), QuotesFeed):
                feed.changed(quotes.values(), self._at)
        if self._at:
            self._metrics.observe_feed_lag(self._partition, (self._clock() - self._at) / 1e9)

    def _tell_instruments(self) -> None:
        loans = self.views.restated
        for loan in loans:
            self._tickers[loan.loan_id] = None  # accrued interest, factor, status
            if isinstance(feed := self._feeds.get(("instrument", loan.loan_id, 0)), InstrumentFeed):
                feed.changed([loan])
        if loans and isinstance(feed := self._feeds.get(("instrument", "", 0)), InstrumentFeed):
            feed.changed(loans)

    def _market_changed(self, _event: MarketChanged, _entry: Committed) -> None:
        self.tell_status()  # of which the mode and the business date are parts
        if self.views.mode is not self._mode:
            self._mode = self.views.mode
        else:  # the business date moved, and accrued interest with it
            for feed in self._feeds.values():
                if isinstance(feed, TickerFeed):
                    self._tickers[feed.loan.loan_id] = None

    def tell_status(self) -> None:
        message = status_message(self.views, self._clock())
        for session in self.sessions:
            session.outbox.send(message, excused=True)

    def _restart(self, seq: Seq) -> None:
        partition = partition_of(seq)
        self.tell_status()
        if told := self._told.get(partition):
            self.spawn(self._tell_missed_trades(partition, told, seq))
        self._told[partition] = seq
        for feed in self._feeds.values():
            if isinstance(feed, StateFeed) and feed.is_of(partition):
                feed.restart()
        for feeds in self._executions.values():
            executions = feeds[partition]
            for reader, position in executions.left_behind().items():
                self.spawn(self._rejoin(executions, reader, position))

    def _forget_steps(self, partition: int) -> None:
        loans = self.views.loans
        if self.views.partitions == 1:
            self.steps.clear()
        else:
            self.steps.clear_of(lambda loan_id: loan_id not in loans or loans[loan_id].partition == partition)

    async def _tell_missed_trades(self, partition: int, after: Seq, until: Seq) -> None:
        """Tell trades whose commit was in doubt. None overtakes them: a rebuilt market first takes only cancels."""
        behind = self._last_trade.get(partition, TradeId(0))
        for missed in await self._history.trades_between(behind, after=after, until=until):
            self._last_trade[partition] = max(self._last_trade.get(partition, behind), missed.trade.trade_id)
            self.views.add_past_trades([(missed.at, missed.trade)])
            self._tell_trades(missed.trade.loan_id, [missed.trade], missed.at)
            self._tell_candles([missed.trade.loan_id])

    async def _rejoin(self, executions: ExecutionsFeed, reader: Outbox, position: int) -> None:
        """Send what a rebuild brought to light. A reader that can't be told is cut off: it resumes by its number."""
        try:
            await executions.join(reader, position, self._history)
        except Exception:
            log.exception("rejoin_failed position=%d", position)
            reader.cut_off()

    def _forget_batch(self) -> None:
        self._tickers.clear()
        self._traded.clear()
        self._balances.clear()
        self._quotes.clear()

    # Time

    async def run(self) -> None:
        """Watch slow readers, send heartbeats and pings, until cancelled."""
        loop = asyncio.get_running_loop()
        polls = 0
        while True:
            await asyncio.sleep(POLL_S)
            self._written = {outbox for outbox in self._written if outbox.poll()}
            polls += 1
            if polls % POLLS_PER_CHECK == 0:
                for session in list(self.sessions):
                    session.check_credentials()
            if polls % POLLS_PER_TICK == 0:
                for session in list(self.sessions):
                    if session.is_subscribed and not session.outbox.congested:
                        session.outbox.send(HEARTBEAT, excused=True)
                    session.tick(loop.time())

    def attached(self) -> list[Attached]:
        return [each for session in self.sessions for each in session.attached()]

    def close_all(self, code: int, reason: str) -> None:
        """Say goodbye to every socket: the service goes away. A status says so before the close code does."""
        message = status_message(self.views, self._clock(), reason="restart")
        for session in list(self.sessions):
            session.outbox.send(message, excused=True)
            session.close(code, reason)

    def tell_day(self, partition: int) -> None:
        """The figures of the last day of a partition's loans are others now."""
        for feed in self._feeds.values():
            if isinstance(feed, TickerFeed) and feed.is_of(partition):
                feed.changed()

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Run something beside the engine; its failure is logged and hurts nobody else."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)

    async def stop(self) -> None:
        """End what runs beside the sockets; what is about to end by itself, such as the end of quotes, may."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=STOP_S)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("socket_task_failed", exc_info=error)

    def _queued_bytes(self) -> int:
        return sum(session.outbox.backlog for session in self.sessions)

    def _replay_bytes(self) -> int:
        return self.steps.bytes_held

    def _open_orders(self) -> int:
        return sum(len(account.open_orders) for account in self.views.accounts.values())

    def _open_quotes(self) -> int:
        return sum(len(account.quotes) for account in self.views.accounts.values())
