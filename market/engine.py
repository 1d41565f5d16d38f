"""The single writer: stamp, apply, commit, answer, publish, in that order.

While one batch commits, the next is already applied in memory; nothing of it is told to anyone before it is durable.
Any settlement error stops the engine: memory is thrown away, the outcome of the batch in doubt is read from the
database behind a fence, waiting requests are answered with it, and the venue is rebuilt from the tables.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Protocol

from market.commands import AmendOrder, Command, ExpireOrders, MassQuote, Mode, PlaceOrder
from market.errors import Busy, MarketError, MarketMode, OutcomeUnknown, Unavailable
from market.events import Event, LogEntry
from market.ids import Nanos, Seq
from market.port import CALLER, ENGINE_ACTOR, Answer, Caller, EnginePort, Listener, Phase, Reply, room_for
from market.venue.venue import Venue, described

log = logging.getLogger(__name__)

NOTHING_CONSUMED: Mapping[str, str] = MappingProxyType({})


class NotCommitted(Exception):
    """The batch is certain not to be in the database. permanent: a retry would fail the same way."""

    def __init__(self, message: str, *, permanent: bool) -> None:
        super().__init__(message)
        self.permanent = permanent


class Doubtful(Exception):
    """COMMIT may have been sent: only `Store.resolve` can tell whether it happened."""


class LeaseLost(Exception):
    """Another engine holds a newer epoch: this one must stop writing for good."""


class Store(Protocol):
    """Where batches become durable. One implementation: settlement/writer.py on PostgreSQL."""

    epoch: int
    on_lost: Callable[[], None]  # called when the session ends by itself: an idle engine must notice too
    consumed: Mapping[str, str]  # how far each stream of commands was consumed, as of the last recover

    async def open(self) -> None:
        """Take the lease (advisory lock, then raise the epoch). Raises LeaseLost if another engine lives."""

    async def recover(self) -> Venue:
        """Rebuild the venue from the tables, as of the last committed sequence number."""

    async def commit(self, entries: Sequence[LogEntry], consumed: Mapping[str, str] = NOTHING_CONSUMED) -> None:
        """Make a batch durable in one transaction, all or nothing. Raises NotCommitted, Doubtful, LeaseLost.

        consumed: how far it moves in each stream that commands came from; a batch of refusals has nothing but that.
        """

    async def resolve(self) -> Seq:
        """Raise the epoch, which waits for the old transaction to end, then return the committed sequence number."""

    async def quarantine(self, entry: LogEntry, error: str) -> None:
        """Record a command that the database refuses, for people to look at."""

    async def close(self) -> None: ...


class EngineMetrics(Protocol):
    def observe_batch(self, size: int, commit_seconds: float) -> None: ...

    def observe_ack(self, seconds: float) -> None: ...

    def count_failure(self, kind: str) -> None:
        """kind: NotCommitted or Doubtful, or Quarantined for a command that was set aside."""


class EngineTracer(Protocol):
    def released(
        self, command: Command, caller: Caller, seq: Seq | None, *, received_at: int, commit: tuple[int, int] | None
    ) -> None:
        """Hear of a command that is answered now. seq: None for a refusal.  commit: when it began and ended."""


@dataclass(frozen=True, slots=True)
class Origin:
    """Where in a stream outside of the process a command was read.

    Recorded with the command's batch, so that it takes effect exactly once: what was read but not committed is read
    again, by whichever engine writes then, and until then nobody is told anything.
    """

    stream: str
    position: str


@dataclass(frozen=True, slots=True, eq=False)
class Request:
    command: Command
    actor: str
    reply: Reply
    received_at: Nanos
    joined: bool = False  # commits together with the one before it
    origin: Origin | None = None
    refusal: MarketError | None = None  # judged at the door; told in its turn
    caller: Caller | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """What applying a request gave: to be told once the batch is durable. entry: None if nothing changed."""

    request: Request
    told: Answer | MarketError
    entry: LogEntry | None


class Engine(EnginePort):
    """Owns the venue. One instance writes; `run` until cancelled or stopped.

    clock: nanoseconds since 1970, UTC.  inbox_max, batch_max: commands.  reopen_s: how long after a failure only
    cancels are taken.  resolve_timeout_s: how long clients wait for the truth before they are told `unknown`.
    takes_over: others traded until now, so that the start, too, takes only cancels at first.
    """

    def __init__(
        self,
        *,
        store: Store,
        clock: Callable[[], int],
        inbox_max: int = 20_000,
        batch_max: int = 1_000,
        reopen_s: float = 1.0,
        resolve_timeout_s: float = 10.0,
        takes_over: bool = False,
        metrics: EngineMetrics | None = None,
        tracer: EngineTracer | None = None,
    ) -> None:
        self._store = store
        store.on_lost = self._lose_session
        self._clock = clock
        self._inbox_max = inbox_max
        self._batch_max = batch_max
        self._reopen_ns = int(reopen_s * 1e9)
        self._resolve_timeout_s = resolve_timeout_s
        self._takes_over = takes_over
        self._metrics = metrics
        self._tracer = tracer
        self._commit_times: tuple[int, int] | None = None  # of the batch that is released
        self._inbox: deque[Request] = deque()
        self._wake = asyncio.Event()
        self._online = asyncio.Event()
        self._listeners: list[Listener] = []
        self._venue = Venue()
        self._applied: list[Outcome] = []  # the batch applied on top of the one that is committing
        self._committing: list[Outcome] = []
        self._commit: asyncio.Task[None] | None = None
        self._commit_began_at = 0.0  # loop time
        self._stopping = False
        self._session_lost = False
        self._reopens_at = 0
        self._last_at = Nanos(0)
        self.phase = Phase.STARTING
        self.seq = Seq(0)  # the last committed

    @property
    def epoch(self) -> int:
        return self._store.epoch

    @property
    def applied_seq(self) -> Seq:
        """The last command that was carried out in memory, where it may never be committed."""
        return self._venue.seq

    @property
    def consumed(self) -> Mapping[str, str]:
        """How far each stream was consumed when memory was last rebuilt."""
        return self._store.consumed

    @property
    def inbox_depth(self) -> int:
        """How many commands wait to be carried out."""
        return len(self._inbox)

    @property
    def committing_for_s(self) -> float:
        """How long the commit that runs has been running, 0 if none does."""
        is_running = self._commit is not None and not self._commit.done()
        return asyncio.get_running_loop().time() - self._commit_began_at if is_running else 0.0

    def listen(self, listener: Listener) -> None:
        self._listeners.append(listener)

    async def online(self) -> None:
        await self._online.wait()

    def send(
        self, command: Command, *, actor: str, reply: Reply, joined: bool = False, origin: Origin | None = None
    ) -> None:
        """Put a command into the inbox, as EnginePort says. Of one with an origin, `reply` may never be called."""
        if self.phase is not Phase.ONLINE or self._stopping:
            raise Unavailable(f"the engine is {self.phase}")
        if len(self._inbox) >= room_for(command, self._inbox_max):
            raise Busy("the inbox is full")
        now = Nanos(self._clock())
        refusal = None
        if now < self._reopens_at and isinstance(command, PlaceOrder | AmendOrder | MassQuote):
            refusal = MarketMode("the market reopens in cancel_only mode", mode=Mode.CANCEL_ONLY)
            if origin is None:
                raise refusal
        self._inbox.append(Request(command, actor, reply, now, joined, origin, refusal, CALLER.get()))
        self._wake.set()

    def outline(self) -> Iterator[Event]:
        """Return Venue.outline, to be read bit by bit. It may be ahead of the commit, up to `applied_seq`."""
        return self._venue.outline()

    def stop(self) -> None:
        """Take no more commands, finish what is in the inbox, then let `run` return."""
        self._stopping = True
        self._wake.set()

    async def run(self) -> None:
        """Take the lease, rebuild, serve; rebuild after every failure. LeaseLost when another engine took over."""
        try:
            await self._store.open()
            await self._start(reopen=self._takes_over)
            while not self._stopping or self._inbox or self._applied or self._committing:
                try:
                    await self._serve()
                except (NotCommitted, Doubtful) as error:
                    await self._recover_from(error)
        finally:
            self.phase = Phase.STOPPED
            self._online.clear()
            if self._commit is not None:  # never cancelled: it may be just past its COMMIT
                await asyncio.wait({self._commit}, timeout=self._resolve_timeout_s)
            self._tell_all(Unavailable("the engine has stopped"), self._take_inbox())
            self._tell_unknown()
            await self._store.close()

    async def _start(self, *, reopen: bool) -> None:
        await self._rebuild()
        self._reopens_at = self._clock() + self._reopen_ns if reopen else 0
        self.phase = Phase.ONLINE
        self._online.set()
        log.info("engine_online epoch=%d seq=%d", self._store.epoch, self.seq)

    async def _serve(self) -> None:
        """Apply what waits; whenever nothing is committing, commit what was applied. Returns when stopped and empty."""
        while True:
            if self._commit is not None and self._commit.done():
                commit, self._commit = self._commit, None
                commit.result()  # raises what the commit raised
            if self._session_lost and self._commit is None:
                raise Doubtful("the session with the ledger ended")
            if len(self._applied) < self._batch_max:
                self._apply_inbox(self._batch_max - len(self._applied))
            if self._commit is None and self._applied:
                self._committing, self._applied = self._applied, []
                self._commit_began_at = asyncio.get_running_loop().time()
                self._commit = asyncio.create_task(self._commit_batch())
                self._commit.add_done_callback(lambda _: self._wake.set())
            if self._stopping and not self._inbox and self._commit is None:
                return
            await self._sleep()

    def _lose_session(self) -> None:
        self._session_lost = True
        self._wake.set()

    async def _sleep(self) -> None:
        """Until a command arrives, a commit ends or an order expires."""
        self._wake.clear()
        if self._inbox and len(self._applied) < self._batch_max:
            return
        expiry = self._venue.next_expiry()
        timeout = None if expiry is None or self._stopping else max((expiry - self._clock()) / 1e9, 0.001)
        with suppress(TimeoutError):
            await asyncio.wait_for(self._wake.wait(), timeout)
        self._expire_due()

    def _expire_due(self) -> None:
        expiry = self._venue.next_expiry()
        if expiry is not None and expiry <= self._clock() and not self._stopping:
            now = Nanos(self._clock())
            self._inbox.append(Request(ExpireOrders(), ENGINE_ACTOR, _nobody_waits, now))

    def _apply_inbox(self, limit: int) -> None:
        while self._inbox and (limit > 0 or self._inbox[0].joined):
            self._applied.append(self._apply(self._inbox.popleft()))
            limit -= 1

    def _apply(self, request: Request) -> Outcome:
        """Carry out one command in memory. An exception that is no MarketError is our bug and stops the engine."""
        seq = Seq(self._venue.seq + 1)
        at = self._last_at = Nanos(max(self._clock(), self._last_at))
        if request.refusal is not None:
            return Outcome(request, request.refusal, None)
        try:
            applied = self._venue.apply(seq, at, request.command)
        except MarketError as refusal:
            return Outcome(request, refusal, None)
        answer = Answer(self._venue.seq, at, applied.result)
        if not applied.events:
            return Outcome(request, answer, None)
        entry = LogEntry(
            seq=seq,
            at=at,
            actor=request.actor,
            command=request.command,
            events=applied.events,
            result=applied.result,
        )
        return Outcome(request, answer, entry)

    async def _commit_batch(self) -> None:
        """Make the batch durable, then release it. A batch of refusals alone has nothing to commit."""
        entries = [outcome.entry for outcome in self._committing if outcome.entry is not None]
        origins = [outcome.request.origin for outcome in self._committing if outcome.request.origin is not None]
        consumed = {origin.stream: origin.position for origin in origins}  # the last one of each stream
        self._commit_times = None
        if entries or consumed:
            began = self._clock()
            await self._store.commit(entries, consumed)
            self._commit_times = (began, self._clock())
            if self._metrics is not None:
                self._metrics.observe_batch(len(entries), (self._commit_times[1] - began) / 1e9)
        self._release()

    def _release(self) -> None:
        """Tell everybody, in sequence order: first who asked, for all commands that are joined, then who listens."""
        released, self._committing = self._committing, []
        for group in _joined(released):
            for outcome in group:
                self._tell(outcome.request, outcome.told)
            for entry in [outcome.entry for outcome in group if outcome.entry is not None]:
                self.seq = entry.seq
                for listener in self._listeners:
                    listener.on_entry(entry)
        for listener in self._listeners:
            listener.on_batch_end()
        if self._tracer is not None or log.isEnabledFor(logging.DEBUG):
            for outcome in released:
                self._trace(outcome)

    def _trace(self, outcome: Outcome) -> None:
        """Say for whom a command was carried out: after everybody was told, so that nobody waits for it."""
        request = outcome.request
        if request.caller is None:
            return
        seq = None if isinstance(outcome.told, MarketError) else outcome.told.seq
        kind, told = type(request.command).__name__, type(outcome.told).__name__
        log.debug("released kind=%s told=%s seq=%d request_id=%s", kind, told, seq or 0, request.caller.request_id)
        if self._tracer is not None and request.caller.trace is not None:
            times = self._commit_times
            self._tracer.released(request.command, request.caller, seq, received_at=request.received_at, commit=times)

    def _tell(self, request: Request, told: Answer | MarketError) -> None:
        if self._metrics is not None:
            self._metrics.observe_ack((self._clock() - request.received_at) / 1e9)
        try:
            request.reply(told)
        except Exception:
            # A client that left in the middle is no reason to stop the market.
            log.exception("reply_failed")

    def _tell_all(self, told: MarketError, requests: Sequence[Request]) -> None:
        """Tell those who wait in this process. Commands of a stream are read again: nothing is known of them yet."""
        for request in requests:
            if request.origin is None:
                self._tell(request, told)

    def _take_inbox(self) -> list[Request]:
        waiting = list(self._inbox)
        self._inbox.clear()
        return waiting

    async def _recover_from(self, error: NotCommitted | Doubtful) -> None:
        """Recover until it succeeds: the database may fail again while the engine gets up."""
        failure: NotCommitted | Doubtful | None = error
        while failure is not None:
            try:
                await self._recover(failure)
                failure = None
            except (NotCommitted, Doubtful) as again:
                failure = again

    async def _recover(self, error: NotCommitted | Doubtful) -> None:
        """Fail-stop: forget memory, learn what became of the batch, tell the waiting, rebuild, reopen."""
        log.error("settlement_failed error=%s detail=%s", type(error).__name__, error)
        self._count_failure(type(error).__name__)
        self.phase = Phase.RECOVERING
        self._online.clear()
        self._session_lost = False
        behind = [outcome.request for outcome in self._applied]
        self._applied = []
        self._tell_all(self._not_executed(), [*behind, *self._take_inbox()])
        committed = await self._resolve()
        seqs = [outcome.entry.seq for outcome in self._committing if outcome.entry is not None]
        if seqs and committed >= seqs[-1]:
            self._release()
        failed, self._committing = self._committing, []
        if isinstance(error, NotCommitted) and error.permanent:
            await self._try_one_by_one([outcome.request for outcome in failed])
        else:
            self._tell_all(self._not_executed(), [outcome.request for outcome in failed])
        await self._start(reopen=True)

    def _count_failure(self, kind: str) -> None:
        if self._metrics is not None:
            self._metrics.count_failure(kind)

    async def _resolve(self) -> Seq:
        """Ask until the database answers. Clients that wait too long are told `unknown`, never a false refusal."""
        asking = asyncio.create_task(self._ask_forever())
        done, _ = await asyncio.wait({asking}, timeout=self._resolve_timeout_s)
        if not done:
            self._tell_unknown()
        return await asking

    async def _ask_forever(self) -> Seq:
        delay_s = 0.1
        while True:
            try:
                return await self._store.resolve()
            except (OSError, Doubtful) as error:
                log.error("settlement_unreachable error=%s", error)
                await asyncio.sleep(delay_s)
                delay_s = min(delay_s * 2, 5.0)

    def _tell_unknown(self) -> None:
        """Let those go whose batch is in doubt, and those behind it who were never sent."""
        waiting = [outcome.request for outcome in self._committing]
        behind = [outcome.request for outcome in self._applied]
        self._committing, self._applied = [], []
        self._tell_all(OutcomeUnknown("it is not known yet whether the command was executed"), waiting)
        self._tell_all(Unavailable("the command was not executed"), behind)

    async def _try_one_by_one(self, suspects: list[Request]) -> None:
        """A batch that breaks a constraint again, command by command: the one that is refused goes to quarantine."""
        await self._rebuild()
        for i, request in enumerate(suspects):
            is_quote = isinstance(request.command, MassQuote)  # memory is rebuilt again in this epoch: it has no quotes
            outcome = self._apply(replace(request, refusal=self._not_executed()) if is_quote else request)
            self._committing = [outcome]
            try:
                await self._commit_batch()
            except Doubtful:
                self._tell_all(self._not_executed(), suspects[i + 1 :])
                raise
            except NotCommitted as error:
                self._committing = []
                if outcome.entry is not None:
                    log.error("command_quarantined seq=%d error=%s", outcome.entry.seq, error)
                    self._count_failure("Quarantined")
                    await self._store.quarantine(outcome.entry, str(error))
                if request.origin is not None:  # else it would be read again, for ever
                    await self._store.commit([], {request.origin.stream: request.origin.position})
                self._tell(request, Unavailable("the ledger refused the command: it was set aside"))
                await self._rebuild()

    async def _rebuild(self) -> None:
        self._venue = await self._store.recover()
        self.seq = self._venue.seq
        with described(self._venue) as events:
            for listener in self._listeners:
                listener.on_snapshot(self._store.epoch, self.seq, events)

    @staticmethod
    def _not_executed() -> Unavailable:
        return Unavailable("the engine is recovering: the command was not executed")


def _joined(outcomes: Sequence[Outcome]) -> list[list[Outcome]]:
    groups: list[list[Outcome]] = []
    for outcome in outcomes:
        if outcome.request.joined and groups:
            groups[-1].append(outcome)
        else:
            groups.append([outcome])
    return groups


def _nobody_waits(_told: Answer | MarketError) -> None:
    """The reply of commands that the engine sends to itself."""
