"""The channel `board`: the best of all loans by a filter and an order, as rows that enter, change and leave.

A board is kept once for all sockets that ask for the same. It knows the matches up to a horizon, at least as many as it
shows; each loan that changed is held against the filter once, whoever looks. Boards are brought up to date a few times
a second, not with every batch, so their cost does not grow with the market's pace.
Invariant: `told` is what a reader has who applied every message; what comes next leads on from it.
"""

import asyncio
import hashlib
import json
import logging
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import Field
from sortedcontainers import SortedList

from gateway.process.metrics import Metrics
from gateway.reads.board import STEPS_AT_ONCE, BoardParts, CommittedBoard, part_of
from gateway.reads.schemas import board_item
from gateway.reads.views import Views
from gateway.ws.executions import History
from gateway.ws.feeds import StateFeed
from gateway.ws.frames import Message
from gateway.ws.rows import Row
from market.errors import Busy
from market.events import Event
from market.ids import LoanId, Seq
from market.orderbook.board import Entry, Key, Wanted
from market.port import Committed

log = logging.getLogger(__name__)

CHANNEL = "board"
BOARD_EVERY_S = 0.1
ROWS_DEFAULT, ROWS_MAX = 100, 500
START: Key = (-1, 0, "")  # before every key
END: Key = (2, 0, "")  # behind every key
ITEMS_MAX = 5_000  # rendered rows that are kept
IDLE_PER_BUSY = 4  # however much changes, boards take at most a fifth of the time
IDLE_PER_BUSY_ALONE = 19  # and a twentieth while nobody looks: so that who comes next does not wait for what changed

Item = Callable[[LoanId], Row | None]


class BoardChoice(BoardParts):
    """Filter, order and fields as in `GET /v1/loans`; limit: rows at most."""

    channel: Literal["board"]
    limit: Annotated[int, Field(ge=1, le=ROWS_MAX)] = ROWS_DEFAULT

    def to_view(self) -> "BoardView":
        return BoardView(self.to_wanted(), self.limit, self.fields)


class BoardSubscription(BoardChoice):
    snapshot: bool = True


class BoardView(NamedTuple):
    """What a board shows. fields: of each loan, None for all."""

    wanted: Wanted
    limit: int
    fields: frozenset[str] | None = None


def board_id(view: BoardView) -> str:
    """Return a name for a board: the same for equal wishes, in every process."""
    wanted = view.wanted
    said = [
        None if wanted.loans is None else sorted(wanted.loans),
        [[facet, sorted(words)] for facet, words in wanted.words],
        wanted.bounds,
        wanted.text,
        wanted.sort,
        wanted.descending,
        view.limit,
        None if view.fields is None else sorted(view.fields),
    ]
    return hashlib.sha256(json.dumps(said).encode()).hexdigest()[:16]


class BoardFeed(StateFeed):
    """One board and its readers."""

    channel = CHANNEL

    def __init__(self, board: CommittedBoard, view: BoardView, item: Item) -> None:
        self.id = board_id(view)
        self._wanted, self._limit, self._fields = view
        super().__init__(self.id, self._limit)
        self._board, self._item = board, item
        self._told: dict[LoanId, Row] = {}
        self._base: dict[LoanId, Row] | None = None  # a copy of that, until it changes
        self.reset()

    @property
    def searches(self) -> bool:
        """Whether any loan may come to be on it."""
        return self._wanted.loans is None

    def reset(self) -> None:
        """Forget the matches, not what was told: the next refill finds them anew."""
        self._known: SortedList[Key] = SortedList()
        self._key_of: dict[LoanId, Key] = {}
        self._horizon: Key | None = START  # matches up to here are known, None: all of them

    async def prepare(self, history: History) -> None:  # noqa: ARG002
        await self._board.settle()
        await self.refill()
        if not self.readers:
            self.step(())

    def rows(self) -> list[Row]:
        """Return what was told, in the board's order."""
        return [self._told[loan_id] for loan_id in sorted(self._told, key=lambda each: self._key_of.get(each, END))]

    def snapshot(self) -> Message:
        return self._message("snapshot", self.rows())

    def base(self) -> dict[LoanId, Row]:
        if self._base is None:
            self._base = dict(self._told)
        return self._base

    def merged(self, base: dict[LoanId, Row] | None, count: int) -> Message:
        mark = {"conflated": count}
        if base is None:
            return self._message("snapshot", [row | mark for row in self.rows()])
        rows = [_removed(base[loan_id]) for loan_id in base if loan_id not in self._told]
        rows += [row for loan_id, row in self._told.items() if base.get(loan_id) != row]
        return self._message("update", [row | mark for row in rows])

    def concerned(self, changed: Sequence[LoanId]) -> Sequence[LoanId]:
        """Return those of the loans that this board could show."""
        loans = self._wanted.loans
        return changed if loans is None else [loan_id for loan_id in changed if loan_id in loans]

    def judge(self, loan_id: LoanId, entry: Entry | None) -> None:
        """Hold a loan that changed against the filter."""
        if (old := self._key_of.pop(loan_id, None)) is not None:
            self._known.remove(old)
        if entry is not None and self._wanted.accepts(entry):
            key = self._wanted.key(entry)
            if self._horizon is None or key <= self._horizon:
                self._know(loan_id, key)

    async def refill(self) -> None:
        """Find matches behind the horizon until there are as many as are shown, giving way to others."""
        while self._horizon is not None and len(self._known) < self._limit:
            wanted = 2 * self._limit - len(self._known)  # some to spare: most that leave need no search
            after = None if self._horizon == START else self._horizon
            keys, self._horizon = self._board.search(self._wanted, after=after, limit=wanted, steps=STEPS_AT_ONCE)
            for key in keys:
                self._know(LoanId(key[2]), key)
            await asyncio.sleep(0)
        while len(self._known) > 3 * self._limit:
            del self._key_of[LoanId(self._known.pop()[2])]
            self._horizon = self._known[-1]

    def step(self, changed: Iterable[LoanId]) -> None:
        """Tell what is different from what was told. changed: loans whose rows may be other ones."""
        shown = [LoanId(key[2]) for key in self._known[: self._limit]]
        fresh = set(changed)
        gone = self._told.keys() - set(shown)
        rows = [_removed(self._told.pop(loan_id)) for loan_id in sorted(gone)]
        for loan_id in shown:
            if loan_id in self._told and loan_id not in fresh:
                continue
            item = self._item(loan_id)
            if item is None:
                continue
            row = part_of(item, self._fields)
            if self._told.get(loan_id) != row:
                self._told[loan_id] = row
                rows.append(row)
        if rows:
            self._base = None
            if self.readers:
                self.publish(self._message("update", rows))

    def restart(self) -> None:
        self.reset()

    def _know(self, loan_id: LoanId, key: Key) -> None:
        if (old := self._key_of.get(loan_id)) is not None:
            self._known.remove(old)
        self._key_of[loan_id] = key
        self._known.add(key)

    def _message(self, kind: str, rows: Sequence[Row]) -> Message:
        return Message({"channel": CHANNEL, "type": kind, "board": self.id, "data": rows})


class Boards:
    """All boards that somebody looks at; an engine listener, to be registered behind the committed board."""

    def __init__(self, board: CommittedBoard, views: Views, *, boards_max: int, metrics: Metrics) -> None:
        self._board, self._views, self._boards_max = board, views, boards_max
        self._feeds: dict[str, BoardFeed] = {}
        self._somebody_looks = asyncio.Event()
        self._items: dict[LoanId, Row] = {}  # rendered for one board, good for all until the loan changes again
        metrics.watch("gateway_boards", "Different boards that sockets look at", lambda: len(self._feeds))

    def feed(self, view: BoardView) -> BoardFeed:
        """Return the one board for this. Raises Busy if there are too many different ones.

        A board of named loans does not count: it costs little, and a socket looks at few.
        """
        feed = self._feeds.get(board_id(view))
        if feed is None:
            if view.wanted.loans is None and self._searching >= self._boards_max:
                raise Busy("too many different boards are looked at: ask for one that others have")
            feed = BoardFeed(self._board, view, self._item)
            self._feeds[feed.id] = feed
            self._somebody_looks.set()
        return feed

    @property
    def _searching(self) -> int:
        return sum(feed.searches for feed in self._feeds.values())

    def on_snapshot(self, epoch: int, seq: Seq, events: Sequence[Event]) -> None:  # noqa: ARG002
        """Begin all boards anew; where it is one partition of several, its loans come as any that changed."""
        if self._views.partitions > 1:
            return
        self._items.clear()
        for feed in self._feeds.values():
            feed.restart()

    def on_epoch(self, epoch: int, seq: Seq) -> None:
        self.on_snapshot(epoch, seq, ())

    def on_entry(self, entry: Committed) -> None:
        pass

    def on_batch_end(self) -> None:
        pass

    async def run(self) -> None:
        """Bring the boards up to date again and again, until cancelled."""
        loop, took_s = asyncio.get_running_loop(), 0.0
        while True:
            await self._pause(took_s)
            start = loop.time()
            try:
                await self.tick()
                took_s = loop.time() - start
            except Exception:  # our bug, but not the market's end
                log.exception("boards_failed")

    async def _pause(self, took_s: float) -> None:
        """Wait as long as the time that was taken wants it; the first who looks ends the long wait of being alone."""
        if self._feeds:
            await asyncio.sleep(max(BOARD_EVERY_S, took_s * IDLE_PER_BUSY))
            return
        self._somebody_looks.clear()
        with suppress(TimeoutError):
            async with asyncio.timeout(max(BOARD_EVERY_S, took_s * IDLE_PER_BUSY_ALONE)):
                await self._somebody_looks.wait()

    async def tick(self) -> None:
        await self._board.settle()
        changed = self._board.take_untold()
        for loan_id in changed:
            self._items.pop(loan_id, None)
        for feed in list(self._feeds.values()):
            if not feed.is_wanted:
                del self._feeds[feed.id]
                continue
            concerned = feed.concerned(changed)
            for start in range(0, len(concerned), STEPS_AT_ONCE):
                for loan_id in concerned[start : start + STEPS_AT_ONCE]:
                    feed.judge(loan_id, self._board.get(loan_id))
                await asyncio.sleep(0)
            await feed.refill()
            feed.step(concerned)
        if not self._feeds or len(self._items) > ITEMS_MAX:
            self._items.clear()

    def _item(self, loan_id: LoanId) -> Row | None:
        row = self._items.get(loan_id)
        if row is None and (loan := self._views.loans.get(loan_id)) is not None:
            row = self._items[loan_id] = board_item(loan, self._views.business_date)
        return row


def _removed(row: Row) -> dict[str, Any]:
    return {"symbol": row["symbol"], "loan_id": row["loan_id"], "removed": True}
