"""What a client listens to, through any number of connections: channels as they come, books, executions.

A subscription is made anew on each connection. States begin with a snapshot again; a book goes on where it was if the
service still knows the steps between; executions go on behind the last number.
"""

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Self

from gateway.client.book import Book, BookError
from gateway.client.mailbox import UNREAD_MAX, Mailbox
from gateway.client.socket import Socket, result_of
from gateway.client.wire import Json

SNAPSHOTS_MAX = 3  # in a row that do not bear their own checksum, before the connection is not trusted any more


class Subscription(ABC):
    """made_on: the connection that it is made on, None if on none."""

    def __init__(self, channel: str) -> None:
        self.channel = channel
        self.made_on: Socket | None = None

    @abstractmethod
    async def subscribe(self, socket: Socket) -> None:
        """Ask for it. Raises ApiError."""

    @abstractmethod
    def take(self, message: Json) -> None:
        """Hear a push of the channel."""

    def lose(self) -> None:
        """The connection is gone."""
        self.made_on = None

    @abstractmethod
    def fail(self, error: Exception) -> None:
        """There will be no more."""


class Stream(Subscription):
    """The messages of a channel, `{"channel", "type": "snapshot" | "update", "data": [rows]}`, as an async iterator.

    After a reconnect it says a snapshot again where the channel has one.
    """

    def __init__(self, channel: str, symbols: Sequence[str] | None, params: Json, unread_max: int = UNREAD_MAX) -> None:
        super().__init__(channel)
        self.symbols = None if symbols is None else list(symbols)
        self.params = params
        self._wanted = None if symbols is None else frozenset(symbols)
        self._board: str | None = None
        self._mailbox: Mailbox[Json] = Mailbox(unread_max)

    async def subscribe(self, socket: Socket) -> None:
        names: Json = {} if self.symbols is None else {"symbol": self.symbols}
        answers = 1 if self.symbols is None else len(self.symbols)
        replies = await socket.ask(
            "subscribe", answers=answers, on_reply=self._acknowledged, channel=self.channel, **names, **self.params
        )
        for reply in replies:
            result_of(reply)

    def _acknowledged(self, reply: Json) -> None:
        self._board = (reply.get("result") or {}).get("board")

    def take(self, message: Json) -> None:
        if self.channel == "board" and message.get("board") != self._board:
            return
        if self._wanted is None:
            self._mailbox.put(message)
            return
        rows = [row for row in message["data"] if row["symbol"] in self._wanted]
        if rows:
            self._mailbox.put(message if len(rows) == len(message["data"]) else {**message, "data": rows})

    def fail(self, error: Exception) -> None:
        self._mailbox.end(error)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Json:
        return await self._mailbox.__anext__()


class BookFeed(Subscription):
    """Keeps one book. resync: asks for a snapshot in-band.  distrust: gives the connection up."""

    def __init__(self, book: Book, *, resync: Callable[["BookFeed"], None], distrust: Callable[[], None]) -> None:
        super().__init__("book")
        self.book = book
        self._resync = resync
        self._distrust = distrust
        self._is_lost = False  # until a snapshot comes
        self._bad_snapshots = 0

    @property
    def named(self) -> Json:
        """What subscribe, resync and unsubscribe call this book."""
        return {"channel": "book", "symbol": self.book.symbol, "depth": self.book.depth}

    async def subscribe(self, socket: Socket) -> None:
        book, params = self.book, self.named
        if book.epoch and not self._is_lost:
            params |= {"from_seq": book.seq, "epoch": book.epoch}
        result_of((await socket.ask("subscribe", on_reply=self._acknowledged, **params))[0])

    def _acknowledged(self, reply: Json) -> None:
        if reply.get("success") and reply["result"].get("resumed"):
            self.book.tell(is_live=True)

    def take(self, message: Json) -> None:
        for row in message["data"]:
            if row["symbol"] == self.book.symbol:
                self._step(message["type"], row)

    def _step(self, kind: str, row: Json) -> None:
        is_snapshot = kind == "snapshot"
        if self._is_lost and not is_snapshot:
            return
        try:
            self.book.take(kind, row)
        except BookError:
            self._mistaken(is_snapshot)
            return
        self._is_lost = False
        if is_snapshot:
            self._bad_snapshots = 0
        self.book.tell(is_live=True)

    def lose(self) -> None:
        super().lose()
        self.book.tell(is_live=False)

    def fail(self, error: Exception) -> None:
        self.book.end(error)

    def _mistaken(self, is_snapshot: bool) -> None:
        self._is_lost = True
        self._bad_snapshots += is_snapshot
        self.book.resyncs += 1
        self.book.tell(is_live=False)
        if self._bad_snapshots >= SNAPSHOTS_MAX:
            self._bad_snapshots = 0
            self._distrust()
        else:
            self._resync(self)


@dataclass(frozen=True, slots=True)
class ExecutionReport:
    """One message of `executions`: what one command did to own orders. Keep `sequence` once it is dealt with.

    is_snapshot: the rows are the orders that were open at that number, not what happened.
    partition: by which the number counts, in a market of several; keep the last one of each.
    """

    sequence: int
    is_snapshot: bool
    rows: list[Json]
    partition: int = 0


class Executions:
    """Own orders and fills as an async iterator of ExecutionReport: none is missed and none comes twice.

    positions: the number of the last message that was heard, by partition.  goes_on: whether it began behind numbers,
    so that of a partition without one nothing was heard; else it begins with the partition's snapshot.
    """

    def __init__(self, from_seqs: Mapping[int, int] | None, start: Callable[["Executions"], Awaitable[None]]) -> None:
        self.positions = dict(from_seqs or {})
        self.goes_on = from_seqs is not None
        self.mailbox: Mailbox[ExecutionReport] = Mailbox()
        self._start = start
        self._is_started = False

    def take(self, message: Json) -> bool:
        """Hear a message. Returns False if one before it is missing."""
        partition, sequence = message.get("partition", 0), message["sequence"]
        position = self.positions.get(partition, 0 if self.goes_on else None)
        if message["type"] == "snapshot":
            if position is None:
                self._put(partition, sequence, message, is_snapshot=True)
        elif position is not None and sequence > position:
            if message["prev_sequence"] != position:
                return False
            self._put(partition, sequence, message, is_snapshot=False)
        return True

    def _put(self, partition: int, sequence: int, message: Json, *, is_snapshot: bool) -> None:
        self.positions[partition] = sequence
        self.mailbox.put(ExecutionReport(sequence, is_snapshot, message["data"], partition))

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> ExecutionReport:
        if not self._is_started:
            self._is_started = True
            await self._start(self)
        return await self.mailbox.__anext__()


class ExecutionsFeed(Subscription):
    """The one subscription behind all readers of executions. heal: makes it anew, behind what the readers have."""

    def __init__(self, heal: Callable[["ExecutionsFeed"], None]) -> None:
        super().__init__("executions")
        self.readers: list[Executions] = []
        self._heal = heal
        self._is_cut = False  # whether the market has several partitions

    async def subscribe(self, socket: Socket) -> None:
        """Ask for what the reader that is furthest behind has not heard. The others know what they have."""
        going_on = [reader for reader in self.readers if reader.goes_on or reader.positions]
        for reader in going_on:
            reader.goes_on = True  # also one whose snapshots were cut short: it hears the rest from its beginning
        if going_on:
            positions = [reader.positions for reader in going_on]
            await socket.call("subscribe", channel="executions", **_behind(positions, is_cut=self._is_cut))
        if len(going_on) < len(self.readers):
            await socket.call("subscribe", channel="executions", snap_orders=True)

    def take(self, message: Json) -> None:
        self._is_cut = "partition" in message
        self.readers = [reader for reader in self.readers if not reader.mailbox.ended]
        followed = [reader.take(message) for reader in self.readers]  # each one hears it
        if not all(followed):
            self._heal(self)

    def fail(self, error: Exception) -> None:
        for reader in self.readers:
            reader.mailbox.end(error)


def _behind(positions: Sequence[Mapping[int, int]], *, is_cut: bool) -> Json:
    """Return how to ask for what comes behind the lowest of the positions in each partition."""
    partitions = sorted({partition for each in positions for partition in each})
    lowest = {partition: min(each.get(partition, 0) for each in positions) for partition in partitions}
    if partitions == [0] and not is_cut:
        return {"from_seq": lowest[0]}
    return {"from_seqs": {str(partition): number for partition, number in lowest.items()}}
