"""subscribe, unsubscribe, resync: from a request to the feeds that a socket reads. One acknowledgement per symbol.

A snapshot and the registration for what follows it are one step without an await. Between symbols a reader that lags is
waited for, so that a wish for thousands of books needs no more memory than one for ten.
"""

from collections.abc import Iterator, Sequence
from typing import Annotated, Any, Literal

from pydantic import Field

from gateway.access.rates import Bucket
from gateway.requests.access import Scope
from gateway.requests.fields import Name
from gateway.requests.fields import Request as Params
from gateway.wire import printable
from gateway.ws.board import CHANNEL, BoardChoice, BoardFeed, BoardSubscription, board_id
from gateway.ws.executions import ExecutionsFeed
from gateway.ws.feeds import BookFeed, Feed, StateFeed, status_message
from gateway.ws.session import NOTHING, Request, Session
from market.errors import InvalidArguments, UnknownLoan
from market.partitions import PARTITIONS_MAX

SYMBOLS_MAX = 20_000
PER_SYMBOL = ("book", "bbo", "ticker", "trade", "ohlc", "instrument")
BOARDS_PER_SOCKET = 10
PRIVATE_STATES = ("balances", "quotes")
DEFAULT_DEPTH, DEFAULT_INTERVAL = 10, 1

Channel = Literal[
    "book", "bbo", "ticker", "trade", "ohlc", "instrument", "status", "heartbeat", "executions", "balances", "quotes"
]
OF_CHANNEL = {  # what only some channels have
    "executions": ("snap_orders", "snap_trades", "from_seq", "from_seqs"),
    "book": ("from_seq", "epoch"),
    "ticker": ("event_trigger",),
}
OF_SOME = frozenset(name for names in OF_CHANNEL.values() for name in names)
ExecutionNumber = Annotated[int, Field(ge=0, lt=2**63)]
PartitionText = Annotated[str, Field(pattern=r"^(0|[1-9][0-9]?)$")]
Symbols = Annotated[list[Name], Field(min_length=1, max_length=SYMBOLS_MAX)]


class Choice(Params):
    """What a subscription is of. symbol: one or many; with `instrument`, none means all.  interval: minutes."""

    channel: Channel
    symbol: Symbols | Name | None = None
    depth: Literal[10, 25, 100, 500] | None = None
    interval: Literal[1, 5, 15, 30, 60, 240, 1440, 10080, 21600] | None = None
    token: str | None = None

    @property
    def symbols(self) -> list[str]:
        if isinstance(self.symbol, str):
            return [self.symbol]
        return self.symbol or []

    def check(self) -> None:
        """Raises InvalidArguments for a field that the channel does not have, or lacks."""
        if self.channel not in PER_SYMBOL and self.symbol is not None:
            raise InvalidArguments(f"symbol: {self.channel} has none", field="symbol")
        if self.channel in PER_SYMBOL[:-1] and not self.symbol:
            raise InvalidArguments(f"symbol: {self.channel} needs at least one", field="symbol")
        if self.depth is not None and self.channel != "book":
            raise InvalidArguments(f"depth: {self.channel} has none", field="depth")
        if self.interval is not None and self.channel != "ohlc":
            raise InvalidArguments(f"interval: {self.channel} has none", field="interval")


class Subscription(Choice):
    """snapshot: sent by default, but not for trades.

    from_seq: the last number that was seen, of `executions` or of the one book that is named.  epoch: of that book.
    from_seqs: of `executions` in a market of several partitions, by partition; of one that is not named, none was.
    event_trigger: what existing clients say of `ticker`; it is told on either event in any case.
    """

    snapshot: bool | None = None
    snap_orders: bool | None = None
    snap_trades: bool | None = None
    from_seq: Annotated[int, Field(ge=0, lt=2**63)] | None = None
    from_seqs: Annotated[dict[PartitionText, ExecutionNumber], Field(max_length=PARTITIONS_MAX)] | None = None
    epoch: Annotated[int, Field(ge=0, lt=2**63)] | None = None
    event_trigger: Literal["bbo", "trades"] | None = None

    def check(self) -> None:
        super().check()
        for name in sorted(OF_SOME):
            if getattr(self, name) is not None and name not in OF_CHANNEL.get(self.channel, ()):
                raise InvalidArguments(f"{name}: {self.channel} has none", field=name)
        if self.channel == "book" and self.from_seq is not None and len(self.symbols) != 1:
            raise InvalidArguments("from_seq: belongs to one book, so name one symbol", field="from_seq")
        if self.epoch is not None and self.from_seq is None:
            raise InvalidArguments("epoch: goes with from_seq", field="epoch")
        if self.from_seq is not None and self.from_seqs is not None:
            raise InvalidArguments("from_seq, from_seqs: one of the two", field="from_seqs")

    @property
    def wants_snapshot(self) -> bool:
        return self.channel != "trade" if self.snapshot is None else self.snapshot


async def subscribe(session: Session, request: Request) -> None:
    if request.params.get("channel") == CHANNEL:
        await _subscribe_board(session, request)
        return
    choice = Subscription.parse(request.params)
    choice.check()
    match choice.channel:
        case "executions":
            await _subscribe_executions(session, request, choice)
        case "status" | "heartbeat":
            session.streams.add(choice.channel)
            session.reply(request, {"channel": choice.channel})
            if choice.channel == "status":
                gate = session.gate
                session.outbox.send(status_message(gate.views, gate.clock()), excused=True)
        case _:
            for feed, told in _chosen(session, request, choice):
                session.require_room(feed)
                with feed.joining():
                    await feed.prepare(session.gate.history)
                    if choice.from_seq is not None and isinstance(feed, BookFeed):
                        await _resume(session, request, feed, told, choice.epoch, choice.from_seq)
                    else:
                        session.reply(request, told | {"snapshot": choice.wants_snapshot})
                        await _start(session, feed, snapshot=choice.wants_snapshot)


async def unsubscribe(session: Session, request: Request) -> None:
    if request.params.get("channel") == CHANNEL:
        board = _board_that_is_read(session, request)
        session.gate.hub.leave(session.feeds.pop(board.key), session.outbox)
        session.reply(request, {"channel": CHANNEL, "board": board.id})
        return
    choice = Choice.parse(request.params)
    choice.check()
    match choice.channel:
        case "executions":
            session.leave_executions()
            session.reply(request, {"channel": choice.channel})
        case "status" | "heartbeat":
            session.streams.discard(choice.channel)
            session.reply(request, {"channel": choice.channel})
        case _:
            for feed, told in _chosen(session, request, choice):
                session.feeds.pop(feed.key, None)
                session.gate.hub.leave(feed, session.outbox)
                session.reply(request, told)


async def resync(session: Session, request: Request) -> None:
    """Send a fresh snapshot of a state that the socket subscribed to."""
    if request.params.get("channel") == CHANNEL:
        board = _board_that_is_read(session, request)
        session.reply(request, {"channel": CHANNEL, "board": board.id})
        await _start(session, board, snapshot=True)
        return
    choice = Choice.parse(request.params)
    choice.check()
    if choice.channel not in (*PER_SYMBOL, *PRIVATE_STATES):
        raise InvalidArguments(f"channel: {choice.channel} has no snapshot to send anew", field="channel")
    for feed, told in _chosen(session, request, choice):
        if feed.key in session.feeds:
            session.reply(request, told)
            await _start(session, feed, snapshot=True)
        else:
            about = {"symbol": told["symbol"]} if "symbol" in told else NOTHING
            session.refuse(request, InvalidArguments("subscribe first", field="channel"), about)


async def _subscribe_board(session: Session, request: Request) -> None:
    choice = BoardSubscription.parse(request.params)
    feed = session.gate.boards.feed(choice.to_view())
    session.require_room(feed)
    if feed.key not in session.feeds and sum(key[0] == CHANNEL for key in session.feeds) >= BOARDS_PER_SOCKET:
        raise InvalidArguments(f"channel: a socket may look at {BOARDS_PER_SOCKET} boards", field="channel")
    told = {"channel": CHANNEL, "board": feed.id, "limit": choice.limit, "snapshot": choice.snapshot}
    with feed.joining():
        await feed.prepare(session.gate.history)
        session.reply(request, told)
        await _start(session, feed, snapshot=choice.snapshot)


def _board_that_is_read(session: Session, request: Request) -> BoardFeed:
    choice = BoardChoice.parse(request.params)
    feed = session.feeds.get((CHANNEL, board_id(choice.to_view()), choice.limit))
    if not isinstance(feed, BoardFeed):
        raise InvalidArguments("subscribe first", field="channel")
    return feed


async def _start(session: Session, feed: Feed, *, snapshot: bool) -> None:
    """Register for what follows and send a feed's snapshot, in one step; then wait for a reader that lags.

    Of a snapshot in parts the first is of that step; the others are sent as the reader takes them, each with what is.
    """
    outbox = session.outbox
    if isinstance(feed, StateFeed):
        outbox.forget(feed)
    session.feeds[feed.key] = feed
    feed.readers[outbox] = None
    for message in feed.snapshots() if snapshot else ():
        outbox.send(message, excused=True)
        if outbox.backlog > session.gate.limits.outbox.conflate_bytes:
            await outbox.drain()


async def _resume(
    session: Session, request: Request, feed: BookFeed, told: dict[str, Any], epoch: int | None, seq: int
) -> None:
    """Send what a reader missed of a book, in one step, then go live; a snapshot if it is no longer known."""
    missed = feed.missed(epoch, seq)
    session.reply(request, told | {"snapshot": missed is None, "resumed": missed is not None})
    for message in missed or ():
        session.outbox.send(message, excused=True)
    await _start(session, feed, snapshot=missed is None)


async def _subscribe_executions(session: Session, request: Request, choice: Subscription) -> None:
    who = session.payer(request, choice.token, Scope.READ, Bucket.SUBSCRIPTIONS)
    gate = session.gate
    feeds = gate.hub.executions(who.account_id)
    seen = _seen(choice, feeds)
    session.leave_executions()
    session.reply(request, {"channel": "executions", "account": who.account_id, **last_seqs(feeds)})
    session.executions = feeds
    for feed in feeds:
        position = seen.get(feed.partition, 0) if seen is not None else feed.sequence
        if seen is None:
            orders = choice.wants_snapshot if choice.snap_orders is None else choice.snap_orders
            position = await feed.snapshot(session.outbox, gate.history, orders=orders, trades=bool(choice.snap_trades))
        await feed.join(session.outbox, position, gate.history)


def _seen(choice: Subscription, feeds: Sequence[ExecutionsFeed]) -> dict[int, int] | None:
    """Return the last number of each partition that was seen, None for a reader that begins with a snapshot.

    Raises InvalidArguments for a number that there is not, or one of which it is not said what partition it is of.
    """
    if choice.from_seqs is not None:
        name, seen = "from_seqs", {int(partition): number for partition, number in choice.from_seqs.items()}
    elif choice.from_seq is not None:
        name, seen = "from_seq", {0: choice.from_seq}
        if len(feeds) > 1 and choice.from_seq:
            raise InvalidArguments("from_seqs: this market has several partitions, each with numbers", field=name)
    else:
        return None
    last = {feed.partition: feed.sequence for feed in feeds}
    for partition, number in seen.items():
        if partition not in last:
            raise InvalidArguments(f"{name}: there is no partition {partition}", field=name)
        if number > last[partition]:
            raise InvalidArguments(f"{name}: the last sequence is {last[partition]}", field=name)
    return seen


def last_seqs(feeds: Sequence[ExecutionsFeed]) -> dict[str, Any]:
    """Return what an acknowledgement says of the last numbers."""
    told: dict[str, Any] = {"last_exec_seq": feeds[0].sequence}
    if len(feeds) > 1:
        told["last_exec_seqs"] = {str(feed.partition): feed.sequence for feed in feeds}
    return told


def _chosen(session: Session, request: Request, choice: Choice) -> Iterator[tuple[Feed, dict[str, Any]]]:
    """Yield the feed of each symbol with what its acknowledgement says; refuse a symbol that there is not."""
    symbols: list[str | None] = [*choice.symbols] or [None]
    for symbol in symbols:
        try:
            feed = _feed(session, request, choice, symbol)
        except UnknownLoan as error:
            session.refuse(request, error, {"symbol": printable(symbol or "")})
            continue
        told: dict[str, Any] = {"channel": choice.channel}
        if symbol is not None:
            told["symbol"] = symbol
        if choice.channel == "book":
            told["depth"] = choice.depth or DEFAULT_DEPTH
        if choice.channel == "ohlc":
            told["interval"] = choice.interval or DEFAULT_INTERVAL
        yield feed, told


def _feed(session: Session, request: Request, choice: Choice, symbol: str | None) -> Feed:
    hub, views = session.gate.hub, session.gate.views
    if choice.channel in PRIVATE_STATES:
        who = session.payer(request, choice.token, Scope.READ, Bucket.SUBSCRIPTIONS)
        return hub.balances(who.account_id) if choice.channel == "balances" else hub.quotes(who.account_id)
    if symbol is None:
        return hub.instrument(None)
    loan_id = views.loan_of_symbol(symbol).loan_id
    match choice.channel:
        case "book":
            return hub.book(loan_id, choice.depth or DEFAULT_DEPTH)
        case "bbo":
            return hub.bbo(loan_id)
        case "ticker":
            return hub.ticker(loan_id)
        case "trade":
            return hub.trade(loan_id)
        case "ohlc":
            return hub.ohlc(loan_id, choice.interval or DEFAULT_INTERVAL)
        case _:
            return hub.instrument(loan_id)
