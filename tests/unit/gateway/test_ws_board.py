"""The board's channel: what a reader has who applied every message is what a page of the board shows."""

import asyncio
import random
from contextlib import suppress
from datetime import timedelta
from typing import Any

import pytest

from gateway.process.metrics import Metrics
from gateway.reads import board as board_module
from gateway.reads.board import CommittedBoard, part_of
from gateway.reads.schemas import board_item
from gateway.reads.views import Views
from gateway.ws import board as channel_module
from gateway.ws.board import BoardChoice, BoardFeed, Boards, BoardView
from gateway.ws.outbox import Outbox, OutboxLimits
from market.commands import CancelAll, Command, HaltLoan, RollDay
from market.errors import Busy, MarketError
from market.ids import AccountId, LoanId
from market.orderbook.board import Wanted
from tests.builders import Market, buy, deposit, open_account, sell
from tests.unit.gateway.test_ws_outbox import FakeTransport

LOANS = tuple(f"L{n:02d}" for n in range(1, 15))
WISHES: tuple[dict[str, Any], ...] = (
    {},
    {"sort": "-ytm"},
    {"sort": "price", "max_price": "99.50"},
    {"sort": "-loan_id"},
    {"sort": "-grade", "min_price": "1.00"},
    {"sort": "-available", "min_discount": "1.00"},
    {"q": "l0", "sort": "-price"},
    {"loan_id": "L02,L07,L11", "fields": "ask,bid,status"},
    {"sort": "bid", "fields": "ytm_ask"},
)


def _view(wish: dict[str, Any], limit: int) -> BoardView:
    return BoardChoice.parse({"channel": "board", "limit": limit} | wish).to_view()


class Reader:
    """One socket on one board, and the rows that it makes of the messages."""

    def __init__(self, feed: BoardFeed) -> None:
        self.transport, self.rows = FakeTransport(), dict[str, Any]()
        self.feed, self.conflated = feed, 0
        self.outbox = Outbox(
            self.transport, limits=OutboxLimits(), numbers=False, on_slow=lambda: None, on_written=lambda _: None
        )

    def join(self) -> None:
        for message in self.feed.snapshots():
            self.outbox.send(message, excused=True)
        self.feed.readers[self.outbox] = None

    def lag(self) -> None:
        self.outbox.flush()
        self.take()
        self.transport.unread = 1 << 20

    def catch_up(self) -> None:
        for _ in range(3):
            self.outbox.flush()
            self.take()
            self.outbox.poll()

    def take(self) -> None:
        for message in self.transport.read_all():
            assert message["board"] == self.feed.id
            if message["type"] == "snapshot":
                self.rows.clear()
            kinds = [row.get("removed", False) for row in message["data"]]
            assert kinds == sorted(kinds, reverse=True), "removals come first"
            for row in message["data"]:
                self.conflated += row.pop("conflated", 0)
                if row.pop("removed", False):
                    assert self.rows.pop(row["loan_id"])
                else:
                    self.rows[row["loan_id"]] = row


class Rig:
    def __init__(self) -> None:
        self.market, self.views = Market(loans=LOANS), Views()
        self.board = CommittedBoard(self.views)
        self.boards = Boards(self.board, self.views, boards_max=20, metrics=Metrics())
        self.listeners = (self.views, self.board, self.boards)
        for command in (open_account("A"), deposit("A", 1_000_000_00)):
            self.market.do(command)
        self.rebuild()

    def rebuild(self) -> None:
        venue = self.market.venue
        for listener in self.listeners:
            listener.on_snapshot(self.views.epoch + 1, venue.seq, venue.snapshot())

    def do(self, command: Command) -> None:
        entry = self.market.entry(command)
        for listener in self.listeners:
            listener.on_entry(entry)
        for listener in self.listeners:
            listener.on_batch_end()

    def anything(self, rng: random.Random) -> None:
        loan_id, what = LoanId(rng.choice(LOANS)), rng.random()
        with suppress(MarketError):
            if what < 0.6:
                self.do(sell("ORIG", rng.randint(9_700, 10_100), rng.randint(1, 9) * 100, loan_id=loan_id))
            elif what < 0.75:
                self.do(buy("A", rng.randint(9_700, 10_100), rng.randint(1, 9) * 100, loan_id=loan_id))
            elif what < 0.9:
                self.do(CancelAll(account_id=AccountId("ORIG"), loan_id=loan_id))
            elif what < 0.95:
                self.do(HaltLoan(loan_id=loan_id, halted=rng.random() < 0.5))
            elif what < 0.97:
                self.do(RollDay(to=self.views.business_date + timedelta(1)))
            else:
                self.rebuild()

    async def page(self, view: BoardView) -> list[dict[str, Any]]:
        found, _ = await self.board.page(view.wanted, limit=view.limit)
        loans = [self.views.loan(loan_id) for loan_id in found]
        return [part_of(board_item(loan, self.views.business_date), view.fields) for loan in loans]


@pytest.mark.parametrize("seed", range(4))
async def test_messages_lead_to_what_a_page_shows(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Readers join at any time, lag and catch up, through rebuilds, with searches of a few steps at once."""
    for module in (board_module, channel_module):
        monkeypatch.setattr(module, "STEPS_AT_ONCE", 3)
    monkeypatch.setattr("market.orderbook.board.NARROW_MAX", 2)
    rng, rig = random.Random(seed), Rig()
    boards = [_view(wish, rng.randint(1, 5)) for wish in WISHES]
    readers: list[tuple[Reader, BoardView]] = []
    for round_ in range(60):
        for _ in range(rng.randint(0, 6)):
            rig.anything(rng)
        if round_ % 6 == 0:
            view = boards[round_ // 6 % len(boards)]
            feed = rig.boards.feed(view)
            await feed.prepare(None)  # type: ignore[arg-type]
            readers.append((Reader(feed), view))
            readers[-1][0].join()
        for reader, _ in readers:
            if rng.random() < 0.2:
                reader.lag()
            elif rng.random() < 0.5:
                reader.catch_up()
        await rig.boards.tick()
    for reader, view in readers:
        reader.catch_up()
        assert reader.rows == {row["loan_id"]: row for row in await rig.page(view)}, (seed, view)
    assert sum(reader.conflated for reader, _ in readers) > 0


async def test_a_snapshot_is_in_the_boards_order() -> None:
    rig = Rig()
    for loan_id, price in (("L03", 9_800), ("L01", 9_900), ("L02", 9_700)):
        rig.do(sell("ORIG", price, 1_00, loan_id=loan_id))
    feed = rig.boards.feed(_view({"sort": "price"}, 4))
    await feed.prepare(None)  # type: ignore[arg-type]
    assert [row["loan_id"] for row in feed.rows()] == ["L02", "L03", "L01", "L04"]


async def test_a_loan_is_judged_once_for_all_who_look_at_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    rig, judged = Rig(), list[LoanId]()
    feeds = {
        rig.boards.feed(_view(wish, 5))
        for wish in ({"grade": "A,B", "fields": "ask,bid"}, {"grade": ["B", "A"], "fields": ["bid", "ask"]})
    }
    [feed] = feeds
    await feed.prepare(None)  # type: ignore[arg-type]
    for _ in range(3):
        Reader(feed).join()
    await rig.boards.tick()
    monkeypatch.setattr(feed, "judge", lambda loan_id, _: judged.append(loan_id))
    rig.do(sell("ORIG", 9_900, 1_00, loan_id="L05"))
    await rig.boards.tick()
    assert judged == ["L05"]


async def test_boards_that_nobody_looks_at_are_forgotten_and_there_is_a_limit() -> None:
    rig = Rig()
    for n in range(20):
        rig.boards.feed(BoardView(Wanted(text=str(n)), 5))
    with pytest.raises(Busy):
        rig.boards.feed(BoardView(Wanted(text="one more"), 5))
    for n in range(40):  # what names its loans does not count
        rig.boards.feed(BoardView(Wanted(loans=frozenset({LoanId(f"L{n}")})), 5))
    await rig.boards.tick()
    rig.boards.feed(BoardView(Wanted(text="one more"), 5))


async def test_the_first_who_looks_does_not_wait_for_a_long_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    """Alone, the boards pause for long after they took long; what changes then is told at the usual pace."""
    monkeypatch.setattr(channel_module, "IDLE_PER_BUSY_ALONE", 1e9)
    monkeypatch.setattr(channel_module, "BOARD_EVERY_S", 0.001)
    rig = Rig()
    running = asyncio.create_task(rig.boards.run())
    for _ in range(20):  # it has worked once, and pauses
        await asyncio.sleep(0.001)
    feed = rig.boards.feed(_view({"loan_id": "L05"}, 1))
    with feed.joining():
        await feed.prepare(None)  # type: ignore[arg-type]
        reader = Reader(feed)
        reader.join()
    rig.do(sell("ORIG", 9_900, 1_00, loan_id="L05"))
    async with asyncio.timeout(10):
        while reader.rows.get("L05", {}).get("ask") != "99.00":
            await asyncio.sleep(0.001)
            reader.catch_up()
    running.cancel()
