"""The outbox against a transport whose reader is under the test's control."""

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import pytest

from gateway.ws.frames import Message
from gateway.ws.outbox import Outbox, OutboxLimits

LIMITS = OutboxLimits(backlog_bytes_max=4000, conflate_bytes=1000, behind_s_max=0.0)


class FakeTransport(asyncio.Transport):
    """Takes bytes without end; the reader has read what `read_all` took away."""

    def __init__(self) -> None:
        super().__init__()
        self.writes: list[bytes] = []
        self.unread = 0
        self.gone = False

    def write(self, data: Any) -> None:
        if self.gone:
            raise RuntimeError("unable to perform operation: the handler is closed")
        self.writes.append(bytes(data))
        self.unread += len(data)

    def get_write_buffer_size(self) -> int:
        if self.gone:
            raise RuntimeError("unable to perform operation: the handler is closed")
        return self.unread

    def is_closing(self) -> bool:
        return False

    def read_all(self) -> list[dict[str, Any]]:
        data, self.unread = b"".join(self.writes), 0
        self.writes.clear()
        return list(messages_in(data))


def messages_in(data: bytes) -> Iterator[dict[str, Any]]:
    while data:
        size, start = data[1], 2
        if size == 126:
            size, start = int.from_bytes(data[2:4]), 4
        yield json.loads(data[start : start + size])
        data = data[start + size :]


class Counter:
    """A feed whose state is a number."""

    def __init__(self) -> None:
        self.value = 0

    def step(self) -> Message:
        self.value += 1
        return Message({"from": self.value - 1, "to": self.value, "pad": "x" * 100})

    def base(self) -> int:
        return self.value

    def merged(self, base: int | None, count: int) -> Message:
        return Message({"from": base, "to": self.value, "conflated": count})

    def rest(self, base: int | None) -> None:
        """One message leads from anywhere to now."""


class Rig:
    def __init__(self, limits: OutboxLimits = LIMITS) -> None:
        self.transport, self.feed, self.slow = FakeTransport(), Counter(), 0
        self.outbox = Outbox(
            self.transport, limits=limits, numbers=False, on_slow=self.on_slow, on_written=lambda _: None
        )

    def on_slow(self) -> None:
        self.slow += 1
        self.outbox.close()

    def fill(self, size: int) -> None:
        self.outbox.send(Message({"pad": "y" * size}), excused=True)
        self.outbox.flush()


async def test_all_of_one_loop_turn_leaves_in_one_write() -> None:
    rig = Rig()
    for n in range(10):
        rig.outbox.send(Message({"n": n}))
    assert rig.transport.writes == []
    await asyncio.sleep(0)
    assert len(rig.transport.writes) == 1
    assert rig.transport.read_all() == [{"n": n} for n in range(10)]


async def test_one_message_for_many_readers_does_to_each_what_it_would_do_to_it_alone() -> None:
    """Idle, with something pending, lagging, caught up but not yet told, with numbers, closed."""

    def readers() -> list[Rig]:
        rigs = [Rig() for _ in range(6)]
        _, pending, lagging, late, numbers, closed = rigs
        numbers.outbox.numbers = True
        for rig in (pending, numbers, closed):
            rig.outbox.send(Message({"price": "1.00"}))
        for rig in (lagging, late):
            rig.fill(1500)
            rig.outbox.poll()
        lagging.outbox.send(Message({"price": "1.00"}))
        late.outbox.offer(feed, step)
        late.transport.read_all()
        late.outbox.flush()  # measures
        late.outbox.send(Message({"price": "1.00"}))
        closed.outbox.close()
        return rigs

    feed, step = Counter(), Message({"price": "2.00"})
    each, together = readers(), readers()
    for _ in range(3):
        for rig in each:
            rig.outbox.offer(feed, step)
        Outbox.offer_to_all([rig.outbox for rig in together], feed, step)
    backlogs = [rig.outbox.backlog for rig in together]
    assert backlogs == [rig.outbox.backlog for rig in each]
    await asyncio.sleep(0)
    got = []
    for alone, one_of_many in zip(each, together, strict=True):
        for rig in (alone, one_of_many):
            got.append(rig.transport.read_all())
            rig.outbox.poll()
            rig.outbox.flush()
            got[-1] += rig.transport.read_all()
    assert got[0::2] == got[1::2]
    assert [len(messages) for messages in got[0::2]] == [3, 4, 4, 3, 4, 0]
    assert got[8][-1] == {"price": 2.0}


async def test_states_are_merged_while_the_reader_lags_and_join_without_a_gap() -> None:
    rig = Rig()
    rig.fill(1500)
    rig.outbox.poll()
    for _ in range(50):
        rig.outbox.offer(rig.feed, rig.feed.step())
    rig.outbox.flush()
    assert rig.outbox.backlog < 2000
    assert rig.outbox.poll()
    got = rig.transport.read_all()[1:]
    assert rig.outbox.poll()
    rig.outbox.flush()
    got += rig.transport.read_all()
    rig.outbox.offer(rig.feed, rig.feed.step())
    rig.outbox.flush()
    got += rig.transport.read_all()
    assert [(m["from"], m["to"]) for m in got] == [(0, 1), (1, 50), (50, 51)]
    assert got[1]["conflated"] == 49


async def test_a_step_between_draining_and_catching_up_is_merged_too() -> None:
    rig = Rig()
    rig.fill(1500)
    rig.outbox.poll()
    for _ in range(3):
        rig.outbox.offer(rig.feed, rig.feed.step())
    rig.outbox.flush()
    rig.transport.read_all()
    rig.fill(1)  # measures: no longer congested, but nothing was caught up yet
    rig.outbox.offer(rig.feed, rig.feed.step())
    rig.outbox.poll()
    rig.outbox.flush()
    assert [m for m in rig.transport.read_all() if "to" in m] == [{"from": 1, "to": 4, "conflated": 3}]


async def test_far_behind_a_first_step_is_left_out_for_a_snapshot() -> None:
    rig = Rig()
    rig.fill(2500)
    rig.outbox.poll()
    rig.outbox.offer(rig.feed, rig.feed.step())
    rig.transport.read_all()
    rig.outbox.poll()
    rig.outbox.flush()
    assert rig.transport.read_all() == [{"from": None, "to": 1, "conflated": 1}]


async def test_what_is_merged_for_a_feed_is_dropped_when_forgotten() -> None:
    rig = Rig()
    rig.fill(1500)
    rig.outbox.poll()
    rig.outbox.offer(rig.feed, rig.feed.step())
    rig.outbox.offer(rig.feed, rig.feed.step())
    rig.outbox.forget(rig.feed)
    rig.transport.read_all()
    rig.outbox.poll()
    rig.outbox.flush()
    assert [m for m in rig.transport.read_all() if "conflated" in m] == []


async def test_a_reader_too_far_behind_on_what_cannot_be_merged_is_slow() -> None:
    rig = Rig(OutboxLimits(backlog_bytes_max=4000, conflate_bytes=1000, behind_s_max=3600))
    most = 0
    for n in range(100):
        rig.outbox.send(Message({"n": n, "pad": "z" * 100}))
        rig.outbox.flush()
        most = max(most, rig.outbox.backlog)
    assert rig.slow == 1
    assert most < 4200


async def test_a_reader_behind_for_too_long_is_slow_however_little_waits() -> None:
    rig = Rig()
    rig.outbox.send(Message({"n": 1}))
    rig.outbox.flush()
    await asyncio.sleep(0.001)
    assert not rig.outbox.poll()
    assert rig.slow == 1


async def test_a_reader_that_took_everything_is_not_slow() -> None:
    rig = Rig()
    rig.outbox.send(Message({"n": 1}))
    rig.outbox.flush()
    rig.transport.read_all()
    await asyncio.sleep(0.001)
    assert not rig.outbox.poll()
    assert rig.slow == 0


async def test_merged_states_alone_never_make_a_reader_slow() -> None:
    rig = Rig()
    rig.fill(1500)
    for _ in range(1000):
        rig.outbox.offer(rig.feed, rig.feed.step())
        rig.outbox.flush()
        rig.outbox.poll()
    assert rig.slow == 0
    assert rig.outbox.backlog < 2500


async def test_an_answer_however_big_is_no_backlog() -> None:
    rig = Rig(OutboxLimits(backlog_bytes_max=4000, conflate_bytes=1000, behind_s_max=3600))
    rig.fill(50_000)
    rig.outbox.send(Message({"n": 1}))
    rig.outbox.flush()
    rig.outbox.send(Message({"n": 2}))
    rig.outbox.flush()
    assert rig.slow == 0


async def test_drained_tells_when_the_reader_caught_up() -> None:
    rig = Rig()
    assert rig.outbox.drained.is_set()
    rig.fill(1500)
    rig.outbox.poll()
    assert not rig.outbox.drained.is_set()
    rig.transport.read_all()
    rig.outbox.poll()
    assert rig.outbox.drained.is_set()


@pytest.mark.parametrize("when", ["before", "after"])
async def test_a_peer_that_is_gone_raises_nothing(when: str) -> None:
    rig = Rig()
    if when == "after":
        rig.fill(1500)
    rig.transport.gone = True
    rig.outbox.send(Message({"n": 1}))
    rig.outbox.offer(rig.feed, rig.feed.step())
    rig.outbox.ping()
    await asyncio.sleep(0)
    rig.outbox.poll()
    assert rig.outbox.closed
    rig.outbox.send(Message({"n": 2}))
    assert rig.outbox.backlog == 0
