"""The channel `instrument` of all loans: whoever lags, joins or hears of a rebuild comes to what is, part by part."""

import random
from datetime import timedelta
from typing import Any

import pytest

from gateway.reads.schemas import loan_object
from gateway.reads.views import Views
from gateway.ws import feeds as feeds_module
from gateway.ws.feeds import InstrumentFeed
from gateway.ws.outbox import Outbox, OutboxLimits
from market.commands import Command, HaltLoan, RollDay
from market.ids import LoanId
from tests.builders import Market, register
from tests.unit.gateway.test_ws_outbox import FakeTransport

LOANS = tuple(f"L{n:02d}" for n in range(1, 15))


class Reader:
    """One socket and the rows that it makes of the messages."""

    def __init__(self, feed: InstrumentFeed, part: int) -> None:
        self.transport, self.rows, self.part, self.conflated = FakeTransport(), dict[str, Any](), part, 0
        limits = OutboxLimits(conflate_bytes=4_000)
        self.outbox = Outbox(
            self.transport, limits=limits, numbers=False, on_slow=lambda: None, on_written=lambda _: None
        )
        for message in feed.snapshots():
            self.outbox.send(message, excused=True)
        feed.readers[self.outbox] = None

    def lag(self) -> None:
        self.outbox.flush()
        self.take()
        self.transport.unread = random.Random(len(self.rows)).choice([5_000, 1 << 20])

    def catch_up(self) -> None:
        self.outbox.flush()
        self.take()
        while self.outbox.poll():
            self.outbox.flush()
            self.take()

    def take(self) -> None:
        for message in self.transport.read_all():
            assert 0 < len(message["data"]) <= self.part
            for row in message["data"]:
                self.conflated += row.pop("conflated", 0)
                self.rows[row["loan_id"]] = row


class Rig:
    def __init__(self) -> None:
        self.market, self.views = Market(loans=LOANS), Views()
        self.feed: InstrumentFeed | None = None
        self.rebuild()
        self.feed = InstrumentFeed(self.views, None)

    def rebuild(self) -> None:
        venue = self.market.venue
        self.views.on_snapshot(self.views.epoch + 1, venue.seq, venue.snapshot())
        if self.feed is not None:
            self.feed.restart()

    def do(self, command: Command) -> None:
        entry = self.market.entry(command)
        self.views.on_entry(entry)
        self.views.on_batch_end()
        assert self.feed is not None
        self.feed.changed(self.views.restated)


@pytest.mark.parametrize("seed", range(6))
async def test_messages_lead_to_the_loans_as_they_are(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    part = 3
    monkeypatch.setattr(feeds_module, "INSTRUMENTS_PER_MESSAGE", part)
    rng, rig = random.Random(seed), Rig()
    assert rig.feed is not None
    readers: list[Reader] = []
    for n in range(80):
        for _ in range(rng.randint(0, 4)):
            what = rng.random()
            if what < 0.85:
                rig.do(HaltLoan(loan_id=LoanId(rng.choice(LOANS)), halted=rng.random() < 0.5))
            elif what < 0.9:
                rig.do(register(f"N{n}-{rng.randrange(10**6)}"))
            elif what < 0.95:
                rig.do(RollDay(to=rig.views.business_date + timedelta(1)))
            else:
                for loan_id in rng.sample(LOANS, 4):  # committed, but heard of only by the rebuild
                    rig.market.do(HaltLoan(loan_id=LoanId(loan_id), halted=rng.random() < 0.5))
                rig.rebuild()
        if n % 20 == 0:
            readers.append(Reader(rig.feed, part))
        for reader in readers:
            if rng.random() < 0.3:
                reader.lag()
            elif rng.random() < 0.5:
                reader.catch_up()
    shown = [loan_object(loan) for loan in rig.views.loans.values()]
    for reader in readers:
        reader.catch_up()
        assert reader.rows == {row["loan_id"]: row for row in shown}, seed
    assert len(rig.feed.rows()) == len(shown)
    assert sum(reader.conflated for reader in readers) > 0
