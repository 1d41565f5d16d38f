"""What is due to one socket: everything of one loop turn leaves in one write, and a slow reader costs bounded memory.

Two kinds of message. Those of `send` reach the reader each (replies, executions, trades); one too far behind on them
is cut off. Those of `offer` describe a state (book, best prices, ticker): while the reader lags they are only
counted, and once it has drained it gets one message that leads from what it has to what is now.
Bytes that the kernel took are not seen here; TCP_NOTSENT_LOWAT keeps them few, so that what is merged is fresh.
"""

import asyncio
import socket
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Protocol

from gateway.ws.frames import PING_FRAME, Message, pong_frame

MARK_EVERY_S = 0.25


@dataclass(frozen=True, slots=True, kw_only=True)
class OutboxLimits:
    """Merging begins above conflate_bytes of backlog and ends below half of it."""

    backlog_bytes_max: int = 1 << 20
    conflate_bytes: int = 128 << 10
    behind_s_max: float = 5.0


class StateFeed(Protocol):
    """A stream of states of which a slow reader may skip some."""

    def base(self) -> Any:
        """Return what a reader of the latest message knows: the starting point of a merged one."""

    def merged(self, base: Any, count: int) -> Message:
        """Return one message that leads from `base` (None: unknown) to now, in place of `count` of them."""

    def rest(self, base: Any) -> Any:
        """Return what a reader knows after the merged message, if that is too big to lead to now; None if it does."""


@dataclass(slots=True)
class _Late:
    base: Any
    count: int = 0


class Outbox:
    """One socket's way out. Never raises, whatever the peer does: the engine's listeners write here.

    on_slow: called once when the reader is past the limits; the owner closes the socket.
    on_written: called when bytes went out, so that the owner polls until they have left.
    """

    __slots__ = (
        "_excused",
        "_flush_due",
        "_late",
        "_limits",
        "_loop",
        "_marks",
        "_on_slow",
        "_on_written",
        "_pending",
        "_pending_bytes",
        "_transport",
        "_written",
        "closed",
        "congested",
        "drained",
        "leftover",
        "numbers",
    )

    def __init__(
        self,
        transport: asyncio.Transport,
        *,
        limits: OutboxLimits,
        numbers: bool,
        on_slow: Callable[[], None],
        on_written: Callable[["Outbox"], None],
    ) -> None:
        self.numbers = numbers
        self.closed = False
        self.congested = False
        self.leftover = 0  # bytes that an earlier turn wrote and the kernel has not taken
        self.drained = asyncio.Event()
        self.drained.set()
        self._transport = transport
        self._limits = limits
        self._loop = asyncio.get_running_loop()
        self._on_slow = on_slow
        self._on_written = on_written
        self._pending: list[bytes] = []
        self._pending_bytes = 0
        self._flush_due = False
        self._late: dict[StateFeed, _Late] = {}
        self._excused = 0
        self._written = 0
        self._marks: deque[tuple[int, float]] = deque()  # (offset in the stream, when it was due) of sampled messages
        keep_kernel_backlog_small(transport, limits.conflate_bytes)

    @property
    def backlog(self) -> int:
        """Bytes that wait in this process."""
        return self.leftover + self._pending_bytes

    def send(self, message: Message, *, excused: bool = False) -> None:
        """Queue a message that must arrive. excused: an answer to the reader's own wish, however big, is no backlog."""
        if self.closed:
            return
        frame = message.frame(numbers=self.numbers)
        self._append(frame)
        if excused:
            self._excused += len(frame)
            return
        now = self._loop.time()
        if not self._marks or now - self._marks[-1][1] >= MARK_EVERY_S:
            self._marks.append((self._written + self._pending_bytes, now))
        if self.congested and self.backlog - self._excused > self._limits.backlog_bytes_max:
            self.cut_off()

    @staticmethod
    def offer_to_all(outboxes: "Iterable[Outbox]", feed: StateFeed, message: Message) -> None:
        """Do what `offer` does for each. Most deliveries of the market are made here, without a call for most of them.

        An outbox that has something pending is not closed and will be flushed.
        """
        frame = message.frame(numbers=False)
        size = len(frame)
        for outbox in outboxes:
            if outbox._pending and not (outbox.congested or outbox._late or outbox.numbers):
                outbox._pending.append(frame)
                outbox._pending_bytes += size
            else:
                outbox.offer(feed, message)

    def offer(self, feed: StateFeed, message: Message) -> None:
        """Queue a step of a state, or count it if the reader lags."""
        if self.closed:
            return
        late = self._late.get(feed)
        if late is not None:
            late.count += 1
            return
        if self.congested:
            if self.backlog > self._limits.backlog_bytes_max // 2:
                self._late[feed] = _Late(None, 1)
                return
            # The first one still goes out, so that what the reader knows is the feed's present state.
            self._late[feed] = _Late(feed.base())
        self._append(message.frame(numbers=self.numbers))

    def replace(self, feed: StateFeed, message: Message) -> None:
        """Queue a snapshot that nobody asked for (a rebuild): it makes all earlier steps void."""
        self.forget(feed)
        if self.congested and not self.closed:
            self._late[feed] = _Late(None, 1)
        else:
            self.offer(feed, message)

    def fall_behind(self, feed: StateFeed, base: Any) -> None:
        """Have a feed told from `base` on, as much of it at a time as the reader takes."""
        if not self.closed and feed not in self._late:
            self._late[feed] = _Late(base, 1)

    def forget(self, feed: StateFeed) -> None:
        """Drop what is merged for a feed: the reader unsubscribed or gets a snapshot."""
        self._late.pop(feed, None)

    def ping(self) -> None:
        self._append(PING_FRAME)

    def pong(self, payload: bytes) -> None:
        self._append(pong_frame(payload))

    async def drain(self) -> None:
        """Wait until the reader has caught up: between the parts of a long answer."""
        self.flush()
        await asyncio.sleep(0)  # the loop writes now
        if not self.closed:
            self._measure()
        await self.drained.wait()

    def flush(self) -> None:
        """Write what is pending. Called by the loop at the end of the turn, and before a close frame."""
        self._flush_due = False
        if not self._pending or self.closed:
            return
        self._measure()
        data = self._pending[0] if len(self._pending) == 1 else b"".join(self._pending)
        self._pending.clear()
        self._pending_bytes = 0
        self._written += len(data)
        try:
            self._transport.write(data)
        except (RuntimeError, OSError):  # uvloop raises on a handle that is closed
            self.close()
            return
        self._on_written(self)

    def poll(self) -> bool:
        """Look whether the reader caught up. Returns False once nothing is left to wait for."""
        if self.closed:
            return False
        self._measure()
        taken = self._written - self.leftover
        while self._marks and self._marks[0][0] <= taken:
            self._marks.popleft()
        if self._marks and self._loop.time() - self._marks[0][1] > self._limits.behind_s_max:
            self.cut_off()
            return False
        if not self.congested:
            self._excused = 0
            self._catch_up()
        return self.leftover > 0 or bool(self._late) or bool(self._pending)

    def cut_off(self) -> None:
        """Give a reader up who can't be served without a gap: its owner closes the socket."""
        self.flush()
        self._late.clear()
        self._marks.clear()
        if not self.closed:
            self._on_slow()

    def close(self) -> None:
        """Take nothing more and hold nothing more."""
        self.closed = True
        self._pending.clear()
        self._late.clear()
        self._marks.clear()
        self._pending_bytes = self.leftover = 0
        self.drained.set()

    def _append(self, frame: bytes) -> None:
        self._pending.append(frame)
        self._pending_bytes += len(frame)
        if not self._flush_due and not self.closed:
            self._flush_due = True
            self._loop.call_soon(self.flush)

    def _measure(self) -> None:
        try:
            size = self._transport.get_write_buffer_size()
            self.leftover = 0 if size and self._transport.is_closing() else size
        except (RuntimeError, OSError):
            self.leftover = 0
        if self.leftover > self._limits.conflate_bytes:
            self.congested = True
            self.drained.clear()
        elif self.leftover <= self._limits.conflate_bytes // 2:
            self.congested = False
            self.drained.set()

    def _catch_up(self) -> None:
        """Send what was merged, as much of it as does not make the reader lag again."""
        while self._late and self._pending_bytes < self._limits.conflate_bytes:
            feed = next(iter(self._late))
            late = self._late.pop(feed)
            if late.count:
                self._append(feed.merged(late.base, late.count).frame(numbers=self.numbers))
                if (rest := feed.rest(late.base)) is not None:
                    self._late[feed] = _Late(rest, late.count)


def keep_kernel_backlog_small(transport: asyncio.BaseTransport, size: int) -> None:
    """Let the kernel hold at most about `size` bytes that it could not send yet, where it can be told so."""
    option = getattr(socket, "TCP_NOTSENT_LOWAT", None)
    peer = transport.get_extra_info("socket")
    if option is not None and peer is not None and peer.family in (socket.AF_INET, socket.AF_INET6):
        peer.setsockopt(socket.IPPROTO_TCP, option, size)
