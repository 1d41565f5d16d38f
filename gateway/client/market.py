"""A client that stays: one object for books, own orders and fills, quotes and requests, through lost connections.

    async with MarketClient(url, key) as market:
        book = await market.book("DM-00001/CNY")
        answer = await market.add_order(symbol=book.symbol, side="buy", limit_price="97.50", order_qty="100.00")
        async for report in market.executions(from_seq=0):
            ...

Everything happens in the event loop of whoever entered it. Each reader has a queue of its own; the books are shared.
"""

import asyncio
import itertools
import secrets
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from decimal import Decimal
from types import TracebackType
from typing import Any, Literal, Self

from gateway.client.backoff import Backoff
from gateway.client.book import Book
from gateway.client.errors import ApiError, Disconnected, NotSent, Unanswered
from gateway.client.events import Connected, EpochChanged, Event, Lost
from gateway.client.keys import ApiKey
from gateway.client.link import Link
from gateway.client.mailbox import Mailbox
from gateway.client.orders import insist, place, resolve
from gateway.client.rest import Client
from gateway.client.socket import Socket
from gateway.client.subscriptions import BookFeed, Executions, ExecutionsFeed, Stream, Subscription
from gateway.client.wire import Json

Amount = str | Decimal
Side = Literal["buy", "sell"]


class MarketClient:
    """Use it as an async context manager; entering it connects and, with a key, logs in.

    session: names this client's orders, so that it takes them on again when it comes back.
    cancel_on_disconnect_ms: its orders are cancelled so long after its connection was lost; None: they stay.
    timeout_s: for one answer, and for the first connection.  resolve_s: how long what became of an order is asked for.

    rest: the same service's REST routes.  status: the latest row of the channel `status`.  epoch: the market's, of its
    first partition if it has several.
    account: whose key it is, None without one.
    """

    def __init__(
        self,
        url: str,
        key: ApiKey | None = None,
        *,
        session: str | None = None,
        cancel_on_disconnect_ms: int | None = None,
        timeout_s: float = 10.0,
        resolve_s: float = 300.0,
        backoff: Backoff | None = None,
    ) -> None:
        self.rest = Client(url, key)
        self.status: Json = {}
        self._epochs: dict[int, int] = {}  # by partition
        self.account: str | None = None
        self._timeout_s = timeout_s
        self._resolve_s = resolve_s
        self._backoff = backoff or Backoff()
        login: Json = {} if session is None else {"session": session}
        if cancel_on_disconnect_ms is not None:
            login["cancel_on_disconnect"] = {"enabled": True, "grace_ms": cancel_on_disconnect_ms}
        self._link = Link(
            self.rest,
            login=login,
            backoff=self._backoff,
            on_push=self._pushed,
            on_ready=self._ready,
            on_lost=self._lost,
            on_end=self._ended,
        )
        self._streams: dict[str, list[Stream]] = {}
        self._books: dict[str, BookFeed] = {}
        self._executions = ExecutionsFeed(self._heal)
        self._listeners: list[Mailbox[Event]] = []
        self._order_ids = (f"{secrets.token_hex(8)}-{n}" for n in itertools.count(1))
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        """Raises ApiError for a refused login, Disconnected if there is no connection within timeout_s."""
        await self.rest.__aenter__()
        try:
            await self._link.start(self._timeout_s)
        except BaseException:
            await self.rest.__aexit__(None, None, None)
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, e: BaseException | None, at: TracebackType | None
    ) -> None:
        await self._link.stop()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.rest.__aexit__(kind, e, at)

    @property
    def epoch(self) -> int:
        return self._epochs.get(0, 0)

    @property
    def is_connected(self) -> bool:
        return self._link.socket is not None

    @property
    def connections(self) -> int:
        """So many were made. What was quoted over an earlier one has ended with it."""
        return self._link.connections

    def reconnect(self) -> None:
        """Drop the connection without a word and make another."""
        if self._link.socket is not None:
            self._link.socket.abort()

    def events(self) -> Mailbox[Event]:
        """Return an async iterator of Connected, Lost and EpochChanged, from now on, until the client is closed."""
        listener: Mailbox[Event] = Mailbox()
        self._listeners.append(listener)
        return listener

    # Listening

    async def book(self, symbol: str, depth: int = 10) -> Book:
        """Return the live book of a loan; it is kept until the client is closed or `forget` is called.

        Raises ApiError for a symbol that there is not, ValueError for a second depth of the same book.
        """
        feed = self._books.get(symbol)
        if feed is None:
            feed = BookFeed(Book(symbol, depth), resync=self._resync, distrust=self.reconnect)
            self._books[symbol] = feed
        elif feed.book.depth != depth:
            raise ValueError(f"the book of {symbol} is kept to a depth of {feed.book.depth} already")
        try:
            await self._make(feed)
        except ApiError:
            self._books.pop(symbol, None)
            raise
        await feed.book.known(self._timeout_s)
        return feed.book

    async def forget(self, book: Book) -> None:
        """Keep a book no longer."""
        if (feed := self._books.pop(book.symbol, None)) is not None:
            feed.fail(Disconnected(f"the book of {book.symbol} is not kept any more"))
            await self._leave(**feed.named)

    async def subscribe(self, channel: str, symbols: Sequence[str] | None = None, **params: Any) -> Stream:
        """Return the messages of a channel as an async iterator. Raises ApiError if it is refused.

        Two streams of the same channel hear each other's snapshots. symbols: where the channel has them; with
        `instrument`, none means all.
        """
        if channel in ("book", "executions"):
            raise ValueError(f"{channel} has a method of its own")
        stream = Stream(channel, symbols, params)
        self._streams.setdefault(channel, []).append(stream)
        try:
            await self._make(stream)
        except BaseException:
            self._streams[channel].remove(stream)
            raise
        return stream

    async def unsubscribe(self, stream: Stream) -> None:
        """End a stream; what is unread of it can still be read."""
        streams = self._streams[stream.channel]
        streams.remove(stream)
        stream.fail(StopAsyncIteration())
        if streams or stream.channel == "status":
            return  # others may want the same
        names = {} if stream.symbols is None else {"symbol": stream.symbols}
        known = {name: value for name, value in stream.params.items() if name not in ("snapshot", "event_trigger")}
        await self._leave(answers=len(stream.symbols or [0]), channel=stream.channel, **names, **known)

    def executions(self, *, from_seq: int | None = None, from_seqs: Mapping[int, int] | None = None) -> Executions:
        """Return own orders and fills as an async iterator of ExecutionReport, each once and in order.

        from_seq: the last number that was dealt with, 0 for all there ever was; None begins with a snapshot of the
        open orders. It goes on through lost connections and restarts of the service. Raises ApiError when read, if
        the service does not know that number.
        from_seqs: in its stead in a market of several partitions, which number executions each by itself: the last
        number of each `report.partition`. One that is not named begins with the first.
        """
        if from_seq is not None:
            from_seqs = {0: from_seq}
        return Executions(from_seqs, self._start_executions)

    # Asking

    async def call(self, method: str, *, timeout_s: float | None = None, **params: Any) -> Json:
        """Make one attempt at a request and return its result; a connection is waited for.

        Raises ApiError if it is refused, NotSent if there was no connection in time, Disconnected or Unanswered if it
        was asked and no answer came.
        """
        loop = asyncio.get_running_loop()
        until = loop.time() + (self._timeout_s if timeout_s is None else timeout_s)
        while True:
            socket = await self._link.connected(until - loop.time())
            with suppress(NotSent):  # it has just ended; the next is waited for
                return await socket.call(method, timeout_s=until - loop.time(), **params)

    async def insist(self, method: str, **params: Any) -> Json:
        """Return the result of a request that may be repeated; passing failures are tried again."""
        return await insist(self.call, method, timeout_s=self._timeout_s, backoff=self._backoff, **params)

    async def add_order(
        self,
        *,
        symbol: str,
        side: Side,
        order_qty: Amount,
        limit_price: Amount | None = None,
        order_type: str = "limit",
        cl_ord_id: str | None = None,
        **more: Any,
    ) -> Json:
        """Place an order; return its acknowledgement, or the order where its fate had to be asked for.

        Raises ApiError if it was not executed and never will be, NotSent if it never left, Unresolved if not even
        that could be learned within resolve_s. cl_ord_id: made up if there is none.  more: as in the contract.
        """
        params: Json = {"symbol": symbol, "side": side, "order_type": order_type, "order_qty": order_qty, **more}
        if limit_price is not None:
            params["limit_price"] = limit_price
        params["cl_ord_id"] = cl_ord_id or self.new_order_id()
        return await place(
            self.call, timeout_s=self._timeout_s, resolve_s=self._resolve_s, backoff=self._backoff, **params
        )

    def new_order_id(self) -> str:
        """Return a client order id that nobody has used."""
        return next(self._order_ids)

    async def resolve_order(self, cl_ord_id: str) -> Json | None:
        """Return the order of a client id, or None if there is none and never will be. Raises Unresolved."""
        return await resolve(
            self.call, cl_ord_id, timeout_s=self._timeout_s, resolve_s=self._resolve_s, backoff=self._backoff
        )

    async def amend_order(self, **params: Any) -> Json:
        """Change an order, named by `order_id` or `cl_ord_id`. One attempt: see `get_order` if no answer comes."""
        return await self.call("amend_order", **params)

    async def cancel_order(self, *, order_id: str | None = None, cl_ord_id: str | None = None) -> Json:
        """Cancel one order. Raises ApiError: `order_closed` tells its final state."""
        named = {"order_id": order_id, "cl_ord_id": cl_ord_id}
        return await self.insist("cancel_order", **{name: [value] for name, value in named.items() if value})

    async def cancel_all(self, **filters: Any) -> Json:
        """Cancel orders and quotes: all, or those of a `symbol`, `side`, `session` or `tag`."""
        return await self.insist("cancel_all", **filters)

    async def get_order(self, *, order_id: str | None = None, cl_ord_id: str | None = None) -> Json:
        named = {"order_id": order_id, "cl_ord_id": cl_ord_id}
        return await self.insist("get_order", **{name: value for name, value in named.items() if value})

    async def mass_quote(
        self, quotes: Sequence[Json], *, quote_set: str = "default", mmp_group: str | None = None
    ) -> Json:
        """Move up to 500 quotes. One attempt: quotes end with their connection, so there is nothing to resolve."""
        group: Json = {} if mmp_group is None else {"mmp_group": mmp_group}
        return await self.call("mass_quote", quote_set=quote_set, quotes=list(quotes), **group)

    async def ping(self) -> None:
        """Return once everything that the service had sent before has been heard."""
        await self.call("ping")

    # The connection

    async def _ready(self, socket: Socket, who: Json) -> None:
        """Subscribe to everything on a new connection. What is refused for good ends alone."""
        self.account = who.get("account")
        self.status = {**self.status, **socket.greeting}
        await asyncio.gather(*(self._remake(each, socket) for each in self._subscriptions()))
        before, self._epochs = self._epochs, _epochs(self.status)
        self._tell(Connected(self._link.connections + 1, socket.greeting["connection_id"], self.epoch))
        self._tell_of_epochs(before)

    async def _remake(self, subscription: Subscription, socket: Socket) -> None:
        subscription.made_on = socket
        try:
            await subscription.subscribe(socket)
        except ApiError as e:
            if e.retryable:
                raise  # another connection, a little later
            subscription.fail(e)

    def _lost(self, code: int) -> None:
        for subscription in self._subscriptions():
            subscription.lose()
        self._tell(Lost(code))

    def _ended(self, error: Exception) -> None:
        for subscription in self._subscriptions():
            subscription.fail(error)
        for listener in self._listeners:
            listener.end(StopAsyncIteration())

    def _pushed(self, message: Json) -> None:
        channel = message["channel"]
        if channel == "book":
            for symbol in {row["symbol"] for row in message["data"]}:
                if (feed := self._books.get(symbol)) is not None:
                    feed.take(message)
        elif channel == "executions":
            self._executions.take(message)
        elif channel == "status":
            self._status_changed(message["data"][-1])
        for stream in self._streams.get(channel, ()):
            stream.take(message)

    def _status_changed(self, row: Json) -> None:
        self.status = {**self.status, **row}
        if self.is_connected:
            before, self._epochs = self._epochs, _epochs(row)
            self._tell_of_epochs(before)

    def _tell_of_epochs(self, before: Mapping[int, int]) -> None:
        for partition, now in self._epochs.items():
            if before.get(partition, now) != now:
                self._tell(EpochChanged(before[partition], now, partition))

    def _tell(self, event: Event) -> None:
        self._listeners = [listener for listener in self._listeners if not listener.ended]
        for listener in self._listeners:
            listener.put(event)

    def _subscriptions(self) -> list[Subscription]:
        streams = itertools.chain.from_iterable(self._streams.values())
        executions = [self._executions] if self._executions.readers else []
        return [*self._books.values(), *streams, *executions]

    async def _make(self, subscription: Subscription) -> None:
        """Subscribe, on this connection or, if it is lost meanwhile, wait for one that has it."""
        while True:
            socket = await self._link.connected(self._timeout_s)
            if subscription.made_on is socket:
                return
            subscription.made_on = socket
            try:
                await subscription.subscribe(socket)
                return
            except Disconnected:
                continue

    async def _start_executions(self, reader: Executions) -> None:
        self._executions.readers.append(reader)
        self._executions.made_on = None
        try:
            await self._make(self._executions)
        except ApiError:
            self._executions.readers.remove(reader)
            raise

    def _heal(self, feed: ExecutionsFeed) -> None:
        """Have a hole filled. While that is under way, later messages show the same hole."""
        if (socket := feed.made_on) is not None:
            feed.made_on = None
            self._spawn(lambda: self._make(feed), socket)

    def _resync(self, feed: BookFeed) -> None:
        if (socket := feed.made_on) is not None:
            self._spawn(lambda: socket.call("resync", timeout_s=self._timeout_s, **feed.named), socket)

    def _spawn(self, work: Callable[[], Awaitable[object]], socket: Socket) -> None:
        """Run something beside; if the service refuses it or does not answer, the connection is no good."""

        async def guarded() -> None:
            try:
                await work()
            except (ApiError, Unanswered):
                socket.abort()
            except Disconnected:
                pass

        task = asyncio.create_task(guarded())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _leave(self, *, answers: int = 1, **params: Any) -> None:
        """Unsubscribe, if there is a connection to be subscribed on."""
        if (socket := self._link.socket) is not None:
            with suppress(Disconnected, Unanswered):
                await socket.ask("unsubscribe", answers=answers, timeout_s=self._timeout_s, **params)


def _epochs(status: Json) -> dict[int, int]:
    """Return the epoch of each partition that a row of `status` tells."""
    several = {each["partition"]: each["epoch"] for each in status.get("partitions") or ()}
    return several or {0: status["epoch"]}
