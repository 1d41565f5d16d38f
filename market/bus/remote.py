"""An engine in another process, as a gateway sees it: commands go over a stream, commits come over a channel.

Commits are told in order and without a gap: each names the one before it, and a gateway that missed one asks for the
whole state and goes on from there. One that missed none when another engine took over goes on at once.

The outcome of a command that was handed to Redis is unknown until its reply comes: it may take effect after a takeover.
Who waited too long for it is told so. When an engine dies between a commit and its replies, the next one says how far
the stream was consumed: an order with a client order id among those is sent again, which gives its first answer, and
the senders of all else are told `unknown` at once.
"""

import asyncio
import logging
import secrets
import zlib
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from redis.asyncio import Redis
from redis.asyncio.client import PubSub

from market.bus.codec import (
    Ask,
    Batch,
    Outcome,
    Sent,
    State,
    UnknownVersion,
    framed,
    tagged,
    told,
    told_by,
    unframed,
    unpack,
    unpack_events,
)
from market.bus.connect import TROUBLE, ending
from market.bus.names import Names
from market.commands import Command, PlaceOrder
from market.errors import Busy, MarketError, OutcomeUnknown, Unavailable
from market.events import BookChanged, Event, LoanChanged
from market.ids import Seq
from market.port import CALLER, Answer, Caller, EnginePort, Follower, Phase, Reply, room_for

log = logging.getLogger(__name__)

COMMANDS_AT_ONCE: Final = 500
ASK_AGAIN_S: Final = 2.0
POLL_S: Final = 0.25
PAUSE_S: Final = 0.2
EARLY_MAX: Final = 10_000  # commits heard while waiting for the state

Place = tuple[int, int, int]  # of a command in the stream: the two parts of the entry's id, the index within it


@dataclass(slots=True)
class Pending:
    """A command whose reply is awaited. gives_up_at: loop time.  place: once the stream has it."""

    number: int
    command: Command
    actor: str
    joined: bool
    reply: Reply
    gives_up_at: float
    caller: Caller | None
    place: Place | None = None


class RemoteEngine(EnginePort):
    """The engine behind Redis. `run` until cancelled.

    redis: must not repeat a command by itself, or an order could enter the stream twice.
    pending_max: commands without a reply; more are refused as busy.  reply_timeout_s: how long a sender waits.
    quiet_s: an engine that was not heard for so long is taken to be away.
    """

    def __init__(
        self,
        redis: "Redis",
        names: Names,
        *,
        pending_max: int = 20_000,
        reply_timeout_s: float = 10.0,
        quiet_s: float = 1.5,
    ) -> None:
        self.gateway = secrets.token_hex(8)
        self.names = names
        self.phase = Phase.STARTING
        self.seq = Seq(0)
        self._epoch = 0
        self._redis = redis
        self._pending_max = pending_max
        self._reply_timeout_s = reply_timeout_s
        self._quiet_s = quiet_s
        self._listeners: list[Follower] = []
        self._online = asyncio.Event()
        self._pending: dict[int, Pending] = {}
        self._last_number = 0
        self._outbox: deque[Pending] = deque()
        self._wake = asyncio.Event()
        self._heard_at = 0.0
        self._early: list[Batch] | None = None  # commits heard since the state was asked for
        self._asked_at = 0.0

    @property
    def epoch(self) -> int:
        return self._epoch

    @property
    def pending(self) -> int:
        """How many commands have no reply yet."""
        return len(self._pending)

    def quiet_for_s(self) -> float:
        """Seconds since the engine was last heard."""
        return _now() - self._heard_at

    def listen(self, listener: Follower) -> None:
        self._listeners.append(listener)

    async def online(self) -> None:
        await self._online.wait()

    def send(self, command: Command, *, actor: str, reply: Reply, joined: bool = False) -> None:
        if self.phase is not Phase.ONLINE:
            raise Unavailable(f"the engine is {self.phase}")
        if len(self._pending) >= room_for(command, self._pending_max):
            raise Busy("too many commands wait for the engine")
        self._last_number += 1
        number = self._last_number
        self._pending[number] = Pending(
            number, command, actor, joined, reply, _now() + self._reply_timeout_s, CALLER.get()
        )
        self._outbox.append(self._pending[number])
        self._wake.set()

    async def run(self) -> None:
        """Hear, send, give up what is not answered, until cancelled."""
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._hear_forever())
                tasks.create_task(self._send_forever())
                tasks.create_task(self._watch())
        finally:
            self._go(Phase.STOPPED)
            for number in list(self._pending):
                self._tell(number, OutcomeUnknown("the gateway stopped before the engine replied"))

    # Commands out

    async def _send_forever(self) -> None:
        while not ending():
            await self._wake.wait()
            self._wake.clear()
            while self._outbox:
                await self._send_some()

    async def _send_some(self) -> None:
        """Add what waits as one entry. Whether an attempt that failed arrived is not known: it is never repeated."""
        chosen = [self._outbox.popleft() for _ in range(min(len(self._outbox), COMMANDS_AT_ONCE))]
        while self._outbox and self._outbox[0].joined:
            chosen.append(self._outbox.popleft())
        rows = [_sent(each) for each in chosen]
        fields: Any = {"gateway": self.gateway, "commands": framed("commands", rows)}
        try:
            entry_id: Any = await self._redis.xadd(self.names.commands, fields)
            for index, each in enumerate(chosen):
                each.place = place_of(f"{entry_id.decode()}/{index}")
        except TROUBLE as e:
            log.warning("commands_in_doubt count=%d error=%s", len(chosen), e)
            for each in chosen:
                self._tell(each.number, OutcomeUnknown("Redis failed while it took the command"))

    def _tell(self, number: int, told: Answer | MarketError) -> None:
        pending = self._pending.pop(number, None)
        if pending is None:  # given up before
            return
        try:
            pending.reply(told)
        except Exception:
            log.exception("reply_failed")

    # Commits in

    async def _hear_forever(self) -> None:
        while not ending():
            try:
                async with self._redis.pubsub(ignore_subscribe_messages=True) as channel:
                    await channel.subscribe(self.names.events, self.names.replies(self.gateway))
                    await self._ask()  # whatever was told while nobody listened
                    await self._hear(channel)
            except TROUBLE as e:
                log.warning("engine_unheard error=%s", e)
                self._go(Phase.RECOVERING)
                await asyncio.sleep(PAUSE_S)

    async def _hear(self, channel: PubSub) -> None:
        events = self.names.events.encode()
        while not ending():
            message = await channel.get_message(timeout=POLL_S)
            if message is None:
                continue
            try:
                kind, body = unframed(message["data"])
            except UnknownVersion as e:
                self._warn_of_version(e)
                continue
            if message["channel"] == events:
                await self._batch(unpack(Batch, body))
            elif kind == "replies":
                for outcome in unpack(list[Outcome], body):
                    self._tell(outcome.number, told_by(outcome))
            elif kind == "state":
                await self._take_state(unpack(State, body))

    def _warn_of_version(self, e: UnknownVersion) -> None:
        """An engine that we do not understand is none to us: commands are refused until one comes that we do."""
        if self.phase is not Phase.RECOVERING:
            log.error("engine_of_another_version error=%s", e)
        self._go(Phase.RECOVERING)

    async def _batch(self, batch: Batch) -> None:
        if batch.epoch < self._epoch and self.quiet_for_s() < self._quiet_s:
            log.info("epoch_over epoch=%d heard=%d", self._epoch, batch.epoch)  # the last words of a replaced engine
            return
        self._heard_at = _now()
        if self._early is not None:
            if batch.entries and len(self._early) < EARLY_MAX:
                self._early.append(batch)
            if _now() - self._asked_at > ASK_AGAIN_S:
                await self._ask()
        elif not self._follow(batch):
            log.warning("commit_missed epoch=%d at=%d heard=%d:%d", self._epoch, self.seq, batch.epoch, batch.previous)
            await self._ask()

    def _follow(self, batch: Batch) -> bool:
        """Tell a commit; False if it is not the next one.

        An epoch that began where we stand needs no other state than ours, but for what no table holds.
        """
        if batch.previous != self.seq:
            return False
        if batch.epoch > self._epoch > 0 and batch.began == self.seq:
            self._epoch = batch.epoch
            for listener in self._listeners:
                listener.on_epoch(batch.epoch, self.seq)
            log.info("epoch_followed epoch=%d seq=%d", batch.epoch, self.seq)
            if batch.consumed:
                self._make_up(place_of(batch.consumed))
        elif batch.epoch != self._epoch:
            return False
        self._go(Phase.ONLINE)
        for entry in map(told, batch.entries):
            self.seq = entry.seq
            for listener in self._listeners:
                listener.on_entry(entry)
        if batch.entries:
            for listener in self._listeners:
                listener.on_batch_end()
        return True

    async def _ask(self) -> None:
        """Ask for the whole state; commits heard meanwhile are kept."""
        self._go(Phase.RECOVERING)
        self._early = [] if self._early is None else self._early
        self._asked_at = _now()
        await self._redis.publish(self.names.asks, framed("ask", Ask(self.gateway)))

    async def _take_state(self, state: State) -> None:
        if self._early is None:
            return  # asked twice, answered twice
        chunks: list[Any] = await self._redis.lrange(state.key, 0, -1)
        events: list[Event] = []
        for chunk in chunks:
            events += await asyncio.to_thread(_expanded, chunk)
        if not events:
            await self._ask()
            return
        if not state.is_numbered:
            events += _numbered_here(events, state.seq)
        early, self._early = self._early, None
        takeover = state.epoch != self._epoch and state.consumed
        self._start(state.epoch, state.seq, events)
        if takeover:
            self._make_up(place_of(state.consumed))
        for batch in early:
            if (batch.epoch == state.epoch and batch.seq <= state.seq) or batch.epoch < state.epoch:
                continue
            if not self._follow(batch):
                await self._ask()
                return

    def _start(self, epoch: int, seq: Seq, events: Sequence[Event]) -> None:
        self._epoch, self.seq = epoch, seq
        self._heard_at = _now()  # its state may come before its first sign of life
        for listener in self._listeners:
            listener.on_snapshot(epoch, seq, events)
        log.info("engine_followed epoch=%d seq=%d", epoch, seq)
        self._go(Phase.ONLINE)

    def _make_up(self, consumed: Place) -> None:
        """Settle what an engine had consumed whose replies died with it. All else is read by the one that follows."""
        lost = [each for each in self._pending.values() if each.place is not None and each.place <= consumed]
        for pending in lost:
            if isinstance(pending.command, PlaceOrder) and pending.command.client_order_id is not None:
                pending.place, pending.joined = None, False
                self._outbox.append(pending)
                self._wake.set()
            else:
                self._tell(pending.number, OutcomeUnknown("the engine that carried the command out has died"))

    def _go(self, phase: Phase) -> None:
        self.phase = phase
        if phase is Phase.ONLINE:
            self._online.set()
        else:
            self._online.clear()

    # Time

    async def _watch(self) -> None:
        """Notice an engine that has gone quiet, and senders that have waited long enough."""
        while not ending():
            await asyncio.sleep(POLL_S)
            now = _now()
            if self.phase is Phase.ONLINE and now - self._heard_at > self._quiet_s:
                log.warning("engine_quiet seconds=%.1f", now - self._heard_at)
                self._go(Phase.RECOVERING)
            late = [number for number, pending in self._pending.items() if pending.gives_up_at < now]
            for number in late:
                self._tell(number, OutcomeUnknown("the engine did not reply in time: ask by client order id"))


def _sent(pending: Pending) -> Sent:
    caller, command = pending.caller, tagged(pending.command)
    if caller is None:
        return Sent(pending.number, pending.actor, pending.joined, command)
    return Sent(pending.number, pending.actor, pending.joined, command, caller.request_id, caller.trace)


def place_of(position: str) -> Place:
    """Return the place that is written `<entry id>/<index>`, as something that can be compared."""
    entry_id, _, index = position.partition("/")
    milliseconds, _, within = entry_id.partition("-")
    return int(milliseconds), int(within), int(index)


def _numbered_here(state: Sequence[Event], seq: Seq) -> list[Event]:
    """Have books count from `seq`, where nobody else does: an engine of the version before has no numbers for them."""
    return [
        BookChanged(loan_id=event.terms.loan_id, changes=(), seq=seq)
        for event in state
        if isinstance(event, LoanChanged)
    ]


def _expanded(chunk: bytes) -> tuple[Event, ...]:
    return unpack_events(zlib.decompress(chunk))


def _now() -> float:
    return asyncio.get_running_loop().time()
